//! A legend: what each line, mark and area of a chart means, in as many rows as the width needs.

use super::marks::{Shape, Style};
use super::svg::{Anchor, Path, Rect, Svg};
use super::{EDGE, LINE, text};

/// The space between two entries.
const APART: f64 = 16.0;
/// The widest text of an entry.
const WIDEST: f64 = 200.0;

/// One entry.
#[derive(Debug)]
pub(super) struct Entry {
    sample: Sample,
    text: String,
}

#[derive(Debug)]
enum Sample {
    Line(Style, bool),
    Mark(String, Shape),
    Pattern(String),
    Area(&'static str),
    Rule(String),
    None,
}

impl Entry {
    fn new(sample: Sample, text: &str) -> Self {
        Self { sample, text: text::shorten(text, WIDEST) }
    }

    /// A series as a line with marks on it.
    pub(super) fn series(style: &Style, text: &str) -> Self {
        Self::new(Sample::Line(style.clone(), true), text)
    }

    /// A series as a line alone.
    pub(super) fn line(style: &Style, text: &str) -> Self {
        Self::new(Sample::Line(style.clone(), false), text)
    }

    /// A kind of mark.
    pub(super) fn mark(class: &str, shape: Shape, text: &str) -> Self {
        Self::new(Sample::Mark(class.to_owned(), shape), text)
    }

    /// A kind of line that is not a series.
    pub(super) fn rule(class: &str, text: &str) -> Self {
        Self::new(Sample::Rule(class.to_owned()), text)
    }

    /// An area with a pattern.
    pub(super) fn pattern(id: &str, text: &str) -> Self {
        Self::new(Sample::Pattern(id.to_owned()), text)
    }

    /// An area of a colour.
    pub(super) fn area(class: &'static str, text: &str) -> Self {
        Self::new(Sample::Area(class), text)
    }

    /// Words alone.
    pub(super) fn words(text: &str) -> Self {
        Self::new(Sample::None, text)
    }

    fn sample_width(&self) -> f64 {
        match self.sample {
            Sample::Line(..) | Sample::Rule(_) => 32.0,
            Sample::Pattern(_) | Sample::Area(_) => 24.0,
            Sample::Mark(..) => 18.0,
            Sample::None => 0.0,
        }
    }

    fn width(&self) -> f64 {
        self.sample_width() + text::width(&self.text)
    }

    fn draw(&self, svg: &mut Svg, x: f64, y: f64) {
        let middle = y + LINE / 2.0;
        let swatch = Rect { x, y: y + 3.0, width: 18.0, height: 12.0 };
        match &self.sample {
            Sample::Line(style, marked) => {
                svg.path(&style.line, &Path::through(&[(x, middle), (x + 26.0, middle)]));
                if *marked {
                    svg.path(&style.mark, &style.shape.at(&[(x + 13.0, middle)], 3.5));
                }
            }
            Sample::Rule(class) => svg.line(class, (x, middle), (x + 26.0, middle)),
            Sample::Mark(class, shape) => {
                svg.path(class, &shape.at(&[(x + 6.0, middle)], 4.5));
            }
            Sample::Pattern(id) => svg.patterned("c-hatched", swatch, id),
            Sample::Area(class) => svg.rect(class, swatch),
            Sample::None => {}
        }
        svg.text("c-legend", (x + self.sample_width(), middle + 4.0), Anchor::Start, &self.text);
    }
}

/// Entries with their places.
#[derive(Debug)]
pub(super) struct Layout {
    placed: Vec<(f64, usize, Entry)>,
    rows: usize,
}

impl Layout {
    /// Entries side by side, in a new row where the width ends.
    pub(super) fn new(entries: Vec<Entry>, width: f64) -> Self {
        let mut placed = Vec::with_capacity(entries.len());
        let (mut x, mut row) = (EDGE, 0);
        for entry in entries {
            let needed = entry.width();
            if x > EDGE && x + needed > width - EDGE {
                (x, row) = (EDGE, row + 1);
            }
            placed.push((x, row, entry));
            x += needed + APART;
        }
        let rows = if placed.is_empty() { 0 } else { row + 1 };
        Self { placed, rows }
    }

    pub(super) fn height(&self) -> f64 {
        self.rows as f64 * LINE + if self.rows > 0 { 4.0 } else { 0.0 }
    }

    pub(super) fn draw(&self, svg: &mut Svg, top: f64) {
        for (x, row, entry) in &self.placed {
            entry.draw(svg, *x, top + *row as f64 * LINE);
        }
    }
}
