//! Cost per month against demand: a step for each instance that a candidate needs more, and where another candidate
//! becomes the cheapest.

use assay_measure::figures;

use super::labels::Placer;
use super::legend::Entry;
use super::marks::{Shape, Style};
use super::scale::Domain;
use super::svg::{Path, Point, Rect};
use super::{Axis, Canvas, Frame, counted, drawable};

const TITLE: &str = "Cost per month against demand";
const HOURS_PER_MONTH: f64 = 730.0;
/// A step narrower than this cannot be seen as one.
const NARROWEST_STEP: f64 = 4.0;
/// A line that costs more than so many times what the cheapest costs at the end leaves the drawing.
const TALLEST: f64 = 2.0;
/// With more break-even points than this their marks are small.
const MOST_LARGE: usize = 20;
/// So many jumps of the cheapest line are followed, and no more.
const MOST_JUMPS: usize = 100_000;
/// So many break-even points are found, and no more.
const MOST_POINTS: usize = 1000;

/// A candidate as instances that are added as the demand grows.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub label: String,
    pub usd_per_hour: f64,
    /// What one instance is to serve: its capacity times the headroom.
    pub usable_per_min: f64,
}

/// A demand above which another line is the cheapest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakEven {
    pub demand_per_min: f64,
    /// The place of the line that is the cheapest up to this demand.
    pub from: usize,
    /// The place of the line that is the cheapest above it.
    pub to: usize,
}

impl Line {
    /// The dollars per month of as many instances as a demand needs, at least one.
    #[must_use]
    pub fn usd_per_month(&self, demand_per_min: f64) -> f64 {
        let (full, exact) = self.full_instances(demand_per_min);
        self.usd_for(if exact { full } else { full + 1.0 })
    }

    /// The same for a demand that is just a little larger.
    fn usd_just_above(&self, demand_per_min: f64) -> f64 {
        self.usd_for(self.full_instances(demand_per_min).0 + 1.0)
    }

    fn usd_for(&self, instances: f64) -> f64 {
        instances.max(1.0) * self.usd_per_hour * HOURS_PER_MONTH
    }

    /// How many instances a demand fills, and whether nothing is left over; a billionth is nothing.
    fn full_instances(&self, demand_per_min: f64) -> (f64, bool) {
        let instances = demand_per_min / self.usable_per_min;
        let nearest = instances.round();
        let exact = (instances - nearest).abs() <= 1e-9 * nearest.max(1.0);
        (if exact { nearest } else { instances.floor() }, exact)
    }

    fn is_possible(&self) -> bool {
        drawable(self.usd_per_hour)
            && self.usd_per_hour >= 0.0
            && drawable(self.usable_per_min)
            && self.usable_per_min > 1e-100
    }
}

/// Where the cheapest line changes, up to a largest demand. Of equally cheap lines the one stays that was the
/// cheapest, and at first it is the one with the lowest place. The search ends after a thousand changes.
#[must_use]
pub fn break_even_points(lines: &[Line], largest_demand_per_min: f64) -> Vec<BreakEven> {
    let mut points = Vec::new();
    let largest = if drawable(largest_demand_per_min) { largest_demand_per_min } else { 0.0 };
    let Some(mut cheapest) = cheapest_above(lines, 0.0, None) else { return points };
    let mut demand = 0.0;
    // Costs never fall as the demand grows, so the cheapest line changes only where it jumps itself.
    for _ in 0..MOST_JUMPS {
        let line = &lines[cheapest];
        let next = (line.full_instances(demand).0 + 1.0) * line.usable_per_min;
        if next >= largest || next <= demand || points.len() >= MOST_POINTS {
            break;
        }
        demand = next;
        let Some(to) = cheapest_above(lines, demand, Some(cheapest)) else { break };
        if to != cheapest {
            points.push(BreakEven { demand_per_min: demand, from: cheapest, to });
            cheapest = to;
        }
    }
    points
}

/// The cheapest line just above a demand: the present one unless another costs less.
fn cheapest_above(lines: &[Line], demand: f64, present: Option<usize>) -> Option<usize> {
    let mut best: Option<(usize, f64)> =
        present.map(|index| (index, lines[index].usd_just_above(demand)));
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.is_possible()) {
        let usd = line.usd_just_above(demand);
        if best.is_none_or(|(_, least)| usd < least * (1.0 - 1e-12)) {
            best = Some((index, usd));
        }
    }
    best.map(|(index, _)| index)
}

/// Draws the lines up to the largest demand, and the demand that was asked about.
#[must_use]
pub fn draw(lines: &[Line], largest_demand_per_min: f64, asked: Option<f64>, width: u32) -> String {
    let asked = asked.filter(|asked| drawable(*asked) && *asked >= 0.0);
    let largest = if drawable(largest_demand_per_min) { largest_demand_per_min } else { 0.0 };
    let largest = largest.max(asked.unwrap_or(0.0));
    let drawn: Vec<Line> = lines.iter().filter(|line| line.is_possible()).cloned().collect();
    let ends = drawn.iter().map(|line| line.usd_per_month(largest));
    if drawn.is_empty() || largest <= 0.0 || !ends.clone().all(drawable) {
        return super::no_data(TITLE, width);
    }
    let least = ends.clone().fold(f64::INFINITY, f64::min);
    let top = ends.filter(|usd| *usd <= least * TALLEST).fold(least, f64::max);
    let points = break_even_points(&drawn, largest);
    let legend = drawn.iter().enumerate().map(|(index, line)| {
        let outside = line.usd_per_month(0.0) > top * 1.05;
        let label = super::text::shorten(&line.label, if outside { 120.0 } else { 200.0 });
        let note = if outside { " (off the chart)" } else { "" };
        Entry::line(&Style::of(index), &format!("{label}{note}"))
    });
    let even = (!points.is_empty()).then(|| Entry::mark("c-even", Shape::Circle, "break-even"));
    let frame = Frame {
        width: super::drawn_width(width),
        x: Axis::new(Domain::linear(0.0, largest), "Demand (invocations per minute)"),
        left: Axis::new(Domain::from_zero(std::iter::once(top)), "Cost per month ($)"),
        right: None,
        legend: legend.chain(even).collect(),
        below: 0.0,
    };
    let mut canvas = frame.draw();
    for (index, line) in drawn.iter().enumerate() {
        let path = stepped(&canvas, line, largest);
        canvas.svg.path(&Style::of(index).line, &path);
    }
    let mut placer = Placer::new(canvas.plot);
    let marked = mark_points(&mut canvas, &drawn, &points, &mut placer);
    if let Some(asked) = asked {
        let label = format!("asked: {}", figures::significant(asked));
        let x = canvas.x.at(asked);
        canvas.vertical("c-asked", &label, x, &mut placer);
    }
    name_points(&mut canvas, &marked, &mut placer);
    canvas.svg.finish(TITLE, &description(&drawn, largest, &points))
}

/// The steps of a line, until it leaves the top; a slope where they are too narrow to be seen.
fn stepped(canvas: &Canvas, line: &Line, largest: f64) -> Path {
    let mut path = Path::default();
    let (x, y) = (canvas.x, canvas.y);
    let top = y.high();
    let pixels = canvas.plot.width;
    let step = line.usable_per_min / largest * pixels;
    if line.usd_per_month(0.0) > top {
        return path;
    }
    path.move_to((x.at(0.0), y.at(line.usd_per_month(0.0))));
    if step >= NARROWEST_STEP {
        let mut instances = 1.0;
        while instances * line.usable_per_min < largest {
            path.horizontal(x.at(instances * line.usable_per_min));
            instances += 1.0;
            path.vertical(y.at(line.usd_for(instances)));
            if line.usd_for(instances) > top {
                return path;
            }
        }
        path.horizontal(x.at(largest));
        return path;
    }
    let count = super::scale::whole((pixels / NARROWEST_STEP).ceil());
    for index in 1..=count {
        let demand = largest * index as f64 / count as f64;
        let usd = line.usd_per_month(demand);
        if usd > top {
            // Where the slope between the last two points passes the top.
            let at = top / line.usd_per_hour / HOURS_PER_MONTH * line.usable_per_min;
            path.line_to((x.at(at.min(demand)), y.at(top)));
            return path;
        }
        path.line_to((x.at(demand), y.at(usd)));
    }
    path
}

/// Marks the break-even points that can be told apart, and says where.
fn mark_points(
    canvas: &mut Canvas,
    lines: &[Line],
    points: &[BreakEven],
    placer: &mut Placer,
) -> Vec<(Point, f64)> {
    let mut marked: Vec<(Point, f64)> = Vec::new();
    for point in points {
        let usd = lines[point.from].usd_per_month(point.demand_per_min);
        let at = (canvas.x.at(point.demand_per_min), canvas.y.at(usd));
        if marked.last().is_none_or(|(last, _)| at.0 - last.0 >= 2.0) {
            marked.push((at, point.demand_per_min));
        }
    }
    let places: Vec<Point> = marked.iter().map(|(at, _)| *at).collect();
    let radius = if places.len() > MOST_LARGE { 2.0 } else { 4.0 };
    canvas.svg.path("c-even", &Shape::Circle.at(&places, radius));
    for place in places {
        placer.keep_off(Rect::around(place, 5.0));
    }
    marked
}

/// Writes the demand next to a point as long as there is space.
fn name_points(canvas: &mut Canvas, marked: &[(Point, f64)], placer: &mut Placer) {
    for (at, demand) in marked.iter().take(12) {
        let label = figures::significant(*demand);
        if let Some(place) = placer.next_to(*at, 4.0, super::text::width(&label))
            && place.leader.is_none()
        {
            canvas.svg.text("c-note", place.at, place.anchor, &label);
        }
    }
}

fn description(lines: &[Line], largest: f64, points: &[BreakEven]) -> String {
    let name = |index: usize| super::text::shorten(&lines[index].label, 200.0);
    let count = counted(lines.len(), "candidate");
    let demand = figures::significant(largest);
    match (points.first(), points.last()) {
        (Some(first), Some(last)) => format!(
            "{count} up to {demand} invocations per minute: {} is the cheapest at first, {} at the end; the cheapest changes {}.",
            name(first.from),
            name(last.to),
            if points.len() == 1 {
                format!("at {}", figures::significant(first.demand_per_min))
            } else {
                format!("{} times", points.len())
            }
        ),
        _ => {
            let cheapest = cheapest_above(lines, 0.0, None).map(name).unwrap_or_default();
            format!(
                "{count} up to {demand} invocations per minute: {cheapest} is always the cheapest."
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(usd_per_hour: f64, usable_per_min: f64) -> Line {
        Line { label: String::new(), usd_per_hour, usable_per_min }
    }

    /// The cheapest at each whole demand and a half, of lines with whole capacities.
    fn by_trying(lines: &[Line], largest: u32) -> Vec<(String, usize, usize)> {
        let usd =
            |line: &Line, demand: f64| (demand / line.usable_per_min).ceil() * line.usd_per_hour;
        let mut changes = Vec::new();
        let mut present: Option<usize> = None;
        for whole in 0..largest {
            let demand = f64::from(whole) + 0.5;
            let start = present.unwrap_or(0);
            let mut best = start;
            for (index, line) in lines.iter().enumerate() {
                if usd(line, demand) < usd(&lines[best], demand) - 1e-9 {
                    best = index;
                }
            }
            if let Some(from) = present.filter(|from| *from != best) {
                changes.push((whole.to_string(), from, best));
            }
            present = Some(best);
        }
        changes
    }

    #[test]
    fn break_even_points_are_those_found_by_trying_every_demand() {
        let mut seed = 1_u32;
        let mut random = |most: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % most + 1
        };
        for _ in 0..300 {
            let lines: Vec<Line> = (0..random(5))
                .map(|_| line(f64::from(random(40)) * 0.05, f64::from(random(300))))
                .collect();
            let found: Vec<(String, usize, usize)> = break_even_points(&lines, 2000.0)
                .into_iter()
                .map(|point| (format!("{:.0}", point.demand_per_min), point.from, point.to))
                .collect();
            assert_eq!(found, by_trying(&lines, 2000), "{lines:?}");
        }
    }

    #[test]
    fn the_cheapest_changes_where_it_would_need_another_instance() {
        let lines = [line(1.0, 100.0), line(1.5, 300.0)];
        let points = break_even_points(&lines, 300.0);
        assert_eq!(points, [BreakEven { demand_per_min: 100.0, from: 0, to: 1 }]);
    }

    #[test]
    fn of_equally_cheap_lines_the_present_one_stays() {
        let lines = [line(1.0, 100.0), line(1.0, 100.0), line(2.0, 200.0)];
        assert!(break_even_points(&lines, 5000.0).is_empty());
    }

    #[test]
    fn the_search_ends_whatever_the_lines() {
        let lines = [line(1e-9, 1e-9), line(1.0, f64::NAN), line(1e9, 1e9), line(1.0, 0.0)];
        assert!(break_even_points(&lines, 1e99).len() <= MOST_POINTS);
        assert!(break_even_points(&lines, f64::INFINITY).is_empty());
        assert!(break_even_points(&[], 10.0).is_empty());
    }

    #[test]
    fn a_full_instance_is_enough_for_what_it_serves() {
        let third = line(1.0, 0.1);
        let months = [0.0, 0.1, 0.3, 0.30001].map(|demand| third.usd_per_month(demand) / 730.0);
        assert_eq!(months.map(|month| month.round().to_string()), ["1", "1", "3", "4"]);
    }
}
