//! What happens to a job, as server-sent events: only that something happened, and its number. What became of it the
//! page asks for itself.

use std::{convert::Infallible, time::Duration};

use assay_measure::ids::{BadId, JobName};
use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream;
use serde::Deserialize;

use super::{
    Web,
    asked::{Path, Query},
    refusal::Refusal,
};
use crate::{dispatch::Refused, grpc::watch::Watch};

const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
pub(super) struct After {
    #[serde(default)]
    after: u64,
}

/// Ends when the job has ended, or the coordinator stops.
pub(super) async fn stream(
    State(web): State<Web>,
    Path(name): Path<String>,
    Query(After { after }): Query<After>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let name: JobName =
        name.parse().map_err(|error: BadId| Refusal::bad_request(error.to_string(), ""))?;
    if web.shared.store.job(&name).await?.is_none() {
        return Err(Refused::NoSuchJob(name).into());
    }
    // A browser that comes back says what it has seen.
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let watch = Watch::new(web.shared.clone(), name, seen.unwrap_or(after))?;
    let events = stream::unfold(Some(watch), async |watch| {
        let mut watch = watch?;
        loop {
            match watch.next().await {
                // How far a trial is changes nothing on the page.
                Ok(Some(event)) if event.sequence == 0 => {}
                Ok(Some(event)) => {
                    let id = event.sequence.to_string();
                    let change = Event::default().event("change").id(&id).data(&id);
                    return Some((Ok::<_, Infallible>(change), Some(watch)));
                }
                Ok(None) => return Some((Ok(Event::default().event("end").data("ended")), None)),
                Err(_) => return None,
            }
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response())
}
