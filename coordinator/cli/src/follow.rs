//! Following a job's events to its end. A broken stream is taken up again where it broke.

use std::{fs, sync::LazyLock, time::Duration};

use assay_measure::job::JobStatus;
use assay_proto::v1::{self, job_event::Event};
use tokio::time::sleep;
use tokio_stream::StreamExt;

use crate::{client::Client, failure::Failure, progress::ProgressView, wire};

const RETRIES: u32 = 5;
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// A job that was asked to stop ends within this, or is left behind.
const STOPS_WITHIN: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The job came to its end.
    ByItself,
    /// Ctrl-C; the job was stopped.
    Interrupted,
}

/// Follows a job to its end. Ctrl-C stops the job and follows on; a second Ctrl-C gives up at once.
pub(crate) async fn until_end(
    client: &mut Client,
    name: &str,
    view: &mut ProgressView,
) -> Result<Ended, Failure> {
    let mut stopper = client.clone();
    let mut following = std::pin::pin!(events(client, name, view));
    tokio::select! {
        result = &mut following => return result.map(|()| Ended::ByItself),
        signal = interrupted() => signal?,
    }
    let request = v1::StopJobRequest { name: name.to_owned(), by: "Ctrl-C".to_owned() };
    // The job may have ended in this very moment; then there is nothing to stop.
    if let Err(status) = stopper.jobs.stop_job(request).await
        && status.code() != tonic::Code::FailedPrecondition
    {
        return Err(status.into());
    }
    tokio::select! {
        result = tokio::time::timeout(STOPS_WITHIN, &mut following) => match result {
            Ok(result) => result.map(|()| Ended::Interrupted),
            Err(_) => Ok(Ended::Interrupted),
        },
        signal = interrupted() => signal.map(|()| Ended::Interrupted),
    }
}

/// Waits for Ctrl-C, SIGTERM, or the end of the terminal (SIGHUP), unless that was to be ignored (`nohup`).
pub(crate) async fn interrupted() -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let deaf = |error: std::io::Error| Failure::failed("cannot listen for signals").because(&error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(deaf)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(deaf)?;
    let mut hangup = if hangups_are_ignored() {
        None
    } else {
        Some(signal(SignalKind::hangup()).map_err(deaf)?)
    };
    let hung_up = async {
        match &mut hangup {
            Some(hangup) => hangup.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hung_up => {}
    }
    Ok(())
}

/// Whether whoever started this process wants it to outlive the terminal. Asked once: to listen for a signal
/// is to ignore it no more.
fn hangups_are_ignored() -> bool {
    static IGNORED: LazyLock<bool> = LazyLock::new(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        ignores_hangups(&status)
    });
    *IGNORED
}

/// From `/proc/PID/status`: signals that are ignored, one bit each, the first is SIGHUP.
fn ignores_hangups(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

/// Shows events until the job is final.
pub(crate) async fn events(
    client: &mut Client,
    name: &str,
    view: &mut ProgressView,
) -> Result<(), Failure> {
    let mut seen = 0;
    let mut retries = 0;
    loop {
        let request = v1::WatchJobRequest { name: name.to_owned(), after_sequence: seen };
        let broken = match client.jobs.watch_job(request).await {
            Ok(answer) => {
                let mut stream = answer.into_inner();
                loop {
                    match stream.next().await {
                        None => return Ok(()),
                        Some(Err(status)) => break status,
                        Some(Ok(event)) => {
                            retries = 0;
                            seen = seen.max(event.sequence);
                            let last = is_last(&event);
                            view.event(event);
                            if last {
                                return Ok(());
                            }
                        }
                    }
                }
            }
            Err(status) => status,
        };
        if retries == RETRIES || !may_pass(broken.code()) {
            return Err(broken.into());
        }
        retries += 1;
        sleep(RETRY_AFTER * retries).await;
    }
}

/// A connection that broke shows as `Unavailable` or, from the HTTP/2 layer, as `Unknown`.
const fn may_pass(code: tonic::Code) -> bool {
    matches!(code, tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled)
}

fn is_last(event: &v1::JobEvent) -> bool {
    match &event.event {
        Some(Event::StatusChanged(changed)) => {
            wire::status(changed.status).is_some_and(JobStatus::is_final)
        }
        Some(
            Event::TrialStarted(_)
            | Event::TrialProgressed(_)
            | Event::StepFinished(_)
            | Event::TrialEnded(_)
            | Event::TrialReturned(_),
        )
        | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_that_is_ignored_is_found() {
        let status =
            |mask: &str| format!("Name:\tassay\nSigIgn:\t{mask}\nSigCgt:\t0000000000000001\n");
        assert!(ignores_hangups(&status("0000000000001001")));
        assert!(!ignores_hangups(&status("0000000000001000")));
        assert!(!ignores_hangups("Name:\tassay\n"));
    }
}
