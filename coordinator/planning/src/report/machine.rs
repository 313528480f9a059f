//! What the machine did while the answer was measured, beyond the shares that every row shows.

use assay_measure::hardware::Utilization;
use serde::{Deserialize, Serialize};

/// Counters of the machine and of the model host, means over the answer's steps. What the machine does
/// not tell is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineReport {
    /// Busy share of each processor of the machine, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_cpu_pct: Vec<f64>,
    /// Share of time that the hypervisor gave to others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steal_pct: Option<f64>,
    /// CPU time of other processes, as a share of one processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_cpu_pct: Option<f64>,
    /// CPU time of the model host, as a share of the processors it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_cpu_pct: Option<f64>,
    /// Mean clock of the model's processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_mhz: Option<f64>,
    /// Mean count of tasks that ran or waited for a processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runnable_tasks: Option<f64>,
    /// Of these, those that belong neither to the model host nor to the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_runnable_tasks: Option<f64>,
    /// Share of time in which some task waited for a processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_pressure_pct: Option<f64>,
    /// Share of time in which some task waited for memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_pressure_pct: Option<f64>,
    /// Processor time withheld by a control group's quota, as a share of the model's processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_throttled_pct: Option<f64>,
    /// Pages swapped in or out per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swapped_pages_per_s: Option<f64>,
    /// Context switches per second on the whole machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_switches_per_s: Option<f64>,
    /// Context switches per second of the model host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_context_switches_per_s: Option<f64>,
    /// Page faults per second on the whole machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_faults_per_s: Option<f64>,
    /// Page faults per second of the model host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_page_faults_per_s: Option<f64>,
    /// Page faults per second of the model host that waited for a disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_major_faults_per_s: Option<f64>,
    /// The largest resident memory of the model host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_memory_bytes: Option<u64>,
    /// The least memory that was available on the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_memory_bytes: Option<u64>,
}

impl MachineReport {
    /// The report of what was sampled; `None` without a sample.
    #[must_use]
    pub fn of(sampled: &Utilization) -> Option<Self> {
        // JSON knows neither NaN nor infinity, and a count that rounding took below zero is none.
        let finite = |value: Option<f64>| {
            value.filter(|value| value.is_finite()).map(|value| value.max(0.0))
        };
        let shares = sampled.per_cpu_pct.iter();
        (sampled.samples > 0).then(|| Self {
            per_cpu_pct: shares.copied().filter(|share| share.is_finite()).collect(),
            steal_pct: finite(sampled.steal_pct),
            other_cpu_pct: finite(sampled.other_cpu_pct),
            host_cpu_pct: finite(sampled.host_cpu_pct),
            cpu_mhz: finite(sampled.cpu_mhz),
            runnable_tasks: finite(sampled.runnable_tasks),
            other_runnable_tasks: finite(sampled.other_runnable_tasks),
            cpu_pressure_pct: finite(sampled.cpu_pressure_pct),
            memory_pressure_pct: finite(sampled.memory_pressure_pct),
            quota_throttled_pct: finite(sampled.quota_throttled_pct),
            swapped_pages_per_s: finite(sampled.swapped_pages_per_s),
            context_switches_per_s: finite(sampled.context_switches_per_s),
            host_context_switches_per_s: finite(sampled.host_context_switches_per_s),
            page_faults_per_s: finite(sampled.page_faults_per_s),
            host_page_faults_per_s: finite(sampled.host_page_faults_per_s),
            host_major_faults_per_s: finite(sampled.host_major_faults_per_s),
            host_memory_bytes: sampled.host_memory_bytes.map(|bytes| bytes.count()),
            available_memory_bytes: sampled.machine_available_bytes.map(|bytes| bytes.count()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_number_is_absent_and_nothing_is_below_zero() {
        let sampled = Utilization {
            samples: 3,
            per_cpu_pct: vec![97.0, f64::NAN],
            steal_pct: Some(f64::NAN),
            other_runnable_tasks: Some(-0.2),
            cpu_pressure_pct: Some(4.0),
            ..Utilization::default()
        };
        let report = serde_json::to_value(MachineReport::of(&sampled)).unwrap();
        let expected = serde_json::json!({
            "per_cpu_pct": [97.0], "other_runnable_tasks": 0.0, "cpu_pressure_pct": 4.0
        });
        assert_eq!(report, expected);
    }

    #[test]
    fn a_machine_that_was_never_sampled_has_no_report() {
        let unsampled = Utilization { steal_pct: Some(1.0), ..Utilization::default() };
        assert_eq!(MachineReport::of(&unsampled), None);
    }
}
