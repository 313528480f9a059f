//! The capacity search: asks for one step of load after another, then answers how much the target carries.
//!
//! A pure state machine. The driver asks [`Search::next`], performs the step, and hands back what it
//! saw with [`Search::observe`]. Steps of the main run `continue` their predecessor without a pause,
//! so the search may ask for the next one while the last is still in flight ([`Next::Wait`] says
//! when it needs an observation first).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{schedule::Load, slo::Slo, units::Rate};

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
    /// The largest share of failed calls allowed, in [0, 1].
    pub max_error_share: f64,
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
    /// The generator could not keep its schedule (its own lag, not the target's slowness).
    pub generator_saturated: bool,
}

crate::configuration::word_enum!(
    /// What keeps the capacity from being larger.
    LimitedBy, "limit", "slo, saturation, errors, generator" {
        /// The constraint.
        Slo = "slo",
        /// The target is busy all the time.
        Saturation = "saturation",
        /// Calls fail beyond the allowed share.
        Errors = "errors",
        /// The load generator itself.
        Generator = "generator",
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
    plan: SearchPlan,
}

/// An observation does not fit what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnexpectedObservation {
    /// The step was never asked for, or was observed already.
    #[error("step {0} is not in flight")]
    NotInFlight(u32),
}
