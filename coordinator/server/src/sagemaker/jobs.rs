//! Recommendation jobs: create, describe, list, stop.
//!
//! A job made here is an ordinary one, with its request kept beside it; a job made elsewhere is shown with
//! what can be said of it. Names are used up for good, whoever used them.

mod files;
pub(crate) mod inputs;
pub(crate) mod intake;
pub(crate) mod shown;
mod spec;

use std::sync::Arc;

use assay_measure::{ids::JobName, job::JobStatus};
use assay_planning::{
    job_report::{self, Overrides},
    planner::PlanError,
};
use assay_sagemaker::{
    arn::Resource as Named,
    error::{ApiError, ErrorCode},
    recommendations::Results,
    shapes::{
        jobs::{
            CreateInferenceRecommendationsJobRequest, CreateInferenceRecommendationsJobResponse,
            DescribeInferenceRecommendationsJobRequest,
            DescribeInferenceRecommendationsJobResponse, JobSortKey, JobSummary,
            ListInferenceRecommendationsJobsRequest, ListInferenceRecommendationsJobsResponse,
            StopInferenceRecommendationsJobRequest,
        },
        lists::SortOrder,
    },
    status,
    timestamp::Timestamp,
};
use tokio::sync::oneshot;

pub(crate) use self::{files::resume, shown::Shown};
use crate::{
    dispatch::{Event, Refused, Stopping},
    sagemaker::{Api, Caller, jobs::intake::Intake, paging, parsed},
    store::{
        job_list::{JobLine, JobListQuery},
        registry::{Added, Kind, NewResource},
    },
};

/// Who stops a job that is stopped through this API, for its record.
const STOPPED_BY: &str = "StopInferenceRecommendationsJob";

/// `CreateInferenceRecommendationsJob`: accepts the job; its files are fetched afterwards, as a part of it.
pub(crate) async fn create(
    api: &Arc<Api>,
    request: CreateInferenceRecommendationsJobRequest,
) -> Result<CreateInferenceRecommendationsJobResponse, ApiError> {
    let intake = Intake::of(api, request).await?;
    let spec = spec::job_spec(&intake, api.account.region())?;
    let job_arn =
        api.account.arn(&Named::InferenceRecommendationsJob(intake.request.job_name.clone()));
    // A client that hangs up must not leave half a job behind.
    let (answer, answered) = oneshot::channel();
    let owned = Arc::clone(api);
    api.background.run(async move {
        drop(answer.send(accept(&owned, intake, spec).await));
    });
    answered.await.map_err(|_| stopping(Stopping))??;
    Ok(CreateInferenceRecommendationsJobResponse { job_arn })
}

/// Keeps the request first, so that no job of this API is ever without it.
async fn accept(
    api: &Arc<Api>,
    intake: Intake,
    spec: assay_measure::job::JobSpec,
) -> Result<(), ApiError> {
    let name = spec.name.clone();
    let document = serde_json::to_value(&intake)
        .map_err(|error| ApiError::new(ErrorCode::InternalFailure, error.to_string()))?;
    let tags = intake.request.tags.clone().unwrap_or_default();
    let kept = NewResource::named(Kind::Job, name.to_string(), api.clock.now(), document);
    match api.store.add(NewResource { tags, ..kept }).await? {
        Added::New(_) => {}
        Added::NameTaken | Added::Before(_) | Added::NoGroup | Added::TokenReused => {
            return Err(name_taken(&name));
        }
    }
    let create = |answer| Event::CreateJob { spec: Box::new(spec), hold: None, answer };
    let created = match api.dispatch.ask(create).await {
        Ok(created) => created.map_err(|error| refused(&name, &error)),
        Err(error) => Err(stopping(error)),
    };
    if let Err(error) = created {
        api.store.remove(Kind::Job, name.as_str()).await?;
        return Err(error);
    }
    files::begin(api, name, intake.subject);
    Ok(())
}

fn refused(name: &JobName, error: &Refused) -> ApiError {
    match error {
        Refused::NameTaken(_) => name_taken(name),
        Refused::Plan(error @ PlanError::NoSuchEndpoint { endpoint, .. }) => {
            ApiError::validation(format!("Could not find endpoint \"{endpoint}\": {error}."))
        }
        Refused::NoSuchJob(_)
        | Refused::Plan(_)
        | Refused::JobEnded(_)
        | Refused::JobActive(_)
        | Refused::NoSuchAgent(_)
        | Refused::AgentConnected(_)
        | Refused::AgentHoldsTrial { .. } => ApiError::validation(error.to_string()),
    }
}

fn name_taken(name: &JobName) -> ApiError {
    ApiError::new(
        ErrorCode::ResourceInUse,
        format!("Inference Recommendations job {name} already exists; names are never used twice."),
    )
}

fn stopping(error: Stopping) -> ApiError {
    ApiError::new(ErrorCode::InternalFailure, error.to_string())
}

/// The answer of every operation that names a job which is not there.
pub(crate) fn no_such_job(name: &str) -> ApiError {
    ApiError::new(
        ErrorCode::ResourceNotFound,
        format!("Could not find inference recommendations job with name: {name}"),
    )
}

/// `DescribeInferenceRecommendationsJob`.
pub(crate) async fn describe(
    api: &Api,
    request: &DescribeInferenceRecommendationsJobRequest,
    caller: &Caller,
) -> Result<DescribeInferenceRecommendationsJobResponse, ApiError> {
    let job = Shown::find(api, &request.job_name).await?;
    let (mut found, mut performance) = (Vec::new(), None);
    if job.summary.status.is_final() && job.summary.planned.is_some() {
        let order = api.settings.order.for_user_agent(&caller.user_agent);
        let results = job.results(api).await?;
        let results = results.as_results(api, &job);
        found = results.recommendations(order);
        let endpoint = job.summary.spec.endpoint();
        performance = endpoint.and_then(|name| results.endpoint_performance(name.as_str()));
    }
    let request = job.request();
    let summary = &job.summary;
    Ok(DescribeInferenceRecommendationsJobResponse {
        job_arn: job.arn(api),
        status: status::of_job(&summary.state),
        creation_time: Timestamp::new(summary.created_at),
        last_modified_time: Timestamp::new(summary.modified_at),
        completion_time: summary.finished_at.map(Timestamp::new),
        failure_reason: failure_reason(summary.status, &summary.reason),
        inference_recommendations: Some(found).filter(|found| !found.is_empty()),
        endpoint_performances: performance.map(|one| vec![one]),
        job_name: request.job_name,
        job_type: request.job_type,
        role_arn: request.role_arn,
        input_config: request.input_config,
        job_description: request.job_description,
        stopping_conditions: request.stopping_conditions,
    })
}

fn failure_reason(status: JobStatus, reason: &str) -> Option<String> {
    (status == JobStatus::Failed).then(|| status::cut(reason))
}

/// `ListInferenceRecommendationsJobs`.
pub(crate) async fn list(
    api: &Api,
    request: ListInferenceRecommendationsJobsRequest,
) -> Result<ListInferenceRecommendationsJobsResponse, ApiError> {
    let page = paging::page_size(request.max_results);
    let time = |given: Option<Timestamp>| given.map(Timestamp::time);
    let mut query = JobListQuery {
        created_after: time(request.creation_time_after),
        created_before: time(request.creation_time_before),
        modified_after: time(request.last_modified_time_after),
        modified_before: time(request.last_modified_time_before),
        name_contains: request.name_contains,
        status: request.status_equals,
        model_name: request.model_name_equals,
        package_arn: request.model_package_version_arn_equals,
        sort_by: request.sort_by.unwrap_or(JobSortKey::CreationTime),
        order: request.sort_order.unwrap_or(SortOrder::Descending),
        after: None,
        limit: page + 1,
    };
    query.after = paging::position(&query, request.next_token.as_deref())?;
    let mut lines = api.store.job_list(&query).await?;
    let next_token = paging::cut(&mut lines, page, &query, |last| last.position.clone());
    let jobs = lines.into_iter().map(|line| entry(api, line)).collect::<Result<_, _>>()?;
    Ok(ListInferenceRecommendationsJobsResponse {
        inference_recommendations_jobs: jobs,
        next_token,
    })
}

fn entry(api: &Api, line: JobLine) -> Result<JobSummary, ApiError> {
    let intake: Option<Intake> = line.intake.map(parsed).transpose()?;
    let request = match &intake {
        Some(intake) => intake.request.clone(),
        None => shown::made_up(&line.name, &line.model, api),
    };
    let input = request.input_config;
    Ok(JobSummary {
        job_arn: api.account.arn(&Named::InferenceRecommendationsJob(line.name.clone())),
        job_name: line.name,
        // Required here, though nobody has to give one.
        job_description: request.job_description.unwrap_or_default(),
        job_type: request.job_type,
        status: status::of_job(&line.state),
        creation_time: Timestamp::new(line.created_at),
        role_arn: request.role_arn,
        last_modified_time: Timestamp::new(line.modified_at),
        completion_time: line.finished_at.map(Timestamp::new),
        failure_reason: failure_reason(line.state.status(), &line.reason),
        model_name: input.model_name,
        sample_payload_url: intake.map(|intake| intake.subject.payload_url),
        model_package_version_arn: input.model_package_version_arn,
    })
}

/// `StopInferenceRecommendationsJob`: asks; what was measured stands. A job that has ended stays as it is, and
/// so does one that is stopping: clients stop to be sure.
pub(crate) async fn stop(
    api: &Api,
    request: &StopInferenceRecommendationsJobRequest,
) -> Result<(), ApiError> {
    let name: JobName = request.job_name.parse().map_err(|_| no_such_job(&request.job_name))?;
    let stop = |answer| Event::StopJob { name: name.clone(), by: STOPPED_BY.to_owned(), answer };
    match api.dispatch.ask(stop).await.map_err(stopping)? {
        Ok(()) | Err(Refused::JobEnded(_)) => Ok(()),
        Err(Refused::NoSuchJob(_)) => Err(no_such_job(&request.job_name)),
        Err(error) => Err(refused(&name, &error)),
    }
}

/// Everything that a job's results are told from.
pub(crate) struct Found {
    pub(crate) facts: job_report::JobFacts,
    report: assay_planning::report::JobReport,
    pub(crate) trials:
        std::collections::BTreeMap<String, assay_sagemaker::recommendations::TrialRecord>,
}

impl Found {
    /// As the pure crate takes them.
    pub(crate) fn as_results<'a>(&'a self, api: &Api, job: &Shown) -> Results<'a> {
        Results {
            report: &self.report,
            trials: &self.trials,
            target: job.target(),
            percentile: job.percentile(),
            latency_unit: api.settings.latency_unit,
        }
    }
}

impl Shown {
    /// What came of the job so far.
    pub(crate) async fn results(&self, api: &Api) -> Result<Found, ApiError> {
        let name = &self.summary.spec.name;
        let facts = api.store.job_facts(name).await?;
        let facts = facts.ok_or_else(|| no_such_job(name.as_str()))?;
        let report = job_report::build(&facts, Overrides::default());
        let trials = api.store.trials(name).await?;
        let trials =
            trials.into_iter().map(|one| shown::trial((&facts.spec, &facts.plan), one)).collect();
        Ok(Found { facts, report, trials })
    }
}
