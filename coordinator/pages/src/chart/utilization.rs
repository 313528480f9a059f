//! How busy a machine was over time, with the steps of the load, what disturbed them, and throttling.

use assay_measure::figures;

use super::legend::Entry;
use super::marks::{Shape, Style};
use super::scale::Domain;
use super::svg::{Anchor, Path, Point, Rect};
use super::{Axis, Canvas, Frame, counted, drawable, lines, text};

const TITLE: &str = "Utilization over time";
/// Marks with more different labels than this share a shape.
const MOST_KINDS: usize = 3;
/// A pause longer than so many usual ones is a gap.
const GAP: f64 = 3.0;

/// What a series is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Percent,
    Watts,
}

/// One series of samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub name: String,
    pub unit: Unit,
    /// Seconds since the start, and the value.
    pub samples: Vec<(f64, f64)>,
}

/// A stretch of time: a step of the load, or one that something disturbed.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    pub from_s: f64,
    pub to_s: f64,
    pub label: String,
    pub disturbed: bool,
}

/// A moment, for example at which a clock was throttled.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    pub at_s: f64,
    pub label: String,
}

/// The samples of a series that can be drawn, in order of time.
struct Drawn<'a> {
    series: &'a Series,
    samples: Vec<(f64, f64)>,
    style: Style,
}

/// Draws the series over the bands. The `id` must be unique on the page: the hatching's name begins with it.
#[must_use]
pub fn draw(series: &[Series], bands: &[Band], marks: &[Mark], id: &str, width: u32) -> String {
    let drawn = drawable_series(series);
    if drawn.iter().all(|one| one.samples.is_empty()) {
        return super::no_data(TITLE, width);
    }
    let hatching: String =
        id.chars().filter(|one| one.is_ascii_alphanumeric() || *one == '-').collect();
    let hatching = format!("c-{hatching}-hatching");
    let bands: Vec<&Band> = bands
        .iter()
        .filter(|band| drawable(band.from_s) && drawable(band.to_s) && band.from_s < band.to_s)
        .collect();
    let marks: Vec<&Mark> = marks.iter().filter(|mark| drawable(mark.at_s)).collect();
    let (frame, seconds) = frame(&drawn, &bands, &marks, &hatching, super::drawn_width(width));
    let mut canvas = frame.draw();
    if bands.iter().any(|band| band.disturbed) {
        canvas.svg.hatching(&hatching, "c-hatch");
    }
    draw_bands(&mut canvas, &bands, seconds, &hatching);
    for (index, one) in drawn.iter().enumerate() {
        draw_series(&mut canvas, one, index, seconds);
    }
    draw_marks(&mut canvas, &marks, seconds);
    canvas.svg.finish(TITLE, &description(&drawn, &bands, marks.len()))
}

fn drawable_series(series: &[Series]) -> Vec<Drawn<'_>> {
    let each = series.iter().enumerate().map(|(index, series)| {
        let possible = |sample: &&(f64, f64)| drawable(sample.0) && drawable(sample.1);
        let mut samples: Vec<(f64, f64)> =
            series.samples.iter().filter(possible).copied().collect();
        samples.sort_by(|one, other| one.0.total_cmp(&other.0));
        Drawn { series, samples, style: Style::of(index) }
    });
    each.collect()
}

/// The axes and the legend, and the seconds that one unit of the time axis has.
fn frame(
    drawn: &[Drawn<'_>],
    bands: &[&Band],
    marks: &[&Mark],
    hatching: &str,
    width: f64,
) -> (Frame, f64) {
    let times = drawn.iter().flat_map(|one| one.samples.iter().map(|sample| sample.0));
    let times = times.chain(bands.iter().flat_map(|band| [band.from_s, band.to_s]));
    let times = times.chain(marks.iter().map(|mark| mark.at_s));
    let low = times.clone().fold(f64::INFINITY, f64::min);
    let high = times.fold(f64::NEG_INFINITY, f64::max);
    let (unit, seconds) = match high - low {
        span if span > 4.0 * 3600.0 => ("h", 3600.0),
        span if span > 600.0 => ("min", 60.0),
        _ => ("s", 1.0),
    };
    let values = |unit: Unit| {
        let same = drawn.iter().filter(move |one| one.series.unit == unit);
        same.flat_map(|one| one.samples.iter().map(|sample| sample.1))
    };
    let percent = values(Unit::Percent).fold(0.0, f64::max);
    let percent = if percent > 100.0 { percent * 1.05 } else { 100.0 };
    let has_watts = drawn.iter().any(|one| one.series.unit == Unit::Watts);
    let mut legend: Vec<Entry> =
        drawn.iter().map(|one| Entry::series(&one.style, &named(one.series))).collect();
    if bands.iter().any(|band| band.disturbed) {
        legend.push(Entry::pattern(hatching, "disturbed"));
    }
    let kinds = kinds(marks);
    for (index, label) in kinds.iter().take(MOST_KINDS).enumerate() {
        legend.push(Entry::mark("c-event", kind_shape(index), label));
    }
    if kinds.len() > MOST_KINDS {
        let more = format!("{} more kinds of event", kinds.len() - MOST_KINDS);
        legend.push(Entry::mark("c-event", kind_shape(MOST_KINDS), &more));
    }
    let frame = Frame {
        width,
        x: Axis::new(Domain::linear(low / seconds, high / seconds), format!("Time ({unit})")),
        left: Axis::new(Domain::linear(0.0, percent), "Utilization (%)"),
        right: has_watts.then(|| Axis::new(Domain::from_zero(values(Unit::Watts)), "Power (W)")),
        legend,
        below: 0.0,
    };
    (frame, seconds)
}

fn named(series: &Series) -> String {
    match series.unit {
        Unit::Percent => series.name.clone(),
        Unit::Watts => format!("{} (W)", text::shorten(&series.name, 170.0)),
    }
}

fn draw_bands(canvas: &mut Canvas, bands: &[&Band], seconds: f64, hatching: &str) {
    let plot = canvas.plot;
    let mut free = plot.x;
    for (index, band) in bands.iter().enumerate() {
        let (left, right) = (canvas.x.at(band.from_s / seconds), canvas.x.at(band.to_s / seconds));
        let area = Rect::between((left, plot.y), (right, plot.bottom()));
        if band.disturbed {
            canvas.svg.patterned("c-hatched", area, hatching);
        } else if index % 2 == 0 {
            canvas.svg.rect("c-step", area);
        }
        let label = text::shorten(&band.label, right - left - 4.0);
        let width = text::width(&label);
        let start = f64::midpoint(left, right) - width / 2.0;
        if start >= free && label.chars().any(char::is_alphanumeric) {
            let at = (f64::midpoint(left, right), plot.y + 13.0);
            canvas.svg.text("c-note", at, Anchor::Middle, &label);
            free = start + width + 4.0;
        }
    }
}

fn draw_series(canvas: &mut Canvas, drawn: &Drawn<'_>, index: usize, seconds: f64) {
    let y = match drawn.series.unit {
        Unit::Percent => canvas.y,
        Unit::Watts => canvas.right.unwrap_or(canvas.y),
    };
    let x = canvas.x;
    let gap = longest_pause(&drawn.samples);
    // The first mark is elsewhere for each series, so that marks on close lines do not cover each other.
    let first = canvas.plot.x + 14.0 * (index % 6) as f64;
    let mut line = Path::default();
    let mut marked: Vec<Point> = Vec::new();
    for stretch in drawn.samples.chunk_by(|one, other| other.0 - one.0 <= gap) {
        let points: Vec<Point> =
            stretch.iter().map(|sample| (x.at(sample.0 / seconds), y.at(sample.1))).collect();
        let points = lines::thinned(&points);
        if let [alone] = points[..] {
            marked.push(alone);
            continue;
        }
        line.polyline(&points);
        let from = points.iter().position(|point| point.0 >= first).unwrap_or(0);
        marked.extend(lines::spaced(&points[from..], 90.0));
    }
    canvas.svg.path(&drawn.style.line, &line);
    canvas.svg.path(&drawn.style.mark, &drawn.style.shape.at(&marked, 3.0));
}

/// The longest time between two samples that a line still crosses.
fn longest_pause(samples: &[(f64, f64)]) -> f64 {
    let mut pauses: Vec<f64> = samples.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    pauses.sort_by(f64::total_cmp);
    pauses
        .get(pauses.len() / 2)
        .map_or(f64::INFINITY, |median| if *median > 0.0 { median * GAP } else { f64::INFINITY })
}

/// Marks stand at the bottom, one for each that can be told from its neighbour.
fn draw_marks(canvas: &mut Canvas, marks: &[&Mark], seconds: f64) {
    let kinds = kinds(marks);
    let bottom = canvas.plot.bottom();
    for index in 0..kinds.len().min(MOST_KINDS + 1) {
        let same = |mark: &&&Mark| {
            let kind = kinds.iter().position(|kind| *kind == mark.label);
            kind.is_some_and(|kind| kind.min(MOST_KINDS) == index)
        };
        let same = marks.iter().filter(same);
        let mut places: Vec<Point> =
            same.map(|mark| (canvas.x.at(mark.at_s / seconds), bottom)).collect();
        places.sort_by(|one, other| one.0.total_cmp(&other.0));
        let places = lines::spaced(&places, 2.0);
        let mut ticks = Path::default();
        for (x, y) in &places {
            ticks.move_to((*x, *y));
            ticks.vertical(y - 14.0);
        }
        canvas.svg.path("c-event-line", &ticks);
        let heads: Vec<Point> =
            lines::spaced(&places, 8.0).into_iter().map(|(x, y)| (x, y - 16.0)).collect();
        canvas.svg.path("c-event", &kind_shape(index).at(&heads, 4.0));
    }
}

fn description(drawn: &[Drawn<'_>], bands: &[&Band], marks: usize) -> String {
    let means = drawn.iter().filter(|one| !one.samples.is_empty()).map(|one| {
        let sum: f64 = one.samples.iter().map(|sample| sample.1).sum();
        let mean = figures::significant(sum / one.samples.len() as f64);
        let unit = match one.series.unit {
            Unit::Percent => "%",
            Unit::Watts => "W",
        };
        format!("{} {mean} {unit} on average", text::shorten(&one.series.name, 160.0))
    });
    let means: Vec<String> = means.collect();
    let disturbed = bands.iter().filter(|band| band.disturbed).count();
    let disturbed = if disturbed > 0 {
        format!("; {}", counted(disturbed, "disturbed step"))
    } else {
        String::new()
    };
    let marks = if marks > 0 { format!("; {}", counted(marks, "event")) } else { String::new() };
    format!("{}{disturbed}{marks}.", means.join(", "))
}

/// The different labels of the marks, in order of appearance.
fn kinds<'a>(marks: &[&'a Mark]) -> Vec<&'a str> {
    let mut kinds: Vec<&str> = Vec::new();
    for mark in marks {
        if !kinds.contains(&mark.label.as_str()) {
            kinds.push(&mark.label);
        }
    }
    kinds
}

fn kind_shape(index: usize) -> Shape {
    match index {
        0 => Shape::Triangle,
        1 => Shape::Diamond,
        2 => Shape::Square,
        _ => Shape::Circle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_of_more_than_three_usual_ones_is_a_gap() {
        let samples: Vec<(f64, f64)> =
            [0.0, 1.0, 2.0, 3.0, 9.0, 10.0].into_iter().map(|time| (time, 50.0)).collect();
        let gap = longest_pause(&samples);
        assert_eq!(samples.chunk_by(|one, other| other.0 - one.0 <= gap).count(), 2);
        assert!(longest_pause(&samples[..1]).is_infinite());
    }
}
