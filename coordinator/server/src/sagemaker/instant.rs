//! What `DescribeModel` recommends at once: what earlier jobs measured of the same model data.
//!
//! The same model data is the same URL: nothing is fetched for a description.

use std::collections::BTreeMap;

use assay_sagemaker::{
    error::{ApiError, ErrorCode},
    naming::split_recommendation_id,
    recommendations::ListOrder,
    shapes::{
        jobs::InferenceRecommendation,
        models::{
            CreateModelRequest, DeploymentRecommendation, RealTimeInferenceRecommendation,
            RecommendationStatus,
        },
    },
};

use crate::sagemaker::{
    Api,
    jobs::{intake, shown::Shown},
};

const MOST: usize = 3;

/// The cheapest of the last completed job that measured this model's data.
pub(crate) async fn recommendation(
    api: &Api,
    model: &CreateModelRequest,
) -> Result<DeploymentRecommendation, ApiError> {
    let found = match last_job(api, model).await? {
        Some(job) => cheapest(api, &job, &model.model_name).await?,
        None => Vec::new(),
    };
    let is_known = !found.is_empty();
    Ok(DeploymentRecommendation {
        recommendation_status: if is_known {
            RecommendationStatus::Completed
        } else {
            RecommendationStatus::NotApplicable
        },
        real_time_inference_recommendations: is_known.then_some(found),
    })
}

async fn last_job(api: &Api, model: &CreateModelRequest) -> Result<Option<String>, ApiError> {
    let url = match intake::model_url(api, model.clone()).await {
        Ok(url) => url,
        Err(error) if error.code == ErrorCode::InternalFailure => return Err(error),
        // A pipeline, or a package that is gone: nothing that a job could have measured.
        Err(_) => None,
    };
    match url {
        Some(url) => Ok(api.store.last_job_of(&url).await?),
        None => Ok(None),
    }
}

async fn cheapest(
    api: &Api,
    job: &str,
    model: &str,
) -> Result<Vec<RealTimeInferenceRecommendation>, ApiError> {
    let shown = match Shown::find(api, job).await {
        Ok(shown) => shown,
        // Deleted a moment ago.
        Err(error) if error.code == ErrorCode::ResourceNotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let found = shown.results(api).await?;
    let all = found.as_results(api, &shown).recommendations(ListOrder::CheapestFirst);
    Ok(all.into_iter().filter_map(|one| of_model(model, one)).take(MOST).collect())
}

fn of_model(
    model: &str,
    found: InferenceRecommendation,
) -> Option<RealTimeInferenceRecommendation> {
    let id = found.recommendation_id?;
    let (_, word) = split_recommendation_id(&id)?;
    let parameters = found.model_configuration.environment_parameters.unwrap_or_default();
    let environment: BTreeMap<String, String> =
        parameters.into_iter().map(|parameter| (parameter.key, parameter.value)).collect();
    Some(RealTimeInferenceRecommendation {
        recommendation_id: format!("{model}/{word}"),
        instance_type: found.endpoint_configuration.instance_type?,
        environment: Some(environment).filter(|environment| !environment.is_empty()),
    })
}
