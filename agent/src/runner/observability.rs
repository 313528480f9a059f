//! How much of what is loaded can be seen from this machine.

use assay_measure::hardware::{GpuUtilization, Utilization};

use crate::target::Address;

/// How much of what is loaded can be seen on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Observability {
    /// Its process: what it uses is told from what others use.
    Process,
    /// The machine that it runs on, and not which of the processes it is.
    Machine,
    Nothing,
}

impl Observability {
    pub(super) fn of(address: &Address) -> Self {
        if address.is_on_this_machine() { Self::Machine } else { Self::Nothing }
    }

    /// What a sample of this machine says of what is loaded.
    pub(super) fn narrowed(self, sampled: Utilization) -> Utilization {
        match self {
            Self::Process => sampled,
            Self::Machine => Utilization {
                other_cpu_pct: None,
                other_runnable_tasks: None,
                gpus: sampled.gpus.into_iter().map(without_processes).collect(),
                ..sampled
            },
            Self::Nothing => Utilization::default(),
        }
    }
}

fn without_processes(gpu: GpuUtilization) -> GpuUtilization {
    GpuUtilization { shared_with_others: None, other_processes: None, ..gpu }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_use_is_not_known_where_the_endpoint_is_one_of_them() {
        let sampled = Utilization {
            cpu_pct: Some(90.0),
            steal_pct: Some(0.5),
            other_cpu_pct: Some(80.0),
            other_runnable_tasks: Some(3.0),
            gpus: vec![GpuUtilization { other_processes: Some(1), ..GpuUtilization::default() }],
            samples: 9,
            ..Utilization::default()
        };
        let seen = Observability::Machine.narrowed(sampled.clone());
        assert_eq!((seen.cpu_pct, seen.steal_pct), (Some(90.0), Some(0.5)));
        assert_eq!((seen.other_cpu_pct, seen.other_runnable_tasks), (None, None));
        assert_eq!(seen.gpus[0].other_processes, None);
        assert_eq!(Observability::Nothing.narrowed(sampled.clone()), Utilization::default());
        assert_eq!(Observability::Process.narrowed(sampled.clone()), sampled);
    }
}
