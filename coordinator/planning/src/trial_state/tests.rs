//! The trial state machine against a small model: every state × event, then random walks.

use assay_measure::{
    outcome::{Failure, FailureKind},
    validity::Verdict,
};
use proptest::prelude::*;

use super::*;
use crate::testing;

const TERM: Duration = Duration::from_secs(30);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn token(number: u32) -> LeaseToken {
    LeaseToken::new(format!("{number:08x}")).unwrap()
}

fn agent() -> AgentName {
    "a".parse().unwrap()
}

/// An event without its particulars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Grant,
    Hear,
    Resume,
    Return,
    Forget,
    FinishWell,
    FinishInvalid,
    FinishFailed,
    /// The agent ends, and gives it back.
    GiveBack,
    Tick,
    Expire,
    Cancel,
}

const KINDS: [Kind; 12] = [
    Kind::Grant,
    Kind::Hear,
    Kind::Resume,
    Kind::Return,
    Kind::Forget,
    Kind::FinishWell,
    Kind::FinishInvalid,
    Kind::FinishFailed,
    Kind::GiveBack,
    Kind::Tick,
    Kind::Expire,
    Kind::Cancel,
];

fn outcome(kind: Kind) -> TrialOutcome {
    let good = testing::measurement(100.0, 1.0);
    match kind {
        Kind::FinishInvalid => testing::measured(testing::with_verdict(good, Verdict::Invalid)),
        Kind::FinishFailed => testing::failed(FailureKind::HostCrashed, "died"),
        Kind::GiveBack => TrialOutcome::Cancelled { by: "SIGTERM".to_owned() },
        Kind::Grant
        | Kind::Hear
        | Kind::Resume
        | Kind::Return
        | Kind::Forget
        | Kind::FinishWell
        | Kind::Tick
        | Kind::Expire
        | Kind::Cancel => testing::measured(good),
    }
}

fn event(kind: Kind, token: LeaseToken) -> TrialInput {
    let told = |what| TrialInput::Told { token: token.clone(), what };
    match kind {
        Kind::Grant => TrialInput::Granted { agent: agent(), token },
        Kind::Hear => told(Told::Heard),
        Kind::Resume => told(Told::Resumed),
        Kind::Return => told(Told::Returned),
        Kind::Forget => told(Told::Forgotten),
        Kind::FinishWell | Kind::FinishInvalid | Kind::FinishFailed | Kind::GiveBack => {
            told(Told::Finished { outcome: outcome(kind), time_left: Duration::MAX })
        }
        Kind::Tick | Kind::Expire => TrialInput::ClockAdvanced,
        Kind::Cancel => TrialInput::CancelAsked { by: "ann".to_owned() },
    }
}

/// What the trial should be after an event with a good token; `None` when it should be refused.
fn model(word: &str, kind: Kind, losses: u32, repeats: u32) -> Option<(&'static str, u32, u32)> {
    let lost = if losses + 1 >= 3 {
        ("ended", losses + 1, repeats)
    } else {
        ("queued", losses + 1, repeats)
    };
    let invalid =
        if repeats < 2 { ("queued", losses, repeats + 1) } else { ("ended", losses, repeats) };
    let same = |word| Some((word, losses, repeats));
    match (word, kind) {
        ("queued", Kind::Grant) => same("leased"),
        ("queued", Kind::Cancel) => same("ended"),
        ("queued", Kind::Tick | Kind::Expire) => same("queued"),
        ("leased", Kind::Hear | Kind::Resume) => same("running"),
        ("leased", Kind::Tick) => same("leased"),
        ("leased", Kind::Return) => same("queued"),
        ("running", Kind::Hear | Kind::Resume | Kind::Tick) => same("running"),
        ("leased" | "running", Kind::Forget | Kind::Expire | Kind::GiveBack) => Some(lost),
        ("leased" | "running", Kind::FinishInvalid) => Some(invalid),
        ("leased" | "running", Kind::FinishWell | Kind::FinishFailed) => same("ended"),
        ("leased" | "running", Kind::Cancel) => same("cancelling"),
        ("cancelling", Kind::Hear | Kind::Resume | Kind::Tick) => same("cancelling"),
        (
            "cancelling",
            Kind::Return
            | Kind::Forget
            | Kind::Expire
            | Kind::FinishWell
            | Kind::FinishInvalid
            | Kind::FinishFailed
            | Kind::GiveBack,
        ) => same("ended"),
        ("ended", Kind::Tick | Kind::Expire) => same("ended"),
        _ => None,
    }
}

fn reached(word: &str, losses: u32, repeats: u32) -> Trial {
    let lease = Lease::grant(agent(), token(1), at(0), TERM);
    let state = match word {
        "queued" => TrialState::Queued,
        "leased" => TrialState::Leased { lease },
        "running" => TrialState::Running { lease, began_at: at(0) },
        "cancelling" => TrialState::Cancelling { lease, by: "ann".to_owned() },
        _ => TrialState::Ended { end: TrialEnd::NotRun { by: "ann".to_owned() }, ended_at: at(0) },
    };
    Trial { state, losses, repeats }
}

#[test]
fn every_event_in_every_state_does_what_the_diagram_says() {
    for word in ["queued", "leased", "running", "cancelling", "ended"] {
        for kind in KINDS {
            for (losses, repeats) in [(0, 0), (1, 1), (2, 2)] {
                let before = reached(word, losses, repeats);
                let now = if kind == Kind::Expire { at(30) } else { at(10) };
                let after = before.apply(event(kind, token(1)), now, TERM);
                let found = after
                    .as_ref()
                    .ok()
                    .map(|(trial, _)| (trial.word(), trial.losses, trial.repeats));
                assert_eq!(
                    found,
                    model(word, kind, losses, repeats),
                    "{word} {kind:?} {losses} {repeats}"
                );
                check_effects(&before, after.as_ref().ok());
            }
        }
    }
}

/// An agent is told to start exactly when it gets a lease, and the end is announced exactly once.
fn check_effects(before: &Trial, after: Option<&(Trial, Vec<TrialEffect>)>) {
    let Some((after, effects)) = after else { return };
    let concluded = effects.contains(&TrialEffect::Concluded);
    assert_eq!(
        concluded,
        before.end().is_none() && after.end().is_some(),
        "{before:?} → {after:?}"
    );
    let started = effects.iter().any(|effect| matches!(effect, TrialEffect::StartOnAgent { .. }));
    assert_eq!(started, before.lease().is_none() && after.lease().is_some());
}

#[test]
fn a_stale_token_is_refused_in_every_state() {
    for word in ["queued", "leased", "running", "cancelling", "ended"] {
        for kind in [Kind::Hear, Kind::Resume, Kind::Return, Kind::Forget, Kind::FinishWell] {
            let refused = reached(word, 0, 0).apply(event(kind, token(2)), at(10), TERM);
            assert_eq!(refused, Err(TrialInputDenied::StaleToken), "{word} {kind:?}");
        }
    }
}

#[test]
fn a_lost_agent_returns_its_trial_to_the_queue_and_its_late_report_does_not_count() {
    let (trial, _) =
        reached("running", 0, 0).apply(TrialInput::ClockAdvanced, at(30), TERM).unwrap();
    assert_eq!((trial.word(), trial.losses), ("queued", 1));
    let (trial, _) = trial.apply(event(Kind::Grant, token(2)), at(31), TERM).unwrap();
    let late = trial.apply(event(Kind::FinishWell, token(1)), at(32), TERM);
    assert_eq!(late, Err(TrialInputDenied::StaleToken));
    assert!(trial.apply(event(Kind::FinishWell, token(2)), at(33), TERM).is_ok());
}

#[test]
fn an_agent_that_comes_back_in_time_keeps_its_trial() {
    let (trial, effects) =
        reached("running", 0, 0).apply(event(Kind::Resume, token(1)), at(29), TERM).unwrap();
    assert_eq!((trial.word(), effects), ("running", Vec::new()));
    let (trial, _) = trial.apply(TrialInput::ClockAdvanced, at(58), TERM).unwrap();
    assert_eq!(trial.word(), "running");
    let (trial, _) = trial.apply(TrialInput::ClockAdvanced, at(59), TERM).unwrap();
    assert_eq!((trial.word(), trial.losses), ("queued", 1));
}

#[test]
fn the_third_loss_ends_a_trial_as_lost() {
    let (trial, _) =
        reached("running", 2, 0).apply(TrialInput::ClockAdvanced, at(30), TERM).unwrap();
    assert_eq!(trial.end(), Some(&TrialEnd::Lost { losses: 3, last_agent: agent() }));
}

#[test]
fn a_negative_answer_of_a_disturbed_minute_is_measured_again_and_then_stands_as_doubtful() {
    let disturbed = || {
        let TrialOutcome::Failed(failure) = testing::failed(FailureKind::TooSlow, "too slow")
        else {
            panic!("a failure")
        };
        let good = testing::measurement(100.0, 1.0);
        let validity = Some(testing::with_verdict(good, Verdict::Invalid).validity);
        TrialOutcome::Failed(Failure { validity, ..failure })
    };
    let mut trial = Trial::queued();
    for number in 0..3 {
        trial = trial.apply(event(Kind::Grant, token(number)), at(0), TERM).unwrap().0;
        let what = Told::Finished { outcome: disturbed(), time_left: Duration::MAX };
        let finished = TrialInput::Told { token: token(number), what };
        trial = trial.apply(finished, at(0), TERM).unwrap().0;
        assert_eq!(trial.repeats, (number + 1).min(2));
    }
    assert_eq!(trial.end(), Some(&TrialEnd::Reported { outcome: disturbed() }));
}

#[test]
fn an_agent_that_is_ended_gives_its_trial_back_to_the_queue() {
    let (trial, effects) =
        reached("running", 0, 0).apply(event(Kind::GiveBack, token(1)), at(1), TERM).unwrap();
    assert_eq!((trial.word(), trial.losses), ("queued", 1));
    let reason = format!("agent {} gave it back: SIGTERM", agent());
    assert!(effects.contains(&TrialEffect::Requeued { reason }), "{effects:?}");
    assert!(effects.contains(&TrialEffect::DiscardSteps), "{effects:?}");
}

#[test]
fn an_invalid_measurement_is_repeated_twice_and_then_stands() {
    let mut trial = Trial::queued();
    for number in 0..3 {
        trial = trial.apply(event(Kind::Grant, token(number)), at(0), TERM).unwrap().0;
        trial = trial.apply(event(Kind::Hear, token(number)), at(0), TERM).unwrap().0;
        trial = trial.apply(event(Kind::FinishInvalid, token(number)), at(0), TERM).unwrap().0;
    }
    assert_eq!(trial.repeats, 2);
    assert_eq!(
        trial.end().and_then(TrialEnd::measurement).unwrap().validity.verdict,
        Verdict::Invalid
    );
}

#[test]
fn an_invalid_measurement_stands_when_there_is_no_time_to_repeat_it() {
    let trial = Trial::queued().apply(event(Kind::Grant, token(0)), at(0), TERM).unwrap().0;
    let what = Told::Finished { outcome: outcome(Kind::FinishInvalid), time_left: Duration::ZERO };
    let finished = TrialInput::Told { token: token(0), what };
    let (trial, _) = trial.apply(finished, at(0), TERM).unwrap();
    assert_eq!(trial.repeats, 0);
    assert!(trial.end().and_then(TrialEnd::measurement).is_some());
}

#[test]
fn cancelling_names_who_did_it_but_keeps_what_was_measured_already() {
    let cancelling = reached("cancelling", 0, 0);
    let (trial, _) = cancelling.apply(event(Kind::FinishFailed, token(1)), at(1), TERM).unwrap();
    let cancelled = TrialOutcome::Cancelled { by: "ann".to_owned() };
    assert_eq!(trial.end(), Some(&TrialEnd::Reported { outcome: cancelled }));
    let (trial, _) = cancelling.apply(event(Kind::FinishWell, token(1)), at(1), TERM).unwrap();
    assert!(trial.end().and_then(TrialEnd::measurement).is_some());
}

#[test]
fn a_heartbeat_does_not_prolong_cancelling() {
    let cancelling = reached("cancelling", 0, 0);
    let (trial, _) = cancelling.apply(event(Kind::Hear, token(1)), at(29), TERM).unwrap();
    assert_eq!(trial.apply(TrialInput::ClockAdvanced, at(30), TERM).unwrap().0.word(), "ended");
}

#[test]
fn a_trial_survives_being_stored() {
    for word in ["queued", "leased", "running", "cancelling", "ended"] {
        let trial = reached(word, 1, 1);
        let text = serde_json::to_string(&trial).unwrap();
        assert_eq!(serde_json::from_str::<Trial>(&text).unwrap(), trial);
    }
    let (trial, _) =
        reached("running", 0, 0).apply(event(Kind::FinishWell, token(1)), at(1), TERM).unwrap();
    let text = serde_json::to_string(&trial).unwrap();
    assert_eq!(serde_json::from_str::<Trial>(&text).unwrap(), trial);
}

proptest! {
    #[test]
    fn random_walks_agree_with_the_model(
        steps in proptest::collection::vec((proptest::sample::select(&KINDS[..]), any::<bool>(), 0_i64..20), 1..80),
    ) {
        let mut trial = Trial::queued();
        let (mut clock, mut newest) = (0, 0);
        for (kind, stale, wait) in steps {
            let before = trial.clone();
            clock += wait;
            if kind == Kind::Expire {
                clock += 40;
            }
            let has_token = !matches!(kind, Kind::Grant | Kind::Tick | Kind::Expire | Kind::Cancel);
            if kind == Kind::Grant && before.is_queued() {
                newest += 1;
            }
            let used = if has_token && stale { token(newest + 1000) } else { token(newest) };
            let result = before.apply(event(kind, used), at(clock), TERM);
            let expired = before.lease().is_some_and(|lease| lease.has_expired(at(clock)));
            // Whether the clock ends a lease is up to the lease, not to the kind of event drawn.
            let is_clock = matches!(kind, Kind::Tick | Kind::Expire);
            let as_modelled = match (is_clock, expired) {
                (true, true) => Kind::Expire,
                (true, false) => Kind::Tick,
                (false, _) => kind,
            };
            let expected = if has_token && stale {
                None
            } else {
                model(before.word(), as_modelled, before.losses, before.repeats)
            };
            let found = result.as_ref().ok().map(|(trial, _)| (trial.word(), trial.losses, trial.repeats));
            prop_assert_eq!(found, expected, "{:?} in {}", kind, before.word());
            check_effects(&before, result.as_ref().ok());
            if let Ok((after, _)) = result {
                trial = after;
            }
            prop_assert!(trial.losses <= MOST_LOSSES && trial.repeats <= MOST_REPEATS);
        }
    }
}
