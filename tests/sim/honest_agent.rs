//! An agent that does its work by itself and keeps the protocol: it comes back with its trial, sends
//! again what is not acknowledged, and drops what it has lost the right to.
//!
//! It measures nothing; a step takes a few milliseconds.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use assay_proto::v1::{self, acknowledge::What, agent_message, coordinator_message};
use assay_tests::agent_stream::{Stream, heartbeat, held, step_finished, trial_finished};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    figures::{cancelled, measured, step},
    ledger::{Ledger, Mark},
};

const STEP_TAKES: Duration = Duration::from_millis(4);
const STEPS: u32 = 4;
const BACK_AFTER: Duration = Duration::from_millis(20);
const UNANSWERED_HEARTBEATS: usize = 3;

/// A running agent. Dropped, it dies with all that it knows.
pub(crate) struct HonestAgent {
    tasks: JoinSet<()>,
    task: AbortHandle,
}

impl HonestAgent {
    pub(crate) fn start(url: String, register: v1::Register, ledger: Arc<Ledger>) -> Self {
        let mut tasks = JoinSet::new();
        let life = Life { url, register, ledger, run: None };
        let task = tasks.spawn(life.live());
        Self { tasks, task }
    }

    /// Dies, and is gone when this returns.
    pub(crate) async fn kill(mut self) {
        self.task.abort();
        match self.tasks.join_next().await {
            Some(Err(ended)) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            Some(Ok(()) | Err(_)) | None => {}
        }
    }
}

struct Life {
    url: String,
    register: v1::Register,
    ledger: Arc<Ledger>,
    run: Option<Run>,
}

/// The trial that it has.
struct Run {
    held: v1::HeldTrial,
    mark: Mark,
    next_step: u32,
    cancelled_by: Option<String>,
    unacknowledged: Vec<Report>,
}

struct Report {
    what: What,
    message: agent_message::Message,
    /// When, and on which connection, it was sent for the first time. Sent again, an acknowledgement
    /// no longer tells whether the lease still stood.
    first_sent: Option<Instant>,
}

struct Connection {
    stream: Stream,
    /// When heartbeats went out, and for which run.
    unanswered: VecDeque<(Instant, Option<Mark>)>,
}

impl Life {
    async fn live(mut self) {
        loop {
            self.one_connection().await;
            sleep(BACK_AFTER).await;
        }
    }

    async fn one_connection(&mut self) {
        let running = self.run.as_ref().map(|run| run.held.clone());
        let register = v1::Register { running, ..self.register.clone() };
        let Ok((stream, registered)) = Stream::attach(&self.url, register).await else { return };
        if !registered.held_trial_stands {
            self.run = None;
        }
        for report in self.run.iter_mut().flat_map(|run| &mut run.unacknowledged) {
            report.first_sent = None;
            stream.say(report.message.clone());
        }
        let mut connection = Connection { stream, unanswered: VecDeque::new() };
        let mut beat = interval(Duration::from_micros(registered.heartbeat_interval_us));
        let mut work = interval(STEP_TAKES);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        work.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                heard = connection.stream.hear() => match heard {
                    Some(heard) => self.take(heard, &mut connection),
                    None => return,
                },
                _ = work.tick(), if self.run.is_some() => self.work(&connection),
                _ = beat.tick() => {
                    if connection.unanswered.len() >= UNANSWERED_HEARTBEATS {
                        return;
                    }
                    let run = self.run.as_ref();
                    connection.unanswered.push_back((Instant::now(), run.map(|run| run.mark)));
                    connection.stream.say(heartbeat(run.map(|run| run.held.clone())));
                }
            }
        }
    }

    fn take(&mut self, heard: coordinator_message::Message, connection: &mut Connection) {
        use coordinator_message::Message;
        match heard {
            Message::StartTrial(start) => self.start(&start, &connection.stream),
            Message::Acknowledge(acknowledge) => self.take_acknowledge(acknowledge),
            Message::HeartbeatSeen(seen) => {
                let (sent_at, mark) = connection.unanswered.pop_front().unwrap();
                match mark {
                    Some(mark) if seen.lease_stands => self.ledger.stood(mark, sent_at),
                    Some(mark) => self.run = self.run.take().filter(|run| run.mark != mark),
                    None => {}
                }
            }
            Message::CancelTrial(cancel) => {
                if let Some(run) = &mut self.run
                    && run.held.lease_token == cancel.lease_token
                {
                    run.cancelled_by = Some(cancel.by);
                }
            }
            Message::Registered(_) => panic!("registered twice"),
            Message::Drain(_) => {}
        }
    }

    fn start(&mut self, start: &v1::StartTrial, stream: &Stream) {
        let held = held(start);
        if let Some(run) = &self.run {
            assert_ne!(run.held, held, "the same trial was started twice");
            stream.say(agent_message::Message::TrialDeclined(v1::TrialDeclined {
                trial_id: held.trial_id,
                lease_token: held.lease_token,
                reason: "busy".to_owned(),
            }));
            return;
        }
        let mark = self.ledger.began(&self.register, &held.trial_id);
        let unacknowledged = Vec::new();
        self.run = Some(Run { held, mark, next_step: 0, cancelled_by: None, unacknowledged });
    }

    /// Finishes the next step, or the trial.
    fn work(&mut self, connection: &Connection) {
        let Some(run) = &mut self.run else { return };
        let (what, message) =
            if let Some(by) = run.cancelled_by.as_ref().filter(|_| run.next_step <= STEPS) {
                run.next_step = STEPS;
                (What::Outcome(true), trial_finished(&run.held, cancelled(by)))
            } else if run.next_step < STEPS {
                let step = step(run.mark, run.next_step);
                (What::StepIndex(run.next_step), step_finished(&run.held, step))
            } else if run.next_step == STEPS {
                (What::Outcome(true), trial_finished(&run.held, measured(run.mark)))
            } else {
                return;
            };
        run.next_step += 1;
        connection.stream.say(message.clone());
        run.unacknowledged.push(Report { what, message, first_sent: Some(Instant::now()) });
    }

    fn take_acknowledge(&mut self, acknowledge: v1::Acknowledge) {
        let Some(run) =
            self.run.as_mut().filter(|run| run.held.lease_token == acknowledge.lease_token)
        else {
            return;
        };
        if acknowledge.stale {
            self.run = None;
            return;
        }
        let what = acknowledge.what.unwrap();
        let Some(position) = run.unacknowledged.iter().position(|report| report.what == what)
        else {
            panic!("{what:?} was acknowledged and not sent");
        };
        let report = run.unacknowledged.remove(position);
        if let Some(sent_at) = report.first_sent {
            self.ledger.stood(run.mark, sent_at);
        }
        match what {
            What::StepIndex(index) => self.ledger.step_counts(run.mark, index),
            What::Outcome(_) => {
                self.ledger.outcome_counts(run.mark);
                self.run = None;
            }
        }
    }
}
