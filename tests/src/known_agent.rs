//! An agent that measures nothing and reports figures known in advance, so that what becomes of them can
//! be asserted exactly, however busy the machine is.

use std::time::Duration;

use assay_measure::{
    hardware::Utilization,
    load_profile::LoadProfile,
    outcome::{Failure, FailureKind, TrialOutcome},
    stepped_load::StopCause,
    trial::{TrialSpec, Work},
};
use assay_proto::v1::{self, coordinator_message::Message};
use tokio::{runtime::Runtime, time::interval};

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
    pub fn attach(url: &str) -> Self {
        let runtime = Runtime::new().expect("a runtime can be made");
        let register =
            v1::Register { emulates: true, ..registration("known", "local", "host-of-known") };
        let (stream, registered) = runtime
            .block_on(Stream::attach(url, register))
            .unwrap_or_else(|error| panic!("the coordinator at {url} refuses: {error}"));
        let beat = Duration::from_micros(registered.heartbeat_interval_us);
        runtime.spawn(live(stream, beat));
        Self { _runtime: runtime }
    }
}

async fn live(mut stream: Stream, beat: Duration) {
    let mut beat = interval(beat);
    loop {
        tokio::select! {
            heard = stream.hear() => match heard {
                Some(Message::StartTrial(start)) => report(&stream, &start),
                Some(_) => {}
                None => return,
            },
            _ = beat.tick() => stream.say(heartbeat(None)),
        }
    }
}

/// Three steps, at a quarter, a half and all of what there is, and the outcome.
fn report(stream: &Stream, start: &v1::StartTrial) {
    let held = held(start);
    let spec = start.spec.clone().expect("a trial has a specification");
    let spec = TrialSpec::try_from(spec).expect("a coordinator sends what can be read");
    let vcpus = spec.emulated().map_or(1, |shape| shape.vcpus);
    let capacity = f64::from(vcpus) * PER_SECOND_AND_VCPU;
    for (index, share) in [(0, 0.25), (1, 0.5), (2, 1.0)] {
        let step = known_figures::step(index, capacity * share, busy(share));
        stream.say(step_finished(&held, step.into()));
    }
    stream.say(trial_finished(&held, outcome(&spec, capacity).into()));
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
