//! A trial on an endpoint: a server that runs already is loaded as it is, and seen from outside only.
//!
//! Its address is the operator's, given to this agent by name: a coordinator can ask for a name and never
//! for an address. Nothing of it is started, limited or stopped here.

use std::{sync::Arc, time::Duration};

use assay_measure::{
    ids::EndpointName,
    outcome::{FailureKind, Stage, TrialOutcome},
};

use super::{
    COOL_DOWN, Trial,
    comparison::Outputs,
    failure::{Stop, failed},
    measurement, measuring,
    observability::Observability,
    problem::error_chain,
};
use crate::{
    hardware::facts::host_facts,
    model_host::client::HostStatistics,
    target::{Address, Target, TargetError},
};

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
