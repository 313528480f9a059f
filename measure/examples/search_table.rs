//! Prints how close the capacity search comes on servers whose capacity is known, beside the search
//! rules of other tools.
//!
//! `cargo run --release -p assay-measure --example search_table -- [repetitions] [first seed]
//! [letters] [repetitions of the others]`. Letters name servers, `ABCDEF`, the batching `GHI` and the
//! held-out `abcdef`; every search is made with and without the batches that the server could tell;
//! the default is the first six, and no other tools. `cargo xtask bench search` writes the table
//! into docs/BENCHMARKS.md.

#[path = "../tests/support/competitors.rs"]
mod competitors;
#[path = "../tests/support/simulated_server.rs"]
#[expect(dead_code, reason = "the tests use parts that the table does not")]
mod simulated_server;

use std::{ops::Range, time::Duration};

use assay_measure::{
    known_queue::erlang,
    search::{Answer, Mode, Next, Search, SearchPlan},
    slo::Slo,
    statistics::{mean, median},
    validity::{Evidence, FindingName, Verdict, judge},
};
use competitors::COMPETITORS;
use rustix::time::{ClockId, clock_gettime};
use simulated_server::{
    Server, ServerKind, Truth, drive_with, held_out_servers, known_servers, simulated_truth,
    uneven_batching_servers,
};

#[expect(clippy::print_stdout, reason = "printing the table is what this program is for")]
fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number =
        |default: u64| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (repetitions, first_seed) = (number(20), number(5000));
    let letters = arguments.next().unwrap_or_else(|| "ABCDEF".to_owned());
    let of_others: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    println!("server\tmethod\tsearches\ttrue_per_s\t{}", Row::HEADINGS);
    let kinds = known_servers().into_iter().chain(uneven_batching_servers());
    for kind in kinds.chain(held_out_servers()) {
        if !letters.contains(&kind.name[..1]) {
            continue;
        }
        let slo: Slo = kind.constraint.parse().expect("the constraints are written here");
        let truth = truth_of(&kind, slo);
        let begin = format!("{}, {}", kind.name, kind.constraint);
        for (mode, view) in [Mode::Full, Mode::Quick]
            .into_iter()
            .flat_map(|mode| View::ALL.into_iter().map(move |view| (mode, view)))
        {
            let seeds = first_seed..first_seed + repetitions;
            let row = Row::of_search(&kind, slo, (mode, view), truth, seeds);
            let method = format!("Assay, {mode}{}", view.words());
            println!("{begin}\t{method}\t{repetitions}\t{:.2}\t{row}", truth.rate);
        }
        for other in COMPETITORS.iter().filter(|_| of_others > 0) {
            let mut row = Row::default();
            for seed in first_seed..first_seed + of_others {
                let (found, seconds) = other.search(&kind, slo, seed);
                row.add(found, seconds, truth);
            }
            println!("{begin}\t{}\t{of_others}\t{:.2}\t{row}", other.name, truth.rate);
        }
    }
}

/// What the search is told of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// Answers only.
    BlackBox,
    /// Every batch as well, as our own host tells it.
    WhiteBox,
}

impl View {
    const ALL: [Self; 2] = [Self::BlackBox, Self::WhiteBox];

    const fn words(self) -> &'static str {
        match self {
            Self::BlackBox => "",
            Self::WhiteBox => ", white box",
        }
    }

    fn server(self, kind: &ServerKind, seed: u64) -> Server {
        match self {
            Self::BlackBox => Server::new(kind.clone(), seed),
            Self::WhiteBox => Server::telling(kind.clone(), seed),
        }
    }
}

fn truth_of(kind: &ServerKind, slo: Slo) -> Truth {
    let (limit, budget) = (slo.limit(), slo.miss_budget());
    if ["A", "a"].contains(&&kind.name[..1]) {
        let rate = erlang::capacity(kind.fixed_s, limit.as_secs_f64(), budget);
        return Truth { rate, standard_error: 0.0 };
    }
    simulated_truth(kind, limit, budget, 1_000_000, 200)
}

/// What one method came to on one server.
#[derive(Default)]
struct Row {
    /// In per cent of the truth.
    errors: Vec<f64>,
    seconds: Vec<f64>,
    half_widths: Vec<f64>,
    covered: u32,
    held: u32,
    precise: u32,
    drift_found: u32,
    suspect: u32,
    longest_decision: Duration,
}

impl Row {
    const HEADINGS: &'static str = "bias_pct\trmse_pct\tcoverage_pct\tmedian_s\tno_answer_pct\tdrift_pct\tsuspect_pct\thalf_width_pct\theld_pct\tprecise_pct\tdeciding_ms";

    fn of_search(
        kind: &ServerKind,
        slo: Slo,
        (mode, view): (Mode, View),
        truth: Truth,
        seeds: Range<u64>,
    ) -> Self {
        let mut row = Self::default();
        for seed in seeds {
            let plan = SearchPlan {
                constraints: vec![slo],
                mode,
                seed,
                max_duration: Duration::from_secs(900),
                soak: None,
                skip_thermal_check: false,
                max_error_share: 0.01,
            };
            let server = view.server(kind, seed);
            let finished = drive_with(Search::new(plan), server, |search, observation| {
                row.longest_decision = row.longest_decision.max(timed(|| {
                    search.observe(observation).expect("the step is in flight");
                }));
            });
            let answer = match finished.end {
                Next::Done(answer) => Some(answer),
                Next::Failed(_) | Next::Step(_) | Next::Wait => None,
            };
            let found = answer.as_ref().map(|answer| answer.capacity.value.as_per_second());
            row.add(found, finished.seconds, truth);
            if let Some(answer) = answer {
                row.look_at(*answer, slo, mode, truth);
            }
        }
        row
    }

    fn add(&mut self, found: Option<f64>, seconds: f64, truth: Truth) {
        self.errors.extend(found.map(|rate| 100.0 * (rate / truth.rate - 1.0)));
        self.seconds.push(seconds);
    }

    fn look_at(&mut self, answer: Answer, slo: Slo, mode: Mode, truth: Truth) {
        let (low, high) =
            (answer.capacity.low.as_per_second(), answer.capacity.high.as_per_second());
        self.half_widths.push(100.0 * (high / low).ln() / 2.0);
        // Nothing is added to the interval.
        self.covered += u32::from(truth.lies_within(low, high));
        self.held += u32::from(answer.confirmation == assay_measure::search::Confirmation::Held);
        self.precise += u32::from(answer.precise);
        let validity = judge(&Evidence {
            calls: answer.samples,
            answer: Some(answer),
            mode: Some(mode),
            constraints: vec![slo],
            max_error_share: 0.01,
            ..Evidence::default()
        });
        let drifts = validity.findings.iter().any(|finding| finding.name == FindingName::Drift);
        self.drift_found += u32::from(drifts);
        self.suspect += u32::from(validity.verdict >= Verdict::Suspect);
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let searches = self.seconds.len().max(1) as f64;
        let share = |count: u32| 100.0 * f64::from(count) / searches;
        let squares: Vec<f64> = self.errors.iter().map(|error| error * error).collect();
        // Another tool has no interval, and says nothing about drift.
        let ours = |text: String| if self.half_widths.is_empty() { "-".to_owned() } else { text };
        write!(
            f,
            "{:+.2}\t{:.2}\t{}\t{:.0}\t{:.0}\t{}\t{}\t{}\t{}\t{}\t{}",
            mean(&self.errors).unwrap_or(f64::NAN),
            mean(&squares).unwrap_or(f64::NAN).sqrt(),
            ours(format!("{:.0}", share(self.covered))),
            median(&self.seconds).unwrap_or(f64::NAN),
            100.0 * (1.0 - self.errors.len() as f64 / searches),
            ours(format!("{:.0}", share(self.drift_found))),
            ours(format!("{:.0}", share(self.suspect))),
            ours(format!("{:.2}", mean(&self.half_widths).unwrap_or(f64::NAN))),
            ours(format!("{:.0}", share(self.held))),
            ours(format!("{:.0}", share(self.precise))),
            ours(format!("{:.1}", self.longest_decision.as_secs_f64() * 1e3)),
        )
    }
}

/// Processor time, which other programs on the machine do not change.
fn timed(decide: impl FnOnce()) -> Duration {
    let spent = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(
            u64::try_from(time.tv_sec).unwrap_or(0),
            u32::try_from(time.tv_nsec).unwrap_or(0),
        )
    };
    let began = spent();
    decide();
    spent().saturating_sub(began)
}
