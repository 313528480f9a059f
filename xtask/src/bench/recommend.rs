//! `bench recommend`: how long the main job takes, from the command to the ranking.

use std::{path::Path, process::Command, time::Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    Bench,
    figures::{Figure, verdict},
    model::Model,
    report::Section,
};
use crate::process::capture;

const MODEL: Model = Model::Resnet18;
/// One instance type and three configurations.
const ARGUMENTS: &str =
    "--instance-types ml.c5.large --slo p95<=250ms --sweep workers=2 --sweep max-batch=1,2,4";
const PLAIN: [&str; 2] = ["--sweep", "graph=plain"];
const FULL_LIMIT_S: f64 = 480.0;
const QUICK_LIMIT_S: f64 = 240.0;

/// `assay recommend` on that model, to be told the rest, with JSON on stdout.
pub(super) fn command(bench: &Bench<'_>, model: Model, file: &Path) -> Command {
    let mut recommend = bench.checkout.program("assay");
    recommend.arg("recommend").arg(file).args(["--input", model.input(), "-o", "json"]);
    recommend
}

/// Full and quick, one row each.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Section> {
    let file = MODEL.file(bench)?;
    let mut text = String::from(
        "| mode | time, s | ranked | of them measured quickly only | goal |\n|---|---|---|---|---|\n",
    );
    for (mode, limit) in [("full", FULL_LIMIT_S), ("quick", QUICK_LIMIT_S)] {
        let (mut seconds, mut ranked, mut quickly) = (Figure::default(), 0, 0);
        for round in 1..=bench.rounds() {
            let mut recommend = command(bench, MODEL, &file);
            recommend
                .args(ARGUMENTS.split(' '))
                .args(PLAIN)
                .args((mode == "quick").then_some("--quick"));
            let start = Instant::now();
            let json = capture(&mut recommend)?;
            seconds.add(start.elapsed().as_secs_f64());
            let job: Value = serde_json::from_str(&json).context("the job is not JSON")?;
            let ranking = job.get("ranking").and_then(Value::as_array).context("no ranking")?;
            let is_quick = |entry: &&Value| entry.get("mode").is_some_and(|mode| mode == "quick");
            (ranked, quickly) = (ranking.len(), ranking.iter().filter(is_quick).count());
            bench.say(&format!("round {round}: {mode}: {} s", seconds.shown(0)));
        }
        text.push_str(&format!(
            "| {mode} | {} | {ranked} | {quickly} | under {limit:.0} s: {} |\n",
            seconds.shown(0),
            verdict(seconds.median() < limit)
        ));
    }
    text.push_str(&format!(
        "\n`assay recommend {}.pt {}`: one instance type, three configurations, from the command to the last line of the ranking. Median (least–greatest) of {} runs. In full mode every configuration is measured quickly first, and in full only what may still carry more than what was measured in full.",
        MODEL.name(),
        ARGUMENTS,
        bench.rounds()
    ));
    Ok(Section { name: "recommend", title: "The time of a whole recommendation", body: text })
}
