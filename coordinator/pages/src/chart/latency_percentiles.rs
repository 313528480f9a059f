//! Latency by percentile as HdrHistogram draws it: each nine is as wide as the one before it.

use assay_measure::figures;

use super::legend::Entry;
use super::marks::Style;
use super::scale::Domain;
use super::svg::{Path, Point};
use super::{Axis, Frame, LatencyUnit, counted, lines, text};

const TITLE: &str = "Latency by percentile";
/// As many curves as there are colours.
const MOST_CURVES: usize = 6;
/// Where the largest latency is more than so many times the smallest, the axis is logarithmic.
const WIDE: f64 = 30.0;

/// The latencies of one candidate or run.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    pub name: String,
    /// A quantile from 0 to 1, and the latency in microseconds.
    pub points: Vec<(f64, u64)>,
}

/// Draws the first six curves.
#[must_use]
pub fn draw(curves: &[Curve], width: u32) -> String {
    let drawn: Vec<(&Curve, Vec<(f64, u64)>)> = curves
        .iter()
        .map(|curve| (curve, in_nines(&curve.points)))
        .filter(|(_, points)| !points.is_empty())
        .collect();
    if drawn.is_empty() {
        return super::no_data(TITLE, width);
    }
    let more = drawn.len().saturating_sub(MOST_CURVES);
    let drawn = &drawn[..drawn.len() - more];
    let latencies = drawn.iter().flat_map(|(_, points)| points.iter().map(|point| point.1));
    let unit = LatencyUnit::of(latencies.clone());
    let values = latencies.map(|latency| unit.value(latency));
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.clone().fold(0.0, f64::max);
    let left = if high > low * WIDE {
        Axis::new(Domain::log(values), format!("{}, logarithmic", unit.title()))
    } else {
        Axis::new(Domain::from_zero(values), unit.title())
    };
    let most = drawn.iter().flat_map(|(_, points)| points.iter().map(|point| point.0));
    let mut legend: Vec<Entry> = drawn
        .iter()
        .enumerate()
        .map(|(index, (curve, _))| Entry::series(&Style::of(index), &curve.name))
        .collect();
    if more > 0 {
        legend.push(Entry::words(&format!("and {more} more")));
    }
    let frame = Frame {
        width: super::drawn_width(width),
        x: Axis::new(Domain::nines(most.fold(0.0, f64::max)), "Percentile"),
        left,
        right: None,
        legend,
        below: 0.0,
    };
    let mut canvas = frame.draw();
    for (index, (_, points)) in drawn.iter().enumerate() {
        let style = Style::of(index);
        let at = |point: &(f64, u64)| (canvas.x.at(point.0), canvas.y.at(unit.value(point.1)));
        let points: Vec<Point> = points.iter().map(at).collect();
        canvas.svg.path(&style.line, &Path::through(&lines::thinned(&points)));
        let apart = if points.len() > 20 { 60.0 } else { 8.0 };
        canvas.svg.path(&style.mark, &style.shape.at(&lines::spaced(&points, apart), 3.0));
    }
    canvas.svg.finish(TITLE, &description(drawn))
}

/// Points by the number of nines of their quantile. The maximum has infinitely many: it stands a little behind the
/// last of the others.
fn in_nines(points: &[(f64, u64)]) -> Vec<(f64, u64)> {
    let mut placed: Vec<(f64, u64)> = points
        .iter()
        .filter(|(quantile, _)| (0.0..1.0).contains(quantile))
        .map(|(quantile, latency)| (-(1.0 - quantile).log10(), *latency))
        .collect();
    placed.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    let maximum = points.iter().filter(|(quantile, _)| (1.0..=1.0).contains(quantile));
    if let Some((_, latency)) = maximum.max_by_key(|(_, latency)| *latency) {
        let last = placed.last().map_or(0.0, |(nines, _)| *nines);
        placed.push((last + 2f64.log10(), *latency));
    }
    placed
}

fn description(drawn: &[(&Curve, Vec<(f64, u64)>)]) -> String {
    let last = |(curve, points): &(&Curve, Vec<(f64, u64)>)| {
        let (_, latency) = points.last()?;
        Some(format!(
            "{} reaches {}",
            text::shorten(&curve.name, 160.0),
            figures::latency(*latency)
        ))
    };
    let ends: Vec<String> = drawn.iter().filter_map(last).collect();
    format!("{} of latency by percentile: {}.", counted(drawn.len(), "curve"), ends.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nine_is_one_further_and_the_maximum_is_last() {
        let points = [(1.0, 90), (0.99, 40), (0.9, 20), (f64::NAN, 1), (1.5, 2), (-1.0, 3)];
        let placed: Vec<(String, u64)> = in_nines(&points)
            .into_iter()
            .map(|(nines, latency)| (format!("{nines:.2}"), latency))
            .collect();
        assert_eq!(placed, [("1.00".into(), 20), ("2.00".into(), 40), ("2.30".into(), 90)]);
    }
}
