use std::cell::Cell;

use assay_measure::ids::Sha256;
use futures_util::stream;

use super::*;

fn artifact(name: &str, content: &[u8]) -> ArtifactRef {
    ArtifactRef {
        name: name.to_owned(),
        sha256: Sha256::new(hex::encode(sha2::Sha256::digest(content))).unwrap(),
        size_bytes: Bytes::new(content.len() as u64),
    }
}

type Chunks = stream::Iter<std::vec::IntoIter<Result<Chunk, String>>>;

fn chunks(content: &[u8]) -> Chunks {
    let parts: Vec<_> = content.chunks(3).map(|part| Ok(Chunk::copy_from_slice(part))).collect();
    stream::iter(parts)
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[tokio::test]
async fn an_artifact_is_fetched_once_and_found_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let cache = ArtifactCache::open(folder.path().join("cache"), Bytes::mib(1)).unwrap();
    let wanted = artifact("models/resnet18.pt", b"weights");
    let asked = Cell::new(0);
    for _ in 0..2 {
        let found = cache
            .get(&wanted, || {
                asked.set(asked.get() + 1);
                chunks(b"weights")
            })
            .await
            .unwrap();
        assert_eq!(fs::read(&found.path).unwrap(), b"weights");
        assert!(found.path.to_string_lossy().ends_with(".resnet18.pt"));
    }
    assert_eq!(asked.get(), 1);
}

#[tokio::test]
async fn what_is_not_what_was_announced_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cache = ArtifactCache::open(folder.path().to_owned(), Bytes::mib(1)).unwrap();
    let wanted = artifact("m.pt", b"weights");
    for wrong in [&b"weighty"[..], b"weigh", b"weights and more", b""] {
        let error = cache.get(&wanted, || chunks(wrong)).await.unwrap_err();
        assert!(matches!(error, CacheError::Damaged { .. }), "{error}");
        assert_eq!(files(folder.path()), 0, "{wrong:?}");
    }
}

#[tokio::test]
async fn a_fetch_that_breaks_off_leaves_nothing_that_looks_whole() {
    let folder = tempfile::tempdir().unwrap();
    let cache = ArtifactCache::open(folder.path().to_owned(), Bytes::mib(1)).unwrap();
    let wanted = artifact("m.pt", b"weights");
    let broken = vec![Ok(Chunk::from_static(b"weights")), Err("connection lost".to_owned())];
    let error = cache.get(&wanted, || stream::iter(broken)).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot fetch m.pt: connection lost");
    assert_eq!(files(folder.path()), 0);
    let refused = cache.get(&wanted, || stream::iter([Err("not found".to_owned())])).await;
    assert_eq!(refused.unwrap_err().to_string(), "cannot fetch m.pt: not found");
}

#[tokio::test]
async fn a_damaged_file_in_the_cache_is_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = artifact("m.pt", b"weights");
    let cache = ArtifactCache::open(folder.path().to_owned(), Bytes::mib(1)).unwrap();
    let path = cache.get(&wanted, || chunks(b"weights")).await.unwrap().path.clone();
    for damage in [&b"weighTs"[..], b"wei"] {
        fs::write(&path, damage).unwrap();
        let found = cache.get(&wanted, || chunks(b"weights")).await.unwrap();
        assert_eq!(fs::read(&found.path).unwrap(), b"weights");
    }
    // The same by an agent that starts anew and has checked nothing yet.
    fs::write(&path, b"weighTs").unwrap();
    let cache = ArtifactCache::open(folder.path().to_owned(), Bytes::mib(1)).unwrap();
    let found = cache.get(&wanted, || chunks(b"weights")).await.unwrap();
    assert_eq!(fs::read(&found.path).unwrap(), b"weights");
}

#[tokio::test]
async fn the_least_recently_used_make_room_and_those_in_use_stay() {
    let folder = tempfile::tempdir().unwrap();
    let cache = ArtifactCache::open(folder.path().to_owned(), Bytes::new(20)).unwrap();
    let get = async |name: &str, content: &'static [u8]| {
        cache.get(&artifact(name, content), || chunks(content)).await.unwrap()
    };
    let first = get("a", b"aaaaaaaa").await;
    let second = get("b", b"bbbbbbbb").await.path.clone();
    let third = get("c", b"cccccccc").await.path.clone();
    assert!(first.path.exists(), "a file in use was removed");
    assert!(!second.exists() && third.exists());
    let huge = artifact("huge", &[0; 21]);
    let error = cache.get(&huge, || chunks(b"")).await.unwrap_err();
    assert!(matches!(error, CacheError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn two_that_fetch_the_same_file_both_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let caches =
        [(); 2].map(|()| ArtifactCache::open(folder.path().to_owned(), Bytes::mib(1)).unwrap());
    let wanted = artifact("m.pt", b"weights");
    let both = caches.each_ref().map(|cache| cache.get(&wanted, || chunks(b"weights")));
    for found in futures_util::future::join_all(both).await {
        assert_eq!(fs::read(&found.unwrap().path).unwrap(), b"weights");
    }
    assert_eq!(files(folder.path()), 1);
}

#[test]
fn what_a_killed_agent_left_half_written_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".partial-x1y2"), b"wei").unwrap();
    let other = Download::begin(folder.path(), &folder.path().join("m"), 7).unwrap();
    ArtifactCache::open(folder.path().to_owned(), Bytes::mib(1)).unwrap();
    assert_eq!(files(folder.path()), 1, "only the file that somebody writes stays");
    drop(other);
}

#[test]
fn hostile_names_stay_inside_the_folder() {
    for name in ["../../etc/passwd", "a/b/../c", "", "..", "x\0y", &"é".repeat(300)] {
        let file = file_name(&artifact(name, b"x"));
        assert!(!file.contains('/') && !file.contains('\0') && file.len() < 200, "{file}");
    }
}
