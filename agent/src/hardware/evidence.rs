//! What the figures of one window say about how far a measurement can be trusted.
//!
//! Thresholds are not known here: the shared judge has them.

use assay_measure::{hardware::Utilization, units::Bytes, validity::MachineEvidence};

/// Samples below which a count of tasks at single moments says nothing.
const SAMPLES_FOR_RUN_QUEUE: u32 = 5;

/// The evidence in `utilization`, on a machine of `memory`. What needs more than one window is absent.
#[must_use]
pub fn of_window(utilization: &Utilization, memory: Bytes) -> MachineEvidence {
    let gpus = || utilization.gpus.iter();
    let available = utilization.machine_available_bytes.filter(|_| memory > Bytes::default());
    let lost = gpus().filter(|gpu| gpu.lost).count();
    MachineEvidence {
        steal_pct: utilization.steal_pct,
        other_cpu_pct: utilization.other_cpu_pct,
        other_runnable_tasks: utilization
            .other_runnable_tasks
            .filter(|_| utilization.samples >= SAMPLES_FOR_RUN_QUEUE),
        quota_throttled_pct: utilization.quota_throttled_pct,
        memory_pressure_pct: utilization.memory_pressure_pct,
        swapped_pages_per_s: utilization.swapped_pages_per_s,
        memory_available_pct: available
            .map(|bytes| bytes.count() as f64 / memory.count() as f64 * 100.0),
        gpu_other_processes: gpus().filter_map(|gpu| gpu.other_processes).max(),
        gpu_throttled_pct: gpus().filter_map(|gpu| gpu.throttled_pct).max_by(f64::total_cmp),
        gpus_lost: u32::try_from(lost).unwrap_or(u32::MAX),
        ..MachineEvidence::default()
    }
}

#[cfg(test)]
mod tests {
    use assay_measure::validity::{Evidence, FindingName, judge};

    use super::*;

    fn findings(utilization: &Utilization) -> Vec<FindingName> {
        let machine = Some(of_window(utilization, Bytes::gib(4)));
        let validity = judge(&Evidence { machine, ..Evidence::default() });
        validity.findings.iter().map(|found| found.name).collect()
    }

    fn quiet() -> Utilization {
        Utilization {
            samples: 10,
            machine_available_bytes: Some(Bytes::gib(3)),
            ..Utilization::default()
        }
    }

    #[test]
    fn each_figure_of_the_machine_reaches_the_judge() {
        assert_eq!(findings(&quiet()), vec![]);
        let queue = Utilization { other_runnable_tasks: Some(3.0), ..quiet() };
        assert_eq!(findings(&queue), vec![FindingName::RunQueue]);
        let quota = Utilization { quota_throttled_pct: Some(4.0), ..quiet() };
        assert_eq!(findings(&quota), vec![FindingName::CpuThrottled]);
        let stalled = Utilization { memory_pressure_pct: Some(4.0), ..quiet() };
        assert_eq!(findings(&stalled), vec![FindingName::MemoryStall]);
        let swapping = Utilization { swapped_pages_per_s: Some(400.0), ..quiet() };
        assert_eq!(findings(&swapping), vec![FindingName::Swapping]);
        let short = Utilization { machine_available_bytes: Some(Bytes::mib(1)), ..quiet() };
        assert_eq!(findings(&short), vec![FindingName::MemoryPressure]);
    }

    #[test]
    fn a_few_moments_say_nothing_of_the_run_queue() {
        let brief = Utilization { other_runnable_tasks: Some(3.0), samples: 4, ..quiet() };
        assert_eq!(findings(&brief), vec![]);
    }
}
