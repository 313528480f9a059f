//! A trial on an endpoint: a server that runs already is loaded as it is, and seen from outside only.
//!
//! Its address is the operator's, given to this agent by name: a coordinator can ask for a name and never
//! for an address. Nothing of it is started, limited or stopped here.

use std::{sync::Arc, time::Duration};

use assay_measure::{
    hardware::{GpuUtilization, Utilization},
    ids::EndpointName,
    outcome::{FailureKind, Stage, TrialOutcome},
};

use super::{
    CHECK_AT_MOST, COOL_DOWN, Trial,
    comparison::Outputs,
    failure::{Stop, failed},
    measurement,
    measuring::{self, Problem, error_chain},
};
use crate::{
    capacity::one_request,
    hardware::facts::host_facts,
    load::{Generator, figures::StepEnd},
    model_host::client::HostStatistics,
    target::{Address, Target, TargetError},
};

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
    fn of(address: &Address) -> Self {
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

impl Trial {
    pub(super) async fn perform_on_endpoint(
        &mut self,
        name: &EndpointName,
    ) -> Result<TrialOutcome, Stop> {
        let Some(target) = self.runner.endpoints.get(name).cloned() else {
            let message = format!("this agent offers no endpoint {name}");
            return Err(Stop::of_endpoint(message));
        };
        let payload_name = self.spec.payload.artifact.name.clone();
        self.progress(Stage::Fetching, format!("fetching {payload_name}"), 0.0);
        let payload = self.read_payload().await?;
        self.progress(Stage::Starting, format!("connecting to endpoint {name}"), 0.02);
        let address = reach(&target)
            .await?
            .map_err(|error| failed(FailureKind::EndpointUnavailable, &error))?;
        let observability = Observability::of(&address);
        let (cpus, memory) = (self.runner.machine.cpus.clone(), self.runner.machine.memory);
        let sampler = self.start_sampler(cpus, memory)?;
        self.progress(Stage::WarmingUp, "checking the payload".to_owned(), 0.04);
        let record = self
            .load(measuring::Settings {
                spec: Arc::clone(&self.spec),
                target: target.clone(),
                address,
                payload,
                tries_bodies: true,
                spare_cpus: Vec::new(),
                clock: self.clock,
                sampler: Arc::clone(&sampler),
                observability,
                events: self.events.clone(),
                batch_log: None,
                outlook: None,
            })
            .await?;
        // A short load can be over before anybody is missed.
        reach(&target).await?.map_err(|error| {
            Stop::of_endpoint(format!(
                "endpoint {name} went away under load: {}",
                error_chain(&error)
            ))
        })?;
        self.progress(Stage::CoolingDown, "watching the machine without load".to_owned(), 0.97);
        let from_ns = sampler.mark();
        tokio::time::sleep(COOL_DOWN).await;
        let idle = self.window_until_now(&sampler, from_ns).await;
        let context = measurement::Context {
            spec: &self.spec,
            host: host_facts(&self.runner.machine),
            limits_in_force: Vec::new(),
            statistics: HostStatistics::default(),
            idle,
            outputs: Outputs::default(),
            remarks: std::mem::take(&mut self.remarks),
            ready_after: Duration::ZERO,
            took: Duration::from_nanos(self.clock.now_ns()),
            sampler: &sampler,
            observability,
            model_vcpus: self.runner.machine.cpus.len(),
            shares_cores: observability != Observability::Nothing,
        };
        Ok(TrialOutcome::Measured(Box::new(measurement::measurement(record, context))))
    }
}

/// An address that accepts connections, looked for where blocking is allowed.
async fn reach(target: &Target) -> Result<Result<Address, TargetError>, Stop> {
    let target = target.clone();
    let reached = tokio::task::spawn_blocking(move || target.reach()).await;
    reached.map_err(|error| failed(FailureKind::Internal, &error))
}

/// Sends bodies one at a time, each once: what an endpoint does not take is told before any load.
pub(super) fn try_bodies(
    generator: &mut Generator,
    bodies: usize,
    timeout: Duration,
) -> Result<(), Problem> {
    for number in 0..bodies {
        if Duration::from_nanos(generator.clock().now_ns()) > CHECK_AT_MOST {
            tracing::info!(
                number,
                of = bodies,
                "the rest of the payload is not checked one by one"
            );
            return Ok(());
        }
        let index = u32::try_from(number).unwrap_or(u32::MAX);
        // Beyond it the request has failed.
        let step = one_request(index, timeout + Duration::from_secs(1));
        generator.submit(&step).map_err(Problem::of_generator)?;
        let result = generator.wait_next().map_err(Problem::of_generator)?;
        let gone = || Problem::Generator("the load was cancelled".to_owned());
        let result = result.ok_or_else(gone)?;
        match result.end {
            StepEnd::Complete => {}
            StepEnd::Cancelled => return Err(gone()),
            StepEnd::TargetLost { reason } => return Err(Problem::TargetLost { reason }),
        }
        if let Some(failure) = result.figures.first_failure {
            return Err(Problem::BodyRefused { number, failure: Box::new(failure) });
        }
    }
    Ok(())
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
