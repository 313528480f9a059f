//! Files on this machine: found, hashed, and uploaded to the coordinator in pieces.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use assay_measure::{ids::Sha256, units::Bytes};
use assay_proto::v1;
use sha2::Digest;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    client::Client,
    failure::{Failure, OrFail},
};

/// Bytes per message of an upload.
const PIECE: usize = 1 << 20;

/// A file and its checksum.
#[derive(Clone, Debug)]
pub(crate) struct LocalFile {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) sha256: Sha256,
    pub(crate) size: Bytes,
}

/// Reads a file through once. Refuses what is missing, no plain file, or empty.
pub(crate) fn hash(path: &Path) -> Result<LocalFile, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::failed(format!("cannot read {}", path.display())).because(&error)
    };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(Failure::usage(format!("{} is a directory, not a file", path.display())));
    }
    if !metadata.is_file() {
        return Err(Failure::usage(format!("{} is not a file", path.display())));
    }
    let mut file = File::open(path).map_err(unreadable)?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; PIECE];
    let mut size = 0u64;
    loop {
        let read = file.read(&mut buffer).map_err(unreadable)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
    if size == 0 {
        return Err(Failure::usage(format!("{} is empty", path.display())));
    }
    let sha256 = Sha256::new(hex::encode(hasher.finalize())).expect("a hexadecimal SHA-256");
    let name = path
        .file_name()
        .map_or_else(|| "file".to_owned(), |name| name.to_string_lossy().into_owned());
    Ok(LocalFile { path: path.to_owned(), name, sha256, size: Bytes::new(size) })
}

/// Sends a file to the coordinator under its checksum.
pub(crate) async fn upload(client: &mut Client, file: &LocalFile) -> Result<(), Failure> {
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let reading = tokio::task::spawn_blocking({
        let file = file.clone();
        move || send_pieces(&file, &sender)
    });
    let answer = client.jobs.upload_artifact(ReceiverStream::new(receiver)).await;
    let read = reading.await.or_failed("reading a file failed")?;
    read.or_failed(format_args!("cannot read {}", file.path.display()))?;
    answer.map(|_| ()).map_err(Failure::from)
}

/// Feeds the upload; ends early, without an error, when the server has heard enough.
fn send_pieces(
    file: &LocalFile,
    sender: &tokio::sync::mpsc::Sender<v1::UploadArtifactRequest>,
) -> std::io::Result<()> {
    use v1::upload_artifact_request::Part;
    let send = |part| sender.blocking_send(v1::UploadArtifactRequest { part: Some(part) }).is_ok();
    let header = v1::ArtifactRef::from(file.reference());
    let mut source = File::open(&file.path)?;
    let mut wanted = send(Part::Header(header));
    while wanted {
        let mut piece = vec![0; PIECE];
        let read = source.read(&mut piece)?;
        if read == 0 {
            break;
        }
        piece.truncate(read);
        wanted = send(Part::Data(piece.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_empty_and_odd_files_are_refused_and_a_good_one_is_hashed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.pt");
        assert!(hash(&path).unwrap_err().to_string().contains("cannot read"));
        std::fs::write(&path, b"").unwrap();
        assert!(hash(&path).unwrap_err().to_string().contains("is empty"));
        assert!(hash(dir.path()).unwrap_err().to_string().contains("is a directory, not a file"));
        std::fs::write(&path, b"abc").unwrap();
        let file = hash(&path).unwrap();
        assert_eq!(
            file.sha256.as_str(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!((file.name.as_str(), file.size), ("model.pt", Bytes::new(3)));
    }
}
