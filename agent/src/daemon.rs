//! The agent's one loop: it owns the lease, the running trial and the reports that are not yet
//! acknowledged, and nothing else changes them.
//!
//! ```text
//! Free ──StartTrial──► Running ──outcome──► Reporting ──acknowledged──► Free
//!                        │                      │
//!                        └──── lease lost ──────┴──► Abandoned ──ended──► Free
//! ```
//! Everything that can happen is a [`LinkEvent`], a [`TrialEvent`], the end of a trial, or a request
//! to end. The first such request asks: the trial is cancelled and reported. The second kills.

mod reports;

use std::{sync::Arc, time::Duration};

use assay_measure::{
    ids::LeaseToken,
    outcome::{Failure, FailureKind, TrialOutcome},
    trial::{TrialSpec, TrialSubject},
};
use assay_proto::v1::{AgentMessage, TrialDeclined, TrialProgress, agent_message::Message};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    link::{
        Acknowledged, Introduction, Lease, LinkEvent,
        coordinator::{Coordinator, Refusal},
        keep_attached,
    },
    runner::{Cancellation, Runner, TrialEvent},
};
use reports::{AfterRefusal, Reports};

/// How long the last report may take to be acknowledged when the agent is asked to end.
const FAREWELL: Duration = Duration::from_secs(5);
/// What is not acknowledged after this long is sent again.
const RESEND_AFTER: Duration = Duration::from_secs(30);

/// Somebody wants the agent to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndRequest {
    /// In words, such as `SIGTERM`.
    pub by: String,
}

#[derive(Debug)]
pub enum Ended {
    Asked,
    /// It was asked a second time, and left everything as it was.
    Killed,
    /// The coordinator does not want it.
    Refused(Refusal),
}

/// Runs the agent until it is asked to end or refused.
///
/// Must run on the main thread's own runtime: model hosts die with the thread that spawned them.
pub async fn run(
    coordinator: Coordinator,
    introduction: Introduction,
    runner: Arc<Runner>,
    mut end_requests: mpsc::Receiver<EndRequest>,
) -> Ended {
    let (link_events, mut from_link) = mpsc::channel(64);
    let (trial_events, mut from_trial) = mpsc::unbounded_channel();
    let (held, held_reader) = watch::channel(None);
    let stop_link = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(keep_attached(
        coordinator,
        introduction,
        held_reader,
        link_events,
        stop_link.clone(),
    ));
    let mut daemon = Daemon {
        runner,
        slot: Slot::Free,
        reports: Reports::default(),
        outgoing: None,
        draining: false,
        ending: None,
        held,
        trial_events,
        trials: JoinSet::new(),
        sent_at: Instant::now(),
    };
    let ended = loop {
        if daemon.may_end() {
            break Ended::Asked;
        }
        let alarm = daemon.alarm();
        tokio::select! {
            // Events of a trial come before its end: they were sent before.
            biased;
            Some(request) = end_requests.recv() => {
                if daemon.ending.is_some() {
                    break Ended::Killed;
                }
                daemon.begin_to_end(&request);
            }
            Some(event) = from_trial.recv() => daemon.on_trial_event(event),
            Some(ended) = daemon.trials.join_next() => daemon.on_trial_ended(outcome_of(ended)),
            event = from_link.recv() => match event {
                Some(LinkEvent::Refused(refusal)) => break Ended::Refused(refusal),
                Some(event) => daemon.on_link_event(event),
                None => break Ended::Asked,
            },
            () = tokio::time::sleep_until(alarm.unwrap_or_else(Instant::now)), if alarm.is_some() => daemon.on_alarm(),
        }
    };
    if !matches!(ended, Ended::Killed) {
        daemon.wind_up().await;
    }
    stop_link.cancel();
    while tasks.join_next().await.is_some() {}
    ended
}

struct Daemon {
    runner: Arc<Runner>,
    slot: Slot,
    reports: Reports,
    outgoing: Option<mpsc::Sender<AgentMessage>>,
    draining: bool,
    ending: Option<Instant>,
    /// Tells the link which lease to name.
    held: watch::Sender<Option<Lease>>,
    trial_events: mpsc::UnboundedSender<TrialEvent>,
    trials: JoinSet<TrialOutcome>,
    /// When reports were last sent or acknowledged.
    sent_at: Instant,
}

/// What the agent is at. One trial at a time.
#[derive(Debug)]
enum Slot {
    Free,
    Running {
        lease: Lease,
        cancel: Cancellation,
    },
    /// Measured; the coordinator has not acknowledged all reports.
    Reporting {
        lease: Lease,
    },
    /// The lease is gone; the trial is being stopped and nothing of it is reported.
    Abandoned {
        cancel: Cancellation,
    },
}

impl Slot {
    fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Running { lease, .. } | Self::Reporting { lease } => Some(lease),
            Self::Free | Self::Abandoned { .. } => None,
        }
    }
}

fn outcome_of(ended: Result<TrialOutcome, tokio::task::JoinError>) -> TrialOutcome {
    ended.unwrap_or_else(|error| {
        TrialOutcome::Failed(Failure::new(
            FailureKind::Internal,
            "the trial ended by a fault of the agent".to_owned(),
            error.to_string(),
        ))
    })
}

impl Daemon {
    fn set_slot(&mut self, slot: Slot) {
        self.held.send_replace(slot.lease().cloned());
        self.slot = slot;
    }

    fn holds(&self, token: &LeaseToken) -> bool {
        self.slot.lease().is_some_and(|lease| lease.token == *token)
    }

    fn on_link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Attached { held_trial_stands, outgoing } => {
                tracing::info!("registered with the coordinator");
                self.outgoing = Some(outgoing);
                if self.slot.lease().is_some() && !held_trial_stands {
                    self.abandon();
                }
                self.send_reports();
            }
            LinkEvent::Detached { reason, refused } => {
                tracing::warn!(reason, "not connected to the coordinator; trying again");
                self.outgoing = None;
                if refused {
                    self.on_refused(&reason);
                }
            }
            LinkEvent::StartTrial { token, spec } => self.start(token, *spec),
            LinkEvent::MalformedTrial { trial, token, problem } => {
                self.decline(trial, token, problem)
            }
            LinkEvent::Acknowledged { token, what, stale } => {
                self.on_acknowledged(&token, what, stale)
            }
            LinkEvent::LeaseLost { token } => {
                if self.holds(&token) {
                    self.abandon();
                }
            }
            LinkEvent::CancelTrial { token, by } => match &self.slot {
                Slot::Running { lease, cancel } if lease.token == token => cancel.cancel(&by),
                Slot::Running { .. }
                | Slot::Reporting { .. }
                | Slot::Free
                | Slot::Abandoned { .. } => {}
            },
            LinkEvent::Drain(draining) => {
                tracing::info!(draining, "the coordinator changed whether new trials are taken");
                self.draining = draining;
            }
            // Ends the loop that calls this.
            LinkEvent::Refused(_) => {}
        }
    }

    fn start(&mut self, token: LeaseToken, spec: TrialSpec) {
        if self.holds(&token) {
            // Said twice: it runs already.
            return;
        }
        let reason = match &self.slot {
            Slot::Running { lease, .. } => Some(format!("busy with {}", lease.trial)),
            Slot::Reporting { lease } => Some(format!("busy reporting {}", lease.trial)),
            Slot::Abandoned { .. } => Some("busy stopping a trial".to_owned()),
            Slot::Free if self.ending.is_some() => Some("the agent is ending".to_owned()),
            Slot::Free if self.draining => Some("draining".to_owned()),
            Slot::Free => None,
        };
        if let Some(reason) = reason {
            self.decline(spec.id.to_string(), token.to_string(), reason);
            return;
        }
        tracing::info!(trial = %spec.id, instance_type = %spec.instance_type, subject = %subject(&spec.subject), "starting");
        let cancel = Cancellation::default();
        let lease = Lease { trial: spec.id.clone(), token };
        let trial = Arc::clone(&self.runner).run(spec, self.trial_events.clone(), cancel.clone());
        self.trials.spawn(trial);
        self.reports = Reports::default();
        self.set_slot(Slot::Running { lease, cancel });
    }

    fn decline(&mut self, trial_id: String, lease_token: String, reason: String) {
        tracing::warn!(trial = trial_id, reason, "declined");
        self.send(Message::TrialDeclined(TrialDeclined { trial_id, lease_token, reason }));
    }

    fn on_trial_event(&mut self, event: TrialEvent) {
        let Slot::Running { lease, .. } = &self.slot else { return };
        match event {
            TrialEvent::Progressed(progress) => {
                let message = Message::TrialProgress(TrialProgress {
                    trial_id: lease.trial.to_string(),
                    lease_token: lease.token.to_string(),
                    progress: Some(progress.into()),
                });
                self.send(message);
            }
            TrialEvent::StepFinished(step) => {
                let message = self.reports.add_step(lease, *step);
                self.sent_at = Instant::now();
                self.send(message);
            }
        }
    }

    fn on_trial_ended(&mut self, outcome: TrialOutcome) {
        match std::mem::replace(&mut self.slot, Slot::Free) {
            Slot::Running { lease, .. } => {
                log_outcome(&lease, &outcome);
                let message = self.reports.set_outcome(&lease, outcome);
                self.sent_at = Instant::now();
                self.send(message);
                self.set_slot(Slot::Reporting { lease });
            }
            Slot::Abandoned { .. } | Slot::Free => self.set_slot(Slot::Free),
            slot @ Slot::Reporting { .. } => self.set_slot(slot),
        }
    }

    fn on_acknowledged(&mut self, token: &LeaseToken, what: Acknowledged, stale: bool) {
        if !self.holds(token) {
            return;
        }
        if stale {
            self.abandon();
            return;
        }
        self.sent_at = Instant::now();
        self.reports.acknowledge(what);
        self.free_if_reported();
    }

    fn free_if_reported(&mut self) {
        if matches!(self.slot, Slot::Reporting { .. }) && self.reports.are_done() {
            self.set_slot(Slot::Free);
        }
    }

    /// The coordinator ended the stream over something we said: it would do so again.
    fn on_refused(&mut self, reason: &str) {
        let Some(lease) = self.slot.lease() else { return };
        match self.reports.refuse(lease, reason) {
            AfterRefusal::Lighter => self.free_if_reported(),
            AfterRefusal::Hopeless => self.abandon(),
            AfterRefusal::Nothing => {}
        }
    }

    /// The lease is gone: whoever holds it now measures again.
    fn abandon(&mut self) {
        self.reports = Reports::default();
        match std::mem::replace(&mut self.slot, Slot::Free) {
            Slot::Running { lease, cancel } => {
                tracing::warn!(trial = %lease.trial, "the lease is gone; stopping the trial");
                cancel.cancel("the lease was taken away");
                self.set_slot(Slot::Abandoned { cancel });
            }
            Slot::Reporting { lease } => {
                tracing::warn!(trial = %lease.trial, "the lease is gone; its reports are dropped");
                self.set_slot(Slot::Free);
            }
            slot @ (Slot::Free | Slot::Abandoned { .. }) => self.set_slot(slot),
        }
    }

    fn send_reports(&mut self) {
        let Some(lease) = self.slot.lease() else { return };
        let messages = self.reports.unacknowledged(lease);
        self.sent_at = Instant::now();
        for message in messages {
            self.send(message);
        }
    }

    /// Hands a message to the link. When there is none, or its queue is full, reports stay with us and
    /// are sent again; everything else is of the moment.
    fn send(&mut self, message: Message) {
        if let Some(outgoing) = &self.outgoing
            && let Err(error) = outgoing.try_send(AgentMessage { message: Some(message) })
        {
            tracing::debug!(%error, "a message was not sent");
        }
    }

    fn begin_to_end(&mut self, request: &EndRequest) {
        tracing::info!(by = request.by, "ending");
        self.ending = Some(Instant::now() + FAREWELL);
        if let Slot::Running { cancel, .. } = &self.slot {
            cancel.cancel(&format!("the agent was ended by {}", request.by));
        }
    }

    fn may_end(&self) -> bool {
        let Some(latest) = self.ending else { return false };
        match &self.slot {
            Slot::Free => true,
            Slot::Reporting { .. } => Instant::now() >= latest,
            Slot::Running { .. } | Slot::Abandoned { .. } => false,
        }
    }

    /// When something has to be done though nothing happens. Idle, never.
    fn alarm(&self) -> Option<Instant> {
        let resend = (self.outgoing.is_some() && !self.reports.are_done())
            .then(|| self.sent_at + RESEND_AFTER);
        let end = self.ending.filter(|_| matches!(self.slot, Slot::Reporting { .. }));
        resend.into_iter().chain(end).min()
    }

    fn on_alarm(&mut self) {
        if Instant::now() >= self.sent_at + RESEND_AFTER {
            self.send_reports();
        }
    }

    /// Stops what still runs, and waits for it: no model host may outlive the agent.
    async fn wind_up(&mut self) {
        if let Slot::Running { cancel, .. } | Slot::Abandoned { cancel } = &self.slot {
            cancel.cancel("the agent ends");
        }
        while self.trials.join_next().await.is_some() {}
    }
}

fn subject(subject: &TrialSubject) -> String {
    match subject {
        TrialSubject::Served(served) => served.configuration.to_string(),
        TrialSubject::Endpoint { endpoint } => format!("endpoint {endpoint}"),
    }
}

fn log_outcome(lease: &Lease, outcome: &TrialOutcome) {
    let trial = &lease.trial;
    match outcome {
        TrialOutcome::Measured(measured) => {
            let verdict = measured.validity.verdict;
            match &measured.answer {
                Some(answer) => {
                    tracing::info!(%trial, %verdict, capacity_per_min = answer.capacity.value.as_per_minute(), "measured");
                }
                None => tracing::info!(%trial, %verdict, "measured"),
            }
        }
        TrialOutcome::Failed(failure) => {
            tracing::warn!(%trial, kind = %failure.kind, message = failure.message, "failed");
        }
        TrialOutcome::Cancelled { by } => tracing::info!(%trial, by, "cancelled"),
    }
}
