//! Whether a measurement can be believed: findings, each with its figure and threshold, and a verdict.
//!
//! [`judge`] turns evidence into findings. It reads no clock and no machine: what was not observed is
//! absent from the evidence and gives no finding.

use serde::{Deserialize, Serialize};

use crate::configuration::word_enum;

mod judging;

pub use judging::{
    ClosedLoopEvidence, Evidence, GeneratorEvidence, MachineEvidence, judge, thresholds,
};

word_enum!(
    /// How far a measurement can be trusted.
    Verdict, "verdict", "valid, suspect, invalid" {
        /// Nothing speaks against it.
        Valid = "valid",
        /// Something may have moved the figures; they are shown with it.
        Suspect = "suspect",
        /// The figures do not mean what they should; the trial is measured again or fails.
        Invalid = "invalid",
    }
);

word_enum!(
    /// What was noticed.
    FindingName, "finding",
    "generator_lag, generator_saturated, cpu_steal, other_load, run_queue, cpu_throttled, swapping, memory_pressure, memory_stall, drift, interval_too_wide, errors, too_few_samples, little_law, confirmation_missed, gpu_shared, gpu_throttled, gpu_lost, burst_credits, frequency, nan_outputs, output_deviation, out_of_time, no_burn_in" {
        /// The generator sent later than intended (99th percentile, µs).
        GeneratorLag = "generator_lag",
        /// The generator could not offer the load.
        GeneratorSaturated = "generator_saturated",
        /// The hypervisor took processor time (per cent).
        CpuSteal = "cpu_steal",
        /// Other processes used the processors (per cent of one).
        OtherLoad = "other_load",
        /// Tasks of others ran or waited for a processor (mean count).
        RunQueue = "run_queue",
        /// A quota on processor time held the model back (per cent of its processors' time).
        CpuThrottled = "cpu_throttled",
        /// Pages were swapped (per second).
        Swapping = "swapping",
        /// Memory ran short (available share in per cent).
        MemoryPressure = "memory_pressure",
        /// Tasks waited for memory (per cent of the time).
        MemoryStall = "memory_stall",
        /// The target's speed moved (relative change in per cent).
        Drift = "drift",
        /// The interval is wider than asked (half-width in per cent).
        IntervalTooWide = "interval_too_wide",
        /// Calls failed (per cent).
        Errors = "errors",
        /// Too few samples for the percentile.
        TooFewSamples = "too_few_samples",
        /// Users ≠ throughput × latency (relative difference in per cent).
        LittleLaw = "little_law",
        /// Fresh load at the answer did not hold the constraint.
        ConfirmationMissed = "confirmation_missed",
        /// Other processes used the GPU (count).
        GpuShared = "gpu_shared",
        /// The GPU ran slower for heat or power (per cent of samples).
        GpuThrottled = "gpu_throttled",
        /// A GPU fell off the bus or stopped answering (count).
        GpuLost = "gpu_lost",
        /// The instance family lives on burst credits; two minutes cannot show their end.
        BurstCredits = "burst_credits",
        /// The clock fell (relative change in per cent).
        Frequency = "frequency",
        /// Outputs that are not numbers (count).
        NanOutputs = "nan_outputs",
        /// Outputs differ from plain float32 although only the graph was rewritten (largest relative
        /// deviation; 1 where a NaN, an infinity or another shape makes it infinite).
        OutputDeviation = "output_deviation",
        /// The search ran into its time limit.
        OutOfTime = "out_of_time",
        /// Quick mode heats the machine for seconds only, so throttling may be missed.
        NoBurnIn = "no_burn_in",
    }
);

/// One thing noticed, with the figure and the threshold it crossed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub name: FindingName,
    /// The figure, in the unit that the name's documentation gives.
    pub value: f64,
    /// Where it begins to matter, in the same unit.
    pub threshold: f64,
    /// What it makes of the measurement; `valid` for mere notes.
    pub severity: Verdict,
}

/// The verdict on a trial and what it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validity {
    /// The gravest severity among the findings.
    pub verdict: Verdict,
    /// Everything noticed.
    pub findings: Vec<Finding>,
}

impl Validity {
    /// The verdict that follows from findings: the gravest of them.
    #[must_use]
    pub fn from_findings(mut findings: Vec<Finding>) -> Self {
        // Neither documents nor messages know NaN or infinity.
        let number =
            |value: f64| if value.is_nan() { 0.0 } else { value.clamp(f64::MIN, f64::MAX) };
        for finding in &mut findings {
            (finding.value, finding.threshold) = (number(finding.value), number(finding.threshold));
        }
        let verdict =
            findings.iter().map(|finding| finding.severity).max().unwrap_or(Verdict::Valid);
        Self { verdict, findings }
    }
}
