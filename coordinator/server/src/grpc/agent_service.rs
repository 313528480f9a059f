//! `AgentService`: agents' streams, and the files they fetch.

use std::{io::SeekFrom, pin::Pin, time::Duration};

use assay_measure::ids::Sha256;
use assay_proto::{
    refusal,
    v1::{self, agent_service_server::AgentService},
};
use futures_util::{Stream, StreamExt, stream};
use tokio::{io::AsyncSeekExt, time::timeout};
use tokio_util::io::ReaderStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{Shared, agent_wire, status::id};
use crate::{
    artifacts::ArtifactError,
    dispatch::{AgentSession, Stopping},
};

const REGISTER_WITHIN: Duration = Duration::from_secs(10);
const CHUNK_BYTES: usize = 256 * 1024;

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AgentService for Shared {
    type AttachStream = Messages<v1::CoordinatorMessage>;
    type FetchArtifactStream = Messages<v1::ArtifactChunk>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let mut reports = request.into_inner();
        let first = timeout(REGISTER_WITHIN, reports.message()).await.map_err(|_| {
            refusal(Code::FailedPrecondition, "the agent did not register in time")
        })??;
        let session = self.dispatch.attach(agent_wire::registration(first)?).await??;
        let conversation = stream::unfold(Some((session, reports)), async |open| {
            let (mut session, mut reports) = open?;
            match next_command(&mut session, &mut reports).await {
                Turn::Say(command) => Some((Ok(*command), Some((session, reports)))),
                Turn::HangUp(status) => Some((Err(status), None)),
                Turn::AgentHungUp => None,
            }
        });
        Ok(Response::new(Box::pin(conversation)))
    }

    async fn fetch_artifact(
        &self,
        request: Request<v1::FetchArtifactRequest>,
    ) -> Result<Response<Self::FetchArtifactStream>, Status> {
        let v1::FetchArtifactRequest { sha256, offset_bytes } = request.into_inner();
        let sha256: Sha256 = id(&sha256)?;
        let file = self.artifacts.read(&sha256).await.map_err(ArtifactError::from)?;
        let mut file = file
            .ok_or_else(|| refusal(Code::NotFound, format!("there is no file sha256:{sha256}")))?;
        let size = file.metadata().await.map_err(ArtifactError::from)?.len();
        if offset_bytes > size {
            let message = format!("offset_bytes is {offset_bytes}, the file has {size} bytes");
            return Err(refusal(Code::OutOfRange, message));
        }
        file.seek(SeekFrom::Start(offset_bytes)).await.map_err(ArtifactError::from)?;
        let chunks = ReaderStream::with_capacity(file, CHUNK_BYTES).map(|chunk| match chunk {
            Ok(data) => Ok(v1::ArtifactChunk { data }),
            Err(error) => Err(ArtifactError::from(error).into()),
        });
        Ok(Response::new(Box::pin(chunks)))
    }
}

enum Turn {
    Say(Box<v1::CoordinatorMessage>),
    HangUp(Status),
    AgentHungUp,
}

/// Takes in reports until there is something to say. Both waits may be given up and begun again
/// without losing a message.
async fn next_command(
    session: &mut AgentSession,
    reports: &mut Streaming<v1::AgentMessage>,
) -> Turn {
    loop {
        tokio::select! {
            command = session.next_command() => {
                return match command {
                    Some(command) => Turn::Say(Box::new(agent_wire::command(command))),
                    None => Turn::HangUp(refusal(Code::Unavailable, "the coordinator ended the connection")),
                };
            }
            message = reports.message() => match message {
                Ok(Some(message)) => match agent_wire::report(message) {
                    Ok(Some(report)) => {
                        if let Err(stopping @ Stopping) = session.report(report).await {
                            return Turn::HangUp(stopping.into());
                        }
                    }
                    Ok(None) => {}
                    Err(status) => return Turn::HangUp(status),
                },
                Ok(None) => return Turn::AgentHungUp,
                Err(error) => {
                    tracing::debug!(%error, "an agent's connection broke");
                    // An agent that is still there learns why: what is refused for good, such as a
                    // message that is too large, is not to be sent again.
                    return Turn::HangUp(refusal(error.code(), error.message()));
                }
            },
        }
    }
}
