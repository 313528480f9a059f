//! What a request asks for. What cannot be understood gets a page like every other error.

use axum::{
    RequestPartsExt,
    extract::{self, FromRequest, FromRequestParts, Request},
};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::refusal::Refusal;

/// Of the URL, after `?`.
pub(super) struct Query<T>(pub(super) T);

/// Of the URL's path.
pub(super) struct Path<T>(pub(super) T);

/// Of a form.
pub(super) struct Form<T>(pub(super) T);

impl<T: DeserializeOwned + 'static, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        match parts.extract::<extract::Query<T>>().await {
            Ok(extract::Query(asked)) => Ok(Self(asked)),
            Err(error) => Err(Refusal::bad_request(error.body_text(), "")),
        }
    }
}

impl<T: DeserializeOwned + Send + 'static, S: Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        match parts.extract::<extract::Path<T>>().await {
            Ok(extract::Path(asked)) => Ok(Self(asked)),
            Err(error) => Err(Refusal::bad_request(error.body_text(), "")),
        }
    }
}

impl<T: DeserializeOwned + 'static, S: Sync> FromRequest<S> for Form<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        match extract::Form::<T>::from_request(request, &()).await {
            Ok(extract::Form(asked)) => Ok(Self(asked)),
            Err(error) => Err(Refusal::bad_request(error.body_text(), "")),
        }
    }
}
