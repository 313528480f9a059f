//! The web pages: on the same port, of the same report, without a second computation.
//!
//! Every request passes [`guard`]: its `Host` must be one of the server's own, where tokens are wanted its visitor must
//! have signed in, and a form must carry the token of its visitor. Handlers are left with what is asked for.

mod asked;
mod events;
mod exports;
mod fleet;
mod forms;
mod hosts;
mod jobs;
mod models;
mod new_job;
mod refusal;
mod visitors;
mod words;

use std::{net::SocketAddr, sync::Arc};

use assay_pages::{Template, assets, frame::Section, help::Help};
use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use self::{
    asked::Path,
    refusal::Refusal,
    visitors::{Visitor, Visitors},
};
pub(crate) use self::{
    hosts::{Hosts, host_of_url, own_names_only},
    refusal::page_not_found,
};
use crate::{grpc::Shared, random, tokens::Tokens};

/// Nothing from elsewhere, nothing inline, and no other site's frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What the pages work with.
#[derive(Clone)]
pub(crate) struct Web {
    shared: Shared,
    visitors: Arc<Visitors>,
    hosts: Arc<Hosts>,
    /// The URL of this coordinator on its own machine.
    url: Arc<str>,
    /// The flags with which agents and clients reach this coordinator.
    reached_by: Arc<str>,
}

impl Web {
    pub(crate) fn new(
        shared: Shared,
        tokens: Option<Tokens>,
        (address, secure): (SocketAddr, bool),
        hosts: Arc<Hosts>,
    ) -> Self {
        let scheme = if secure { "https" } else { "http" };
        let token = if tokens.is_some() { " --token-file FILE" } else { "" };
        Self {
            shared,
            visitors: Arc::new(Visitors::new(tokens, address.port(), secure)),
            hosts,
            url: format!("{scheme}://{address}").into(),
            reached_by: format!("--server {scheme}://{address}{token}").into(),
        }
    }

    fn url(&self) -> String {
        self.url.to_string()
    }

    fn reached_by(&self) -> String {
        self.reached_by.to_string()
    }
}

/// The pages' routes.
pub(crate) fn routes(web: Web) -> Router {
    Router::new()
        .route("/", get(async || Redirect::to("/jobs")))
        .route("/jobs", get(jobs::list))
        .route("/jobs/new", get(new_job::form).post(new_job::create))
        .route("/jobs/{name}", get(jobs::results))
        .route("/jobs/{name}/results", get(jobs::part))
        .route("/jobs/{name}/details", get(jobs::details))
        .route("/jobs/{name}/trials/{number}", get(jobs::trial))
        .route("/jobs/{name}/events", get(events::stream))
        .route("/jobs/{name}/report.html", get(exports::report))
        .route("/jobs/{name}/export/{format}", get(exports::export))
        .route("/jobs/{name}/stop", post(jobs::stop))
        .route("/models", get(models::list))
        .route("/models/{group}", get(models::group))
        .route("/models/{group}/{version}", get(models::version))
        .route("/models/{group}/{version}/recommendations", post(models::recommend))
        .route("/compare", get(jobs::compare))
        .route("/agents", get(fleet::agents))
        .route("/agents/{name}", get(fleet::agent))
        .route("/prices", get(fleet::prices))
        .route("/help", get(help))
        .route("/login", get(forms::login_form).post(forms::login))
        .route("/logout", post(forms::logout))
        .route("/assets/{name}", get(asset))
        .layer(middleware::from_fn_with_state(web.clone(), guard))
        .with_state(web)
}

/// Who may see what, and how errors look.
async fn guard(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    let request_id = random::uuid();
    if let Err(refusal) = web.hosts.admit(&request) {
        return secured(refusal.page(&request_id, <_>::default()));
    }
    let path = request.uri().path().to_owned();
    let visitor = web.visitors.of(request.headers(), web.shared.clock.now());
    // Assets say nothing of jobs, and the page to sign in needs them.
    let is_open = path == "/login" || path.starts_with("/assets/");
    if !visitor.may_enter && !is_open {
        return secured(to_login(&request));
    }
    let frame = visitor.frame(None);
    let cookie = visitor.new_cookie.clone();
    if request.method() == Method::POST {
        match forms::checked(&visitor, request, &web.shared.stopping).await {
            Ok(checked) => request = checked,
            Err(refusal) => return secured(refusal.page(&request_id, frame)),
        }
    }
    request.extensions_mut().insert(visitor);
    let mut response = next.run(request).await;
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        response = refusal.page(&request_id, frame);
    }
    let keeps = path.starts_with("/assets/") || response.headers().contains_key(header::SET_COOKIE);
    if let Some(cookie) = cookie.filter(|_| !keeps) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    secured(response)
}

/// Where a visitor signs in; a part of a page takes its page there.
fn to_login(request: &Request) -> Response {
    let next = match request.method() {
        &Method::GET if !is_part(request.headers()) => request.uri().path_and_query(),
        _ => None,
    };
    let next = next.map_or("/jobs", |next| next.as_str());
    let next = percent_encoding::utf8_percent_encode(next, percent_encoding::NON_ALPHANUMERIC);
    let login = format!("/login?next={next}");
    if !is_part(request.headers()) {
        return Redirect::to(&login).into_response();
    }
    let mut response = StatusCode::UNAUTHORIZED.into_response();
    if let Ok(login) = HeaderValue::from_str(&login) {
        response.headers_mut().insert("hx-redirect", login);
    }
    response
}

/// Whether a person would read what is answered.
pub(crate) fn wants_page(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok());
    accepts.is_some_and(|accepts| accepts.contains("text/html"))
}

fn is_part(headers: &HeaderMap) -> bool {
    headers.contains_key("hx-request")
}

fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    // A report lets its own script run, and says so itself.
    let policy = HeaderValue::from_static(POLICY);
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    // Jobs are their owner's: nothing of them stays in a cache.
    let cached = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(cached);
    response
}

/// A page as an answer.
fn html(page: &impl Template) -> Result<Html<String>, Refusal> {
    page.render().map(Html).map_err(|error| Refusal::fault(&error))
}

async fn help(visitor: Visitor) -> Result<Html<String>, Refusal> {
    html(&Help { frame: visitor.frame(Some(Section::Help)) })
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Refusal> {
    let asset = assets::find(&name).ok_or_else(|| Refusal::not_found(format!("no file {name}")))?;
    let tag = format!("\"{}\"", asset.checksum());
    let unchanged =
        headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let headers = [
        (header::CONTENT_TYPE, asset.content_type.to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::ETAG, tag),
    ];
    if unchanged {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    Ok((headers, asset.content).into_response())
}
