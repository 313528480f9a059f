//! Why a trial ends without figures: what was seen, told as one reason.

use std::{error::Error, fs, time::Duration};

use assay_measure::{
    outcome::{Failure, FailureKind},
    search::{Outlook, SearchFailure},
    stepped_load::NoLevelHeld,
    stray_file,
    trial::TrialSubject,
    units::Bytes,
    validity::Validity,
};

use super::{
    Trial,
    measuring::Measuring,
    problem::{Problem, error_chain},
};
use crate::{
    hardware::proc_files,
    load::figures::{ErrorKind, FirstFailure},
    model_host::{
        Exit, ModelHost, NotReady,
        client::{Answer, CallError},
    },
    sandbox::Sandbox,
};

/// A reason to end the trial.
#[derive(Debug)]
pub(super) struct Stop(Failure);

impl Stop {
    pub(super) fn new(kind: FailureKind, message: String, detail: String) -> Self {
        Self(Failure::new(kind, message, detail))
    }

    /// The configured model cannot be loaded, or raises: the measured host would do the same.
    pub(super) fn of_comparison(kind: FailureKind, message: String) -> Self {
        Self::new(or_of_memory(kind, &message), message, String::new())
    }

    /// The time does not hold the fewest requests that a search needs.
    pub(super) fn without_time(outlook: &Outlook) -> Self {
        Self::new(FailureKind::OutOfTime, outlook.to_string(), String::new())
    }

    /// The endpoint cannot be loaded.
    pub(super) fn of_endpoint(message: String) -> Self {
        Self::new(FailureKind::EndpointUnavailable, message, String::new())
    }

    /// The same with what the machine was seen doing meanwhile, and how long it took.
    pub(super) fn judged(mut self, validity: Validity, took: Duration) -> Self {
        self.0.validity = Some(validity);
        self.0.took = took;
        self
    }

    pub(super) fn into_failure(self) -> Failure {
        self.0
    }
}

/// A failure told by an error and its causes.
pub(super) fn failed(kind: FailureKind, error: &dyn Error) -> Stop {
    Stop::new(kind, error_chain(error), String::new())
}

/// Processes that the kernel has killed on this machine for want of memory.
pub(super) fn machine_oom_kills() -> u64 {
    let vmstat = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    proc_files::memory_events(&vmstat).oom_kills.unwrap_or(0)
}

/// `kind`, unless libtorch says that the memory of a device, or its own allocator, is at its end.
fn or_of_memory(kind: FailureKind, message: &str) -> FailureKind {
    let message = message.to_ascii_lowercase();
    let tells = message.contains("out of memory") || message.contains("can't allocate memory");
    if tells { FailureKind::OutOfMemory } else { kind }
}

impl Trial {
    /// With what host and model printed last.
    fn stop(&self, kind: FailureKind, message: String) -> Stop {
        let last_words = self.host.as_ref().map(ModelHost::last_words);
        Stop::new(kind, message, last_words.unwrap_or_default())
    }

    fn memory_limit(&self) -> Bytes {
        self.spec.emulated().map_or(self.runner.machine.memory, |shape| shape.memory_bytes)
    }

    /// The host ended by itself.
    pub(super) async fn host_died(&mut self, exit: Exit) -> Stop {
        if let Some(host) = &mut self.host {
            host.finish_reading().await;
        }
        let kills = self.sandbox.as_ref().map_or(0, Sandbox::oom_kills);
        let killed = exit.signal() == Some(libc::SIGKILL);
        if kills > 0 || (killed && machine_oom_kills() > self.oom_kills_before) {
            let message =
                format!("the model host needs more than {} and was killed", self.memory_limit());
            return self.stop(FailureKind::OutOfMemory, message);
        }
        let during = match self.measuring.as_ref().and_then(Measuring::current_step) {
            Some(step) => format!(" during {step}"),
            None => String::new(),
        };
        let message = format!("the model host {}{during}", exit.in_words());
        self.stop(FailureKind::HostCrashed, message)
    }

    /// The agent's own watch found the host over its limit.
    pub(super) async fn over_memory(&mut self, used: Bytes) -> Stop {
        if let Some(host) = &mut self.host {
            host.kill().await;
        }
        let message =
            format!("the model host used {used}, the instance type has {}", self.memory_limit());
        self.stop(FailureKind::OutOfMemory, message)
    }

    /// The host did not come to serve.
    pub(super) async fn not_ready(&mut self, problem: NotReady) -> Stop {
        match problem {
            NotReady::Exited(exit) if exit.signal().is_some() => self.host_died(exit).await,
            NotReady::Exited(exit) => {
                if let Some(host) = &mut self.host {
                    host.finish_reading().await;
                }
                let said = self.host.as_ref().and_then(ModelHost::failure);
                let kind = match (exit.code(), &said) {
                    // It looked at the model and told what it does not like.
                    (Some(1), Some(_)) => FailureKind::ModelRejected,
                    _ => FailureKind::HostStartFailed,
                };
                let message = said.map_or_else(|| problem.to_string(), |said| said.message);
                self.stop(or_of_memory(kind, &message), message)
            }
            NotReady::TooSlow { .. } | NotReady::NoServer => {
                if let Some(host) = &mut self.host {
                    host.kill().await;
                }
                self.stop(FailureKind::HostNotReady, problem.to_string())
            }
        }
    }

    /// `body 2 of the payload (b.npy)`; a payload of one file has no more to say than `body 1 of the payload`.
    fn body_in_words(&self, number: usize) -> String {
        let name = self.body_names.get(number).filter(|_| self.spec.payload.is_archive);
        let name = name.map(|name| format!(" ({})", stray_file::printable(name)));
        format!("body {} of the payload{}", number + 1, name.unwrap_or_default())
    }

    /// What the answer to a checking request means.
    pub(super) async fn judge_check(
        &mut self,
        number: usize,
        answer: Result<Answer, CallError>,
    ) -> Result<(), Stop> {
        let body = self.body_in_words(number);
        match answer {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
            Ok(answer) if (400..500).contains(&answer.status) => {
                let message = format!("the model does not take {body}: {}", answer.message());
                Err(self.stop(FailureKind::PayloadRejected, message))
            }
            Ok(answer) => {
                let said = answer.message();
                let kind = or_of_memory(FailureKind::ModelRaised, &said);
                Err(self.stop(kind, format!("the model failed on {body}: {said}")))
            }
            Err(CallError::TimedOut(within)) => {
                let message = format!("no answer to {body} within {:.1} s", within.as_secs_f64());
                Err(self.stop(FailureKind::ModelHangs, message))
            }
            Err(error @ CallError::Broken(_)) => {
                Err(self.connection_broke(&format!("on {body}: {error}")).await)
            }
        }
    }

    /// A connection broke: most likely the host just died, and its exit is about to be seen.
    async fn connection_broke(&mut self, what: &str) -> Stop {
        if let TrialSubject::Endpoint { endpoint } = &self.spec.subject {
            return Stop::of_endpoint(format!("endpoint {endpoint} hung up {what}"));
        }
        if let Some(host) = &mut self.host
            && let Ok(exit) = tokio::time::timeout(Duration::from_secs(1), host.exited()).await
        {
            return self.host_died(exit).await;
        }
        self.stop(FailureKind::HostCrashed, format!("the model host hung up {what}"))
    }

    /// Why measuring came to no figures.
    pub(super) async fn explain(&mut self, problem: Problem) -> Stop {
        match problem {
            Problem::BodyRefused { number, failure } => self.body_refused(number, &failure).await,
            Problem::Failing { step, failure } => self.failing_calls(&step, &failure).await,
            Problem::Hangs { step, silent_for } => {
                let message =
                    format!("no answer for {:.1} s during {step}", silent_for.as_secs_f64());
                self.stop(FailureKind::ModelHangs, message)
            }
            Problem::TargetLost { reason } => {
                self.connection_broke(&format!("under load: {reason}")).await
            }
            Problem::Generator(message) => {
                Stop::new(FailureKind::Generator, message, String::new())
            }
            Problem::NoLevelHeld { why, first_failure } => match (&why, first_failure) {
                (NoLevelHeld::TooManyErrors { .. }, Some(first)) => {
                    self.failing_calls(&why.to_string(), &first).await
                }
                (NoLevelHeld::TooManyErrors { .. }, None) => {
                    self.stop(FailureKind::ModelRaised, why.to_string())
                }
                (NoLevelHeld::TooSlow { .. }, _) => {
                    self.stop(FailureKind::TooSlow, why.to_string())
                }
                (NoLevelHeld::NoAnswer, _) => self.stop(FailureKind::ModelHangs, why.to_string()),
            },
            Problem::Search { failure, first_failure } => {
                self.no_capacity(&failure, first_failure.as_deref()).await
            }
        }
    }

    /// An endpoint did not answer a checking request.
    async fn body_refused(&mut self, number: usize, failure: &FirstFailure) -> Stop {
        let body = self.body_in_words(number);
        let said = response_message(failure);
        let (kind, message) = match failure.kind {
            ErrorKind::Status
                if failure.status.is_some_and(|status| (400..500).contains(&status)) =>
            {
                (FailureKind::PayloadRejected, format!("the endpoint does not take {body}: {said}"))
            }
            ErrorKind::Status => {
                (FailureKind::ModelRaised, format!("the endpoint failed on {body}: {said}"))
            }
            ErrorKind::Timeout => (FailureKind::ModelHangs, format!("no answer to {body}: {said}")),
            ErrorKind::Connect | ErrorKind::Reset | ErrorKind::Malformed => {
                return self.connection_broke(&format!("on {body}: {said}")).await;
            }
        };
        Stop::new(kind, message, String::new())
    }

    async fn no_capacity(&mut self, failure: &SearchFailure, first: Option<&FirstFailure>) -> Stop {
        let kind = match (failure, first) {
            (SearchFailure::ConstraintUnreachable { .. }, _) => FailureKind::TooSlow,
            (SearchFailure::OutOfTime { .. } | SearchFailure::StillGrowing { .. }, _) => {
                FailureKind::OutOfTime
            }
            (SearchFailure::NoAnswer, _) => FailureKind::ModelHangs,
            (SearchFailure::GeneratorLags { .. }, _) => FailureKind::Generator,
            (
                SearchFailure::AllCallsFailed { .. } | SearchFailure::TooManyErrors { .. },
                Some(first),
            ) => {
                return self.failing_calls(&failure.to_string(), first).await;
            }
            (SearchFailure::AllCallsFailed { .. } | SearchFailure::TooManyErrors { .. }, None) => {
                FailureKind::ModelRaised
            }
        };
        self.stop(kind, failure.to_string())
    }

    /// Calls failed under load beyond what is allowed; the first one tells why.
    async fn failing_calls(&mut self, context: &str, first: &FirstFailure) -> Stop {
        let said = response_message(first);
        let kind = match first.kind {
            ErrorKind::Timeout => FailureKind::ModelHangs,
            ErrorKind::Status
                if first.status.is_some_and(|status| (400..500).contains(&status)) =>
            {
                FailureKind::PayloadRejected
            }
            ErrorKind::Status => or_of_memory(FailureKind::ModelRaised, &said),
            ErrorKind::Malformed => FailureKind::ModelRaised,
            ErrorKind::Reset | ErrorKind::Connect => {
                return self.connection_broke(&format!("under load: {said}")).await;
            }
        };
        let mut stop = self.stop(kind, said);
        stop.0.detail = format!("{context}\n{}", stop.0.detail).trim_end().to_owned();
        stop
    }
}

/// What the first failing response said, or why there was none.
fn response_message(first: &FirstFailure) -> String {
    match first.status {
        Some(status) if !first.body.is_empty() => {
            Answer { status, body: bytes::Bytes::copy_from_slice(&first.body) }.message()
        }
        Some(_) | None => first.message.clone(),
    }
}

/// The first failing response in one line, for the figures of a trial that was measured all the same.
pub(super) fn describe(first: &FirstFailure) -> String {
    match first.status {
        Some(status) => format!("status {status}: {}", response_message(first)),
        None => first.message.clone(),
    }
}
