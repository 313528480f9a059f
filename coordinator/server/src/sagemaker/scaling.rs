//! `GetScalingConfigurationRecommendation`: the load curve of one recommendation, as the pure crate reads it.

use assay_sagemaker::{
    error::{ApiError, ErrorCode},
    recommendations::{ListOrder, Results},
    scaling::{self, Measured},
    shapes::{
        jobs::InferenceRecommendation,
        scaling::{
            GetScalingConfigurationRecommendationRequest,
            GetScalingConfigurationRecommendationResponse,
        },
    },
};

use super::{
    Api,
    jobs::{Found, Shown},
};

/// Finds the recommendation by its id or its endpoint, and scales it.
pub(crate) async fn recommend(
    api: &Api,
    request: &GetScalingConfigurationRecommendationRequest,
) -> Result<GetScalingConfigurationRecommendationResponse, ApiError> {
    let job = Shown::find(api, &request.inference_recommendations_job_name).await?;
    let found = job.results(api).await?;
    let results = found.as_results(api, &job);
    let (endpoint, max_invocations) =
        meant(&results, request).ok_or_else(|| no_such_recommendation(request))?;
    let steps = found.steps_of(job.summary.spec.name.as_str(), &endpoint);
    scaling::recommend(
        request,
        &Measured {
            steps,
            endpoint_max_invocations: max_invocations,
            percentile: job.percentile(),
            latency_unit: api.settings.latency_unit,
        },
    )
}

/// The endpoint that is meant, a recommended one or one that existed, and the invocations it carries.
fn meant(
    results: &Results<'_>,
    request: &GetScalingConfigurationRecommendationRequest,
) -> Option<(String, i32)> {
    let recommended = results.recommendations(ListOrder::CheapestFirst);
    if let Some(chosen) = recommended.into_iter().find(|one| is_meant(request, one)) {
        let carried = chosen.metrics.and_then(|metrics| metrics.max_invocations);
        return Some((chosen.endpoint_configuration.endpoint_name, carried.unwrap_or(0)));
    }
    let existing =
        request.endpoint_name.as_ref().filter(|_| request.recommendation_id.is_none())?;
    let performance = results.endpoint_performance(existing)?;
    Some((existing.clone(), performance.metrics.max_invocations))
}

fn is_meant(
    request: &GetScalingConfigurationRecommendationRequest,
    one: &InferenceRecommendation,
) -> bool {
    match (&request.recommendation_id, &request.endpoint_name) {
        (Some(id), _) => one.recommendation_id.as_ref() == Some(id),
        (None, Some(name)) => one.endpoint_configuration.endpoint_name == *name,
        (None, None) => false,
    }
}

fn no_such_recommendation(request: &GetScalingConfigurationRecommendationRequest) -> ApiError {
    let wanted = request.recommendation_id.as_ref().or(request.endpoint_name.as_ref());
    ApiError::new(
        ErrorCode::ResourceNotFound,
        format!(
            "Job {} has no recommendation {}.",
            request.inference_recommendations_job_name,
            wanted.map_or("", String::as_str)
        ),
    )
}

impl Found {
    /// The steps of the trial that was measured as this endpoint.
    fn steps_of(&self, job: &str, endpoint: &str) -> &[assay_measure::outcome::StepResult] {
        let of_candidate = self.facts.plan.candidates.iter().find_map(|candidate| {
            let trials = candidate.stage.screening().into_iter().chain([&candidate.trial]);
            let mut trials = trials.filter(|trial| {
                assay_sagemaker::recommendations::endpoint_name(job, trial.as_str(), candidate)
                    == endpoint
            });
            trials.next()
        });
        let trial = of_candidate.and_then(|trial| self.facts.trials.get(trial));
        trial.map_or(&[], |trial| trial.steps.as_slice())
    }
}
