//! Figures as people read them: digits in groups, three significant figures.

/// A count with its digits in groups of three, a space between: `2 310`.
#[must_use]
pub fn grouped(value: f64) -> String {
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

/// Three significant figures: `0.640`, `46.0`, `1 230`.
#[must_use]
pub fn significant(value: f64) -> String {
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

/// Microseconds in the unit that suits them, to three significant figures: `850 µs`, `27.9 ms`, `1.25 s`.
#[must_use]
pub fn latency(micros: u64) -> String {
    match micros {
        0..1000 => format!("{micros} µs"),
        1000..1_000_000 => format!("{} ms", significant(micros as f64 / 1e3)),
        _ => format!("{} s", significant(micros as f64 / 1e6)),
    }
}

/// The same within a sentence, without zeros at the end: `61 ms` where a table says `61.0 ms`.
#[must_use]
pub fn plain_latency(micros: u64) -> String {
    let text = latency(micros);
    match text.split_once(' ') {
        Some((figure, unit)) if figure.contains('.') => {
            format!("{} {unit}", figure.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
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
        assert_eq!(significant(0.64), "0.640");
        assert_eq!(significant(46.02), "46.0");
    }

    #[test]
    fn a_latency_has_three_figures_and_its_unit() {
        let both = |micros| (latency(micros), plain_latency(micros));
        let same = |text: &str| (text.to_owned(), text.to_owned());
        assert_eq!(both(0), same("0 µs"));
        assert_eq!(both(850), same("850 µs"));
        assert_eq!(both(27_900), same("27.9 ms"));
        assert_eq!(both(61_000), ("61.0 ms".to_owned(), "61 ms".to_owned()));
        assert_eq!(both(100_000), same("100 ms"));
        assert_eq!(both(999_999), same("1000 ms"));
        assert_eq!(both(1_250_000), same("1.25 s"));
        assert_eq!(both(2_000_000), ("2.00 s".to_owned(), "2 s".to_owned()));
        assert_eq!(both(600_000_000), same("600 s"));
    }
}
