//! Callers that go away, and the end of the host.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::{Mutex, mpsc},
};

use assay_host::server::ListenAddress;

use crate::support::{Answer, Behaviour, Host, PATIENCE, StandIn, answer, eventually};

const POST: &str = "POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n[1]";

#[test]
fn a_caller_that_leaves_before_the_answer_is_counted_and_harms_nobody() {
    let (sender, kept) = mpsc::channel();
    let host = Host::of(StandIn::new(&["float32[1]"], Behaviour::Keep(Mutex::new(sender))));
    let mut stream = host.connect();
    stream.write_all(POST.as_bytes()).unwrap();
    let (inputs, reply) = kept.recv_timeout(PATIENCE).unwrap();
    drop(stream);
    eventually("the caller's leaving is noticed", || host.counted("stand-in")["abandoned"] == 1);
    reply(Ok(answer(inputs)));
    let counted = host.counted("stand-in");
    assert_eq!(
        (&counted["requests"], &counted["errors"], &counted["batches"]),
        (&1.into(), &1.into(), &1.into())
    );
    assert_eq!(host.get("/ping").status, 200);
}

#[test]
fn a_caller_that_leaves_inside_its_payload_is_counted_and_harms_nobody() {
    let host = Host::of(StandIn::new(&["float32[1]"], Behaviour::Echo));
    let mut stream = host.connect();
    stream.write_all(b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 3000\r\n\r\n[1").unwrap();
    eventually("the request has arrived", || host.counted("stand-in")["requests"] == 1);
    drop(stream);
    eventually("the request has failed", || host.counted("stand-in")["errors"] == 1);
    assert_eq!(host.post("/invocations", "application/json", b"[1]").status, 200);
}

#[test]
fn what_is_in_flight_when_the_host_stops_is_still_answered() {
    let (sender, kept) = mpsc::channel();
    let host = Host::of(StandIn::new(&["float32[1]"], Behaviour::Keep(Mutex::new(sender))));
    let mut stream = host.connect();
    stream.write_all(POST.as_bytes()).unwrap();
    let (inputs, reply) = kept.recv_timeout(PATIENCE).unwrap();
    host.stop.gently.cancel();
    let address = host.url.strip_prefix("http://").unwrap().to_owned();
    eventually("new connections are refused", || std::net::TcpStream::connect(&address).is_err());
    reply(Ok(answer(inputs)));
    let answer = Answer::read(&mut stream);
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"outputs":[1.0]}"#));
    host.wait();
}

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    let host = Host::of(StandIn::new(&["float32[1]"], Behaviour::Echo));
    let mut stream = host.connect();
    stream.write_all(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    host.stop.gently.cancel();
    host.wait();
}

#[test]
fn being_asked_twice_leaves_what_is_in_flight() {
    let (sender, kept) = mpsc::channel();
    let host = Host::of(StandIn::new(&["float32[1]"], Behaviour::Keep(Mutex::new(sender))));
    let mut stream = host.connect();
    stream.write_all(POST.as_bytes()).unwrap();
    let _unanswered = kept.recv_timeout(PATIENCE).unwrap();
    host.stop.gently.cancel();
    host.stop.now.cancel();
    host.wait();
    let mut nothing = Vec::new();
    drop(stream.read_to_end(&mut nothing));
    assert!(nothing.is_empty());
}

#[test]
fn the_same_contract_is_served_on_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.sock");
    let host = Host::listening(
        &ListenAddress::Unix(path.clone()),
        StandIn::new(&["float32[1]"], Behaviour::Echo),
        1000,
    );
    assert_eq!(host.url, format!("unix:{}", path.display()));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(POST.replace("Host: a", "Connection: close").as_bytes()).unwrap();
    assert_eq!(Answer::read(&mut stream).text(), r#"{"outputs":[1.0]}"#);
    drop(host);
    assert!(!path.exists(), "the socket's file was left behind");
}
