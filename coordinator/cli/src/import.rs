//! `assay import`: jobs from another coordinator, each whole or not at all.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use assay_proto::v1;
use tokio_stream::iter;

use crate::{
    client::Client,
    config::Settings,
    failure::{ExitCode, Failure, OrFail},
    output,
};

/// In one message.
const PIECE: usize = 256 << 10;

/// Brings in one file after the other, and prints the names of their jobs.
pub(crate) async fn run(files: &[PathBuf], settings: &Settings) -> Result<ExitCode, Failure> {
    // Nothing is brought in when a later file cannot be read.
    let contents = files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let mut client = Client::connect(settings).await?;
    for (done, (path, content)) in files.iter().zip(contents).enumerate() {
        let pieces: Vec<v1::ImportJobRequest> = content
            .chunks(PIECE)
            .map(|piece| v1::ImportJobRequest { data: piece.to_vec().into() })
            .collect();
        let answer = client.jobs.import_job(iter(pieces)).await;
        let answer = answer.map_err(|status| {
            let failure = Failure::from(status).cause(format!("in {}", path.display()));
            if files.len() == 1 {
                return failure;
            }
            failure.cause(format!("{done} of {} files were imported before it", files.len()))
        })?;
        let job = answer.into_inner().job.unwrap_or_default();
        output::write(&job.name)?;
    }
    Ok(ExitCode::Done)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let cannot_read = format!("cannot read {}", path.display());
    let mut content = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut content)).or_failed(&cannot_read)?;
    if content.is_empty() {
        return Err(Failure::failed(cannot_read).cause("it is empty"));
    }
    Ok(content)
}
