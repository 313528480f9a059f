//! The capacity search: asks for one step of load after another, then answers how much the target carries.
//!
//! A pure state machine. The driver asks [`Search::next`], performs the step, and hands back what it
//! saw with [`Search::observe`]. Steps of the main run `continue` their predecessor without a pause,
//! so the search may ask for the next one while the last is still in flight ([`Next::Wait`] says
//! when it needs an observation first).

mod batching;
mod burn_in;
mod ceiling;
mod clock;
mod confirmation;
mod deterministic_queue;
mod drift;
mod engine;
mod estimation;
mod limit;
mod long_run;
mod main_run;
mod observed;
mod order;
mod outlook;
mod plateau_run;
mod queue_model;
mod replay;
mod resampled_arrivals;
mod service_times;
mod staircase;
mod stop_rule;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{schedule::Load, slo::Slo, statistics::MeanInterval, units::Rate};
pub(crate) use observed::throughputs as step_throughputs;
pub use outlook::Outlook;

/// What to search for, and how long it may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchPlan {
    /// Constraints; none means the plateau is the answer.
    pub constraints: Vec<Slo>,
    /// Quick leaves out the burn-in and accepts a wider interval.
    pub mode: Mode,
    /// Where all randomness comes from.
    pub seed: u64,
    /// The search ends by then, with the interval it has.
    pub max_duration: Duration,
    /// How long the answer is held at the end, on top of the confirmation.
    pub soak: Option<Duration>,
    /// Quick mode does not look for throttling at the end: somebody else does, after it.
    #[serde(default)]
    pub skip_thermal_check: bool,
    /// The largest share of failed calls allowed, in [0, 1].
    pub max_error_share: f64,
}

impl SearchPlan {
    /// What a search says whose time is over before it has an answer.
    const fn ran_out(&self) -> SearchFailure {
        SearchFailure::OutOfTime { allowed_s: self.max_duration.as_secs_f64() }
    }
}

crate::configuration::word_enum!(
    /// How thorough a search is.
    Mode, "mode", "quick, full" {
        /// No burn-in, an interval of about ±3 %.
        Quick = "quick",
        /// Burn-in, an interval of about ±2 %.
        Full = "full",
    }
);

/// What the search wants next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Perform this step.
    Step(StepPlan),
    /// Hand in the observation of a step in flight first.
    Wait,
    /// The search is over; a step still in flight may be cut short.
    Done(Box<Answer>),
    /// There is no capacity to find; a step still in flight may be cut short.
    Failed(SearchFailure),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum SearchFailure {
    /// No call was answered, and none failed either.
    #[error("the target answered no call at all")]
    NoAnswer,
    /// Not one call was answered without an error.
    #[error("all of the first {calls} calls failed")]
    AllCallsFailed {
        /// How many.
        calls: u64,
    },
    /// More calls fail than are allowed, even of a single user or at the lowest rate tried.
    #[error("{:.1} % of calls fail even under little load, {:.1} % are allowed", share * 100.0, allowed * 100.0)]
    TooManyErrors {
        /// The share of failed calls, in [0, 1].
        share: f64,
        /// The share that the plan allows.
        allowed: f64,
    },
    /// Even a single user's requests miss the constraint: the capacity within it is zero.
    #[error(
        "{:.1} % of a single user's requests take longer than {constraint} allows (their median is {:.1} ms)",
        missed_share * 100.0,
        unloaded_median_us / 1000.0
    )]
    ConstraintUnreachable {
        /// The constraint.
        constraint: Slo,
        /// The share of a single user's requests that miss it, in [0, 1].
        missed_share: f64,
        /// Median latency of a single user's requests, in microseconds.
        unloaded_median_us: f64,
    },
    /// The load generator cannot keep its schedule even at the lowest rate tried.
    #[error("the load generator lags even at {rate_per_s:.1} calls per second")]
    GeneratorLags {
        /// That rate, per second.
        rate_per_s: f64,
    },
    /// The time allowed ended before anything could be said.
    #[error("the search ran out of time after {allowed_s:.0} s, before it had an answer")]
    OutOfTime {
        /// That time, in seconds.
        allowed_s: f64,
    },
    /// The time allowed ended while more users were still served more: the capacity is beyond all that was tried.
    #[error(
        "{users} users at once were served {per_minute:.0} times a minute and more would be served more: {allowed_s:.0} s do \
         not suffice to find where that ends"
    )]
    StillGrowing {
        /// The most that were tried.
        users: u32,
        /// What they were served, per minute.
        per_minute: f64,
        /// The time of the whole search, in seconds.
        allowed_s: f64,
    },
}

crate::configuration::word_enum!(
    /// What a step is for.
    Purpose, "purpose", "warm_up, staircase, probe, burn_in, main, confirm, soak, fixed, cool_down" {
        /// Brings target and machine into working state; not measured.
        WarmUp = "warm_up",
        /// Closed loop with more and more users.
        Staircase = "staircase",
        /// A short open-loop run that fixes the model coarsely.
        Probe = "probe",
        /// Saturation, to warm caches and heat the machine.
        BurnIn = "burn_in",
        /// A segment of the main run.
        Main = "main",
        /// Fresh load at the answer.
        Confirm = "confirm",
        /// A long run at the answer.
        Soak = "soak",
        /// A load the user fixed.
        Fixed = "fixed",
        /// Silence, to see the machine without load.
        CoolDown = "cool_down",
    }
);

/// One step of load to perform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepPlan {
    /// Counts from 0; observations name it.
    pub index: u32,
    /// What it is for.
    pub purpose: Purpose,
    /// The load.
    pub load: Load,
    /// How long it is held.
    pub duration: Duration,
    /// Starts at the very end of the previous step, without waiting for its outstanding requests.
    pub continues: bool,
    /// In open loop the verdict of a request is final after this long, even if it never returns;
    /// the observation is handed in once all are final.
    pub verdict_after: Duration,
}

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Answered; the latency is known.
    Answered,
    /// Answered with an error, or the connection broke.
    Failed,
    /// Not answered by the time the observation was handed in.
    Outstanding,
}

/// One request as the load generator saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Intended send time (closed loop: actual send time), in microseconds since the search began.
    pub intended_us: u64,
    /// Microseconds from there to the last byte of the response; for an outstanding request, so far.
    pub latency_us: u64,
    /// What became of it.
    pub verdict: Verdict,
}

/// One batch that the target served, as the target itself reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// When its service began, in microseconds since the search began.
    pub started_us: u64,
    /// Requests in it.
    pub requests: u32,
    /// How long its service took, in nanoseconds.
    pub service_ns: u64,
    /// How long the first of its requests had waited, in microseconds.
    pub waited_us: u64,
}

impl Batch {
    fn service_us(&self) -> f64 {
        self.service_ns as f64 / 1e3
    }
}

/// What a step came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepObservation {
    /// Which step.
    pub index: u32,
    /// When it began, in microseconds since the search began.
    pub started_us: u64,
    /// How long load was really offered, in microseconds.
    pub elapsed_us: u64,
    /// Every request intended within the step, in order of intended time. In closed loop those that
    /// ended within it.
    pub samples: Vec<Sample>,
    /// Every batch whose service began within the step, in that order; empty when the target does not
    /// tell, or does not tell of all of them.
    #[serde(default)]
    pub batches: Vec<Batch>,
    /// The generator could not keep its schedule (its own lag, not the target's slowness).
    pub generator_saturated: bool,
}

crate::configuration::word_enum!(
    /// What keeps the capacity from being larger.
    LimitedBy, "limit", "slo, saturation, errors, generator, load" {
        /// The constraint.
        Slo = "slo",
        /// The target is busy all the time.
        Saturation = "saturation",
        /// Calls fail beyond the allowed share.
        Errors = "errors",
        /// The load generator itself.
        Generator = "generator",
        /// The load that the user fixed: it asked for no more.
        Load = "load",
    }
);

/// A figure with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The figure.
    pub value: Rate,
    /// The lower end.
    pub low: Rate,
    /// The upper end.
    pub high: Rate,
}

/// How the confirmation went: fresh load at the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirmation {
    /// The constraint held within sampling error.
    Held,
    /// It did not; the answer must not be trusted.
    Missed,
    /// There was no time for it.
    NotRun,
    /// There is no constraint, so nothing to hold.
    NotNeeded,
}

/// The answer of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The largest rate that the target sustains within the constraints; the plateau when there are none.
    pub capacity: Estimate,
    /// The closed-loop throughput plateau.
    pub plateau: Estimate,
    /// The fewest users that reach 97 % of the plateau.
    pub plateau_users: u32,
    /// What keeps it from being more.
    pub limited_by: LimitedBy,
    /// How the confirmation went.
    pub confirmation: Confirmation,
    /// Indices of the steps whose latencies belong to the answer (at that rate).
    pub answer_steps: Vec<u32>,
    /// Throughput or service times moved during the run.
    pub drift: Option<Drift>,
    /// The interval is as narrow as was asked.
    pub precise: bool,
    /// Requests that the answer rests on.
    pub samples: u64,
    /// The search ran into its time limit.
    pub out_of_time: bool,
}

/// A change of the target's speed during the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Relative change of throughput or speed; negative is slower.
    pub relative_change: f64,
}

/// The state machine.
#[derive(Debug)]
pub struct Search {
    engine: engine::Engine,
}

/// An observation does not fit what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnexpectedObservation {
    /// The step was never asked for, or was observed already.
    #[error("step {0} is not in flight")]
    NotInFlight(u32),
    /// Steps end in the order in which they were asked for.
    #[error("step {index} was observed before step {expected}")]
    OutOfOrder {
        /// The step observed.
        index: u32,
        /// The one to observe first.
        expected: u32,
    },
}

impl Search {
    /// A search that has not begun. Every plan is accepted: one that leaves no time, or allows no
    /// rate, ends in a [`SearchFailure`].
    #[must_use]
    pub fn new(plan: SearchPlan) -> Self {
        Self { engine: engine::Engine::new(plan) }
    }

    /// What to do now.
    ///
    /// With nothing in flight it is a step or the end. While one step of the main run or the soak is
    /// in flight it may already be the following step, which `continues` it; otherwise [`Next::Wait`].
    /// A step that `continues` must be asked for before its predecessor ends. At the end the same
    /// answer comes again and again.
    #[expect(
        clippy::should_implement_trait,
        reason = "what comes next depends on what was observed"
    )]
    pub fn next(&mut self) -> Next {
        self.engine.next()
    }

    /// Takes what became of a step.
    ///
    /// # Errors
    /// [`UnexpectedObservation`] when the step is not the oldest one in flight; nothing changes then.
    pub fn observe(&mut self, observation: &StepObservation) -> Result<(), UnexpectedObservation> {
        self.engine.observe(observation)
    }
}

/// An interval of throughputs as an estimate; what is not a rate becomes zero.
fn estimate_of(found: MeanInterval) -> Estimate {
    let rate = |per_second: f64| Rate::per_second(per_second.max(0.0)).unwrap_or(Rate::ZERO);
    let value = rate(found.mean);
    let high = Rate::per_second(found.mean + found.half_width).unwrap_or(value);
    Estimate { value, low: rate(found.mean - found.half_width), high }
}
