//! Latency against throughput of several runs, one over the other: the 95th percentile of each.

use assay_measure::figures;

use super::legend::Entry;
use super::load_curve::Step;
use super::marks::{Shape, Style};
use super::scale::Domain;
use super::svg::{Path, Point};
use super::{Axis, Frame, LatencyUnit, drawable, lines, text};

const TITLE: &str = "Latency p95 against throughput, both runs";
/// More runs than this share styles.
const STYLES: usize = 3;

/// A run with the steps of its load.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub name: String,
    pub steps: Vec<Step>,
}

fn style(index: usize) -> Style {
    let number = index % STYLES + 1;
    let shape = [Shape::Circle, Shape::Square, Shape::Triangle][index % STYLES];
    Style {
        line: format!("c-line c-s{number} c-d{number}"),
        mark: format!("c-mark c-s{number}"),
        shape,
    }
}

/// Draws the runs that have a step.
#[must_use]
pub fn draw(runs: &[Run], width: u32) -> String {
    let possible =
        |step: &&Step| drawable(step.invocations_per_min) && step.invocations_per_min >= 0.0;
    let sorted = |run: &Run| {
        let mut steps: Vec<Step> = run.steps.iter().filter(possible).copied().collect();
        steps.sort_by(|one, other| one.invocations_per_min.total_cmp(&other.invocations_per_min));
        Run { name: run.name.clone(), steps }
    };
    let drawn: Vec<Run> = runs.iter().map(sorted).filter(|run| !run.steps.is_empty()).collect();
    if drawn.is_empty() {
        return super::no_data(TITLE, width);
    }
    let steps = || drawn.iter().flat_map(|run| &run.steps);
    let unit = LatencyUnit::of(steps().map(|step| step.p95_us));
    let legend =
        drawn.iter().enumerate().map(|(index, run)| Entry::series(&style(index), &run.name));
    let frame = Frame {
        width: super::drawn_width(width),
        x: Axis::new(
            Domain::from_zero(steps().map(|step| step.invocations_per_min)),
            "Throughput (invocations per minute)",
        ),
        left: Axis::new(Domain::log(steps().map(|step| unit.value(step.p95_us))), unit.title()),
        right: None,
        legend: legend.collect(),
        below: 0.0,
    };
    let mut canvas = frame.draw();
    for (index, run) in drawn.iter().enumerate() {
        let at = |step: &Step| {
            (canvas.x.at(step.invocations_per_min), canvas.y.at(unit.value(step.p95_us)))
        };
        let points: Vec<Point> = run.steps.iter().map(at).collect();
        let style = style(index);
        canvas.svg.path(&style.line, &Path::through(&lines::thinned(&points)));
        let marked = lines::spaced(&points, if points.len() > 60 { 12.0 } else { 0.0 });
        canvas.svg.path(&style.mark, &style.shape.at(&marked, 3.5));
    }
    canvas.svg.finish(TITLE, &description(&drawn))
}

fn description(drawn: &[Run]) -> String {
    let of_run = |run: &Run| {
        let last = run.steps.last()?;
        Some(format!(
            "{} has a p95 of {} at {} invocations per minute",
            text::shorten(&run.name, 200.0),
            figures::latency(last.p95_us),
            figures::significant(last.invocations_per_min)
        ))
    };
    let runs: Vec<String> = drawn.iter().filter_map(of_run).collect();
    format!("{}.", runs.join("; "))
}
