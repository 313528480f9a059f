//! `UpdateModelPackage`: approval, description, metadata, further specifications.

use std::collections::BTreeMap;

use assay_sagemaker::{
    error::ApiError,
    shapes::packages::{PackageDescription, UpdateModelPackageRequest, UpdateModelPackageResponse},
};

use super::{Kept, Update, arn, checksum, require, token_reused};
use crate::{
    sagemaker::{
        Api, parsed,
        registry::{conflict, document, now},
    },
    store::registry::Resource,
};

// Somebody else was faster every time: the client decides whether to go on.
const ATTEMPTS: usize = 5;
const MOST_METADATA: usize = 50;
const MOST_SPECIFICATIONS: usize = 15;

/// Changes a package. The same request may come twice.
pub(crate) async fn update(
    api: &Api,
    mut request: UpdateModelPackageRequest,
) -> Result<UpdateModelPackageResponse, ApiError> {
    let token = request.client_token.take();
    let this = Update { token, request_sha256: checksum(&document(&request)?) };
    for _ in 0..ATTEMPTS {
        let found = require(api, &request.model_package_arn).await?;
        let model_package_arn = arn(api, &found.name);
        let kept: Kept = parsed(found.document.clone())?;
        if is_repeated(kept.last_update.as_ref(), &this)? {
            return Ok(UpdateModelPackageResponse { model_package_arn });
        }
        let changed = changed(api, found, kept, &request, &this)?;
        if api.store.change(&changed).await? {
            return Ok(UpdateModelPackageResponse { model_package_arn });
        }
    }
    Err(conflict("The model package is being changed by others; try again."))
}

fn is_repeated(last: Option<&Update>, this: &Update) -> Result<bool, ApiError> {
    match last {
        Some(last) if last.token.is_some() && last.token == this.token => {
            if last.request_sha256 == this.request_sha256 { Ok(true) } else { Err(token_reused()) }
        }
        Some(_) | None => Ok(false),
    }
}

fn changed(
    api: &Api,
    mut found: Resource,
    mut kept: Kept,
    request: &UpdateModelPackageRequest,
    this: &Update,
) -> Result<Resource, ApiError> {
    let UpdateModelPackageRequest {
        model_package_arn: _,
        model_approval_status,
        model_package_registration_type,
        approval_description,
        customer_metadata_properties,
        customer_metadata_properties_to_remove,
        additional_inference_specifications_to_add: _,
        inference_specification,
        source_uri,
        model_card,
        model_life_cycle,
        client_token: _,
    } = request.clone();
    add_specifications(&mut kept.request.described, request)?;
    let package = &mut kept.request.described;
    package.customer_metadata_properties = metadata(
        package.customer_metadata_properties.take().unwrap_or_default(),
        customer_metadata_properties.unwrap_or_default(),
        &customer_metadata_properties_to_remove.unwrap_or_default(),
    )?;
    replace(&mut package.model_package_registration_type, model_package_registration_type);
    replace(&mut package.inference_specification, inference_specification);
    replace(&mut package.source_uri, source_uri);
    replace(&mut package.model_card, model_card);
    replace(&mut package.model_life_cycle, model_life_cycle);
    replace(&mut kept.approval_description, approval_description);
    replace(&mut found.approval, model_approval_status);
    kept.last_update =
        Some(Update { token: this.token.clone(), request_sha256: this.request_sha256.clone() });
    found.modified_at = now(api);
    found.document = document(kept)?;
    Ok(found)
}

fn replace<T>(member: &mut Option<T>, by: Option<T>) {
    if by.is_some() {
        *member = by;
    }
}

fn metadata(
    mut all: BTreeMap<String, String>,
    added: BTreeMap<String, String>,
    removed: &[String],
) -> Result<Option<BTreeMap<String, String>>, ApiError> {
    all.retain(|key, _| !removed.contains(key));
    all.extend(added);
    if all.len() > MOST_METADATA {
        return Err(ApiError::validation(format!(
            "CustomerMetadataProperties: {} entries; {MOST_METADATA} is the limit.",
            all.len()
        )));
    }
    Ok(Some(all).filter(|all| !all.is_empty()))
}

fn add_specifications(
    package: &mut PackageDescription,
    request: &UpdateModelPackageRequest,
) -> Result<(), ApiError> {
    let Some(added) = &request.additional_inference_specifications_to_add else {
        return Ok(());
    };
    let mut all = package.additional_inference_specifications.take().unwrap_or_default();
    for specification in added {
        if all.iter().any(|known| known.name == specification.name) {
            return Err(conflict(format!(
                "An inference specification named {:?} exists already.",
                specification.name
            )));
        }
        all.push(specification.clone());
    }
    if all.len() > MOST_SPECIFICATIONS {
        return Err(ApiError::validation(format!(
            "AdditionalInferenceSpecifications: {} entries; {MOST_SPECIFICATIONS} is the limit.",
            all.len()
        )));
    }
    package.additional_inference_specifications = Some(all);
    Ok(())
}
