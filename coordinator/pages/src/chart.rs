//! Charts as SVG: the live page, the exported file and the printed page show the same drawing.
//!
//! A chart is one `<svg>` element, drawn for a width in pixels. It says how it looks by class names alone (`c-…`, in
//! `assets/charts.css`), so a page that forbids inline styles can hold it, and what differs by colour differs by
//! shape or dash too. Values that cannot be drawn (not a number, infinite) are left out, and a chart without any says
//! so. Labels come from elsewhere: they are cut to a width and escaped.

pub mod comparison;
pub mod cost_demand;
pub mod latency_cost;
pub mod latency_percentiles;
pub mod load_curve;
pub mod load_overlay;
pub mod utilization;

mod labels;
mod legend;
mod lines;
mod marks;
mod scale;
mod svg;
mod text;

use self::labels::Placer;
use self::legend::Entry;
use self::scale::{Domain, Scale, Tick};
use self::svg::{Anchor, Point, Rect, Svg};

/// What a latency must not exceed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// As a reader knows it, for example `p95 ≤ 50 ms`.
    pub label: String,
    /// In microseconds.
    pub latency_us: u64,
}

/// The height of a line of text.
const LINE: f64 = 18.0;
/// What of a text is above its baseline.
const ASCENT: f64 = 10.0;
/// The height of the box a label needs.
const LABEL_HEIGHT: f64 = 15.0;
/// The space around a drawing.
const EDGE: f64 = 6.0;

/// A width that can be drawn.
fn drawn_width(width: u32) -> f64 {
    f64::from(width.clamp(320, 1200))
}

/// The height for a width: a narrow chart is taller in proportion.
fn height_for(width: f64) -> f64 {
    200.0 + 0.28 * width
}

/// Whether a value has a place on an axis.
fn drawable(value: f64) -> bool {
    value.is_finite() && value.abs() < 1e100
}

/// A pair of bounds in order, if both can be drawn.
fn interval(bounds: Option<[f64; 2]>) -> Option<[f64; 2]> {
    bounds
        .filter(|[low, high]| drawable(*low) && drawable(*high))
        .map(|[low, high]| [low.min(high), low.max(high)])
}

/// The unit of a latency axis.
#[derive(Debug, Clone, Copy)]
struct LatencyUnit {
    name: &'static str,
    micros: f64,
}

impl LatencyUnit {
    /// The unit that suits all these latencies in microseconds.
    fn of(latencies: impl Iterator<Item = u64> + Clone) -> Self {
        let low = latencies.clone().min().unwrap_or(0);
        let high = latencies.max().unwrap_or(0);
        if high < 1000 {
            Self { name: "µs", micros: 1.0 }
        } else if low >= 1_000_000 || high >= 100_000_000 {
            Self { name: "s", micros: 1e6 }
        } else {
            Self { name: "ms", micros: 1e3 }
        }
    }

    /// A latency in this unit. None is below a microsecond, so that each has a place on a logarithmic axis.
    fn value(self, micros: u64) -> f64 {
        micros.max(1) as f64 / self.micros
    }

    fn title(self) -> String {
        format!("Latency ({})", self.name)
    }
}

/// One axis: what it spans and what it is called, unit included.
#[derive(Debug)]
struct Axis {
    domain: Domain,
    title: String,
}

impl Axis {
    fn new(domain: Domain, title: impl Into<String>) -> Self {
        Self { domain, title: title.into() }
    }
}

/// What a chart has around its data.
#[derive(Debug)]
struct Frame {
    width: f64,
    x: Axis,
    left: Axis,
    right: Option<Axis>,
    legend: Vec<Entry>,
    /// Height to leave free at the bottom.
    below: f64,
}

/// A drawing with its axes, ready for data.
#[derive(Debug)]
struct Canvas {
    svg: Svg,
    plot: Rect,
    x: Scale,
    y: Scale,
    right: Option<Scale>,
}

impl Frame {
    /// Draws legend, axes and grid.
    fn draw(self) -> Canvas {
        let legend = legend::Layout::new(self.legend, self.width);
        let top = EDGE + legend.height() + LINE + 4.0;
        let height = height_for(self.width) + legend.height() + self.below;
        let bottom = height - self.below - 2.0 * LINE - 4.0;
        let left_ticks = self.left.domain.ticks_down(bottom - top);
        let right_ticks = self.right.as_ref().map(|axis| axis.domain.ticks_down(bottom - top));
        let left = EDGE + 6.0 + widest(&left_ticks);
        let space = right_ticks.as_deref().map_or(10.0, |ticks| 6.0 + widest(ticks));
        let mut right = self.width - EDGE - space;
        let x_ticks = self.x.domain.ticks_across(right - left);
        if let Some(last) = x_ticks.last() {
            let end =
                self.x.domain.over(left, right).at(last.value) + text::width(&last.label) / 2.0;
            right -= (end - (self.width - 2.0)).max(0.0);
        }
        let plot = Rect::between((left, top), (right, bottom));
        let mut canvas = Canvas {
            svg: Svg::new(self.width, height),
            plot,
            x: self.x.domain.over(left, right),
            y: self.left.domain.over(bottom, top),
            right: self.right.as_ref().map(|axis| axis.domain.over(bottom, top)),
        };
        legend.draw(&mut canvas.svg, EDGE);
        canvas.left_axis(&left_ticks, &self.left.title);
        if let (Some(ticks), Some(axis)) = (right_ticks, self.right) {
            canvas.right_axis(&ticks, &axis.title);
        }
        let x_ticks = self.x.domain.ticks_across(plot.width);
        canvas.x_axis(&x_ticks, &self.x.title);
        canvas
    }
}

/// The width of the widest label.
fn widest(ticks: &[Tick]) -> f64 {
    ticks.iter().map(|tick| text::width(&tick.label)).fold(0.0, f64::max)
}

impl Canvas {
    fn left_axis(&mut self, ticks: &[Tick], title: &str) {
        let Rect { x: left, y: top, .. } = self.plot;
        for tick in ticks {
            let y = self.y.at(tick.value);
            self.svg.line("c-grid", (left, y), (self.plot.right(), y));
            self.svg.text("c-tick", (left - 6.0, y + 4.0), Anchor::End, &tick.label);
        }
        self.svg.text("c-axis-title", (EDGE, top - 8.0), Anchor::Start, title);
    }

    fn right_axis(&mut self, ticks: &[Tick], title: &str) {
        let (right, top) = (self.plot.right(), self.plot.y);
        let Some(scale) = self.right else { return };
        for tick in ticks {
            let y = scale.at(tick.value);
            self.svg.line("c-axis", (right, y), (right + 3.0, y));
            self.svg.text("c-tick", (right + 6.0, y + 4.0), Anchor::Start, &tick.label);
        }
        self.svg.line("c-axis", (right, top), (right, self.plot.bottom()));
        let end = self.svg.width() - EDGE;
        self.svg.text("c-axis-title", (end, top - 8.0), Anchor::End, title);
    }

    fn x_axis(&mut self, ticks: &[Tick], title: &str) {
        let Rect { x: left, .. } = self.plot;
        let (right, bottom) = (self.plot.right(), self.plot.bottom());
        for tick in ticks {
            let x = self.x.at(tick.value);
            self.svg.line("c-axis", (x, bottom), (x, bottom + 4.0));
            self.svg.text("c-tick", (x, bottom + 16.0), Anchor::Middle, &tick.label);
        }
        self.svg.line("c-axis", (left, bottom), (right, bottom));
        let title = text::shorten(title, self.svg.width() - 2.0 * EDGE);
        let middle = f64::midpoint(left, right);
        let half = text::width(&title) / 2.0;
        let middle = middle.min(self.svg.width() - EDGE - half).max(EDGE + half);
        self.svg.text("c-axis-title", (middle, bottom + 34.0), Anchor::Middle, &title);
    }

    /// A dashed line across, with its label where nothing is in the way.
    fn limit(&mut self, label: &str, value: f64, placer: &mut Placer) {
        let y = self.y.at(value);
        let (left, right) = (self.plot.x, self.plot.right());
        self.svg.line("c-limit", (left, y), (right, y));
        let (above, below) = (y - LABEL_HEIGHT - 2.0, y + 2.0);
        // A shorter label finds a place where a longer one does not.
        for share in [0.6, 0.35, 0.2] {
            let label = text::shorten(label, self.plot.width * share);
            let (start, end) = (left + 4.0, right - text::width(&label) - 4.0);
            let corners = [(end, above), (start, above), (end, below), (start, below)];
            if self.place(&label, "c-limit-label", &corners, placer) {
                return;
            }
        }
    }

    /// A line down with its label at the top, where nothing is in the way.
    fn vertical(&mut self, class: &str, label: &str, x: f64, placer: &mut Placer) {
        self.svg.line(class, (x, self.plot.y), (x, self.plot.bottom()));
        let label = text::shorten(label, (self.plot.width * 0.6).min(200.0));
        let width = text::width(&label);
        let (left, right) = (x - width - 5.0, x + 5.0);
        let rows = [2.0, 2.0 + LABEL_HEIGHT, self.plot.height - LABEL_HEIGHT - 2.0];
        let corners: Vec<Point> = rows
            .into_iter()
            .flat_map(|row| [(left, self.plot.y + row), (right, self.plot.y + row)])
            .collect();
        self.place(&label, "c-note", &corners, placer);
    }

    /// Writes a label at the best of these corners. False if none of them is free.
    fn place(&mut self, label: &str, class: &str, corners: &[Point], placer: &mut Placer) -> bool {
        let size = (text::width(label), LABEL_HEIGHT);
        let Some(corner) = placer.choose(corners, size) else { return false };
        self.svg.text(class, (corner.0, corner.1 + ASCENT + 1.0), Anchor::Start, label);
        true
    }
}

/// The drawing of a chart that has nothing to show.
fn no_data(title: &str, width: u32) -> String {
    let width = drawn_width(width);
    let height = 160.0;
    let mut svg = Svg::new(width, height);
    let at = (width / 2.0, height / 2.0);
    svg.text("c-no-data", at, Anchor::Middle, "No data");
    svg.finish(title, "No data.")
}

/// `1 candidate`, `3 candidates`.
fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}
