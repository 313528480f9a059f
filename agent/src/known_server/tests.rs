use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Instant,
};

use super::*;

fn server(workers: u32, service_ms: u64) -> KnownServer {
    let queue = KnownQueue::new(workers, Duration::from_millis(service_ms)).unwrap();
    KnownServer::start(Service { queue, change: None }).unwrap()
}

fn send(server: &KnownServer, request: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request).unwrap();
    stream
}

fn answer(stream: &mut TcpStream) -> String {
    let mut buffer = [0; 1024];
    let count = stream.read(&mut buffer).unwrap();
    String::from_utf8(buffer[..count].to_vec()).unwrap()
}

#[test]
fn requests_wait_for_each_other_and_never_end_early() {
    let server = server(1, 50);
    let began = Instant::now();
    let mut streams: Vec<TcpStream> =
        (0..4).map(|_| send(&server, b"GET / HTTP/1.1\r\n\r\n")).collect();
    for stream in &mut streams {
        assert!(answer(stream).starts_with("HTTP/1.1 200 OK"), "an answer");
    }
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
}

#[test]
fn a_connection_serves_one_request_after_another_until_it_says_close() {
    let server = server(1, 1);
    let post = b"POST /invocations HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    let mut stream = send(&server, post);
    assert!(answer(&mut stream).ends_with("{}"));
    stream.write_all(b"GET /ping HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    assert!(answer(&mut stream).ends_with("{}"));
    assert_eq!(answer(&mut stream), "", "closed");
    assert!(server.cpu_time() > Duration::ZERO);
}

#[test]
fn nonsense_is_refused_and_dropping_the_server_closes_its_port() {
    let server = server(1, 1);
    assert!(answer(&mut send(&server, b"nonsense\r\n\r\n")).starts_with("HTTP/1.1 400"));
    let address = server.address();
    drop(server);
    assert!(TcpStream::connect(address).is_err());
}
