//! Jobs that wait for an agent: for how long, and what they say meanwhile.

use std::time::Duration;

use assay_measure::job::JobSpec;
use assay_proto::v1::{self, JobStatus, agent_message::Message};

use super::support::{Coordinator, FakeAgent, held, job_spec, measured, registration, within};

fn native(name: &str, instance_type: &str, max_duration: Duration) -> JobSpec {
    let mut spec = job_spec(name, &[instance_type]);
    (spec.emulate, spec.max_duration) = (false, max_duration);
    spec
}

async fn says(coordinator: &Coordinator, name: &str, part: &str) {
    within("the reason", async {
        while !coordinator.job(name).await.reason.contains(part) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_job_that_no_agent_can_begin_fails_and_one_behind_other_jobs_does_not() {
    let coordinator = Coordinator::start().await;
    let brief = Duration::from_millis(200);
    // Nobody is there at all.
    coordinator.create(native("early", "ml.c5.large", brief)).await.unwrap();
    let mut anywhere = native("anywhere", "ml.c5.large", brief);
    anywhere.instance_types.clear();
    coordinator.create(anywhere).await.unwrap();
    let job = coordinator.reaches("early", JobStatus::Failed).await;
    assert!(job.reason.contains("no agent can measure ml.c5.large"), "{}", job.reason);
    let job = coordinator.reaches("anywhere", JobStatus::Failed).await;
    let reason = "no agent is connected, and the job needs an agent of any instance type";
    assert!(job.reason.contains(reason), "{}", job.reason);

    let mut registration = registration("a");
    registration.instance_type = "ml.c5.large".to_owned();
    let mut agent = FakeAgent::attach_as(&coordinator, registration).await.unwrap();
    let patient = Duration::from_secs(1800);
    coordinator.create(native("first", "ml.c5.large", patient)).await.unwrap();
    let first = held(&agent.expect_start().await);
    coordinator.create(native("behind", "ml.c5.large", brief)).await.unwrap();
    coordinator.create(native("unserved", "ml.p3.2xlarge", brief * 3)).await.unwrap();
    let job = coordinator.reaches("unserved", JobStatus::Failed).await;
    let reason = "nothing was measured within 600ms: no agent can measure ml.p3.2xlarge; \
                  connect such an agent, or allow more with --max-duration";
    assert_eq!(job.reason, reason);
    assert_eq!(job.trials_ended, job.trials_total);

    assert_eq!(coordinator.job("behind").await.status(), JobStatus::Pending);
    agent.finish(&first, measured()).await;
    coordinator.reaches("first", JobStatus::Completed).await;
    let behind = held(&agent.expect_start().await);
    agent.finish(&behind, measured()).await;
    coordinator.reaches("behind", JobStatus::Completed).await;
}

#[tokio::test]
async fn a_job_that_every_agent_declines_says_why_until_one_begins() {
    let coordinator = Coordinator::start().await;
    let of_type =
        |name: &str| v1::Register { instance_type: "ml.c5.large".to_owned(), ..registration(name) };
    let mut agent = FakeAgent::attach_as(&coordinator, of_type("a")).await.unwrap();
    let patient = Duration::from_secs(1800);
    coordinator.create(native("declined", "ml.c5.large", patient)).await.unwrap();
    let offer = held(&agent.expect_start().await);
    agent
        .say(Message::TrialDeclined(v1::TrialDeclined {
            trial_id: offer.trial_id,
            lease_token: offer.lease_token,
            reason: "no space left".to_owned(),
        }))
        .await;
    let reason = "every agent that can measure ml.c5.large declined (a: no space left)";
    says(&coordinator, "declined", reason).await;
    let mut other = FakeAgent::attach_as(&coordinator, of_type("b")).await.unwrap();
    let trial = held(&other.expect_start().await);
    assert_eq!(coordinator.job("declined").await.reason, "");
    other.finish(&trial, measured()).await;
    assert_eq!(coordinator.reaches("declined", JobStatus::Completed).await.reason, "");
}
