//! A comparison with a baseline: how much each figure changed, with its interval, and what that means.

use super::latency_cost::whisker;
use super::legend::{Entry, Layout};
use super::marks::Shape;
use super::scale::Domain;
use super::svg::{Anchor, Path, Rect, Svg};
use super::{Axis, Canvas, EDGE, LINE, counted, drawable, interval, text};

const TITLE: &str = "Changes against the baseline";
/// Below this width a label is above its row instead of beside it.
const NARROW: f64 = 560.0;

/// What a change means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Improved,
    Unchanged,
    Regressed,
    Inconclusive,
}

/// The relative change of one figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub label: String,
    pub change_pct: f64,
    pub ci95_pct: Option<[f64; 2]>,
    pub verdict: Verdict,
}

const VERDICTS: [Verdict; 4] =
    [Verdict::Improved, Verdict::Unchanged, Verdict::Regressed, Verdict::Inconclusive];

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Improved => "improved",
            Self::Unchanged => "unchanged",
            Self::Regressed => "regressed",
            Self::Inconclusive => "inconclusive",
        }
    }

    fn look(self) -> (&'static str, Shape) {
        match self {
            Self::Improved => ("c-improved", Shape::Diamond),
            Self::Unchanged => ("c-unchanged", Shape::Circle),
            Self::Regressed => ("c-regressed", Shape::Square),
            Self::Inconclusive => ("c-inconclusive", Shape::Cross),
        }
    }
}

/// Draws a row for each change; within the gate on either side of zero a change does not matter.
#[must_use]
pub fn draw(rows: &[Row], gate_pct: f64, width: u32) -> String {
    let drawn: Vec<&Row> = rows.iter().filter(|row| drawable(row.change_pct)).collect();
    if drawn.is_empty() {
        return super::no_data(TITLE, width);
    }
    let width = super::drawn_width(width);
    let gate = if drawable(gate_pct) { gate_pct.abs() } else { 0.0 };
    let axis = Axis::new(domain(&drawn, gate), "Change (%)");
    let legend = Layout::new(legend(&drawn, gate), width);
    let columns = Columns::of(&drawn, width);
    let top = EDGE + legend.height();
    let bottom = top + columns.row * drawn.len() as f64 + 6.0;
    let plot = Rect::between((columns.left, top), (columns.right, bottom));
    let mut canvas = Canvas {
        svg: Svg::new(width, bottom + 2.0 * LINE + 6.0),
        plot,
        x: axis.domain.over(plot.x, plot.right()),
        y: Domain::linear(0.0, 1.0).over(bottom, top),
        right: None,
    };
    legend.draw(&mut canvas.svg, EDGE);
    let x = canvas.x;
    if gate > 0.0 {
        let band = Rect::between((x.at(-gate), top), (x.at(gate), bottom));
        canvas.svg.rect("c-gate", band);
    }
    let ticks = axis.domain.ticks_across(plot.width);
    for tick in &ticks {
        let at = x.at(tick.value);
        canvas.svg.line("c-grid", (at, top), (at, bottom));
    }
    canvas.x_axis(&ticks, &axis.title);
    canvas.svg.line("c-zero", (x.at(0.0), top), (x.at(0.0), bottom));
    for (index, row) in drawn.iter().enumerate() {
        draw_row(&mut canvas, row, &columns, top + columns.row * index as f64);
    }
    canvas.svg.finish(TITLE, &description(&drawn))
}

fn domain(drawn: &[&Row], gate: f64) -> Domain {
    let bounds = drawn.iter().flat_map(|row| {
        let [low, high] = interval(row.ci95_pct).unwrap_or([row.change_pct; 2]);
        [row.change_pct, low, high]
    });
    let bounds = bounds.chain([-gate * 1.2, gate * 1.2]);
    let (low, high) =
        bounds.fold((0.0_f64, 0.0_f64), |(low, high), bound| (low.min(bound), high.max(bound)));
    let pad = (high - low) * 0.05;
    if pad > 0.0 { Domain::linear(low - pad, high + pad) } else { Domain::linear(-1.0, 1.0) }
}

fn legend(drawn: &[&Row], gate: f64) -> Vec<Entry> {
    let present =
        VERDICTS.into_iter().filter(|verdict| drawn.iter().any(|row| row.verdict == *verdict));
    let mut entries: Vec<Entry> = present
        .map(|verdict| {
            let (class, shape) = verdict.look();
            Entry::mark(class, shape, verdict.word())
        })
        .collect();
    if gate > 0.0 {
        entries.push(Entry::area(
            "c-gate",
            &format!("gate ±{} %", short(gate).trim_end_matches(".0")),
        ));
    }
    entries
}

/// Where label, drawing and figure of a row are.
struct Columns {
    /// The height of a row.
    row: f64,
    left: f64,
    right: f64,
    /// How wide a label may be.
    label: f64,
    /// The label stands above its row.
    above: bool,
}

impl Columns {
    fn of(drawn: &[&Row], width: f64) -> Self {
        let figures = drawn.iter().map(|row| text::width(&figure(row.change_pct)));
        let right = width - EDGE - figures.fold(0.0, f64::max) - 8.0;
        if width < NARROW {
            let label = width - 2.0 * EDGE;
            return Self { row: 44.0, left: EDGE + 6.0, right, label, above: true };
        }
        let most = width * 0.34;
        let label = drawn
            .iter()
            .map(|row| text::width(&text::shorten(&row.label, most)))
            .fold(0.0, f64::max);
        Self { row: 26.0, left: EDGE + label + 12.0, right, label: most, above: false }
    }
}

fn draw_row(canvas: &mut Canvas, row: &Row, columns: &Columns, top: f64) {
    let middle = if columns.above { top + 30.0 } else { top + columns.row / 2.0 + 3.0 };
    let label = text::shorten(&row.label, columns.label);
    let baseline = if columns.above { top + 16.0 } else { middle + 4.0 };
    canvas.svg.text("c-label", (EDGE, baseline), Anchor::Start, &label);
    if let Some([low, high]) = interval(row.ci95_pct) {
        let mut path = Path::default();
        whisker(&mut path, canvas.x.at(low), canvas.x.at(high), middle);
        canvas.svg.path("c-whisker", &path);
    }
    let (class, shape) = row.verdict.look();
    canvas.svg.path(class, &shape.at(&[(canvas.x.at(row.change_pct), middle)], 4.5));
    let end = (canvas.svg.width() - EDGE, middle + 4.0);
    canvas.svg.text("c-figure", end, Anchor::End, &figure(row.change_pct));
}

/// A change as a reader expects it: with its sign, and no more decimals than matter.
fn figure(change: f64) -> String {
    let sign = if change > 0.0 { "+" } else { "" };
    format!("{sign}{} %", short(change))
}

fn short(value: f64) -> String {
    match value.abs() {
        magnitude if magnitude >= 1e7 => format!("{value:.1e}"),
        magnitude if magnitude >= 99.95 => assay_measure::figures::grouped(value),
        magnitude if magnitude >= 0.05 => format!("{value:.1}"),
        magnitude if magnitude >= 0.005 => format!("{value:.2}"),
        _ => "0".to_owned(),
    }
}

fn description(drawn: &[&Row]) -> String {
    let verdicts = VERDICTS.into_iter().filter_map(|verdict| {
        let count = drawn.iter().filter(|row| row.verdict == verdict).count();
        (count > 0).then(|| format!("{count} {}", verdict.word()))
    });
    let verdicts: Vec<String> = verdicts.collect();
    format!("{} against the baseline: {}.", counted(drawn.len(), "figure"), verdicts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_has_its_sign_and_few_decimals() {
        assert_eq!(figure(4.06), "+4.1 %");
        assert_eq!(figure(-12.0), "-12.0 %");
        assert_eq!(figure(0.0), "0 %");
        assert_eq!(figure(0.012), "+0.01 %");
        assert_eq!(figure(1234.0), "+1 234 %");
    }
}
