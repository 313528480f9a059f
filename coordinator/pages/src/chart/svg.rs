//! SVG as text: elements, paths and escaping. Coordinates have one decimal.

use std::fmt::{self, Display, Write as _};

/// A place in the drawing, in pixels from its top left.
pub(super) type Point = (f64, f64);

/// An upright rectangle in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rect {
    /// The rectangle with these two corners.
    pub(super) fn between(one: Point, other: Point) -> Self {
        Self {
            x: one.0.min(other.0),
            y: one.1.min(other.1),
            width: (one.0 - other.0).abs(),
            height: (one.1 - other.1).abs(),
        }
    }

    /// The square of this half width around a point.
    pub(super) fn around(at: Point, half: f64) -> Self {
        Self::between((at.0 - half, at.1 - half), (at.0 + half, at.1 + half))
    }

    pub(super) fn right(&self) -> f64 {
        self.x + self.width
    }

    pub(super) fn bottom(&self) -> f64 {
        self.y + self.height
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.x < other.right()
            && other.x < self.right()
            && self.y < other.bottom()
            && other.y < self.bottom()
    }

    pub(super) fn contains(&self, other: &Self) -> bool {
        self.x <= other.x
            && other.right() <= self.right()
            && self.y <= other.y
            && other.bottom() <= self.bottom()
    }
}

/// Which end of a text its position is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A coordinate as written.
struct Coordinate(f64);

impl Display for Coordinate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Adding zero makes a negative zero positive, and rounding first keeps `-0.04` from becoming one.
        let rounded = (self.0 * 10.0).round() / 10.0 + 0.0;
        write!(f, "{:.1}", if rounded.is_finite() { rounded } else { 0.0 })
    }
}

/// The `d` of a path.
#[derive(Debug, Clone, Default)]
pub(super) struct Path(String);

impl Path {
    /// A polyline through these points.
    pub(super) fn through(points: &[Point]) -> Self {
        let mut path = Self::default();
        path.polyline(points);
        path
    }

    /// Adds a polyline through these points.
    pub(super) fn polyline(&mut self, points: &[Point]) {
        for (index, point) in points.iter().enumerate() {
            self.add(if index == 0 { 'M' } else { 'L' }, *point);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn move_to(&mut self, to: Point) {
        self.add('M', to);
    }

    pub(super) fn line_to(&mut self, to: Point) {
        self.add('L', to);
    }

    pub(super) fn horizontal(&mut self, x: f64) {
        write(&mut self.0, format_args!("H{}", Coordinate(x)));
    }

    pub(super) fn vertical(&mut self, y: f64) {
        write(&mut self.0, format_args!("V{}", Coordinate(y)));
    }

    pub(super) fn close(&mut self) {
        self.0.push('Z');
    }

    /// A whole circle.
    pub(super) fn circle(&mut self, centre: Point, radius: f64) {
        self.move_to((centre.0 - radius, centre.1));
        let (r, across) = (Coordinate(radius), Coordinate(2.0 * radius));
        let back = Coordinate(-2.0 * radius);
        write(&mut self.0, format_args!("a{r} {r} 0 1 0 {across} 0a{r} {r} 0 1 0 {back} 0Z"));
    }

    fn add(&mut self, command: char, to: Point) {
        let (x, y) = (Coordinate(to.0), Coordinate(to.1));
        write(&mut self.0, format_args!("{command}{x} {y}"));
    }
}

/// A drawing, element by element: what is added later covers what was there.
#[derive(Debug)]
pub(super) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    pub(super) fn width(&self) -> f64 {
        self.width
    }

    pub(super) fn line(&mut self, class: &str, from: Point, to: Point) {
        let (x1, y1) = (Coordinate(from.0), Coordinate(from.1));
        let (x2, y2) = (Coordinate(to.0), Coordinate(to.1));
        self.add(format_args!(
            r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#
        ));
    }

    pub(super) fn rect(&mut self, class: &str, rect: Rect) {
        self.add(format_args!(r#"<rect class="{class}" {}/>"#, Area(rect)));
    }

    /// A rectangle filled with a pattern of this drawing.
    pub(super) fn patterned(&mut self, class: &str, rect: Rect, pattern: &str) {
        self.add(format_args!(
            r#"<rect class="{class}" fill="url(#{})" {}/>"#,
            Escaped(pattern),
            Area(rect)
        ));
    }

    /// A pattern of slanted lines.
    pub(super) fn hatching(&mut self, id: &str, class: &str) {
        self.add(format_args!(
            concat!(
                r#"<defs><pattern id="{}" width="7" height="7" patternUnits="userSpaceOnUse">"#,
                r#"<path class="{}" d="M-1 8L8 -1M-1 1L1 -1M6 8L8 6"/></pattern></defs>"#
            ),
            Escaped(id),
            class
        ));
    }

    /// A path; nothing if it is empty.
    pub(super) fn path(&mut self, class: &str, path: &Path) {
        if !path.is_empty() {
            self.add(format_args!(r#"<path class="{class}" d="{}"/>"#, path.0));
        }
    }

    /// A path that says what it is when it is pointed at.
    pub(super) fn named_path(&mut self, class: &str, path: &Path, name: &str) {
        self.add(format_args!(
            r#"<path class="{class}" d="{}"><title>{}</title></path>"#,
            path.0,
            Escaped(name)
        ));
    }

    /// A text whose baseline starts, is centred or ends at a point.
    pub(super) fn text(&mut self, class: &str, at: Point, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " c-middle",
            Anchor::End => " c-end",
        };
        let (x, y) = (Coordinate(at.0), Coordinate(at.1));
        self.add(format_args!(
            r#"<text class="{class}{anchor}" x="{x}" y="{y}">{}</text>"#,
            Escaped(text)
        ));
    }

    /// The whole element, with what it is and what it says.
    pub(super) fn finish(self, title: &str, description: &str) -> String {
        let (width, height) = (self.width.round(), self.height.round());
        format!(
            concat!(
                r#"<svg class="c-chart" xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" "#,
                r#"viewBox="0 0 {0} {1}" role="img"><title>{2}</title><desc>{3}</desc>{4}</svg>"#
            ),
            width,
            height,
            Escaped(title),
            Escaped(description),
            self.body
        )
    }

    fn add(&mut self, element: fmt::Arguments<'_>) {
        write(&mut self.body, element);
    }
}

/// The geometry of a rectangle as attributes.
struct Area(Rect);

impl Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (x, y) = (Coordinate(self.0.x), Coordinate(self.0.y));
        let (width, height) = (Coordinate(self.0.width), Coordinate(self.0.height));
        write!(f, r#"x="{x}" y="{y}" width="{width}" height="{height}""#)
    }
}

/// Text as XML, in content as in attributes, without the characters that XML does not allow.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\u{fffe}' | '\u{ffff}' => {}
                _ if character.is_control() => {}
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// Appends; a string always has room.
fn write(to: &mut String, what: fmt::Arguments<'_>) {
    let _ = to.write_fmt(what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinate_has_one_decimal_and_is_a_number() {
        let written = |value| Coordinate(value).to_string();
        assert_eq!(written(12.0), "12.0");
        assert_eq!(written(-0.04), "0.0");
        assert_eq!(written(1.26), "1.3");
        assert_eq!(written(f64::NAN), "0.0");
        assert_eq!(written(f64::INFINITY), "0.0");
    }

    #[test]
    fn markup_in_a_text_is_text() {
        let hostile = "<a b=\"c\" d='e'>&\u{1}\u{ffff}\u{7f}";
        assert_eq!(Escaped(hostile).to_string(), "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;");
    }
}
