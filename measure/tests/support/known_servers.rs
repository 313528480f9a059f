//! The servers that searches are compared on, and others that took no part in tuning.

use super::{ServerKind, Throttle};

/// The servers of the published table, A to F.
pub(crate) fn known_servers() -> Vec<ServerKind> {
    let throttle = Throttle { slowdown: 0.20, time_constant_s: 40.0, cool: 0.55, hot: 0.80 };
    vec![
        ServerKind::plain("A  one worker, 10 ms", "p95<=50ms"),
        ServerKind {
            workers: 4,
            fixed_s: 0.020,
            ..ServerKind::plain("B  four workers, 20 ms", "p99<=60ms")
        },
        ServerKind {
            workers: 2,
            max_batch: 8,
            fixed_s: 0.008,
            per_request_s: 0.0015,
            ..ServerKind::plain("C  two workers, batches of 8", "p95<=60ms")
        },
        ServerKind {
            noise: 0.3,
            stragglers: 0.005,
            ..ServerKind::plain("D  noise and stragglers", "p95<=80ms")
        },
        ServerKind {
            throttle: Some(throttle),
            ..ServerKind::plain("E  throttles when hot", "p95<=50ms")
        },
        ServerKind {
            workers: 4,
            fixed_s: 0.020,
            noise: 0.1,
            contention: 0.10,
            neighbour: 0.30,
            ..ServerKind::plain("F  contention, noisy neighbour", "p99<=90ms")
        },
    ]
}

/// Like A to F, with other figures: nothing in the search was chosen on these.
pub(crate) fn held_out_servers() -> Vec<ServerKind> {
    let throttle = Throttle { slowdown: 0.12, time_constant_s: 30.0, cool: 0.50, hot: 0.85 };
    vec![
        ServerKind { fixed_s: 0.004, ..ServerKind::plain("a  one worker, 4 ms", "p90<=14ms") },
        ServerKind {
            workers: 3,
            fixed_s: 0.013,
            network_s: 0.001,
            ..ServerKind::plain("b  three workers, 13 ms, network", "p99<=40ms")
        },
        ServerKind {
            workers: 1,
            max_batch: 16,
            fixed_s: 0.012,
            per_request_s: 0.0008,
            ..ServerKind::plain("c  one worker, batches of 16", "p95<=70ms")
        },
        ServerKind {
            workers: 2,
            fixed_s: 0.016,
            noise: 0.45,
            stragglers: 0.004,
            ..ServerKind::plain("d  two workers, more noise", "p95<=100ms")
        },
        ServerKind {
            fixed_s: 0.007,
            throttle: Some(throttle),
            ..ServerKind::plain("e  throttles less, sooner", "p95<=40ms")
        },
        ServerKind {
            workers: 6,
            fixed_s: 0.030,
            noise: 0.15,
            contention: 0.05,
            neighbour: 0.20,
            ..ServerKind::plain("f  six workers, contention, neighbour", "p99<=110ms")
        },
    ]
}

/// Servers that take batches and are not as even as C: whether batch times help there too.
pub(crate) fn uneven_batching_servers() -> Vec<ServerKind> {
    let throttle = Throttle { slowdown: 0.20, time_constant_s: 40.0, cool: 0.55, hot: 0.80 };
    let batching = |name, constraint| ServerKind {
        workers: 2,
        max_batch: 8,
        fixed_s: 0.008,
        per_request_s: 0.0015,
        ..ServerKind::plain(name, constraint)
    };
    vec![
        ServerKind {
            noise: 0.3,
            stragglers: 0.005,
            ..batching("G  batches of 8, noise and stragglers", "p95<=80ms")
        },
        ServerKind {
            throttle: Some(throttle),
            ..batching("H  batches of 8, throttles", "p95<=60ms")
        },
        ServerKind {
            noise: 0.1,
            contention: 0.10,
            neighbour: 0.30,
            ..batching("I  batches of 8, contention, neighbour", "p99<=90ms")
        },
    ]
}
