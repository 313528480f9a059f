//! A store that cannot be written any more: the coordinator ends, and nothing is acknowledged that is not kept.

use serde_json::json;
use sqlx::{ConnectOptions, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    server::ServerFailed,
    store::StoreError,
    tests::{
        aws,
        support::{Coordinator, FakeAgent, job_spec, within},
    },
};

async fn database(coordinator: &Coordinator) -> SqliteConnection {
    let file = coordinator.scratch.path().join("data/assay.db");
    SqliteConnectOptions::new().filename(file).connect().await.unwrap()
}

/// From now on nothing can be added to a table: the database says that the disk is full.
async fn fill(coordinator: &Coordinator, table: &'static str) {
    let full = format!(
        "create trigger no_room before insert on {table} begin select raise(fail, 'disk is full'); end"
    );
    let mut database = database(coordinator).await;
    sqlx::query(sqlx::AssertSqlSafe(full)).execute(&mut database).await.unwrap();
}

async fn make_room(coordinator: &Coordinator) {
    let mut database = database(coordinator).await;
    sqlx::query("drop trigger no_room").execute(&mut database).await.unwrap();
}

fn is_of_the_store(ended: Result<(), ServerFailed>) {
    let ended = ended.unwrap_err();
    let ServerFailed::Store(StoreError::Database { source, .. }) = &ended else {
        panic!("it ended otherwise: {ended:?}")
    };
    assert!(source.to_string().contains("disk is full"), "{source}");
}

#[tokio::test]
async fn a_job_that_cannot_be_kept_is_not_acknowledged_and_ends_the_coordinator_with_the_reason() {
    let mut coordinator = Coordinator::start().await;
    // Streams and connections that stay open do not keep it.
    let _agent = FakeAgent::attach(&coordinator, "a").await;
    let _idle = coordinator.channel().await;
    fill(&coordinator, "job").await;
    coordinator.create(job_spec("lost", &["ml.c5.large"])).await.unwrap_err();
    is_of_the_store(within("the end", coordinator.ended()).await);
    make_room(&coordinator).await;
    coordinator.restart().await;
    coordinator.create(job_spec("lost", &["ml.c5.large"])).await.unwrap();
}

#[tokio::test]
async fn what_the_sagemaker_api_cannot_keep_ends_the_coordinator_as_well() {
    let mut coordinator = Coordinator::start().await;
    fill(&coordinator, "aws_resource").await;
    let model = json!({"ModelName": "m", "PrimaryContainer": {"Image": "i"}}).to_string();
    let url = coordinator.url.clone();
    let asking = tokio::spawn(async move {
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "SageMaker.CreateModel"),
        ];
        aws::post(&url, &headers, model.as_bytes()).await.status
    });
    is_of_the_store(within("the end", coordinator.ended()).await);
    // The connection is cut, or the answer is a failure.
    if let Ok(status) = asking.await {
        assert_eq!(status, 500);
    }
}
