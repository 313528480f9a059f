//! The connection to a coordinator, with its token and certificate.

use std::{path::Path, time::Duration};

use assay_proto::{
    LARGEST_ANSWER, LARGEST_REQUEST,
    v1::{
        self, fleet_service_client::FleetServiceClient, job_service_client::JobServiceClient,
        price_service_client::PriceServiceClient,
    },
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{
    config::Settings,
    failure::{ExitCode, Failure, OrFail},
};

/// A channel that presents the token with every call.
type Authorized = InterceptedService<Channel, TokenBearer>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) jobs: JobServiceClient<Authorized>,
    pub(crate) fleet: FleetServiceClient<Authorized>,
    pub(crate) prices: PriceServiceClient<Authorized>,
}

impl Client {
    pub(crate) async fn connect(settings: &Settings) -> Result<Self, Failure> {
        let url = settings.server.as_deref().ok_or_else(|| {
            Failure::usage("no coordinator is named").hint(
                "give --server http://127.0.0.1:7440 or set ASSAY_SERVER; `assay serve` starts one",
            )
        })?;
        let token = settings.token_file.as_deref().map(read_token).transpose()?;
        let certificate = settings.ca_cert.as_deref().map(read_certificate).transpose()?;
        Self::open(url, token, certificate).await
    }

    /// Every agent that is or was connected.
    pub(crate) async fn agents(&mut self) -> Result<Vec<v1::Agent>, Failure> {
        Ok(self.fleet.list_agents(v1::ListAgentsRequest {}).await?.into_inner().agents)
    }

    /// Connects to a coordinator inside this process.
    pub(crate) async fn connect_to(url: &str) -> Result<Self, Failure> {
        Self::open(url, None, None).await
    }

    async fn open(
        url: &str,
        token: Option<MetadataValue<Ascii>>,
        certificate: Option<Certificate>,
    ) -> Result<Self, Failure> {
        let bad_url = |error: &tonic::transport::Error| {
            Failure::usage(format!("{url:?} is not the address of a coordinator"))
                .because(error)
                .hint("write it like http://127.0.0.1:7440")
        };
        let mut endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|error| bad_url(&error))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .tcp_nodelay(true);
        if url.starts_with("https://") {
            let mut tls = ClientTlsConfig::new().with_native_roots();
            if let Some(certificate) = certificate {
                tls = tls.ca_certificate(certificate);
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| bad_url(&error))?;
        }
        let channel = endpoint.connect().await.map_err(|error| {
            Failure::failed(format!("cannot reach the coordinator at {url}"))
                .because(&error)
                .hint("is `assay serve` running there? `assay doctor` checks the connection")
        })?;
        let bearer = TokenBearer { token };
        let authorized = InterceptedService::new(channel, bearer);
        Ok(Self {
            jobs: JobServiceClient::new(authorized.clone())
                .max_decoding_message_size(LARGEST_ANSWER)
                .max_encoding_message_size(LARGEST_REQUEST),
            fleet: FleetServiceClient::new(authorized.clone()),
            prices: PriceServiceClient::new(authorized)
                .max_decoding_message_size(LARGEST_ANSWER)
                .max_encoding_message_size(LARGEST_REQUEST),
        })
    }
}

/// Adds `authorization: Bearer …` to every call.
#[derive(Clone)]
pub(crate) struct TokenBearer {
    token: Option<MetadataValue<Ascii>>,
}

impl Interceptor for TokenBearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// Reads the first token of a token file: one per line, `#` begins a comment.
fn read_token(path: &Path) -> Result<MetadataValue<Ascii>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(ExitCode::Denied, format!("cannot read the token file {}", path.display()))
            .because(&error)
    })?;
    let token = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .find(|line| !line.is_empty())
        .ok_or_else(|| {
            Failure::new(
                ExitCode::Denied,
                format!("the token file {} holds no token", path.display()),
            )
        })?;
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| {
        let what = format!("the token in {} has characters that cannot be sent", path.display());
        Failure::new(ExitCode::Denied, what)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn read_certificate(path: &Path) -> Result<Certificate, Failure> {
    let pem = std::fs::read(path)
        .or_usage(format_args!("cannot read the certificate {}", path.display()))?;
    Ok(Certificate::from_pem(pem))
}
