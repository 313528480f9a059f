//! Numbers as people read them: digits in groups, three significant figures, times of day apart.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A count with its digits in groups of three, a thin space between: `2 310`.
pub(crate) fn grouped(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if value <= -0.5 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A rate with its interval: `2 310 ± 21`; small rates keep a decimal.
pub(crate) fn with_interval(value: f64, interval: Option<[f64; 2]>) -> String {
    let show = |v: f64| if value < 100.0 { format!("{v:.1}") } else { grouped(v) };
    match interval {
        Some([low, high]) => format!("{} ± {}", show(value), show((high - low) / 2.0)),
        None => show(value),
    }
}

/// Three significant figures: `0.640`, `46.0`, `1 230`.
pub(crate) fn significant(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let magnitude = value.abs();
    match magnitude {
        _ if magnitude >= 1000.0 => grouped(value),
        _ if magnitude >= 100.0 => format!("{value:.0}"),
        _ if magnitude >= 10.0 => format!("{value:.1}"),
        _ if magnitude >= 1.0 => format!("{value:.2}"),
        _ if magnitude >= 0.1 => format!("{value:.3}"),
        _ if magnitude >= 0.01 => format!("{value:.4}"),
        _ if magnitude > 0.0 => format!("{value:.2e}"),
        _ => "0".to_owned(),
    }
}

/// Dollars per hour as people write prices: at least three decimals.
pub(crate) fn dollars_per_hour(value: f64) -> String {
    format!("{value:.3}")
}

/// Microseconds in the unit that suits them: `850 µs`, `27.9 ms`, `1.25 s`.
pub(crate) fn latency(micros: u64) -> String {
    let micros = micros as f64;
    if micros < 1000.0 {
        format!("{micros:.0} µs")
    } else if micros < 1e6 {
        format!("{} ms", significant(micros / 1e3))
    } else {
        format!("{} s", significant(micros / 1e6))
    }
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
        assert_eq!(grouped(2309.6), "2 310");
        assert_eq!(grouped(999.0), "999");
        assert_eq!(grouped(1_234_567.0), "1 234 567");
        assert_eq!(grouped(-1234.0), "-1 234");
        assert_eq!(grouped(f64::NAN), "-");
        assert_eq!(with_interval(2310.0, Some([2289.0, 2331.0])), "2 310 ± 21");
        assert_eq!(with_interval(17.25, Some([17.0, 17.5])), "17.2 ± 0.2");
        assert_eq!(significant(0.64), "0.640");
        assert_eq!(significant(46.02), "46.0");
        assert_eq!(latency(27_900), "27.9 ms");
        assert_eq!(latency(850), "850 µs");
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
