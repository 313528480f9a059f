//! Which names this server goes by. A page that another name leads to is refused, because a hostile site can let its
//! own name point here (DNS rebinding) and would read what comes back.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use assay_pages::frame::Frame;
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{StatusCode, Uri, header, uri::Authority};
use tonic::Code;

use super::{refusal::Refusal, secured, wants_page};
use crate::{random, settings::PublicUrl, tls::Names, tokens::is_grpc};

/// The server's own names.
#[derive(Debug)]
pub(crate) struct Hosts {
    bound: IpAddr,
    certified: Option<Names>,
    public: Vec<PublicUrl>,
}

impl Hosts {
    pub(crate) fn new(bound: SocketAddr, certified: Option<Names>, public: Vec<PublicUrl>) -> Self {
        Self { bound: bound.ip(), certified, public }
    }

    pub(super) fn admit(&self, request: &Request) -> Result<(), Refusal> {
        let Some(host) = host_of(request) else {
            return Err(Refusal::bad_request("The request names no host.", ""));
        };
        if self.is_own(&host) {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!("This server is not known as {host}."),
            format!("If it is, start it with `assay serve --public-url https://{host}`."),
        ))
    }

    fn is_own(&self, host: &str) -> bool {
        if let Ok(ip) = host.parse::<IpAddr>() {
            let ip = ip.to_canonical();
            // A number leads where it says, so that nothing can be rebound.
            return ip.is_loopback() || self.bound.is_unspecified() || ip == self.bound;
        }
        host == "localhost"
            || host.strip_suffix(".localhost").is_some_and(|label| !label.is_empty())
            || self.public.iter().any(|url| url.host() == host)
            || self.certified.as_ref().is_some_and(|names| names.include(host))
    }
}

/// In lower case, without port, brackets and final dot.
fn host_of(request: &Request) -> Option<String> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let named = hosts.next().map(|host| host.to_str().ok());
    if hosts.next().is_some() {
        return None;
    }
    let authority: Authority = match (request.uri().authority(), named) {
        (Some(authority), None) => authority.clone(),
        (None, Some(host)) => host?.parse().ok()?,
        // One of them might be another's.
        (Some(authority), Some(host)) => {
            Some(authority).filter(|it| Some(it.as_str()) == host)?.clone()
        }
        (None, None) => return None,
    };
    // A user has no place there.
    (!authority.as_str().contains('@')).then(|| bare(&authority))
}

/// The same for everything on the port: without tokens, whoever reads and sends under another name needs no more.
pub(crate) async fn own_names_only(
    State(hosts): State<Arc<Hosts>>,
    request: Request,
    next: Next,
) -> Response {
    let Err(refusal) = hosts.admit(&request) else {
        return next.run(request).await;
    };
    if wants_page(request.headers()) {
        return secured(refusal.page(&random::uuid(), Frame::default()));
    }
    let Refusal { status, what, hint } = refusal;
    if is_grpc(&request) {
        let status = assay_proto::refusal(Code::PermissionDenied, format!("{what}\nhint: {hint}"));
        return status.into_http::<axum::body::Body>().into_response();
    }
    (status, format!("{what}\n{hint}\n")).into_response()
}

/// The host of an authority, as hosts are compared.
fn bare(authority: &Authority) -> String {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// The host of a URL, as hosts are compared.
pub(crate) fn host_of_url(url: &Uri) -> Option<String> {
    url.authority().map(bare).filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn admits(hosts: &Hosts, host: &str) -> bool {
        let request = Request::builder().uri("/jobs").header("host", host).body(Body::empty());
        hosts.admit(&request.unwrap()).is_ok()
    }

    #[test]
    fn only_names_of_its_own_lead_to_pages() {
        let public = vec!["https://assay.example.org:8443".parse().unwrap()];
        let hosts = Hosts::new("192.0.2.7:7707".parse().unwrap(), None, public);
        for own in [
            "localhost",
            "LOCALHOST:7707",
            "a.localhost",
            "127.0.0.1:1",
            "127.8.0.1",
            "[::1]:7707",
            "[::ffff:127.0.0.1]",
            "192.0.2.7:7707",
            "assay.example.org",
            "Assay.Example.Org.:8443",
        ] {
            assert!(admits(&hosts, own), "{own}");
        }
        for other in [
            "evil.example",
            "192.0.2.8",
            "localhost.evil.example",
            "evil.example:7707",
            "assay.example.org.evil.example",
            "xassay.example.org",
            "127.0.0.1.evil.example",
            "",
            "a b",
            "0x7f.1",
            ".localhost",
            "evil.example@127.0.0.1",
        ] {
            assert!(!admits(&hosts, other), "{other}");
        }
    }

    #[test]
    fn on_every_address_any_number_is_its_own_and_no_name() {
        let hosts = Hosts::new("0.0.0.0:7707".parse().unwrap(), None, Vec::new());
        assert!(admits(&hosts, "203.0.113.9:7707"));
        assert!(!admits(&hosts, "example.org"));
    }

    #[test]
    fn a_second_host_header_spoils_the_first() {
        let hosts = Hosts::new("127.0.0.1:7707".parse().unwrap(), None, Vec::new());
        let twice = Request::builder().uri("/jobs").header("host", "localhost");
        let request = twice.header("host", "evil.example").body(Body::empty()).unwrap();
        assert!(hosts.admit(&request).is_err());
    }

    #[test]
    fn two_hosts_at_once_are_none() {
        let hosts = Hosts::new("127.0.0.1:7707".parse().unwrap(), None, Vec::new());
        let request = Request::builder()
            .uri("http://localhost/jobs")
            .header("host", "evil.example")
            .body(Body::empty())
            .unwrap();
        assert!(hosts.admit(&request).is_err());
    }
}
