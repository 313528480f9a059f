use proptest::prelude::*;

use super::*;

fn whole(bytes: &[u8]) -> Result<(usize, Option<Response>), Violation> {
    ResponseReader::default().read(bytes)
}

fn ok(status: u16, reusable: bool) -> Response {
    Response { status, reusable, excerpt: Vec::new() }
}

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;name=x\r\nhello\r\n1\r\n \r\n0\r\nTrailer: 1\r\n\r\n";
const SIZED: &[u8] = b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\nConnection: close\r\n\r\nboom";
const INTERIM: &[u8] =
    b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";

#[test]
fn responses_end_where_their_framing_says() {
    assert_eq!(whole(CHUNKED).unwrap(), (CHUNKED.len(), Some(ok(200, true))));
    assert_eq!(whole(INTERIM).unwrap(), (INTERIM.len(), Some(ok(204, true))));
    let expected = Response { status: 500, reusable: false, excerpt: b"boom".to_vec() };
    assert_eq!(whole(SIZED).unwrap(), (SIZED.len(), Some(expected)));
    let two = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1";
    assert_eq!(whole(two).unwrap(), (two.len() - 8, Some(ok(200, true))));
}

#[test]
fn a_response_without_a_length_ends_with_the_connection() {
    let mut reader = ResponseReader::default();
    assert_eq!(reader.read(b"HTTP/1.0 200 OK\r\n\r\nabc").unwrap().1, None);
    assert_eq!(reader.close().unwrap(), Some(ok(200, false)));
    assert_eq!(ResponseReader::default().close(), Ok(None));
    for cut in [&CHUNKED[..20], &CHUNKED[..70], &SIZED[..SIZED.len() - 1]] {
        let mut reader = ResponseReader::default();
        assert_eq!(reader.read(cut).unwrap().1, None);
        assert_eq!(reader.close(), Err(Violation::Truncated));
    }
}

#[test]
fn old_versions_keep_the_connection_only_when_they_say_so() {
    let old = whole(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert_eq!(old.1, Some(ok(200, false)));
    let kept =
        whole(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n").unwrap();
    assert_eq!(kept.1, Some(ok(200, true)));
}

#[test]
fn broken_responses_are_violations() {
    let head = |headers: &str| {
        whole(format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n").as_bytes()).unwrap_err()
    };
    assert!(matches!(whole(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap_err(), Violation::Head(_)));
    assert_eq!(head("Content-Length: -1"), Violation::ContentLength);
    assert_eq!(head("Content-Length: 99999999999999999999"), Violation::ContentLength);
    assert_eq!(head("Content-Length: 1\r\nContent-Length: 2"), Violation::ContentLength);
    assert_eq!(head("Content-Length: 9999999999999"), Violation::BodyTooLong);
    let chunked = |body: &str| {
        let text = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        whole(text.as_bytes()).unwrap_err()
    };
    for body in ["x\r\n", "\r\n", "5\r\nhelloX", "ffffffffffffffff\r\n", "5\rx", "0\r\n\rx"] {
        assert_eq!(chunked(body), Violation::Chunk, "{body:?}");
    }
    assert_eq!(whole(b"HTTP/1.1 101 Switching\r\n\r\n").unwrap_err(), Violation::Switch);
}

#[test]
fn endless_heads_and_bodies_hit_a_limit() {
    let mut reader = ResponseReader::default();
    reader.read(b"HTTP/1.1 200 OK\r\nX: ").unwrap();
    let filler = [b'x'; 1000];
    let end = (0..1000).find_map(|_| reader.read(&filler).err());
    assert_eq!(end, Some(Violation::HeadTooLong));

    let mut reader = ResponseReader::default();
    reader.read(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let block = vec![0; 1 << 24];
    let end = (0..1000).find_map(|_| reader.read(&block).err());
    assert_eq!(end, Some(Violation::BodyTooLong));

    let mut reader = ResponseReader::default();
    reader.read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;").unwrap();
    let end = (0..1000).find_map(|_| reader.read(&filler).err());
    assert_eq!(end, Some(Violation::Chunk));

    let many = "X: y\r\n".repeat(HEADER_LIMIT + 1);
    assert!(matches!(
        whole(format!("HTTP/1.1 200 OK\r\n{many}\r\n").as_bytes()),
        Err(Violation::Head(_))
    ));
}

#[test]
fn only_the_first_bytes_of_an_error_are_kept() {
    let mut bytes = b"HTTP/1.1 503 Busy\r\nContent-Length: 5000\r\n\r\n".to_vec();
    bytes.resize(bytes.len() + 5000, b'e');
    assert_eq!(whole(&bytes).unwrap().1.unwrap().excerpt.len(), EXCERPT_LIMIT);
}

proptest! {
    #[test]
    fn a_response_reads_the_same_however_it_is_cut(
        which in 0usize..3,
        cuts in proptest::collection::vec(1usize..9, 1..200),
    ) {
        let bytes = [CHUNKED, SIZED, INTERIM][which];
        let expected = whole(bytes).unwrap().1;
        let mut reader = ResponseReader::default();
        let (mut at, mut turn, mut found) = (0, 0, None);
        while at < bytes.len() {
            let end = (at + cuts[turn % cuts.len()]).min(bytes.len());
            turn += 1;
            let (used, response) = reader.read(&bytes[at..end]).unwrap();
            prop_assert_eq!(used, end - at);
            prop_assert!(found.is_none() || response.is_none());
            found = found.or(response);
            at = end;
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..20)) {
        let mut reader = ResponseReader::default();
        let _ = reader.read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in pieces {
            if reader.read(&piece).is_err() {
                break;
            }
        }
        let _ = reader.close();
    }
}
