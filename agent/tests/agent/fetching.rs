//! Artifacts over connections that break.

use std::time::Duration;

use assay_agent::link::coordinator::{Coordinates, Coordinator};
use assay_measure::ids::Sha256;
use futures_util::TryStreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use crate::support::TestCoordinator;

fn coordinator(url: &str) -> Coordinator {
    let coordinates = Coordinates { url: url.to_owned(), ca_certificate: None, token: None };
    Coordinator::new(&coordinates).unwrap()
}

async fn fetched(coordinator: &Coordinator, sha256: &Sha256) -> Result<Vec<u8>, String> {
    let take = async |mut content: Vec<u8>, data: bytes::Bytes| {
        content.extend_from_slice(&data);
        Ok(content)
    };
    coordinator.fetch(sha256).try_fold(Vec::new(), take).await
}

/// Stands before `upstream`; the connection of each turn is cut after so many bytes of answers, the
/// ones after the last turn are not.
async fn cutting_proxy(upstream: &str, turns: Vec<u64>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let upstream = upstream.trim_start_matches("http://").to_owned();
    // Ends with the test's runtime.
    tokio::spawn(async move {
        let mut turns = turns.into_iter();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect(&upstream).await.unwrap();
            let limit = turns.next().unwrap_or(u64::MAX);
            let (mut asks, mut answers) = client.split();
            let (answered, mut asked) = server.split();
            let mut answered = answered.take(limit);
            tokio::select! {
                _ = copy(&mut asks, &mut asked) => {}
                _ = copy(&mut answered, &mut answers) => {}
            }
            let _ = client.shutdown().await;
        }
    });
    url
}

#[tokio::test]
async fn a_broken_connection_is_dialled_again_and_the_artifact_goes_on_where_it_broke() {
    let test = TestCoordinator::start().await;
    let content: Vec<u8> = (0..100_000u32).map(|index| (index % 251) as u8).collect();
    let artifact = test.add_artifact("m.pt", &content);
    // The second connection breaks before it answers, as when a coordinator is on its way down.
    let url = cutting_proxy(&test.url, vec![60_000, 0, 60_000]).await;

    assert_eq!(fetched(&coordinator(&url), &artifact.sha256).await.unwrap(), content);
    let offsets: Vec<u64> = test.state().fetches.iter().map(|asked| asked.offset_bytes).collect();
    assert_eq!(offsets[0], 0);
    assert!(offsets.is_sorted() && offsets.last() > Some(&0), "{offsets:?}");
}

#[tokio::test]
async fn what_the_coordinator_does_not_have_is_asked_for_once() {
    let test = TestCoordinator::start().await;
    let missing = Sha256::new("0".repeat(64)).unwrap();
    let error = fetched(&coordinator(&test.url), &missing).await.unwrap_err();
    assert_eq!(error, "the coordinator does not have it");
    assert_eq!(test.state().fetches.len(), 1);
}

#[tokio::test]
async fn a_coordinator_that_stays_away_is_given_up_when_patience_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (start, patience) = (Instant::now(), Duration::from_millis(1200));
    let missing = Sha256::new("0".repeat(64)).unwrap();
    let error = coordinator(&url).fetch_within(&missing, patience).try_next().await.unwrap_err();
    assert!(error.contains("s in vain"), "{error}");
    // Tried again until then: the first pauses are shorter than a second.
    assert!(start.elapsed() >= patience, "{:?}", start.elapsed());
}
