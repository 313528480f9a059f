//! How series differ: by colour, dash and shape.

use super::svg::{Path, Point};

/// The shape of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
    Cross,
    Plus,
}

impl Shape {
    /// Adds the shape around a point.
    pub(super) fn add(self, path: &mut Path, (x, y): Point, radius: f64) {
        let r = radius;
        match self {
            Self::Circle => path.circle((x, y), r),
            Self::Square => {
                let r = r * 0.9;
                path.move_to((x - r, y - r));
                path.horizontal(x + r);
                path.vertical(y + r);
                path.horizontal(x - r);
                path.close();
            }
            Self::Triangle => {
                path.move_to((x, y - r * 1.1));
                path.line_to((x + r, y + r * 0.8));
                path.horizontal(x - r);
                path.close();
            }
            Self::Diamond => {
                path.move_to((x, y - r * 1.2));
                path.line_to((x + r * 1.2, y));
                path.line_to((x, y + r * 1.2));
                path.line_to((x - r * 1.2, y));
                path.close();
            }
            Self::Cross => {
                path.move_to((x - r, y - r));
                path.line_to((x + r, y + r));
                path.move_to((x + r, y - r));
                path.line_to((x - r, y + r));
            }
            Self::Plus => {
                path.move_to((x - r * 1.2, y));
                path.horizontal(x + r * 1.2);
                path.move_to((x, y - r * 1.2));
                path.vertical(y + r * 1.2);
            }
        }
    }

    /// This shape around each of these points.
    pub(super) fn at(self, points: &[Point], radius: f64) -> Path {
        let mut path = Path::default();
        for point in points {
            self.add(&mut path, *point, radius);
        }
        path
    }
}

/// What tells one series from another.
#[derive(Debug, Clone)]
pub(super) struct Style {
    /// Classes of its line.
    pub(super) line: String,
    /// Classes of its marks.
    pub(super) mark: String,
    pub(super) shape: Shape,
}

impl Style {
    /// The style of a series by its place: six colours, and after them the same with other dashes and shapes.
    pub(super) fn of(index: usize) -> Self {
        const SHAPES: [Shape; 6] = [
            Shape::Circle,
            Shape::Square,
            Shape::Triangle,
            Shape::Diamond,
            Shape::Cross,
            Shape::Plus,
        ];
        let colour = index % 6;
        let other = (index + index / 6) % 6;
        Self {
            line: format!("c-line c-s{} c-d{}", colour + 1, other + 1),
            mark: format!("c-mark c-s{}", colour + 1),
            shape: SHAPES[other],
        }
    }
}
