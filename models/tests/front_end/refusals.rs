//! Every way to be refused, with its status and words.

use std::io::Write as _;

use assay_host::{engine::InferError, server::ENVELOPE_BYTES};

use crate::support::{Answer, Behaviour, Host, StandIn, f32_bytes, npy};

fn assert_refused(answer: &Answer, status: u16, words: &[&str]) {
    let text = answer.text();
    assert_eq!(answer.status, status, "{text}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.json()["error"].is_string());
    for word in words {
        assert!(text.contains(word), "{text} lacks {word:?}");
    }
}

#[test]
fn a_payload_of_the_wrong_shape_is_refused() {
    let host = Host::of_reference("mlp");
    let wrong = npy("<f4", "(1, 63)", &f32_bytes(&[0.0; 63]));
    assert_refused(
        &host.post("/invocations", "application/x-npy", &wrong),
        400,
        &["the model rejects the payload", "63", "64"],
    );
    assert_refused(
        &host.post("/invocations", "application/octet-stream", &[0; 255]),
        400,
        &["255 bytes", "float32[?,64]"],
    );
}

#[test]
fn a_payload_of_the_wrong_dtype_is_refused() {
    let host = Host::of_reference("mlp");
    let wrong = npy("<f8", "(1, 64)", &[0; 512]);
    assert_refused(
        &host.post("/invocations", "application/x-npy", &wrong),
        400,
        &["the model rejects the payload", "float64", "float32"],
    );
    let tokens = Host::of_reference("transformer");
    assert_refused(
        &tokens.post("/invocations", "application/json", b"[[1.5]]"),
        400,
        &["1.5 at [0][0] cannot be int64"],
    );
}

#[test]
fn a_wrong_content_type_is_answered_with_the_known_ones() {
    let host = Host::of(StandIn::new(&["float32[1]"], Behaviour::Echo));
    assert_refused(
        &host.post("/invocations", "text/html", b"1"),
        415,
        &["text/html", "application/x-npy", "image/jpeg"],
    );
    assert_refused(&host.send("POST", "/invocations", &[], b"1"), 415, &["application/json"]);
    let packed = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    assert_refused(&host.send("POST", "/invocations", &packed, b"1"), 415, &["gzip"]);
}

#[test]
fn an_answer_in_no_known_format_is_not_acceptable() {
    let host = Host::of(StandIn::new(&["float32[1]"], Behaviour::Echo));
    let headers = [("Content-Type", "application/json"), ("Accept", "text/html")];
    assert_refused(
        &host.send("POST", "/invocations", &headers, b"[1]"),
        406,
        &["text/html", "application/x-npz"],
    );
}

#[test]
fn a_payload_over_the_limit_is_refused_by_its_announced_length() {
    let host = Host::with_limit(StandIn::new(&["uint8[1]"], Behaviour::Echo), 1000);
    assert_eq!(host.post("/invocations", "application/octet-stream", &[0; 1000]).status, 200);
    let over = |path: &str, limit: usize| {
        let answer = host.post(path, "application/octet-stream", &vec![0; limit + 1]);
        let (size, limit) = (format!("{} bytes", limit + 1), format!("{limit} bytes"));
        assert_refused(&answer, 413, &[&size, &limit, "--max-payload"]);
    };
    over("/invocations", 1000);
    // What the protocol says of the tensors does not count against the payload.
    over("/v2/models/stand-in/infer", 1000 + ENVELOPE_BYTES);
    // Large enough that the sockets' buffers do not hold it: the answer still arrives.
    assert_eq!(
        host.post("/invocations", "application/octet-stream", &vec![0; 20_000_000]).status,
        413
    );
}

#[test]
fn a_payload_over_the_limit_is_refused_before_it_is_sent() {
    let host = Host::with_limit(StandIn::new(&["uint8[1]"], Behaviour::Echo), 1000);
    let mut stream = host.connect();
    let head = "POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/octet-stream\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert_refused(&Answer::read(&mut stream), 413, &["1001 bytes"]);
}

#[test]
fn a_payload_without_a_length_is_limited_while_it_arrives() {
    let host = Host::with_limit(StandIn::new(&["uint8[1]"], Behaviour::Echo), 1000);
    let send = |pieces: usize| {
        let mut stream = host.connect();
        let head = "POST /invocations HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        for _ in 0..pieces {
            stream.write_all(format!("64\r\n{}\r\n", "x".repeat(100)).as_bytes()).unwrap();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
        Answer::read(&mut stream)
    };
    assert_eq!(send(10).status, 200);
    assert_refused(&send(11), 413, &["more than the limit of 1000 bytes"]);
}

#[test]
fn garbage_is_refused_with_its_place() {
    let host = Host::of(StandIn::new(&["float32[1,2]"], Behaviour::Echo));
    assert_refused(
        &host.post("/invocations", "application/json", b"[[1, 2"),
        400,
        &["malformed at line 1"],
    );
    assert_refused(
        &host.post("/invocations", "application/json", b"[[1, NaN]]"),
        400,
        &["NaN is not JSON"],
    );
    assert_refused(
        &host.post("/invocations", "application/x-npy", b"garbage"),
        400,
        &["does not start with"],
    );
    let host = Host::of(StandIn::new(&["float32[1,3,8,8]"], Behaviour::Echo));
    assert_refused(&host.post("/invocations", "image/jpeg", b"garbage"), 400, &["in the picture"]);
}

#[test]
fn a_path_or_method_that_is_not_served_is_named() {
    let host = Host::of(StandIn::new(&["float32[1]"], Behaviour::Echo));
    assert_refused(&host.get("/nothing"), 404, &["/nothing", "POST /invocations"]);
    assert_refused(&host.get("/invocations"), 405, &["GET is not allowed at /invocations"]);
}

#[test]
fn a_model_that_raises_on_its_third_call_is_an_error_of_that_call_alone() {
    let host = Host::of_reference("faulty-raise@8");
    let mut raised = 0;
    for _ in 0..12 {
        let answer = host.post("/invocations", "application/json", b"[[1, 2, 3, 4]]");
        if answer.status != 200 {
            assert_refused(
                &answer,
                500,
                &["the model failed on this payload", "this model raises by design"],
            );
            raised += 1;
        }
    }
    assert!(raised > 0 && host.get("/ping").status == 200);
    assert_eq!(host.counted("faulty-raise@8")["errors"], raised);
}

#[test]
fn a_full_queue_and_a_stopping_engine_are_unavailable() {
    let full = Host::of(StandIn::new(
        &["float32[1]"],
        Behaviour::Fail(InferError::Overloaded { limit: 7 }),
    ));
    assert_refused(
        &full.post("/invocations", "application/json", b"[1]"),
        503,
        &["overloaded", "7 requests are waiting"],
    );
    for behaviour in [Behaviour::Fail(InferError::Stopping), Behaviour::Lose] {
        let host = Host::of(StandIn::new(&["float32[1]"], behaviour));
        assert_refused(&host.post("/invocations", "application/json", b"[1]"), 503, &["stopping"]);
    }
}
