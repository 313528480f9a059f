//! A job as this API shows it: the request that it came from, or one that says the same about a job that came
//! another way.

use std::collections::BTreeSet;

use assay_measure::{
    ids::{JobName, SpecificationName},
    job::JobSpec,
    validity::Verdict,
};
use assay_planning::{
    planner::Plan,
    trial_state::{TrialEnd, TrialState},
};
use assay_sagemaker::{
    arn::Resource as Named,
    error::ApiError,
    recommendations::TrialRecord as TrialShown,
    shapes::jobs::{
        CreateInferenceRecommendationsJobRequest, EndpointInfo, InputConfig, LatencyPercentile,
        RecommendationJobStatus, RecommendationJobType,
    },
    status,
    timestamp::Timestamp,
};

use super::{intake::Intake, no_such_job};
use crate::{
    sagemaker::{Api, parsed},
    store::{JobSummary, TrialRecord, registry::Kind},
};

const LONGEST_MODEL_NAME: usize = 63;

/// A job with the request behind it.
pub(crate) struct Shown {
    pub(crate) summary: JobSummary,
    /// Absent for a job that did not come through this API.
    pub(crate) intake: Option<Intake>,
    made_up: CreateInferenceRecommendationsJobRequest,
}

impl Shown {
    /// Finds a job by its name.
    pub(crate) async fn find(api: &Api, name: &str) -> Result<Self, ApiError> {
        let parsed_name: JobName = name.parse().map_err(|_| no_such_job(name))?;
        let summary = api.store.job(&parsed_name).await?;
        let summary = summary.ok_or_else(|| no_such_job(name))?;
        let kept = api.store.resource(Kind::Job, name).await?;
        let intake = kept.map(|resource| parsed(resource.document)).transpose()?;
        let model = summary.spec.model().map_or("", |model| model.name.as_str());
        let mut made_up = made_up(name, model, api);
        made_up.input_config.endpoints = summary
            .spec
            .endpoint()
            .map(|endpoint| vec![EndpointInfo { endpoint_name: Some(endpoint.to_string()) }]);
        Ok(Self { summary, intake, made_up })
    }

    pub(crate) fn request(&self) -> CreateInferenceRecommendationsJobRequest {
        self.intake.as_ref().map_or_else(|| self.made_up.clone(), |intake| intake.request.clone())
    }

    pub(crate) fn arn(&self, api: &Api) -> String {
        api.account.arn(&Named::InferenceRecommendationsJob(self.summary.spec.name.to_string()))
    }

    /// The percentile that `ModelLatency` tells: the one of its threshold, p95 without one.
    pub(crate) fn percentile(&self) -> LatencyPercentile {
        let conditions =
            self.intake.as_ref().and_then(|one| one.request.stopping_conditions.as_ref());
        let thresholds = conditions.and_then(|one| one.model_latency_thresholds.as_ref());
        let first = thresholds.and_then(|thresholds| thresholds.first());
        first.and_then(|threshold| threshold.percentile).unwrap_or(LatencyPercentile::P95)
    }

    /// The invocations per minute that the endpoint must carry.
    pub(crate) fn target(&self) -> Option<i32> {
        self.intake.as_ref()?.request.stopping_conditions.as_ref()?.max_invocations
    }
}

/// A request that says what can be said of a job that did not come through this API.
pub(super) fn made_up(
    name: &str,
    model: &str,
    api: &Api,
) -> CreateInferenceRecommendationsJobRequest {
    let stem = model.split('.').next().unwrap_or_default();
    let clean = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let model_name: String = stem.chars().map(clean).take(LONGEST_MODEL_NAME).collect();
    let model_name = model_name.trim_matches('-').to_owned();
    CreateInferenceRecommendationsJobRequest {
        job_name: name.to_owned(),
        job_type: RecommendationJobType::Default,
        role_arn: format!("arn:aws:iam::{}:role/assay", api.account.id()),
        input_config: InputConfig {
            model_name: Some(model_name).filter(|name| !name.is_empty()),
            ..InputConfig::default()
        },
        job_description: Some("not created through the SageMaker API".to_owned()),
        stopping_conditions: None,
        output_config: None,
        tags: None,
    }
}

/// A trial by its id: where it stands, how it serves the model, and when it was under load.
pub(super) fn trial(
    (spec, plan): (&JobSpec, &Plan),
    (record, began_at): (TrialRecord, Option<jiff::Timestamp>),
) -> (String, TrialShown) {
    let ended_at = match &record.trial.state {
        TrialState::Ended { ended_at, .. } => Some(*ended_at),
        TrialState::Queued
        | TrialState::Leased { .. }
        | TrialState::Running { .. }
        | TrialState::Cancelling { .. } => None,
    };
    // Figures that cannot be believed are no success; the step says why.
    let unbelievable = record
        .trial
        .end()
        .and_then(TrialEnd::measurement)
        .is_some_and(|measured| measured.validity.verdict == Verdict::Invalid);
    let mut status = status::of_trial(&record.trial.state, began_at.is_some());
    if unbelievable && status == RecommendationJobStatus::Completed {
        status = RecommendationJobStatus::Failed;
    }
    let specification =
        plan.candidates_of(&record.id).find_map(|candidate| candidate.specification.as_ref());
    let shown = TrialShown {
        status,
        configuration: plan
            .trial(&record.id)
            .and_then(|trial| trial.subject.served())
            .map(|served| served.configuration.clone()),
        brought_along: brought_along(spec, specification),
        specification: specification.map(SpecificationName::to_string),
        invocations: began_at
            .zip(ended_at)
            .map(|(began, ended)| (Timestamp::new(began), Timestamp::new(ended))),
    };
    (record.id.to_string(), shown)
}

/// The variables of the model's own that no instance type varies.
fn brought_along(spec: &JobSpec, by: Option<&SpecificationName>) -> BTreeSet<String> {
    let is_varied = |name: &str| {
        let mut varied = spec.instance_types.iter().flat_map(|one| one.environment.iter());
        varied.any(|(known, _)| known == name)
    };
    let mut described = spec.instance_types.iter().filter_map(|one| one.specification.as_ref());
    let environment = match by {
        Some(name) => described.find(|one| one.name == *name).map(|one| &one.environment),
        None => Some(&spec.environment),
    };
    let names = environment.into_iter().flat_map(|one| one.variables().keys());
    names.filter(|name| !is_varied(name)).cloned().collect()
}
