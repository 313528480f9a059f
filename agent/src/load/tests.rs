//! The generator against servers of this process: what is sent, counted and concluded, never how fast.

use std::{collections::HashMap, sync::atomic::AtomicU64};

use assay_measure::{
    schedule::Arrivals,
    search::{Purpose, Verdict},
    units::Rate,
};
use bytes::Bytes;

use super::{
    figures::ErrorKind,
    scripted_server::{Answer, Server},
    *,
};

const SECOND: Duration = Duration::from_secs(1);

fn payload(bodies: &[&'static str]) -> Payload {
    Payload {
        bodies: bodies.iter().map(|body| Bytes::from_static(body.as_bytes())).collect(),
        content_type: "text/plain".to_owned(),
        ..Payload::default()
    }
}

fn generator(server: &Server, options: &GeneratorOptions) -> Generator {
    let payload = payload(&["a", "b", "c"]);
    Generator::start(
        &server.target(),
        &server.target().reach().unwrap(),
        Some(&payload),
        &[],
        options,
    )
    .unwrap()
}

fn plan(index: u32, load: Load, duration: Duration) -> StepPlan {
    StepPlan {
        index,
        purpose: Purpose::Fixed,
        load,
        duration,
        continues: false,
        verdict_after: 10 * SECOND,
    }
}

fn poisson(rate: f64, seed: u64) -> Load {
    Load::Open { rate: Rate::per_second(rate).unwrap(), arrivals: Arrivals::Poisson, seed }
}

/// Runs one step and checks that its counts add up.
fn run(server: &Server, options: &GeneratorOptions, plan: &StepPlan) -> EndedStep {
    let mut generator = generator(server, options);
    generator.submit(plan).unwrap();
    let result = generator.wait_next().unwrap().unwrap();
    counts_add_up(&result);
    assert!(generator.wait_next().unwrap().is_none());
    result
}

fn counts_add_up(result: &EndedStep) {
    let figures = &result.figures;
    assert_eq!(
        figures.carried_in + figures.sent,
        figures.answered + figures.errors.total() + figures.outstanding,
        "{figures:?}"
    );
}

fn verdicts(result: &EndedStep) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for sample in &result.observation.samples {
        *counts.entry(format!("{:?}", sample.verdict)).or_default() += 1;
    }
    counts
}

#[test]
fn open_loop_sends_at_exactly_the_scheduled_times() {
    let server = Server::http(|_| Answer::ok("x"));
    for threads in [1, 3] {
        let load = poisson(400.0, 7);
        let result = run(
            &server,
            &GeneratorOptions { threads, ..Default::default() },
            &plan(0, load.clone(), SECOND / 2),
        );
        let observation = &result.observation;
        let intended: Vec<u64> = observation
            .samples
            .iter()
            .map(|sample| sample.intended_us - observation.started_us)
            .collect();
        let scheduled: Vec<u64> = load.send_times(SECOND / 2).unwrap().collect();
        assert_eq!(intended.len(), scheduled.len());
        // The start is kept in nanoseconds, its report in microseconds.
        assert!(
            intended.iter().zip(&scheduled).all(|(a, b)| a.abs_diff(*b) <= 1),
            "{intended:?} {scheduled:?}"
        );
        assert_eq!(observation.elapsed_us, 500_000);
        assert_eq!(result.figures.answered, scheduled.len() as u64);
        assert_eq!(result.figures.lag.len(), scheduled.len() as u64);
        assert_eq!(result.end, StepEnd::Complete);
    }
}

#[test]
fn recorded_arrivals_are_replayed() {
    let server = Server::http(|_| Answer::ok("x"));
    let at_us = vec![0, 0, 1_000, 70_000, 70_001];
    let result = run(
        &server,
        &GeneratorOptions::default(),
        &plan(3, Load::Replay { at_us: at_us.clone() }, SECOND / 10),
    );
    assert_eq!(result.observation.index, 3);
    assert_eq!(result.figures.answered, 5);
    let first = result.observation.samples[0].intended_us;
    let offsets: Vec<u64> =
        result.observation.samples.iter().map(|sample| sample.intended_us - first).collect();
    assert!(offsets.iter().zip(&at_us).all(|(a, b)| a.abs_diff(*b) <= 1), "{offsets:?}");
}

#[test]
fn bodies_are_sent_in_turn() {
    let (seen_in, seen) = channel();
    let server = Server::http(move |request| {
        seen_in.send(request.body.clone()).unwrap();
        Answer::ok("x")
    });
    run(&server, &GeneratorOptions::default(), &plan(0, Load::Closed { users: 1 }, SECOND / 10));
    let seen: Vec<String> = seen.try_iter().collect();
    assert!(seen.len() > 3);
    for (number, body) in seen.iter().enumerate() {
        assert_eq!(body, ["a", "b", "c"][number % 3]);
    }
}

#[test]
fn users_never_have_more_than_one_request_each_in_flight() {
    let server = Server::http(|_| Answer::ok("x").after(Duration::from_millis(2)));
    let result =
        run(&server, &GeneratorOptions::default(), &plan(0, Load::Closed { users: 5 }, SECOND / 4));
    assert_eq!(server.most_at_once(), 5);
    assert_eq!(result.figures.connections_opened, 5);
    assert!(result.figures.outstanding <= 5);
    assert_eq!(result.observation.samples.len() as u64, result.figures.answered);
    assert!(result.figures.lag.is_empty(), "there is no intended time in closed loop");
    // 5 users × 250 ms / at least 2 ms each.
    assert!(result.figures.answered <= 625, "{}", result.figures.answered);
}

#[test]
fn a_stalled_server_shows_in_open_loop_latency() {
    let stalled = AtomicBool::new(false);
    let server = Server::http(move |_| {
        let first = !stalled.swap(true, Ordering::Relaxed);
        Answer::ok("x").stalling(if first { SECOND } else { Duration::ZERO })
    });
    let load = Load::Open {
        rate: Rate::per_second(100.0).unwrap(),
        arrivals: Arrivals::Constant,
        seed: 1,
    };
    let result = run(&server, &GeneratorOptions::default(), &plan(0, load, 2 * SECOND));
    assert_eq!(result.figures.answered, 200);
    // Half of the requests were meant to be sent while nothing was answered.
    let p99 = result.figures.latency.value_at_quantile(0.99);
    let p70 = result.figures.latency.value_at_quantile(0.70);
    assert!(p99 > 900_000 && p70 > 300_000, "p70 {p70} p99 {p99}");
}

#[test]
fn a_connection_limit_makes_requests_wait_in_the_generator_and_counts_it() {
    let server = Server::http(|_| Answer::ok("x").after(Duration::from_millis(20)));
    let at_us = vec![0; 10];
    let options = GeneratorOptions { connections: 2, ..Default::default() };
    let load = Load::Replay { at_us };
    let result = run(&server, &options, &plan(0, load.clone(), SECOND / 20));
    assert_eq!((result.figures.answered, result.figures.waited), (10, 8));
    assert_eq!(server.most_at_once(), 2);
    // Five rounds of at least 20 ms, counted from the intended time.
    assert!(result.figures.latency.max() >= 99_000, "{}", result.figures.latency.max());
    assert!(result.figures.service_time.min() >= 19_900);
    // All came at once; a rate of them is that of their answers.
    assert_eq!(result.observation.elapsed_us, 50_000);
    assert!(result.lasted(&load) >= Duration::from_millis(99), "{:?}", result.lasted(&load));
    assert!(!result.observation.generator_saturated);
}

#[test]
fn every_third_call_fails_and_the_first_is_kept() {
    let calls = AtomicU64::new(0);
    let server = Server::http(move |_| match calls.fetch_add(1, Ordering::Relaxed) % 3 {
        2 => Answer::status(500, "model raised: shape mismatch"),
        _ => Answer::ok("x"),
    });
    let result =
        run(&server, &GeneratorOptions::default(), &plan(0, poisson(300.0, 1), SECOND / 2));
    let figures = &result.figures;
    assert_eq!(figures.errors.status, figures.sent / 3);
    assert_eq!(figures.errors.total(), figures.errors.status);
    assert_eq!(figures.latency.len(), figures.answered);
    let first = figures.first_failure.as_ref().unwrap();
    assert_eq!((first.kind, first.status), (ErrorKind::Status, Some(500)));
    assert_eq!(first.body, b"model raised: shape mismatch");
    assert_eq!(verdicts(&result)["Failed"] as u64, figures.errors.status);
}

#[test]
fn unix_sockets_chunked_bodies_and_closing_servers_are_spoken_to() {
    let answers: [fn() -> Answer; 4] = [
        || {
            Answer::raw(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            )
        },
        || {
            Answer::raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                .closing()
        },
        || Answer::raw(b"HTTP/1.0 200 OK\r\n\r\nuntil the end").closing(),
        || Answer::raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").byte_by_byte(),
    ];
    for answer in answers {
        for server in [Server::http(move |_| answer()), Server::unix(move |_| answer())] {
            let result =
                run(&server, &GeneratorOptions::default(), &plan(0, poisson(100.0, 3), SECOND / 4));
            assert_eq!(
                result.figures.answered, result.figures.sent,
                "{:?}",
                result.figures.first_failure
            );
            let result = run(
                &server,
                &GeneratorOptions::default(),
                &plan(0, Load::Closed { users: 2 }, SECOND / 10),
            );
            assert_eq!(result.figures.errors.total(), 0, "{:?}", result.figures.first_failure);
            assert!(result.figures.answered > 3);
        }
    }
}

#[test]
fn hostile_answers_fail_the_request_and_nothing_else() {
    let garbage: [(ErrorKind, fn() -> Answer); 4] = [
        (ErrorKind::Malformed, || Answer::raw(b"\x00\x01\x02 what is this\r\n\r\n")),
        (ErrorKind::Malformed, || Answer::raw(&[b'x'; 1 << 20])),
        (ErrorKind::Reset, || {
            Answer::raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort").closing()
        }),
        (ErrorKind::Reset, || Answer::raw(b"").closing()),
    ];
    for (kind, answer) in garbage {
        let server = Server::http(move |_| answer());
        let result =
            run(&server, &GeneratorOptions::default(), &plan(0, poisson(50.0, 1), SECOND / 5));
        let figures = &result.figures;
        assert_eq!((figures.answered, figures.errors.total()), (0, figures.sent), "{kind:?}");
        let first = figures.first_failure.as_ref().unwrap();
        assert_eq!(first.kind, kind, "{first:?}");
    }
}

#[test]
fn a_silent_server_is_a_timeout() {
    let server = Server::http(|_| Answer::ok("x").after(3 * SECOND));
    let options = GeneratorOptions { request_timeout: SECOND / 5, ..Default::default() };
    let result =
        run(&server, &options, &plan(0, Load::Replay { at_us: vec![0, 1000] }, SECOND / 10));
    assert_eq!((result.figures.errors.timeout, result.figures.answered), (2, 0));
    assert!(
        result
            .observation
            .samples
            .iter()
            .all(|sample| sample.verdict == Verdict::Failed && sample.latency_us >= 200_000)
    );
}

#[test]
fn verdicts_are_final_after_their_time_even_if_nothing_returns() {
    let server = Server::http(|_| Answer::ok("x").after(3 * SECOND));
    let plan = StepPlan {
        verdict_after: SECOND / 5,
        ..plan(0, Load::Replay { at_us: vec![0, 1000] }, SECOND / 10)
    };
    let result = run(&server, &GeneratorOptions::default(), &plan);
    assert_eq!(verdicts(&result), HashMap::from([("Outstanding".to_owned(), 2)]));
    assert_eq!(result.figures.outstanding, 2);
    // Their time so far counts: leaving it out would flatter the target.
    assert_eq!(result.figures.latency.len(), 2);
    assert!(result.observation.samples.iter().all(|sample| sample.latency_us >= 200_000));
}

#[test]
fn a_continuing_step_starts_at_the_very_end_of_the_last() {
    let server = Server::http(|_| Answer::ok("x").after(Duration::from_millis(30)));
    let mut generator = generator(&server, &GeneratorOptions::default());
    for index in 0..3 {
        generator
            .submit(&StepPlan {
                continues: index > 0,
                ..plan(index, poisson(200.0, u64::from(index)), SECOND / 5)
            })
            .unwrap();
    }
    let mut end_us = None;
    for index in 0..3 {
        let result = generator.wait_next().unwrap().unwrap();
        counts_add_up(&result);
        assert_eq!((result.observation.index, result.figures.outstanding), (index, 0));
        let started_us = result.observation.started_us;
        assert!(
            end_us.is_none_or(|end: u64| end.abs_diff(started_us) <= 1),
            "{end_us:?} {started_us}"
        );
        end_us = Some(started_us + result.observation.elapsed_us);
    }
}

#[test]
fn users_carry_their_requests_into_a_continuing_step() {
    let server = Server::http(|_| Answer::ok("x").after(Duration::from_millis(40)));
    let mut generator = generator(&server, &GeneratorOptions::default());
    generator.submit(&plan(0, Load::Closed { users: 2 }, SECOND / 10)).unwrap();
    generator
        .submit(&StepPlan { continues: true, ..plan(1, Load::Closed { users: 4 }, SECOND / 10) })
        .unwrap();
    let first = generator.wait_next().unwrap().unwrap();
    let second = generator.wait_next().unwrap().unwrap();
    counts_add_up(&first);
    counts_add_up(&second);
    assert_eq!(first.figures.outstanding, second.figures.carried_in);
    assert_eq!(second.figures.outstanding, 4);
}

#[test]
fn a_step_that_does_not_continue_waits_for_silence() {
    let server = Server::http(|_| Answer::ok("x").after(SECOND / 4));
    let mut generator = generator(&server, &GeneratorOptions::default());
    generator.submit(&plan(0, Load::Closed { users: 3 }, SECOND / 10)).unwrap();
    generator.submit(&plan(1, Load::Replay { at_us: vec![0] }, SECOND / 100)).unwrap();
    let first = generator.wait_next().unwrap().unwrap();
    assert_eq!((first.figures.answered, first.figures.outstanding), (0, 3));
    let second = generator.wait_next().unwrap().unwrap();
    assert!(second.observation.started_us >= first.observation.started_us + 250_000);
    assert_eq!((second.figures.sent, second.figures.answered), (1, 1));
}

#[test]
fn cancelling_returns_what_was_measured() {
    let server = Server::http(|_| Answer::ok("x"));
    let mut generator = generator(&server, &GeneratorOptions { threads: 2, ..Default::default() });
    generator.submit(&plan(0, Load::Closed { users: 4 }, 600 * SECOND)).unwrap();
    let handle = generator.cancel_handle();
    let canceller = std::thread::spawn(move || {
        std::thread::sleep(SECOND / 5);
        handle.cancel();
    });
    let result = generator.wait_next().unwrap().unwrap();
    canceller.join().unwrap();
    counts_add_up(&result);
    assert_eq!(result.end, StepEnd::Cancelled);
    assert!(result.figures.answered > 0);
    assert!(result.observation.elapsed_us < 599_000_000);
    assert!(generator.wait_next().unwrap().is_none());
    std::thread::sleep(SECOND / 20);
    assert!(matches!(
        generator.submit(&plan(1, poisson(1.0, 1), SECOND)),
        Err(GeneratorError::Ended)
    ));
}

#[test]
fn a_target_that_dies_ends_the_step_with_its_reason() {
    for load in [poisson(200.0, 1), Load::Closed { users: 4 }] {
        let server = Server::http(|_| Answer::ok("x"));
        let options = GeneratorOptions { give_up_after: SECOND / 2, ..Default::default() };
        let mut generator = generator(&server, &options);
        generator.submit(&plan(0, load, 60 * SECOND)).unwrap();
        std::thread::sleep(SECOND / 5);
        drop(server);
        let result = generator.wait_next().unwrap().unwrap();
        counts_add_up(&result);
        let StepEnd::TargetLost { reason } = &result.end else { panic!("{:?}", result.end) };
        assert!(
            reason.contains("cannot connect to 127.0.0.1:") && reason.contains("refused"),
            "{reason}"
        );
        assert!(result.figures.answered > 0);
        assert!(result.figures.errors.connect > 0, "{:?}", result.figures.errors);
        // A dead target must not be hammered: the back-off allows far fewer attempts than a busy loop makes.
        assert!(result.figures.connections_opened < 300, "{}", result.figures.connections_opened);
    }
}

#[test]
fn a_server_that_resets_everything_is_not_hammered() {
    let server = Server::http(|_| Answer::raw(b"").closing());
    let result =
        run(&server, &GeneratorOptions::default(), &plan(0, Load::Closed { users: 4 }, SECOND / 2));
    assert_eq!(result.figures.answered, 0);
    assert!(result.figures.errors.reset >= 4);
    assert!(result.figures.connections_opened < 100, "{}", result.figures.connections_opened);
}

#[test]
fn seconds_cover_every_answer() {
    let server = Server::http(|_| Answer::ok("x"));
    let options = GeneratorOptions {
        threads: 2,
        keep_seconds: true,
        keep_samples: false,
        ..Default::default()
    };
    let result = run(&server, &options, &plan(0, poisson(200.0, 5), 2 * SECOND));
    assert!(result.observation.samples.is_empty());
    assert!(result.figures.seconds.len() >= 2);
    assert_eq!(
        result.figures.seconds.iter().map(|second| second.answered).sum::<u64>(),
        result.figures.answered
    );
    assert_eq!(
        result.figures.seconds.iter().map(|second| second.latency.len()).sum::<u64>(),
        result.figures.answered
    );
}

#[test]
fn a_step_too_long_for_memory_is_refused() {
    let server = Server::http(|_| Answer::ok("x"));
    let mut generator = generator(&server, &GeneratorOptions::default());
    let load =
        Load::Open { rate: Rate::per_second(1e9).unwrap(), arrivals: Arrivals::Constant, seed: 1 };
    let refused = generator.submit(&plan(0, load, 3600 * SECOND));
    assert!(matches!(refused, Err(GeneratorError::TooManyArrivals { duration_s: 3600 })));
}
