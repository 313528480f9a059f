//! Lines of many points, drawn with as few as are visible.

use super::svg::Point;

/// Points from left to right with at most four in each column of pixels: the first, the lowest, the highest and the
/// last, so that the line looks the same.
pub(super) fn thinned(points: &[Point]) -> Vec<Point> {
    let mut kept = Vec::new();
    for column in points.chunk_by(|one, other| same_column(one.0, other.0)) {
        if column.len() <= 4 {
            kept.extend_from_slice(column);
            continue;
        }
        let by_height = |one: &&Point, other: &&Point| one.1.total_cmp(&other.1);
        let ends = [column.first(), column.last()];
        let extremes = [column.iter().min_by(by_height), column.iter().max_by(by_height)];
        let [first, last] = ends.map(|point| point.copied());
        let [top, bottom] = extremes.map(|point| point.copied());
        kept.extend([first, top, bottom, last].into_iter().flatten());
    }
    kept
}

fn same_column(one: f64, other: f64) -> bool {
    (one.floor() - other.floor()).abs() < 0.5
}

/// Points at least so far apart from left to right, beginning with the first: where marks go on a dense line.
pub(super) fn spaced(points: &[Point], apart: f64) -> Vec<Point> {
    let mut kept: Vec<Point> = Vec::new();
    for point in points {
        if kept.last().is_none_or(|last| point.0 - last.0 >= apart) {
            kept.push(*point);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dense_line_keeps_its_extremes() {
        let points: Vec<Point> = (0..10_000)
            .map(|index| (f64::from(index) / 100.0, if index == 5_050 { 99.0 } else { 10.0 }))
            .collect();
        let kept = thinned(&points);
        assert!(kept.len() <= 400);
        assert!(kept.iter().any(|point| point.1 > 98.0));
    }

    #[test]
    fn few_points_stay_as_they_are() {
        let points = [(0.0, 1.0), (0.1, 2.0), (5.0, 3.0)];
        assert_eq!(thinned(&points), points);
        assert_eq!(spaced(&points, 1.0), [(0.0, 1.0), (5.0, 3.0)]);
    }
}
