//! What `assay compare` says of a job that is measured twice, of one that got slower by a tenth, and by less than the
//! gate, on simulated servers: twenty repetitions each, every run with a seed of its own.
//!
//! What is planted is a service that takes longer by so much that the capacity within the constraint is 10 % (3 %)
//! lower: the factors come from `simulated_truth` over 8 × 200 000 requests. It must be found in cost and throughput.
//! The latency at the capacity may stay as it was, since that is where the constraint is just met, whatever that load
//! is.

#[path = "support/measured_job.rs"]
mod measured_job;
#[path = "../../../measure/tests/support/simulated_server.rs"]
#[expect(dead_code, reason = "shared with the tests of the search, which use other parts")]
mod simulated_server;

use assay_measure::search::Mode;
use assay_planning::compare::{ComparedJob, Metric, Verdict, compare};
// What the simulated server draws from.
use rand_chacha as _;
use simulated_server::{ServerKind, known_servers};

const REPETITIONS: u64 = 20;
/// At least so many of them must be right.
const FEWEST: usize = 19;
/// Changes between half of the gate and the gate are called regressions at most so often; those by 3 %, in 4 % of
/// comparisons.
const MOST_CALLED_REGRESSED: usize = 3;
const OF_LOAD: [Metric; 2] = [Metric::Cost, Metric::Throughput];

/// A server, and how it is measured.
struct Host {
    kind: ServerKind,
    /// It tells its batches, as the model host does.
    tells: bool,
    mode: Mode,
}

fn host(letter: &str, tells: bool, mode: Mode) -> Host {
    let mut all = known_servers().into_iter();
    let kind = all.find(|kind| kind.name.starts_with(letter)).expect("a known server");
    Host { kind, tells, mode }
}

impl Host {
    /// Runs of the job with services longer by this factor, on seeds that no other `series` has.
    fn runs(&self, factor: f64, series: u64) -> Vec<ComparedJob> {
        let mut kind = self.kind.clone();
        kind.fixed_s *= factor;
        kind.per_request_s *= factor;
        (0..REPETITIONS)
            .map(|n| measured_job::measured(&kind, self.tells, self.mode, 1000 * series + n))
            .collect()
    }
}

/// What is said of each pair of runs, by metric.
struct Said {
    server: String,
    /// Of each repetition, the verdicts in the order of [`Metric::ALL`], and by how much throughput changed.
    repetitions: Vec<(Vec<Verdict>, Option<f64>)>,
}

fn said(host: &Host, base: &[ComparedJob], new: &[ComparedJob]) -> Said {
    let of_pair = |(base, new): (&ComparedJob, &ComparedJob)| {
        let comparison = compare(base, new, &[], &[]).ok();
        let changes = comparison.map(|mut comparison| comparison.candidates.remove(0).changes);
        // A job whose figures cannot be believed has nothing in common with another.
        let of = |metric| changes.as_ref()?.iter().find(|change| change.metric == metric);
        let verdicts = Metric::ALL
            .map(|metric| of(metric).map_or(Verdict::Inconclusive, |change| change.verdict));
        (verdicts.to_vec(), of(Metric::Throughput).map(|change| change.change_pct))
    };
    Said {
        server: format!("{}, {}", host.kind.name, host.mode),
        repetitions: base.iter().zip(new).map(of_pair).collect(),
    }
}

impl Said {
    fn count(&self, metric: Metric, verdicts: &[Verdict]) -> usize {
        let place = Metric::ALL.iter().position(|one| *one == metric).expect("a metric");
        self.repetitions.iter().filter(|(said, _)| verdicts.contains(&said[place])).count()
    }

    /// The mean change of throughput in per cent.
    fn mean_change_pct(&self) -> f64 {
        let changes: Vec<f64> = self.repetitions.iter().filter_map(|(_, change)| *change).collect();
        changes.iter().sum::<f64>() / changes.len() as f64
    }

    fn says_of_every_metric(&self, verdicts: &[Verdict], fewest: usize) {
        for metric in Metric::ALL {
            let count = self.count(metric, verdicts);
            assert!(count >= fewest, "{}, {metric}: {count} are {verdicts:?}", self.server);
        }
    }
}

/// The same job twice, and with a capacity that is 10 % and 3 % lower by services longer by these factors.
fn a_tenth_is_found_and_nothing_else(host: &Host, tenth: f64, little: f64) {
    let base = host.runs(1.0, 1);
    let same = said(host, &base, &host.runs(1.0, 2));
    same.says_of_every_metric(&[Verdict::Unchanged, Verdict::Inconclusive], FEWEST);

    let slower = said(host, &base, &host.runs(tenth, 3));
    let planted = slower.mean_change_pct();
    assert!((planted + 10.0).abs() < 1.5, "{}: {planted} % instead of -10 %", slower.server);
    for metric in OF_LOAD {
        let found = slower.count(metric, &[Verdict::Regressed]);
        assert!(found >= FEWEST, "{}, {metric}: found in {found}", slower.server);
    }

    let little = said(host, &base, &host.runs(little, 4));
    for metric in Metric::ALL {
        assert_eq!(little.count(metric, &[Verdict::Improved]), 0, "{}, {metric}", little.server);
    }
    for metric in OF_LOAD {
        let regressed = little.count(metric, &[Verdict::Regressed]);
        assert!(
            regressed <= MOST_CALLED_REGRESSED,
            "{}, {metric}: 3 % regressed in {regressed}",
            little.server
        );
    }
}

#[test]
fn of_a_plain_server_a_tenth_is_found_and_nothing_else() {
    for mode in [Mode::Quick, Mode::Full] {
        a_tenth_is_found_and_nothing_else(&host("A", false, mode), 1.0744, 1.0211);
    }
}

#[test]
fn of_a_batching_server_a_tenth_is_found_and_nothing_else() {
    a_tenth_is_found_and_nothing_else(&host("C", true, Mode::Quick), 1.1013, 1.0285);
}

#[test]
fn of_an_uneven_server_a_tenth_is_found_and_nothing_else_in_full_mode() {
    a_tenth_is_found_and_nothing_else(&host("D", false, Mode::Full), 1.0839, 1.0238);
}

/// Its capacity differs from run to run by more than is planted elsewhere, so nothing is found there; but nothing is
/// made up either.
#[test]
fn of_a_server_with_a_noisy_neighbour_nothing_is_made_up() {
    let host = host("F", false, Mode::Quick);
    let same = said(&host, &host.runs(1.0, 1), &host.runs(1.0, 2));
    same.says_of_every_metric(&[Verdict::Unchanged, Verdict::Inconclusive], FEWEST);
}
