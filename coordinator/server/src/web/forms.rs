//! Forms: to sign in and out, and what every form has to carry.

use std::time::Duration;

use assay_pages::login::Login;
use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, Request, State},
    response::{Html, IntoResponse, Redirect, Response},
};
use http::{HeaderMap, StatusCode, header};
use multer::{Field, Multipart};
use serde::Deserialize;
use tokio::time::{error::Elapsed, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Web,
    asked::{Form, Query},
    html,
    refusal::Refusal,
    visitors::Visitor,
};
use crate::dispatch::Stopping;

const LARGEST_FORM: usize = 64 << 10;
const SLOWEST_FORM: Duration = Duration::from_secs(10);
const LONGEST_TOKEN: usize = 200;
const WITH_FILES: &str = "multipart/form-data";
/// The one path that forms with files are sent to.
const UPLOADS: &str = "/jobs/new";

#[derive(Deserialize)]
struct WithToken {
    #[serde(default)]
    csrf: String,
}

fn late(_: Elapsed) -> Refusal {
    Refusal::new(StatusCode::REQUEST_TIMEOUT, "The form did not come within 10 s.", "")
}

/// The same request, if its form is the visitor's own. Whoever sends it slowly, or while the coordinator stops, is not
/// waited for.
pub(super) async fn checked(
    visitor: &Visitor,
    request: Request,
    stopping: &CancellationToken,
) -> Result<Request, Refusal> {
    let site = request.headers().get("sec-fetch-site").map(|site| site.as_bytes().to_owned());
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return Err(foreign());
    }
    let kind = form_kind(request.headers());
    // Read by [`UploadForm`] alone, which checks it as it arrives.
    if kind == Some(WITH_FILES) && request.uri().path() == UPLOADS {
        return Ok(request);
    }
    if kind.is_none_or(|kind| kind.trim() != "application/x-www-form-urlencoded") {
        return Err(Refusal::bad_request("The request carries no form.", ""));
    }
    let (parts, body) = request.into_parts();
    let body = tokio::select! {
        body = timeout(SLOWEST_FORM, to_bytes(body, LARGEST_FORM)) => body,
        () = stopping.cancelled() => return Err(Stopping.into()),
    };
    let body = body.map_err(late)?;
    let body = body.map_err(|_| {
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "The form is larger than 64 KiB.", "")
    })?;
    let copy = Request::from_parts(parts.clone(), Body::from(body.clone()));
    let Form(form) = Form::<WithToken>::from_request(copy, &()).await?;
    if !visitor.sent(&form.csrf) {
        return Err(foreign());
    }
    Ok(Request::from_parts(parts, Body::from(body)))
}

fn foreign() -> Refusal {
    Refusal::new(
        StatusCode::FORBIDDEN,
        "The form is not of this session.",
        "Load the page again and repeat what you did.",
    )
}

fn form_kind(headers: &HeaderMap) -> Option<&str> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    content_type.split(';').next().map(str::trim)
}

/// A form with files, which its token comes before.
pub(super) struct UploadForm(Multipart<'static>);

impl UploadForm {
    /// The next field, to be read before the one after it.
    pub(super) async fn next(&mut self) -> Result<Option<Field<'static>>, multer::Error> {
        self.0.next_field().await
    }
}

impl<S: Sync> FromRequest<S> for UploadForm {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let no_form = |_| Refusal::bad_request("The request carries no form.", "");
        let visitor = request.extensions().get::<Visitor>().cloned().ok_or_else(foreign)?;
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|it| it.to_str().ok()).unwrap_or_default();
        let boundary = multer::parse_boundary(content_type).map_err(no_form)?;
        let mut form = Multipart::new(request.into_body().into_data_stream(), boundary);
        let first = timeout(SLOWEST_FORM, async {
            let Some(mut field) = form.next_field().await? else { return Ok(Vec::new()) };
            let is_token = field.name() == Some("csrf");
            let mut token = Vec::new();
            while let Some(piece) = field.chunk().await? {
                token.extend_from_slice(&piece);
                if !is_token || token.len() > LONGEST_TOKEN {
                    return Ok(Vec::new());
                }
            }
            Ok::<_, multer::Error>(token)
        });
        let token = first.await.map_err(late)?.map_err(no_form)?;
        let token = String::from_utf8(token).unwrap_or_default();
        if visitor.sent(&token) { Ok(Self(form)) } else { Err(foreign()) }
    }
}

#[derive(Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

pub(super) async fn login_form(
    visitor: Visitor,
    Query(Next { next }): Query<Next>,
) -> Result<Response, Refusal> {
    if visitor.may_enter {
        return Ok(Redirect::to(own_path(&next)).into_response());
    }
    let page = Login { frame: visitor.frame(None), next, failed: false };
    Ok(html(&page)?.into_response())
}

#[derive(Deserialize)]
pub(super) struct Credentials {
    token: String,
    #[serde(default)]
    next: String,
}

pub(super) async fn login(
    State(web): State<Web>,
    visitor: Visitor,
    Form(Credentials { token, next }): Form<Credentials>,
) -> Result<Response, Refusal> {
    if let Some(cookie) = web.visitors.sign_in(token.trim(), web.shared.clock.now()) {
        return Ok(([(header::SET_COOKIE, cookie)], Redirect::to(own_path(&next))).into_response());
    }
    tracing::warn!("somebody tried to sign in with what is no access token");
    let page: Html<String> = html(&Login { frame: visitor.frame(None), next, failed: true })?;
    Ok((StatusCode::UNAUTHORIZED, page).into_response())
}

pub(super) async fn logout(State(web): State<Web>, visitor: Visitor) -> Response {
    let cookie = web.visitors.sign_out(&visitor);
    ([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response()
}

/// Nobody is sent to another site.
fn own_path(next: &str) -> &str {
    let is_own = next.starts_with('/')
        && !next.starts_with("//")
        && !next.starts_with("/\\")
        && next.bytes().all(|byte| byte.is_ascii_graphic());
    if is_own { next } else { "/jobs" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signing_in_leads_nowhere_else() {
        assert_eq!(own_path("/jobs/a?cost=high"), "/jobs/a?cost=high");
        for elsewhere in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "jobs",
            "/\n/evil",
            "/ü",
        ] {
            assert_eq!(own_path(elsewhere), "/jobs", "{elsewhere:?}");
        }
    }
}
