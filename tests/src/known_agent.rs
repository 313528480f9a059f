//! An agent that measures nothing and reports figures known in advance, so that what becomes of them can
//! be asserted exactly, however busy the machine is.

use std::{future::pending, time::Duration};

use assay_measure::{
    hardware::Utilization,
    load_profile::LoadProfile,
    outcome::{Failure, FailureKind, TrialOutcome},
    stepped_load::StopCause,
    trial::{TrialSpec, Work},
};
use assay_proto::v1::{self, coordinator_message::Message};
use tokio::{
    runtime::Runtime,
    time::{interval, sleep},
};

use crate::{
    agent_stream::{Stream, heartbeat, held, registration, step_finished, trial_finished},
    known_figures,
};

/// What one processor carries, in requests per second.
pub const PER_SECOND_AND_VCPU: f64 = 40.0;

/// A connected agent that can emulate every shape of up to 4 vCPU. Dropped, it is gone.
#[derive(Debug)]
pub struct KnownAgent {
    _runtime: Runtime,
}

impl KnownAgent {
    /// One that reports at once.
    pub fn attach(url: &str) -> Self {
        Self::attach_paced(url, Duration::ZERO)
    }

    /// One that takes so long for each step: at a quarter, a half and all of what there is, or twelve of them in a job
    /// that is called `many-…`. A trial of a job that is called `held-…` stays at its second step until it
    /// is cancelled, and the model host of a job that is called `broken-…` or `broken` dies.
    pub fn attach_paced(url: &str, pace: Duration) -> Self {
        let runtime = Runtime::new().expect("a runtime can be made");
        let register =
            v1::Register { emulates: true, ..registration("known", "local", "host-of-known") };
        let (stream, registered) = runtime
            .block_on(Stream::attach(url, register))
            .unwrap_or_else(|error| panic!("the coordinator at {url} refuses: {error}"));
        let beat = Duration::from_micros(registered.heartbeat_interval_us);
        runtime.spawn(live(stream, beat, pace));
        Self { _runtime: runtime }
    }
}

/// A trial under way.
struct Running {
    held: v1::HeldTrial,
    spec: TrialSpec,
    steps: u32,
}

async fn live(mut stream: Stream, beat: Duration, pace: Duration) {
    let mut beat = interval(beat);
    let mut running: Option<Running> = None;
    loop {
        let next = async {
            match &running {
                Some(trial) if trial.may_go_on() => sleep(pace).await,
                Some(_) | None => pending().await,
            }
        };
        tokio::select! {
            heard = stream.hear() => match heard {
                Some(Message::StartTrial(start)) => running = Some(Running::of(&start)),
                Some(Message::CancelTrial(cancel)) => {
                    let is_it = |trial: &mut Running| trial.held.trial_id == cancel.trial_id;
                    if let Some(trial) = running.take_if(is_it) {
                        let outcome = TrialOutcome::Cancelled { by: cancel.by };
                        stream.say(trial_finished(&trial.held, outcome.into()));
                    }
                }
                Some(_) => {}
                None => return,
            },
            () = next => {
                if running.as_mut().is_some_and(|trial| trial.go_on(&stream)) {
                    running = None;
                }
            }
            _ = beat.tick() => {
                stream.say(heartbeat(running.as_ref().map(|trial| trial.held.clone())));
            }
        }
    }
}

impl Running {
    fn of(start: &v1::StartTrial) -> Self {
        let spec = start.spec.clone().expect("a trial has a specification");
        let spec = TrialSpec::try_from(spec).expect("a coordinator sends what can be read");
        Self { held: held(start), spec, steps: 0 }
    }

    fn is_of(&self, job: &str) -> bool {
        self.held.trial_id.starts_with(job)
    }

    fn may_go_on(&self) -> bool {
        !(self.is_of("held-") && self.steps == 2)
    }

    /// Shares of what there is, one for each step.
    fn shares(&self) -> Vec<f64> {
        if self.is_of("many-") {
            return (1..=12).map(|step| f64::from(step) / 12.0).collect();
        }
        vec![0.25, 0.5, 1.0]
    }

    /// Its steps, then the outcome, which ends it.
    fn go_on(&mut self, stream: &Stream) -> bool {
        let vcpus = self.spec.emulated().map_or(1, |shape| shape.vcpus);
        let capacity = f64::from(vcpus) * PER_SECOND_AND_VCPU;
        if let Some(share) = self.shares().get(self.steps as usize) {
            let step = known_figures::step(self.steps, capacity * share, busy(*share));
            stream.say(step_finished(&self.held, step.into()));
            self.steps += 1;
            return false;
        }
        let outcome = if self.is_of("broken") { crashed() } else { outcome(&self.spec, capacity) };
        stream.say(trial_finished(&self.held, outcome.into()));
        true
    }
}

fn crashed() -> TrialOutcome {
    let detail =
        "HTTP 500: forward() raised in TorchScript: mat1 and mat2 shapes cannot be multiplied";
    TrialOutcome::Failed(Failure::new(
        FailureKind::HostCrashed,
        "the model host died: signal 11".to_owned(),
        detail.to_owned(),
    ))
}

/// The figure that misses its constraint, as `p99 of 27000us`.
fn missed_by_a_single_user(spec: &TrialSpec) -> Option<String> {
    let Work::Search(plan) = &spec.work else { return None };
    let latency = known_figures::latency();
    let figure = |metric| Duration::from_micros(latency.figure_us(metric));
    let missed = plan.constraints.iter().find(|slo| figure(slo.metric()) > slo.limit())?;
    Some(format!("{} of {:?}", missed.metric(), figure(missed.metric())))
}

fn busy(share: f64) -> Utilization {
    let pct = 100.0 * share;
    Utilization {
        cpu_pct: Some(pct),
        host_cpu_pct: Some(pct),
        memory_pct: Some(50.0),
        ..Utilization::default()
    }
}

fn outcome(spec: &TrialSpec, capacity: f64) -> TrialOutcome {
    if let Some(missed) = missed_by_a_single_user(spec) {
        let message = format!("a single user has a {missed}");
        return TrialOutcome::Failed(Failure::new(FailureKind::TooSlow, message, String::new()));
    }
    let mut result = known_figures::measured(capacity, 600);
    if let Some(answer) = &mut result.answer {
        answer.answer_steps = vec![2];
    }
    result.utilization = busy(1.0);
    result.configuration = spec.served().map(|served| served.configuration.clone());
    match &spec.work {
        Work::Search(_) => {}
        // Steps of ever more users have an answer like a search.
        Work::Load(LoadProfile::Stepped(_)) => result.stopped_by = Some(StopCause::LoadEnded),
        Work::Load(LoadProfile::Phases(_) | LoadProfile::Recorded(_)) => result.answer = None,
    }
    TrialOutcome::Measured(Box::new(result))
}
