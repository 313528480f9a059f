//! Numbers as people read them.

use std::time::Duration;

pub(crate) use assay_measure::figures::{grouped, latency, significant};
use jiff::{SignedDuration, Timestamp};

/// A rate with its interval: `2 310 ± 21`; small rates keep a decimal.
pub(crate) fn with_interval(value: f64, interval: Option<[f64; 2]>) -> String {
    let show = |v: f64| if value < 100.0 { format!("{v:.1}") } else { grouped(v) };
    match interval {
        Some([low, high]) => format!("{} ± {}", show(value), show((high - low) / 2.0)),
        None => show(value),
    }
}

/// Dollars per hour as people write prices: at least three decimals.
pub(crate) fn dollars_per_hour(value: f64) -> String {
    format!("{value:.3}")
}

/// Minutes and seconds: `0:41`.
pub(crate) fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// How long ago: `just now`, `5 min ago`, `3 h ago`, `2 days ago`.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    let past = now.duration_since(then).max(SignedDuration::ZERO);
    let seconds = past.as_secs();
    match seconds {
        0..10 => "just now".to_owned(),
        10..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(with_interval(2310.0, Some([2289.0, 2331.0])), "2 310 ± 21");
        assert_eq!(with_interval(17.25, Some([17.0, 17.5])), "17.2 ± 0.2");
        assert_eq!(clock(Duration::from_secs(101)), "1:41");
    }

    #[test]
    fn the_past_is_told_in_the_unit_that_suits_it() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let past = |seconds| ago(now - SignedDuration::from_secs(seconds), now);
        assert_eq!(past(3), "just now");
        assert_eq!(past(-5), "just now");
        assert_eq!(past(300), "5 min ago");
        assert_eq!(past(86_400 * 3), "3 days ago");
    }
}
