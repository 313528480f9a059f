//! What keeps a coordinator from starting, and who may talk to it.

use std::{fs, net::TcpListener, path::Path};

use assay_proto::v1::{
    self, fleet_service_client::FleetServiceClient, price_service_client::PriceServiceClient,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::{
    Code, Request,
    transport::{Certificate, Channel, ClientTlsConfig},
};

use super::support::{Coordinator, within};
use crate::{
    data_dir::DataDirError,
    server::Server,
    settings::{Listen, ServerSettings, TlsFiles},
    start_error::StartError,
    store::StoreError,
};

fn local(data_dir: impl AsRef<Path>) -> ServerSettings {
    ServerSettings::new(Listen::At("127.0.0.1:0".parse().unwrap()), data_dir.as_ref())
}

#[tokio::test]
async fn a_port_in_use_is_refused_with_the_address() {
    let scratch = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let data_dir = scratch.path().join("data");
    let refused =
        Server::start(ServerSettings::new(Listen::At(address), &data_dir)).await.unwrap_err();
    assert!(matches!(&refused, StartError::Listen { .. }), "{refused:?}");
    assert_eq!(refused.to_string(), format!("cannot listen on {address}"));
    assert!(refused.hint().unwrap().contains("another port"));
    assert!(!data_dir.exists());
}

#[tokio::test]
async fn off_loopback_it_wants_tls_and_tokens() {
    let scratch = tempfile::tempdir().unwrap();
    let data_dir = scratch.path().join("data");
    let everywhere = || ServerSettings::new(Listen::At("0.0.0.0:0".parse().unwrap()), &data_dir);
    let refused = Server::start(everywhere()).await.unwrap_err();
    assert!(matches!(refused, StartError::Unprotected(_)), "{refused:?}");
    assert_eq!(refused.to_string(), "refusing to listen on 0.0.0.0:0 without authentication");

    let token_file = scratch.path().join("tokens");
    fs::write(&token_file, "secret\n").unwrap();
    let with_tokens = ServerSettings { token_file: Some(token_file.clone()), ..everywhere() };
    assert!(matches!(Server::start(with_tokens).await, Err(StartError::Unprotected(_))));
    let (tls, _) = certificate(scratch.path());
    let with_tls = ServerSettings { tls: Some(tls.clone()), ..everywhere() };
    assert!(matches!(Server::start(with_tls).await, Err(StartError::Unprotected(_))));
    assert!(!data_dir.exists());

    let with_both = ServerSettings { tls: Some(tls), token_file: Some(token_file), ..everywhere() };
    Server::start(with_both).await.unwrap();
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_is_refused() {
    // A kernel file system refuses new files even to root.
    let refused = Server::start(local("/sys/kernel")).await.unwrap_err();
    assert!(
        matches!(&refused, StartError::DataDir(DataDirError::NotWritable { .. })),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("/sys/kernel"));
    assert!(refused.hint().unwrap().contains("--data-dir"));
}

#[tokio::test]
async fn a_data_directory_in_use_is_refused() {
    let coordinator = Coordinator::start().await;
    let refused = Server::start(coordinator.settings()).await.unwrap_err();
    assert!(matches!(&refused, StartError::DataDir(DataDirError::InUse { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_store_of_a_newer_schema_is_refused_and_left_as_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    let running = Server::start(local(scratch.path())).await.unwrap();
    running.shut_down(std::time::Duration::from_secs(5)).await.unwrap();
    let file = scratch.path().join("assay.db");
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (9999, 'from the future', true, x'00', 0)",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    let before = fs::read(&file).unwrap();

    let refused = Server::start(local(scratch.path())).await.unwrap_err();
    assert!(
        matches!(&refused, StartError::Store(StoreError::NewerSchema { found: 9999, .. })),
        "{refused:?}"
    );
    assert!(refused.hint().is_some());
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn a_token_file_without_tokens_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let token_file = scratch.path().join("tokens");
    fs::write(&token_file, "# none yet\n").unwrap();
    let data_dir = scratch.path().join("data");
    let settings = ServerSettings { token_file: Some(token_file), ..local(&data_dir) };
    assert!(matches!(Server::start(settings).await, Err(StartError::Tokens(_))));
    assert!(!data_dir.exists());
}

#[tokio::test]
async fn only_a_listed_token_opens_and_health_is_open_to_all() {
    let scratch = tempfile::tempdir().unwrap();
    let token_file = scratch.path().join("tokens");
    fs::write(&token_file, "alpha\nbeta\n").unwrap();
    let (tls, ca) = certificate(scratch.path());
    let settings = ServerSettings {
        token_file: Some(token_file),
        tls: Some(tls),
        ..local(scratch.path().join("data"))
    };
    let running = Server::start(settings).await.unwrap();
    assert!(running.url().starts_with("https://"));
    let tls = ClientTlsConfig::new().ca_certificate(ca).domain_name("localhost");
    let channel = Channel::from_shared(running.url()).unwrap().tls_config(tls).unwrap();
    let channel = within("a connection", channel.connect()).await.unwrap();

    let mut fleet = FleetServiceClient::new(channel.clone());
    let with = |authorization: Option<&str>| {
        let mut request = Request::new(v1::ListAgentsRequest {});
        if let Some(value) = authorization {
            request.metadata_mut().insert("authorization", value.parse().unwrap());
        }
        request
    };
    for wrong in [None, Some("Bearer gamma"), Some("Bearer "), Some("alpha"), Some("Basic alpha")] {
        let refused = fleet.list_agents(with(wrong)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{wrong:?}");
    }
    for right in ["Bearer alpha", "Bearer beta"] {
        fleet.list_agents(with(Some(right))).await.unwrap();
    }
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let request =
        tonic_health::pb::HealthCheckRequest { service: "assay.v1.JobService".to_owned() };
    let status = health.check(request).await.unwrap().into_inner().status();
    assert_eq!(status, tonic_health::pb::health_check_response::ServingStatus::Serving);
}

#[tokio::test]
async fn http_1_and_grpc_share_the_port() {
    let coordinator = Coordinator::start().await;
    let address = coordinator.url.trim_start_matches("http://").to_owned();
    for (path, expected) in [("/healthz", "200"), ("/readyz", "200"), ("/nothing", "404")] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within("an answer", stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{path}: {answer}");
    }
    coordinator.fleet().await.list_agents(v1::ListAgentsRequest {}).await.unwrap();
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    use tonic_reflection::pb::{v1, v1alpha};
    let coordinator = Coordinator::start().await;
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut client =
        v1::server_reflection_client::ServerReflectionClient::new(coordinator.channel().await);
    let mut answers =
        client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let v1::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("expected a list, got {answer:?}");
    };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    for expected in ["assay.v1.AgentService", "assay.v1.JobService", "grpc.health.v1.Health"] {
        assert!(names.contains(&expected), "{names:?}");
    }
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut client =
        v1alpha::server_reflection_client::ServerReflectionClient::new(coordinator.channel().await);
    client.server_reflection_info(tokio_stream::iter([request])).await.unwrap();
}

#[tokio::test]
async fn own_prices_come_from_the_file_and_from_the_operator_and_last() {
    let scratch = tempfile::tempdir().unwrap();
    let price_file = scratch.path().join("prices.csv");
    fs::write(
        &price_file,
        "instance_type,region,usd_per_hour,source,as_of\nonprem.h200,*,3.20,invoice,2026-10-01\n",
    )
    .unwrap();
    let settings = || ServerSettings {
        price_file: Some(price_file.clone()),
        ..local(scratch.path().join("data"))
    };
    let mut running = Server::start(settings()).await.unwrap();
    let connect = async |url: String| PriceServiceClient::connect(url).await.unwrap();
    let listed = v1::ListPricesRequest { region: String::new(), name_contains: "h200".to_owned() };
    let mut prices = connect(running.url()).await;
    let first =
        prices.list_prices(listed.clone()).await.unwrap().into_inner().prices.swap_remove(0);
    assert_eq!((first.own, first.pico_usd_per_hour), (true, Some(3_200_000_000_000)));

    let set = v1::SetPriceRequest {
        instance_type: "onprem.h200".to_owned(),
        region: String::new(),
        pico_usd_per_hour: 2_000_000_000_000,
        source: String::new(),
    };
    let set = prices.set_price(set).await.unwrap().into_inner().price.unwrap();
    assert_eq!(set.pico_usd_per_hour, Some(2_000_000_000_000));
    running.crash().await;
    let running = Server::start(settings()).await.unwrap();
    let mut prices = connect(running.url()).await;
    let again = prices.list_prices(listed).await.unwrap().into_inner().prices.swap_remove(0);
    assert_eq!(again.pico_usd_per_hour, Some(2_000_000_000_000));
    let all = v1::ListPricesRequest { region: String::new(), name_contains: String::new() };
    let all = prices.list_prices(all).await.unwrap().into_inner().prices;
    assert_eq!(all.len(), 278);
    assert!(all[0].own && !all[1].own);
}

#[tokio::test]
async fn a_malformed_price_file_is_refused_with_the_line() {
    let scratch = tempfile::tempdir().unwrap();
    let price_file = scratch.path().join("prices.csv");
    fs::write(&price_file, "instance_type,region,usd_per_hour,source,as_of\na,*,cheap,x,y\n")
        .unwrap();
    let settings =
        ServerSettings { price_file: Some(price_file), ..local(scratch.path().join("data")) };
    let refused = Server::start(settings).await.unwrap_err();
    let StartError::PricesMalformed { source, .. } = &refused else { panic!("{refused:?}") };
    assert!(source.to_string().contains("line 2"), "{source}");
}

pub(super) fn certificate(directory: &Path) -> (TlsFiles, Certificate) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = TlsFiles { cert: directory.join("cert.pem"), key: directory.join("key.pem") };
    fs::write(&files.cert, made.cert.pem()).unwrap();
    fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    (files, Certificate::from_pem(made.cert.pem()))
}
