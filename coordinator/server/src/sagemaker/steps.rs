//! `ListInferenceRecommendationsJobSteps`: the benchmarks of a job, one per candidate.

use std::collections::BTreeMap;

use assay_planning::planner::Candidate;
use assay_sagemaker::{
    error::ApiError,
    recommendations::endpoint_name,
    shapes::jobs::{
        JobStep, ListInferenceRecommendationsJobStepsRequest,
        ListInferenceRecommendationsJobStepsResponse, RecommendationJobStatus as Status,
    },
};
use serde::Serialize;

use super::{
    Api,
    jobs::{Found, Shown},
    paging,
};

/// What makes two requests the same list.
#[derive(Serialize)]
struct Query<'a> {
    job: &'a str,
    status: Option<Status>,
}

/// The steps in the order of the plan: that order does not change while the job runs, so pages fit together.
pub(crate) async fn list(
    api: &Api,
    request: &ListInferenceRecommendationsJobStepsRequest,
) -> Result<ListInferenceRecommendationsJobStepsResponse, ApiError> {
    let job = Shown::find(api, &request.job_name).await?;
    let query = Query { job: &request.job_name, status: request.status };
    let from: usize = paging::position(&query, request.next_token.as_deref())?.unwrap_or_default();
    let found = job.results(api).await?;
    let steps = in_order(api, &job, &found);
    let wanted: Vec<JobStep> = steps
        .into_iter()
        .filter(|step| request.status.is_none_or(|status| status == step.status))
        .collect();
    let page = paging::page_size(request.max_results);
    let until = from.saturating_add(page);
    let next_token = (wanted.len() > until).then(|| paging::next_token(&query, until));
    let steps = wanted.into_iter().skip(from).take(page).collect();
    Ok(ListInferenceRecommendationsJobStepsResponse { steps: Some(steps), next_token })
}

fn in_order(api: &Api, job: &Shown, found: &Found) -> Vec<JobStep> {
    let name = job.summary.spec.name.as_str();
    let plan = &found.facts.plan;
    let mut place_of = BTreeMap::new();
    for (place, candidate) in plan.candidates.iter().enumerate() {
        for trial in trials_of(candidate) {
            place_of.insert(endpoint_name(name, trial, candidate), place);
        }
    }
    let mut placed: BTreeMap<usize, JobStep> = BTreeMap::new();
    let mut beyond = Vec::new();
    let results = found.as_results(api, job);
    for step in results.steps() {
        let benchmark = step.inference_benchmark.as_ref();
        let endpoint = benchmark.and_then(|one| one.endpoint_configuration.as_ref());
        match endpoint.and_then(|endpoint| place_of.get(&endpoint.endpoint_name)) {
            Some(place) => drop(placed.insert(*place, step)),
            None => beyond.push(step),
        }
    }
    for (place, candidate) in plan.candidates.iter().enumerate() {
        placed.entry(place).or_insert_with(|| results.unfinished_step(candidate));
    }
    placed.into_values().chain(beyond).collect()
}

/// A candidate that is measured quickly first has two, and either may be the one that counts.
fn trials_of(candidate: &Candidate) -> impl Iterator<Item = &str> {
    candidate.stage.screening().into_iter().chain([&candidate.trial]).map(|trial| trial.as_str())
}
