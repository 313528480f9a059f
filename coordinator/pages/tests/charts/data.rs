//! What the charts are drawn of: figures as measured, and figures as bad as they can be.

use assay_pages::chart::Limit;
use assay_pages::chart::comparison::{Row, Verdict};
use assay_pages::chart::cost_demand::Line;
use assay_pages::chart::latency_cost::Candidate;
use assay_pages::chart::latency_percentiles::Curve;
use assay_pages::chart::load_curve::{Capacity, Step};
use assay_pages::chart::load_overlay::Run;
use assay_pages::chart::utilization::{Band, Mark, Series, Unit};

pub(crate) fn limit() -> Limit {
    Limit { label: "p95 ≤ 50 ms".to_owned(), latency_us: 50_000 }
}

pub(crate) fn candidate(label: &str, usd_per_million: f64, latency_us: u64) -> Candidate {
    Candidate {
        label: label.to_owned(),
        usd_per_million,
        usd_per_million_ci95: Some([usd_per_million * 0.93, usd_per_million * 1.09]),
        latency_us,
        meets: latency_us <= 50_000,
        is_best: false,
    }
}

pub(crate) fn candidates() -> Vec<Candidate> {
    let mut all = vec![
        candidate("c6i.xlarge", 0.64, 46_000),
        candidate("c6i.2xlarge", 0.71, 27_900),
        candidate("c7g.xlarge", 0.52, 61_000),
        candidate("c7g.2xlarge", 0.58, 44_200),
        candidate("m6i.xlarge", 0.83, 49_100),
        candidate("m7i.2xlarge", 0.80, 26_800),
        candidate("g5.xlarge", 1.92, 8_300),
        candidate("g4dn.xlarge", 1.15, 14_700),
        candidate("inf2.xlarge", 0.97, 11_200),
        candidate("t3.large", 0.66, 138_000),
    ];
    all[3].is_best = true;
    all
}

pub(crate) fn many_candidates() -> Vec<Candidate> {
    (0..30_u32)
        .map(|index| {
            let label =
                format!("ml.c{}i.{}xlarge / {} workers", 5 + index % 3, index + 1, index % 4);
            let cost = 0.5 + f64::from(index % 7) * 0.31;
            candidate(&label, cost, u64::from(20 + (index * 37) % 61) * 1000)
        })
        .collect()
}

pub(crate) fn steps() -> Vec<Step> {
    (1..=12_u64)
        .map(|index| {
            let load = index as f64 / 12.0;
            let p50_us = 9_000 + 300_000 * index / (1248 - 100 * index);
            Step {
                invocations_per_min: 2520.0 * load,
                p50_us,
                p95_us: p50_us * 17 / 10,
                p99_us: p50_us * 26 / 10,
            }
        })
        .collect()
}

/// The same load twice, a tenth slower the second time.
pub(crate) fn runs() -> Vec<Run> {
    let slower = |step: Step| Step { p95_us: step.p95_us * 11 / 10, ..step };
    vec![
        Run { name: "monday".to_owned(), steps: steps() },
        Run { name: "tuesday".to_owned(), steps: steps().into_iter().map(slower).collect() },
    ]
}

pub(crate) fn capacity() -> Capacity {
    Capacity { invocations_per_min: 2310.0, ci95: Some([2240.0, 2365.0]) }
}

pub(crate) fn series() -> Vec<Series> {
    let wave = |base: f64, height: f64, phase: f64| -> Vec<(f64, f64)> {
        (0..300_u32)
            .filter(|second| !(140..170).contains(second))
            .map(|second| {
                let time = f64::from(second);
                let noise = f64::from((second * 7919) % 13) - 6.0;
                (time, base + height * (time / 300.0) + (time / 9.0 + phase).sin() * 3.0 + noise)
            })
            .collect()
    };
    let one = |name: &str, unit, samples| Series { name: name.to_owned(), unit, samples };
    vec![
        one("CPU", Unit::Percent, wave(25.0, 55.0, 0.0)),
        one("GPU", Unit::Percent, wave(10.0, 80.0, 2.0)),
        one("Memory", Unit::Percent, wave(48.0, 3.0, 4.0)),
        one("GPU power", Unit::Watts, wave(90.0, 150.0, 1.0)),
    ]
}

pub(crate) fn bands() -> Vec<Band> {
    (0..5_u32)
        .map(|index| Band {
            from_s: f64::from(index) * 60.0,
            to_s: f64::from(index + 1) * 60.0,
            label: format!("{} %", (index + 1) * 20),
            disturbed: index == 3,
        })
        .collect()
}

pub(crate) fn marks() -> Vec<Mark> {
    let mark = |at_s: f64, label: &str| Mark { at_s, label: label.to_owned() };
    vec![
        mark(212.0, "throttled: heat"),
        mark(215.0, "throttled: heat"),
        mark(251.0, "throttled: power"),
    ]
}

pub(crate) fn curves() -> Vec<Curve> {
    // Quantiles, and a hundred times the nines they have.
    const QUANTILES: [(f64, u64); 11] = [
        (0.0, 0),
        (0.25, 12),
        (0.5, 30),
        (0.75, 60),
        (0.9, 100),
        (0.95, 130),
        (0.99, 200),
        (0.995, 230),
        (0.999, 300),
        (0.9999, 400),
        (1.0, 500),
    ];
    let curve = |name: &str, base: u64, growth: u64| Curve {
        name: name.to_owned(),
        points: QUANTILES
            .map(|(quantile, nines)| (quantile, base + growth * nines * nines / 10_000))
            .to_vec(),
    };
    vec![
        curve("c6i.xlarge", 18_000, 3_100),
        curve("c6i.2xlarge", 12_000, 2_100),
        curve("g5.xlarge", 6_000, 450),
        curve("inf2.xlarge", 8_000, 900),
    ]
}

pub(crate) fn lines() -> Vec<Line> {
    let line = |label: &str, usd_per_hour, usable_per_min| Line {
        label: label.to_owned(),
        usd_per_hour,
        usable_per_min,
    };
    vec![
        line("c6i.xlarge", 0.17, 1_840.0),
        line("c6i.2xlarge", 0.34, 3_900.0),
        line("c7g.2xlarge", 0.29, 3_300.0),
        line("g5.xlarge", 1.006, 14_000.0),
        line("inf2.xlarge", 0.758, 11_500.0),
        line("p4d.24xlarge", 32.77, 200_000.0),
    ]
}

pub(crate) fn rows() -> Vec<Row> {
    let row = |label: &str, change_pct, low, high, verdict| Row {
        label: label.to_owned(),
        change_pct,
        ci95_pct: Some([low, high]),
        verdict,
    };
    vec![
        row("c6i.xlarge: cost per million", -7.4, -9.0, -5.8, Verdict::Improved),
        row("c6i.xlarge: p95 latency", 1.1, -0.9, 3.0, Verdict::Unchanged),
        row("c6i.xlarge: capacity", 8.2, 6.1, 10.4, Verdict::Improved),
        row("g5.xlarge: cost per million", 12.6, 9.9, 15.1, Verdict::Regressed),
        row("g5.xlarge: p95 latency", 6.0, -8.0, 19.5, Verdict::Inconclusive),
        row("g5.xlarge: capacity", -0.2, -2.0, 1.7, Verdict::Unchanged),
    ]
}

/// Labels that a careless page would suffer from.
pub(crate) fn hostile_labels() -> Vec<String> {
    vec![
        "<script>alert(1)</script>".to_owned(),
        "\"><img src=x onerror='alert(1)'>&amp;]]>".to_owned(),
        "m".repeat(300),
        "مرحبا بالعالم \u{202e}reversed\u{2066}".to_owned(),
        "null\u{0}bell\u{7}escape\u{1b}[31m\u{ffff}\u{fffe}\nline".to_owned(),
        "模型推理延迟成本".repeat(20),
        "🔥".repeat(50),
        "e\u{301}\u{301}\u{301}".repeat(60),
        String::new(),
    ]
}

/// Values that are no figures, and figures at the ends of what there is.
pub(crate) const VALUES: [f64; 12] = [
    0.0,
    -0.0,
    1e-9,
    1e9,
    42.0,
    42.0,
    -5.0,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::MAX,
    f64::MIN_POSITIVE,
];

pub(crate) const MICROS: [u64; 4] = [0, 1, 46_000, u64::MAX];
