//! Latency against throughput: how the percentiles rise with the load, and where the capacity is.

use assay_measure::figures;

use super::labels::Placer;
use super::legend::Entry;
use super::marks::{Shape, Style};
use super::scale::Domain;
use super::svg::{Path, Point, Rect};
use super::{Axis, Canvas, Frame, LatencyUnit, Limit, drawable, interval, lines};

const TITLE: &str = "Latency against throughput";

/// A step of a load test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    pub invocations_per_min: f64,
    pub p50_us: u64,
    pub p95_us: u64,
    pub p99_us: u64,
}

/// The throughput up to which the constraints are met.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capacity {
    pub invocations_per_min: f64,
    pub ci95: Option<[f64; 2]>,
}

/// A percentile of a step, its name and its style.
type Percentile = (fn(&Step) -> u64, &'static str, Style);

fn percentiles() -> [Percentile; 3] {
    let style = |index: usize, line: &str, shape: Shape| Style {
        line: format!("c-line c-s{index} {line}"),
        mark: format!("c-mark c-s{index}"),
        shape,
    };
    [
        (|step| step.p50_us, "p50", style(1, "c-d1", Shape::Circle)),
        (|step| step.p95_us, "p95", style(2, "c-d2", Shape::Square)),
        (|step| step.p99_us, "p99", style(3, "c-d3", Shape::Triangle)),
    ]
}

/// Draws the steps, the capacity and the latency that must not be exceeded.
#[must_use]
pub fn draw(
    steps: &[Step],
    capacity: Option<&Capacity>,
    limit: Option<&Limit>,
    width: u32,
) -> String {
    let possible = |value: f64| drawable(value) && value >= 0.0;
    let mut drawn: Vec<&Step> =
        steps.iter().filter(|step| possible(step.invocations_per_min)).collect();
    drawn.sort_by(|one, other| one.invocations_per_min.total_cmp(&other.invocations_per_min));
    let (Some(first), Some(last)) = (drawn.first(), drawn.last()) else {
        return super::no_data(TITLE, width);
    };
    let capacity = capacity.filter(|capacity| possible(capacity.invocations_per_min));
    let latencies = drawn
        .iter()
        .flat_map(|step| [step.p50_us, step.p95_us, step.p99_us])
        .chain(limit.map(|limit| limit.latency_us));
    let unit = LatencyUnit::of(latencies.clone());
    let bounds = capacity.and_then(|capacity| interval(capacity.ci95));
    let loads = drawn
        .iter()
        .map(|step| step.invocations_per_min)
        .chain(capacity.map(|capacity| capacity.invocations_per_min))
        .chain(bounds.map(|[_, high]| high));
    let frame = Frame {
        width: super::drawn_width(width),
        x: Axis::new(Domain::from_zero(loads), "Throughput (invocations per minute)"),
        left: Axis::new(Domain::log(latencies.map(|latency| unit.value(latency))), unit.title()),
        right: None,
        legend: percentiles().iter().map(|(_, name, style)| Entry::series(style, name)).collect(),
        below: 0.0,
    };
    let mut canvas = frame.draw();
    let mut placer = Placer::new(canvas.plot);
    for (percentile, ..) in percentiles() {
        let points = places(&canvas, &drawn, percentile, unit);
        for point in &points {
            placer.keep_off(Rect::around(*point, 4.0));
        }
        for pair in points.windows(2) {
            placer.avoid(pair[0], pair[1]);
        }
    }
    if let Some(capacity) = capacity {
        mark_capacity(&mut canvas, capacity, &mut placer);
    }
    if let Some(limit) = limit {
        canvas.limit(&limit.label, unit.value(limit.latency_us), &mut placer);
    }
    for (percentile, _, style) in percentiles() {
        let points = places(&canvas, &drawn, percentile, unit);
        canvas.svg.path(&style.line, &Path::through(&lines::thinned(&points)));
        let marked = lines::spaced(&points, if points.len() > 60 { 12.0 } else { 0.0 });
        canvas.svg.path(&style.mark, &style.shape.at(&marked, 3.5));
    }
    canvas.svg.finish(TITLE, &description(first, last, capacity))
}

fn places(
    canvas: &Canvas,
    steps: &[&Step],
    percentile: fn(&Step) -> u64,
    unit: LatencyUnit,
) -> Vec<Point> {
    let at = |step: &&Step| {
        (canvas.x.at(step.invocations_per_min), canvas.y.at(unit.value(percentile(step))))
    };
    steps.iter().map(at).collect()
}

fn mark_capacity(canvas: &mut Canvas, capacity: &Capacity, placer: &mut Placer) {
    if let Some([low, high]) = interval(capacity.ci95) {
        let (left, right) = (canvas.x.at(low), canvas.x.at(high));
        let band = Rect::between((left, canvas.plot.y), (right, canvas.plot.bottom()));
        canvas.svg.rect("c-interval", band);
    }
    let label = format!("capacity {}", figures::significant(capacity.invocations_per_min));
    let x = canvas.x.at(capacity.invocations_per_min);
    canvas.vertical("c-capacity", &label, x, placer);
    placer.avoid((x, canvas.plot.y), (x, canvas.plot.bottom()));
}

fn description(first: &Step, last: &Step, capacity: Option<&Capacity>) -> String {
    let at = |step: &Step| {
        format!(
            "{} at {} invocations per minute",
            figures::latency(step.p95_us),
            figures::significant(step.invocations_per_min)
        )
    };
    let capacity = capacity.map_or_else(String::new, |capacity| {
        let figure = figures::significant(capacity.invocations_per_min);
        format!("; the capacity is {figure} invocations per minute")
    });
    format!("p95 goes from {} to {}{capacity}.", at(first), at(last))
}
