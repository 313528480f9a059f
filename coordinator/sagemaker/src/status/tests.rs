use jiff::Timestamp;

use super::*;

fn now() -> Timestamp {
    "2026-11-22T14:00:00Z".parse().unwrap()
}

/// Whether a status may follow another that was shown before.
fn may_follow(before: Status, after: Status) -> bool {
    rank(before) < rank(after) || before as u8 == after as u8
}

/// The three ends share a rank: none follows another.
fn rank(status: Status) -> u8 {
    match status {
        Status::Pending => 0,
        Status::InProgress => 1,
        Status::Stopping => 2,
        Status::Completed | Status::Failed | Status::Stopped => 3,
        Status::Deleting => 4,
        Status::Deleted => 5,
    }
}

#[test]
fn every_way_through_a_job_moves_forward() {
    let asked = JobState::Stopping { why: StopReason::Asked { by: "me".to_owned() } };
    let time_up = JobState::Stopping { why: StopReason::TimeUp };
    let running = JobState::Running { started_at: now() };
    let completed = JobState::Completed { finished_at: now() };
    let failed = JobState::Failed { finished_at: now(), reason: "none".to_owned() };
    let stopped = JobState::Stopped { finished_at: now(), by: "me".to_owned() };
    for way in [
        vec![&JobState::Pending, &running, &completed],
        vec![&JobState::Pending, &failed],
        vec![&JobState::Pending, &running, &time_up, &completed],
        vec![&JobState::Pending, &running, &time_up, &failed],
        vec![&JobState::Pending, &running, &time_up, &asked, &stopped],
        vec![&JobState::Pending, &asked, &stopped],
    ] {
        let words: Vec<&str> = way.iter().map(|state| of_job(state).word()).collect();
        for pair in way.windows(2) {
            assert!(may_follow(of_job(pair[0]), of_job(pair[1])), "{words:?}");
        }
    }
}

#[test]
fn no_status_goes_back_and_no_end_becomes_another() {
    for (before, after) in [
        (Status::InProgress, Status::Pending),
        (Status::Stopping, Status::InProgress),
        (Status::Completed, Status::Stopped),
        (Status::Stopped, Status::Completed),
        (Status::Completed, Status::InProgress),
    ] {
        assert!(!may_follow(before, after), "{before} {after}");
    }
    for status in Status::ALL {
        assert!(may_follow(*status, *status));
    }
}

#[test]
fn a_trial_that_is_repeated_is_still_in_progress() {
    assert_eq!(of_trial(&TrialState::Queued, false), Status::Pending);
    assert_eq!(of_trial(&TrialState::Queued, true), Status::InProgress);
    let not_run = TrialEnd::NotRun { by: "me".to_owned() };
    assert_eq!(
        of_trial(&TrialState::Ended { end: not_run, ended_at: now() }, false),
        Status::Stopped
    );
    let lost = TrialEnd::Lost { losses: 3, last_agent: "a".parse().unwrap() };
    assert_eq!(of_trial(&TrialState::Ended { end: lost, ended_at: now() }, true), Status::Failed);
}

#[test]
fn reasons_are_numbered_and_cut_between_characters() {
    let reasons = ["Specify Domain.".to_owned(), "Specify Framework.".to_owned()];
    assert_eq!(
        failure_reason("INVALID_INPUT", &reasons),
        "INVALID_INPUT : 1. Specify Domain. 2. Specify Framework."
    );
    assert_eq!(cut(&"é".repeat(2000)).chars().count(), 1024);
}

#[test]
fn what_allows_more_time_is_named_as_sagemaker_names_it() {
    assert_eq!(
        cut("the search ran out of time after 40 s; allow more with --max-duration"),
        "the search ran out of time after 40 s; allow more with JobDurationInSeconds"
    );
}
