//! CloudWatch Logs, as far as clients of recommendation jobs read them: `GetLogEvents` and
//! `DescribeLogStreams` on one group.
//!
//! A stream is the job's own record, told in lines ([`lines`]); nothing is kept twice. Lines are only ever
//! added at the end, so a token is the number of a line, and means the same for ever.

mod lines;

use assay_measure::ids::InstanceTypeName;
use assay_planning::trial_state::TrialState;
use assay_sagemaker::{
    error::{ApiError, ErrorCode},
    naming,
    recommendations::endpoint_name,
    shapes::logs::{
        DescribeLogStreamsRequest, DescribeLogStreamsResponse, GetLogEventsRequest,
        GetLogEventsResponse, LogStream, OutputLogEvent, StreamOrder,
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::lines::Line;
use super::{Api, jobs::Shown, paging};
use crate::{
    job_event::{JobEvent, TrialBrief},
    store::job_list::{JobLine, JobListQuery},
};

/// What CloudWatch Logs returns at most.
const MOST_EVENTS: usize = 10_000;
const MOST_STREAMS: usize = 50;
/// Entries of a record read at once.
const READ_AT_ONCE: u32 = 256;

/// `GetLogEvents`.
pub(crate) async fn get(
    api: &Api,
    request: &GetLogEventsRequest,
) -> Result<GetLogEventsResponse, ApiError> {
    require_group(request.log_group_name.as_ref().or(request.log_group_identifier.as_ref()))?;
    let (job, endpoint) =
        naming::split_stream(&request.log_stream_name).ok_or_else(no_such_stream)?;
    let job = Shown::find(api, job).await.map_err(in_the_words_of_logs)?;
    let events = record_of(api, &job).await?;
    let lines = match endpoint {
        None => lines::of_execution(&job, &events),
        Some(endpoint) => lines::of_endpoint(&job, &events, endpoint),
    };
    if endpoint.is_some() && lines.is_empty() {
        return Err(no_such_stream());
    }
    Ok(Window::of(request, &lines)?.answer(&lines))
}

/// Which lines a request asks for.
struct Window {
    /// The first line that may be returned.
    from: usize,
    /// The line after the last that may be returned.
    until: usize,
    start_time: Option<i64>,
    end_time: Option<i64>,
    limit: usize,
    from_head: bool,
}

impl Window {
    fn of(request: &GetLogEventsRequest, lines: &[Line]) -> Result<Self, ApiError> {
        let limit = request.limit.and_then(|limit| usize::try_from(limit).ok());
        let everything = Self {
            from: 0,
            until: lines.len(),
            start_time: request.start_time,
            end_time: request.end_time,
            limit: limit.unwrap_or(MOST_EVENTS).clamp(1, MOST_EVENTS),
            from_head: request.start_from_head.unwrap_or(false),
        };
        let Some(token) = &request.next_token else { return Ok(everything) };
        let place = |digits: &str| {
            let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse::<usize>().ok().filter(|_| is_number)
        };
        let (direction, digits) = token.split_once('/').unwrap_or_default();
        match (direction, place(digits)) {
            ("f", Some(from)) => {
                Ok(Self { from: from.min(lines.len()), from_head: true, ..everything })
            }
            ("b", Some(until)) => {
                Ok(Self { until: until.min(lines.len()), from_head: false, ..everything })
            }
            (_, Some(_) | None) => Err(ApiError::new(
                ErrorCode::InvalidParameterException,
                "The specified nextToken is invalid.",
            )),
        }
    }

    fn answer(&self, lines: &[Line]) -> GetLogEventsResponse {
        let is_in_time = |line: &Line| {
            let at = line.at.as_millisecond();
            self.start_time.is_none_or(|start| start <= at)
                && self.end_time.is_none_or(|end| at < end)
        };
        let wanted = (self.from..self.until).filter(|&place| is_in_time(&lines[place]));
        let places: Vec<usize> = if self.from_head {
            wanted.take(self.limit).collect()
        } else {
            let mut last: Vec<usize> = wanted.rev().take(self.limit).collect();
            last.reverse();
            last
        };
        // With nothing to return both tokens stay where the request was: they never go back.
        let idle = if self.from_head { self.from } else { self.until };
        let forward = places.last().map_or(idle, |place| place + 1);
        let backward = places.first().copied().unwrap_or(idle);
        let event = |place: usize| {
            let line = &lines[place];
            OutputLogEvent {
                timestamp: Some(line.at.as_millisecond()),
                message: Some(line.message.clone()),
                ingestion_time: Some(line.at.as_millisecond()),
            }
        };
        GetLogEventsResponse {
            events: Some(places.into_iter().map(event).collect()),
            next_forward_token: Some(format!("f/{forward:020}")),
            next_backward_token: Some(format!("b/{backward:020}")),
        }
    }
}

/// Everything that is kept of what happened to a job.
async fn record_of(api: &Api, job: &Shown) -> Result<Vec<JobEvent>, ApiError> {
    let mut record: Vec<JobEvent> = Vec::new();
    loop {
        let last = record.last().map_or(0, |event| event.sequence);
        let name = &job.summary.spec.name;
        let more = api.store.events(name, last, READ_AT_ONCE).await?;
        if more.is_empty() {
            return Ok(record);
        }
        record.extend(more);
    }
}

/// A stream's place in a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Place {
    /// Only of lists by time.
    at_ms: i64,
    name: String,
}

#[derive(Serialize)]
struct StreamQuery<'a> {
    prefix: &'a str,
    by_time: bool,
    descending: bool,
}

/// `DescribeLogStreams`.
pub(crate) async fn streams(
    api: &Api,
    request: &DescribeLogStreamsRequest,
) -> Result<DescribeLogStreamsResponse, ApiError> {
    require_group(request.log_group_name.as_ref().or(request.log_group_identifier.as_ref()))?;
    let prefix = request.log_stream_name_prefix.as_deref().unwrap_or_default();
    let by_time = request.order_by == Some(StreamOrder::LastEventTime);
    if by_time && !prefix.is_empty() {
        return Err(ApiError::new(
            ErrorCode::InvalidParameterException,
            "Cannot order by LastEventTime with a logStreamNamePrefix.",
        ));
    }
    let query = StreamQuery { prefix, by_time, descending: request.descending.unwrap_or(false) };
    let after: Option<Place> = paging::position(&query, request.next_token.as_deref())?;
    let mut found: Vec<(Place, LogStream)> = all_streams(api, prefix)
        .await?
        .into_iter()
        .map(|stream| (place(&stream, by_time), stream))
        .collect();
    found.sort_by(|(a, _), (b, _)| if query.descending { b.cmp(a) } else { a.cmp(b) });
    let is_after = |place: &Place| {
        after.as_ref().is_none_or(|last| if query.descending { place < last } else { place > last })
    };
    found.retain(|(place, _)| is_after(place));
    let limit = request.limit.and_then(|limit| usize::try_from(limit).ok());
    let page = limit.unwrap_or(MOST_STREAMS).clamp(1, MOST_STREAMS);
    let next_token = paging::cut(&mut found, page, &query, |(last, _)| last.clone());
    let log_streams = found.into_iter().map(|(_, stream)| stream).collect();
    Ok(DescribeLogStreamsResponse { log_streams: Some(log_streams), next_token })
}

fn place(stream: &LogStream, by_time: bool) -> Place {
    let at_ms = if by_time { stream.last_event_timestamp.unwrap_or_default() } else { 0 };
    Place { at_ms, name: stream.log_stream_name.clone().unwrap_or_default() }
}

async fn all_streams(api: &Api, prefix: &str) -> Result<Vec<LogStream>, ApiError> {
    let job_part = prefix.split('/').next().unwrap_or_default();
    let query = JobListQuery {
        name_contains: Some(job_part.to_owned()).filter(|part| !part.is_empty()),
        ..JobListQuery::all()
    };
    let mut streams = Vec::new();
    for line in api.store.job_list(&query).await? {
        streams.extend(streams_of(api, &line).await?);
    }
    let fits = |stream: &LogStream| {
        stream.log_stream_name.as_ref().is_some_and(|name| name.starts_with(prefix))
    };
    streams.retain(fits);
    Ok(streams)
}

async fn streams_of(api: &Api, line: &JobLine) -> Result<Vec<LogStream>, ApiError> {
    let execution = naming::execution_stream(&line.name);
    let mut streams = vec![stream(api, execution, line.created_at, line.modified_at)];
    let Ok(name) = line.name.parse() else { return Ok(streams) };
    let Some(summary) = api.store.job(&name).await? else {
        return Ok(Vec::new());
    };
    let plan = summary.planned.unwrap_or_default().plan;
    for (record, began_at) in api.store.trials(&name).await? {
        let Some(began_at) = began_at else { continue };
        let last = match &record.trial.state {
            TrialState::Ended { ended_at, .. } => *ended_at,
            TrialState::Queued
            | TrialState::Leased { .. }
            | TrialState::Running { .. }
            | TrialState::Cancelling { .. } => line.modified_at,
        };
        for candidate in plan.candidates_of(&record.id) {
            let endpoint = endpoint_name(&line.name, record.id.as_str(), candidate);
            let name = naming::endpoint_stream(&line.name, &endpoint);
            streams.push(stream(api, name, began_at, last));
        }
    }
    Ok(streams)
}

/// The endpoints that a trial measures.
fn endpoints_of(job: &str, trial: &TrialBrief) -> Vec<String> {
    match trial.serving.endpoint() {
        Some(existing) => vec![existing.to_string()],
        None => {
            let made_up =
                |of: &InstanceTypeName| naming::endpoint(job, &[trial.id.as_str(), of.as_str()]);
            trial.instance_types.iter().map(made_up).collect()
        }
    }
}

fn stream(api: &Api, name: String, first: Timestamp, last: Timestamp) -> LogStream {
    LogStream {
        arn: Some(api.account.log_stream_arn(naming::LOG_GROUP, &name)),
        log_stream_name: Some(name),
        creation_time: Some(first.as_millisecond()),
        first_event_timestamp: Some(first.as_millisecond()),
        last_event_timestamp: Some(last.as_millisecond()),
        last_ingestion_time: Some(last.as_millisecond()),
        upload_sequence_token: None,
        stored_bytes: Some(0),
    }
}

fn require_group(name: Option<&String>) -> Result<(), ApiError> {
    let is_ours = |name: &String| {
        let name = name.trim_end_matches(":*");
        name == naming::LOG_GROUP || name.ends_with(&format!(":log-group:{}", naming::LOG_GROUP))
    };
    match name {
        Some(name) if is_ours(name) => Ok(()),
        Some(_) => Err(ApiError::new(
            ErrorCode::ResourceNotFoundException,
            "The specified log group does not exist.",
        )),
        None => Err(ApiError::new(
            ErrorCode::InvalidParameterException,
            "Either logGroupName or logGroupIdentifier must be specified.",
        )),
    }
}

fn no_such_stream() -> ApiError {
    ApiError::new(ErrorCode::ResourceNotFoundException, "The specified log stream does not exist.")
}

fn in_the_words_of_logs(error: ApiError) -> ApiError {
    if error.code == ErrorCode::ResourceNotFound { no_such_stream() } else { error }
}

#[cfg(test)]
mod tests;
