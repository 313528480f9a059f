//! Places for labels: next to what they name, within the plot, and never over one another.

use super::LABEL_HEIGHT;
use super::svg::{Anchor, Point, Rect};

/// What is already drawn, and where labels may be.
#[derive(Debug)]
pub(super) struct Placer {
    bounds: Rect,
    /// What a label must not touch.
    taken: Vec<Rect>,
    /// What a label had better not touch: lines, which remain readable under it.
    lines: Vec<Rect>,
}

/// The place of a label.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Of its baseline.
    pub(super) at: Point,
    pub(super) anchor: Anchor,
    /// From the mark to the label where they are apart.
    pub(super) leader: Option<[Point; 2]>,
}

/// The space on either side of a label, so that two of them do not read as one.
const APART: f64 = 2.0;

/// The directions in the order of preference: as signs of x and y.
const DIRECTIONS: [(f64, f64); 8] = [
    (1.0, 0.0),
    (0.0, -1.0),
    (0.0, 1.0),
    (-1.0, 0.0),
    (1.0, -1.0),
    (1.0, 1.0),
    (-1.0, -1.0),
    (-1.0, 1.0),
];

impl Placer {
    pub(super) fn new(bounds: Rect) -> Self {
        Self { bounds, taken: Vec::new(), lines: Vec::new() }
    }

    /// Keeps labels off a mark.
    pub(super) fn keep_off(&mut self, area: Rect) {
        self.taken.push(area);
    }

    /// Keeps labels off a line where there is another place.
    pub(super) fn avoid(&mut self, from: Point, to: Point) {
        let line = Rect::between(from, to);
        self.lines.push(Rect {
            x: line.x - 1.0,
            y: line.y - 1.0,
            width: line.width + 2.0,
            height: line.height + 2.0,
        });
    }

    /// The best of these corners (top left) for a label of this size, which is then taken.
    pub(super) fn choose(&mut self, corners: &[Point], size: Point) -> Option<Point> {
        let mut best: Option<(usize, Rect)> = None;
        for corner in corners {
            let area = Rect { x: corner.0, y: corner.1, width: size.0, height: size.1 };
            if let Some(crossed) = self.crossed(&area)
                && best.is_none_or(|(least, _)| crossed < least)
            {
                best = Some((crossed, area));
            }
        }
        let (_, area) = best?;
        self.taken.push(area);
        Some((area.x, area.y))
    }

    /// A place for a label this wide next to a mark: near it, or further away with a leader.
    pub(super) fn next_to(&mut self, mark: Point, radius: f64, width: f64) -> Option<Place> {
        let mut best: Option<(usize, Rect, Place)> = None;
        for (ring, distance) in [0.0, 10.0, 22.0, 38.0, 60.0, 90.0].into_iter().enumerate() {
            for (preference, direction) in DIRECTIONS.into_iter().enumerate() {
                let (area, place) = candidate(mark, radius, width, distance, direction);
                let Some(crossed) = self.crossed(&area) else { continue };
                let badness = ring * 40 + crossed * 10 + preference;
                if best.as_ref().is_none_or(|(least, ..)| badness < *least) {
                    best = Some((badness, area, place));
                }
            }
        }
        let (_, area, place) = best?;
        self.taken.push(area);
        Some(place)
    }

    /// How many lines an area crosses; nothing if it cannot be used.
    fn crossed(&self, area: &Rect) -> Option<usize> {
        let free =
            self.bounds.contains(area) && !self.taken.iter().any(|other| other.overlaps(area));
        free.then(|| self.lines.iter().filter(|line| line.overlaps(area)).count())
    }
}

/// The area and place of a label in a direction from its mark.
fn candidate(
    mark: Point,
    radius: f64,
    width: f64,
    distance: f64,
    direction: (f64, f64),
) -> (Rect, Place) {
    let straight = direction.0.abs() + direction.1.abs() < 1.5;
    let reach = if straight { radius + 3.0 + distance } else { (radius + 1.0 + distance) * 0.75 };
    let (x, y) = (mark.0 + direction.0 * reach, mark.1 + direction.1 * reach);
    let (left, anchor) = if direction.0 > 0.5 {
        (x, Anchor::Start)
    } else if direction.0 < -0.5 {
        (x - width, Anchor::End)
    } else {
        (x - width / 2.0, Anchor::Middle)
    };
    let top = if direction.1 > 0.5 {
        y
    } else if direction.1 < -0.5 {
        y - LABEL_HEIGHT
    } else {
        y - LABEL_HEIGHT / 2.0
    };
    let area = Rect { x: left - APART, y: top, width: width + 2.0 * APART, height: LABEL_HEIGHT };
    let leader = (distance > 0.0).then(|| {
        let length = direction.0.hypot(direction.1);
        let start = (
            mark.0 + direction.0 / length * (radius + 1.0),
            mark.1 + direction.1 / length * (radius + 1.0),
        );
        [start, (x - direction.0, y - direction.1)]
    });
    (area, Place { at: (x, top + LABEL_HEIGHT - 4.0), anchor, leader })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_marks_in_one_place_do_not_overlap() {
        let mut placer = Placer::new(Rect { x: 0.0, y: 0.0, width: 400.0, height: 300.0 });
        placer.keep_off(Rect::around((200.0, 150.0), 5.0));
        for _ in 0..12 {
            assert!(placer.next_to((200.0, 150.0), 5.0, 80.0).is_some());
        }
        for (index, one) in placer.taken.iter().enumerate() {
            assert!(placer.taken[..index].iter().all(|other| !other.overlaps(one)));
        }
    }

    #[test]
    fn a_label_never_leaves_the_drawing() {
        let bounds = Rect { x: 0.0, y: 0.0, width: 100.0, height: 60.0 };
        let mut placer = Placer::new(bounds);
        for x in [0.0, 50.0, 100.0] {
            for y in [0.0, 30.0, 60.0] {
                placer.next_to((x, y), 5.0, 40.0);
            }
        }
        assert!(!placer.taken.is_empty());
        assert!(placer.taken.iter().all(|area| bounds.contains(area)));
        assert!(Placer::new(bounds).next_to((50.0, 30.0), 5.0, 140.0).is_none());
    }
}
