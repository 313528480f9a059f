//! `bench pages`: what a job's page, a long list and many followers cost the coordinator. The example `pages` of the
//! test package measures it, on jobs whose figures are known.

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    Bench,
    figures::{Figure, verdict},
    report::Section,
};
use crate::process::capture;

/// What each figure must stay below.
const GOALS: [(&str, &str, f64); 6] = [
    ("/page/median_ms", "page of a job of 20 candidates × 12 steps, ms", 20.0),
    ("/page/bytes", "the same, bytes", 200_000.0),
    ("/report/median_ms", "its report as one file, ms", 50.0),
    ("/list/median_ms", "list of 500 jobs, a hundred a page, ms", 50.0),
    ("/streams_mib", "500 open event streams, MiB", 100.0),
    ("/end_ms", "end of the coordinator with them open, ms", 5_000.0),
];

/// One row for each goal.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Section> {
    let mut found = GOALS.map(|_| Figure::default());
    for round in 1..=bench.rounds() {
        bench.say(&format!("round {round} of {}", bench.rounds()));
        let mut example = bench.checkout.cargo();
        example.args(["run", "--quiet", "--package", "assay-tests", "--example", "pages"]);
        example.env("ASSAY_TEST_BINARIES", bench.checkout.target_dir().join("release"));
        let printed = capture(&mut example)?;
        let figures: Value = serde_json::from_str(&printed).context("the example prints JSON")?;
        for ((pointer, ..), figure) in GOALS.iter().zip(&mut found) {
            figure.add_if_known(figures.pointer(pointer).and_then(Value::as_f64));
        }
    }
    let mut body = String::from("| what | measured | goal |\n|---|---|---|\n");
    for ((_, what, goal), figure) in GOALS.iter().zip(&found) {
        let met = verdict(!figure.is_empty() && figure.median() < *goal);
        body.push_str(&format!("| {what} | {} | < {goal}: {met} |\n", figure.shown(1)));
    }
    body.push_str(&format!(
        "\nMedian (least–greatest) of {} rounds, each with a coordinator of its own, and 51 requests for each page; \
         connecting over loopback is included. Goals beyond those of the pages are our own.",
        bench.rounds()
    ));
    Ok(Section { name: "pages", title: "Pages", body })
}
