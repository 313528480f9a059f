//! A job's report as one file that needs nothing else: opened from a disk it ranks again by any goals, for every order
//! was computed when it was written. It states its own policy, which lets its own script and style run and nothing else.

use std::fmt::Write as _;

use askama::Template;
use assay_measure::job::{Demand, Importance, JobSpec};
use assay_planning::{
    goal_orders::{self, GoalOrder},
    ranking::RankedBy,
    report::{Entry, JobReport},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use crate::{
    assets,
    drawings::{self, Chart},
    filters,
    goals::{GoalChoice, choices},
    results::Mix,
    runs::{Links, Panel, Runs, Use, uses},
};

const SCRIPT: &str = include_str!("../assets/report.js");

/// The report as a file.
#[derive(Clone, Debug, Template)]
#[template(path = "report_file.html")]
pub struct ReportFile<'a> {
    report: &'a JobReport,
    policy: String,
    style: &'static str,
    script: &'static str,
    goals: [GoalChoice; 3],
    /// Candidates that are first in some order, the first of the report's own before the others.
    firsts: Vec<First<'a>>,
    charts: Vec<Chart>,
    mix: Option<Mix>,
    runs: Runs<'a>,
    measured: Vec<Measured<'a>>,
    /// JSON of figures alone: see [`orders`].
    orders: String,
    ranks_again: bool,
}

#[derive(Clone, Debug)]
struct First<'a> {
    index: usize,
    panel: Panel<'a>,
    uses: Vec<Use>,
}

/// A candidate with its steps.
#[derive(Clone, Debug)]
struct Measured<'a> {
    entry: &'a Entry,
    chart: Option<Chart>,
}

impl<'a> ReportFile<'a> {
    /// The file of a report that was ranked and sized for this demand.
    #[must_use]
    pub fn new(report: &'a JobReport, (spec, demand): (&JobSpec, Option<Demand>)) -> Self {
        let orders = goal_orders::of_report(report);
        // Without a price nothing can be weighed against throughput.
        let ranks_again = report.ranking.len() > 1 && report.ranked_by != RankedBy::Throughput;
        let mut firsts: Vec<usize> =
            (!report.ranking.is_empty()).then_some(0).into_iter().collect();
        for order in orders.iter().filter(|_| ranks_again) {
            let first = order.places.first().map(|place| place.contender);
            firsts.extend(first.filter(|first| !firsts.contains(first)));
        }
        let first = |index: usize| First {
            index,
            panel: Panel {
                best: &report.ranking[index],
                title: "Recommendation",
                id: format!("recommendation-{index}"),
            },
            uses: uses(report, &report.ranking[index], spec),
        };
        let measured =
            |entry: &'a Entry| Measured { entry, chart: drawings::load_curve(report, entry) };
        let style = assets::STYLE;
        Self {
            report,
            policy: policy(),
            style,
            script: SCRIPT,
            goals: choices(report.goals),
            firsts: firsts.into_iter().map(first).collect(),
            charts: drawings::of_report(report, drawings::Best::Unmarked),
            mix: demand.map(|demand| Mix::of(report, demand)),
            runs: Runs::of(report, ranks_again || report.goals.is_some(), Links::None),
            measured: report
                .entries()
                .filter(|entry| !entry.steps.is_empty())
                .map(measured)
                .collect(),
            orders: written(&orders),
            ranks_again,
        }
    }
}

/// What the file allows itself, as the header of whoever hands it out; the file says the same but for who may frame it.
#[must_use]
pub fn header_policy() -> String {
    format!("{}; frame-ancestors 'none'", policy())
}

fn policy() -> String {
    let hash = |content: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(content)));
    format!(
        "default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'",
        hash(SCRIPT),
        hash(assets::STYLE)
    )
}

/// `[[[[entry, score, tied], …], [ranks tied with the first]], …]`: every order in that of [`goal_orders`], each with its
/// places from the best on; `tied` is 1 or 0.
fn written(orders: &[GoalOrder]) -> String {
    let mut text = String::from("[");
    for (index, order) in orders.iter().enumerate() {
        text.push_str(if index == 0 { "[[" } else { ",[[" });
        for (place, comma) in
            order.places.iter().zip(std::iter::once("").chain(std::iter::repeat(",")))
        {
            let tied = u8::from(!place.tied_with.is_empty());
            // Writing to a string cannot fail.
            let _ = write!(text, "{comma}[{},{:.1},{tied}]", place.contender, place.score);
        }
        let ties = order.places.first().map(|place| &*place.tied_with).unwrap_or_default();
        let ties: Vec<String> = ties.iter().map(u32::to_string).collect();
        let _ = write!(text, "],[{}]]", ties.join(","));
    }
    text.push(']');
    text
}
