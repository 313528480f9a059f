use super::*;

fn phase(users: i32, rate: i32, seconds: i32) -> jobs::Phase {
    jobs::Phase {
        initial_number_of_users: Some(users),
        spawn_rate: Some(rate),
        duration_in_seconds: Some(seconds),
    }
}

fn phases(phases: Vec<jobs::Phase>) -> TrafficPattern {
    TrafficPattern { traffic_type: Some(TrafficType::Phases), phases: Some(phases), stairs: None }
}

fn stairs(seconds: i32, steps: i32, users: i32) -> TrafficPattern {
    let stairs = Stairs {
        duration_in_seconds: Some(seconds),
        number_of_steps: Some(steps),
        users_per_step: Some(users),
    };
    TrafficPattern { traffic_type: Some(TrafficType::Stairs), phases: None, stairs: Some(stairs) }
}

fn told(pattern: &TrafficPattern) -> String {
    described(&parts(pattern, None).unwrap())
}

fn refusal(pattern: &TrafficPattern, job: Option<i32>) -> String {
    parts(pattern, job).unwrap_err().message
}

#[test]
fn a_phase_gains_users_at_its_rate() {
    assert_eq!(told(&phases(vec![phase(2, 0, 120)])), "2 users for 120 s");
    assert_eq!(
        told(&phases(vec![phase(1, 1, 150)])),
        "1 users for 60 s, then 2 users for 60 s, then 3 users for 30 s"
    );
    assert_eq!(
        told(&phases(vec![phase(1, 3, 120), phase(8, 0, 130)])),
        "1 users for 20 s, then 2 users for 20 s, then 3 users for 20 s, then 4 users for 20 s, \
         then 5 users for 20 s, then 6 users for 20 s, then 8 users for 130 s"
    );
}

#[test]
fn a_staircase_is_as_long_as_it_says_in_all() {
    assert_eq!(
        told(&stairs(600, 5, 2)),
        "2 users for 120 s, then 4 users for 120 s, then 6 users for 120 s, then 8 users for 120 s, \
         then 10 users for 120 s"
    );
    let total: Duration =
        parts(&stairs(200, 7, 1), None).unwrap().iter().map(|part| part.duration).sum();
    assert!(Duration::from_secs(200).abs_diff(total) < Duration::from_micros(1));
}

#[test]
fn phases_that_do_not_meet_are_refused() {
    let meet =
        |before, after| parts(&phases(vec![phase(before, 1, 120), phase(after, 0, 120)]), None);
    for fits in [1, 2, 8, 9] {
        // Three users at the start and two minutes at one a minute: five at the end.
        assert_eq!(meet(3, fits).is_ok(), (2..=8).contains(&fits), "{fits}");
    }
    let message = meet(3, 9).unwrap_err().message;
    assert!(
        message.starts_with(
            "Users at the end of prev phase is 5 while initial users of current phase is 9."
        ),
        "{message}"
    );
}

#[test]
fn traffic_fits_into_the_job() {
    let two_minutes = phases(vec![phase(1, 0, 120)]);
    assert!(parts(&two_minutes, Some(120)).is_ok());
    let message = refusal(&two_minutes, Some(119));
    assert!(
        message
            .starts_with("Total Traffic duration (across) should not be more than Job duration."),
        "{message}"
    );
}

#[test]
fn type_and_content_fit_together() {
    let empty = TrafficPattern::default();
    let mut both = stairs(120, 1, 1);
    both.phases = Some(vec![phase(1, 0, 120)]);
    let mut mislabelled = stairs(120, 1, 1);
    mislabelled.traffic_type = Some(TrafficType::Phases);
    let mut mislabelled_phases = phases(vec![phase(1, 0, 120)]);
    mislabelled_phases.traffic_type = Some(TrafficType::Stairs);
    let incomplete = phases(vec![jobs::Phase { spawn_rate: None, ..phase(1, 0, 120) }]);
    let mut incomplete_stairs = stairs(120, 1, 1);
    incomplete_stairs.stairs.as_mut().unwrap().users_per_step = None;
    for (pattern, expected) in [
        (&empty, "must have Phases or Stairs."),
        (&both, "not both"),
        (&mislabelled, "Phases must be specified"),
        (&mislabelled_phases, "Stairs must be specified"),
        (&incomplete, "phase 1 lacks SpawnRate"),
        (&incomplete_stairs, "lacks UsersPerStep"),
        (&stairs(120, 121, 1), "less than a second"),
    ] {
        let message = refusal(pattern, None);
        assert!(message.contains(expected), "{message}");
    }
    let mut unlabelled = stairs(120, 1, 1);
    unlabelled.traffic_type = None;
    assert!(parts(&unlabelled, None).is_ok());
}
