//! Many clients at once.

use std::collections::BTreeSet;

use assay_proto::v1;
use tokio::task::JoinSet;
use tonic::{Code, transport::Endpoint};

use crate::{
    coordinator::{Coordinator, Terms, within},
    figures::job,
    fleet::Fleet,
    record,
};

const JOBS: usize = 200;
const CLIENTS: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_jobs_created_at_once_none_is_lost_and_none_is_measured_twice() {
    let agents = [("a", "host-a"), ("b", "host-b"), ("c", "host-c"), ("d", "host-d")];
    let fleet = Fleet::start(Terms::CALM, &agents).await;
    let names: Vec<String> = (0..JOBS).map(|number| format!("job-{number:03}")).collect();
    create_at_once(&fleet.coordinator, &names).await;

    assert_eq!(listed(&fleet.coordinator).await, names);
    record::assert_agree(&fleet.coordinator, names.iter().map(String::as_str), &fleet.ledger).await;
    let runs = fleet.ledger.by_mark();
    let trials: BTreeSet<&str> = runs.values().map(|run| run.trial.as_str()).collect();
    assert_eq!((runs.len(), trials.len()), (JOBS, JOBS), "every trial runs once");
}

/// Each client on a connection of its own.
async fn create_at_once(coordinator: &Coordinator, names: &[String]) {
    let mut clients = JoinSet::new();
    for share in names.chunks(JOBS / CLIENTS) {
        let endpoint = format!("http://{}", coordinator.address());
        let share = share.to_vec();
        clients.spawn(async move {
            let channel = Endpoint::from_shared(endpoint).unwrap().connect().await.unwrap();
            let mut requests = JoinSet::new();
            for name in share {
                let mut jobs = v1::job_service_client::JobServiceClient::new(channel.clone());
                let request = v1::CreateJobRequest { spec: Some(job(&name, 1)) };
                requests.spawn(async move { jobs.create_job(request).await.unwrap() });
            }
            requests.join_all().await;
        });
    }
    within("all jobs to be created", clients.join_all()).await;
}

/// All names, in order, over all pages.
async fn listed(coordinator: &Coordinator) -> Vec<String> {
    let mut names = Vec::new();
    let mut request = v1::ListJobsRequest { page_size: 33, ..v1::ListJobsRequest::default() };
    loop {
        let page = coordinator.jobs().list_jobs(request.clone()).await.unwrap().into_inner();
        names.extend(page.jobs.into_iter().map(|job| job.name));
        if page.next_page_token.is_empty() {
            names.sort();
            return names;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_jobs_of_one_name_created_at_once_exactly_one_is_accepted() {
    let coordinator = Coordinator::start(Terms::CALM).await;
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let mut jobs = coordinator.jobs();
        let request = v1::CreateJobRequest { spec: Some(job("wanted", 1)) };
        clients
            .spawn(async move { jobs.create_job(request).await.map_err(|refused| refused.code()) });
    }
    let answers = within("all answers", clients.join_all()).await;
    let (accepted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((accepted.len(), refused.len()), (1, 19));
    assert!(refused.iter().all(|answer| matches!(answer, Err(Code::AlreadyExists))), "{refused:?}");
    assert_eq!(listed(&coordinator).await, ["wanted"]);
}
