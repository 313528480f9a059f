//! The job state machine against a small model: every state × event, then random walks.

use proptest::prelude::*;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Begin,
    EndMeasured,
    EndEmpty,
    Stop,
    TimeUp,
    Impossible,
    Nobody,
}

const KINDS: [Kind; 7] = [
    Kind::Begin,
    Kind::EndMeasured,
    Kind::EndEmpty,
    Kind::Stop,
    Kind::TimeUp,
    Kind::Impossible,
    Kind::Nobody,
];

fn event(kind: Kind) -> JobInput {
    match kind {
        Kind::Begin => JobInput::TrialBegan,
        Kind::EndMeasured => JobInput::AllTrialsEnded { measured: 2, why_not: String::new() },
        Kind::EndEmpty => {
            JobInput::AllTrialsEnded { measured: 0, why_not: "the host died".to_owned() }
        }
        Kind::Stop => JobInput::StopAsked { by: "ann".to_owned() },
        Kind::TimeUp => JobInput::TimeUp,
        Kind::Nobody => JobInput::NobodyCame { reason: "no agent can measure it".to_owned() },
        Kind::Impossible => {
            JobInput::FoundImpossible { reason: "larger than this machine".to_owned() }
        }
    }
}

/// The model's states: those of the machine, with the two reasons for stopping apart.
const STATES: [&str; 8] =
    ["pending", "running", "asked", "time is up", "unserved", "completed", "failed", "stopped"];

fn model(state: &str, kind: Kind) -> Option<&'static str> {
    match (state, kind) {
        ("pending" | "running", Kind::Begin) => Some("running"),
        ("pending" | "running" | "time is up" | "unserved", Kind::EndMeasured) => Some("completed"),
        ("pending" | "running" | "time is up" | "unserved", Kind::EndEmpty) => Some("failed"),
        ("pending" | "running" | "time is up" | "unserved", Kind::Stop) => Some("asked"),
        ("pending" | "running", Kind::TimeUp) => Some("time is up"),
        ("pending", Kind::Impossible) => Some("failed"),
        ("asked", Kind::Begin) => Some("asked"),
        ("time is up", Kind::Begin) => Some("time is up"),
        ("pending", Kind::Nobody) => Some("unserved"),
        ("unserved", Kind::Begin) => Some("unserved"),
        ("asked", Kind::EndMeasured | Kind::EndEmpty) => Some("stopped"),
        _ => None,
    }
}

fn reached(state: &str) -> JobState {
    let (finished_at, by) = (at(0), "ann".to_owned());
    match state {
        "pending" => JobState::Pending,
        "running" => JobState::Running { started_at: at(0) },
        "asked" => JobState::Stopping { why: StopReason::Asked { by } },
        "time is up" => JobState::Stopping { why: StopReason::TimeUp },
        "unserved" => {
            let reason = "no agent can measure it".to_owned();
            JobState::Stopping { why: StopReason::NobodyCame { reason } }
        }
        "completed" => JobState::Completed { finished_at },
        "failed" => JobState::Failed { finished_at, reason: "the host died".to_owned() },
        _ => JobState::Stopped { finished_at, by },
    }
}

fn word(state: &JobState) -> &'static str {
    match state {
        JobState::Pending => "pending",
        JobState::Running { .. } => "running",
        JobState::Stopping { why: StopReason::Asked { .. } } => "asked",
        JobState::Stopping { why: StopReason::TimeUp } => "time is up",
        JobState::Stopping { why: StopReason::NobodyCame { .. } } => "unserved",
        JobState::Completed { .. } => "completed",
        JobState::Failed { .. } => "failed",
        JobState::Stopped { .. } => "stopped",
    }
}

#[test]
fn every_event_in_every_state_does_what_the_diagram_says() {
    for state in STATES {
        for kind in KINDS {
            let before = reached(state);
            assert_eq!(word(&before), state);
            let result = before.apply(event(kind), at(9));
            assert_eq!(result.as_ref().ok().map(word), model(state, kind), "{state} {kind:?}");
            match result {
                Ok(after) => {
                    assert_eq!(after.finished_at().is_some(), after.status().is_final());
                }
                Err(JobInputDenied::AlreadyEnded(status)) => assert!(status.is_final()),
                Err(JobInputDenied::AlreadyStopping | JobInputDenied::AlreadyBegun) => {
                    assert!(!before.status().is_final());
                }
            }
        }
    }
}

#[test]
fn a_stopped_job_names_who_stopped_it_and_a_failed_one_says_why() {
    let state = reached("asked").apply(event(Kind::EndMeasured), at(5)).unwrap();
    assert_eq!(state, JobState::Stopped { finished_at: at(5), by: "ann".to_owned() });
    let state = reached("running").apply(event(Kind::EndEmpty), at(5)).unwrap();
    assert_eq!(state, JobState::Failed { finished_at: at(5), reason: "the host died".to_owned() });
}

#[test]
fn a_job_that_nobody_would_begin_fails_with_what_it_waited_for() {
    let stopping = reached("pending").apply(event(Kind::Nobody), at(3)).unwrap();
    let state = stopping.apply(event(Kind::EndEmpty), at(5)).unwrap();
    let reason = "no agent can measure it".to_owned();
    assert_eq!(state, JobState::Failed { finished_at: at(5), reason });
}

#[test]
fn a_job_whose_time_is_up_cancels_in_the_name_of_its_limit_and_keeps_what_was_measured() {
    let state = reached("running").apply(JobInput::TimeUp, at(5)).unwrap();
    let JobState::Stopping { why } = &state else { panic!("{state:?}") };
    assert_eq!(why.in_whose_name(), "the job's time limit");
    let state = state.apply(event(Kind::EndMeasured), at(6)).unwrap();
    assert_eq!(state.status(), JobStatus::Completed);
}

#[test]
fn a_name_that_is_taken_is_refused_and_a_free_one_offered() {
    let name = |text: &str| JobName::new(text).unwrap();
    let taken: BTreeSet<JobName> = [name("demo"), name("demo-2")].into();
    let error = claim_name(&name("demo"), &taken).unwrap_err();
    assert_eq!(error.to_string(), "job name demo is taken");
    assert_eq!(error.hint(), "names are never used twice; demo-3 is free");
    assert_eq!(claim_name(&name("demo-3"), &taken), Ok(()));
    let long = name(&"x".repeat(64));
    let error = claim_name(&long, &[long.clone()].into()).unwrap_err();
    assert!(error.suggestion != long);
}

#[test]
fn a_job_state_survives_being_stored() {
    for state in STATES.map(reached) {
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<JobState>(&text).unwrap(), state);
    }
}

proptest! {
    #[test]
    fn random_walks_agree_with_the_model_and_only_move_forward(
        kinds in proptest::collection::vec(proptest::sample::select(&KINDS[..]), 1..20),
    ) {
        let mut state = JobState::Pending;
        for (kind, second) in kinds.into_iter().zip(0..) {
            let result = state.apply(event(kind), at(second));
            prop_assert_eq!(result.as_ref().ok().map(word), model(word(&state), kind));
            if let Ok(after) = result {
                prop_assert_eq!(after.finished_at().is_some(), after.status().is_final());
                prop_assert!(after.status() >= state.status());
                state = after;
            }
        }
    }
}
