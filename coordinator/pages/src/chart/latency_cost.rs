//! Latency against cost: a mark for each candidate, and the front of those that no other beats in both.

use assay_measure::figures;

use super::labels::Placer;
use super::legend::Entry;
use super::marks::Shape;
use super::scale::Domain;
use super::svg::{Anchor, Path, Point, Rect};
use super::{
    Axis, Canvas, EDGE, Frame, LINE, LatencyUnit, Limit, counted, drawable, interval, text,
};

const TITLE: &str = "Latency against cost";
/// With more candidates, marks have numbers, and the names are below the chart.
const MOST_NAMED: usize = 12;
/// More candidates than this are not listed by name.
const MOST_LISTED: usize = 60;
const RADIUS: f64 = 4.5;

/// A candidate as measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub label: String,
    pub usd_per_million: f64,
    pub usd_per_million_ci95: Option<[f64; 2]>,
    pub latency_us: u64,
    /// Whether it meets every constraint.
    pub meets: bool,
    pub is_best: bool,
}

/// Draws the candidates, and the latency that they must not exceed.
#[must_use]
pub fn draw(candidates: &[Candidate], limit: Option<&Limit>, width: u32) -> String {
    let drawn: Vec<&Candidate> = candidates
        .iter()
        .filter(|one| drawable(one.usd_per_million) && one.usd_per_million >= 0.0)
        .collect();
    if drawn.is_empty() {
        return super::no_data(TITLE, width);
    }
    let width = super::drawn_width(width);
    let latencies =
        drawn.iter().map(|one| one.latency_us).chain(limit.map(|limit| limit.latency_us));
    let unit = LatencyUnit::of(latencies.clone());
    let costs = drawn.iter().flat_map(|one| {
        let [low, high] = interval(one.usd_per_million_ci95).unwrap_or([one.usd_per_million; 2]);
        [one.usd_per_million, low, high]
    });
    let columns = (width / 230.0).floor().max(1.0);
    let by_number = |rows: f64| if rows > 0.0 { rows * LINE + 8.0 } else { 0.0 };
    let frame = |rows: f64| Frame {
        width,
        x: Axis::new(Domain::log(costs.clone()), "Cost per million inferences ($)"),
        left: Axis::new(
            Domain::log(latencies.clone().map(|latency| unit.value(latency))),
            unit.title(),
        ),
        right: None,
        legend: legend(&drawn),
        below: by_number(rows),
    };
    if drawn.len() <= MOST_NAMED {
        let mut canvas = frame(0.0).draw();
        if data(&mut canvas, &drawn, limit, unit, true) {
            return canvas.svg.finish(TITLE, &description(&drawn));
        }
    }
    let more = drawn.len() > MOST_LISTED;
    let listed = drawn.len().min(MOST_LISTED) + usize::from(more);
    let mut canvas = frame((listed as f64 / columns).ceil()).draw();
    data(&mut canvas, &drawn, limit, unit, false);
    list(&mut canvas, &drawn, columns);
    canvas.svg.finish(TITLE, &description(&drawn))
}

fn legend(drawn: &[&Candidate]) -> Vec<Entry> {
    let mut entries = Vec::new();
    if drawn.iter().any(|one| one.is_best) {
        entries.push(Entry::mark("c-best", Shape::Diamond, "best"));
    }
    if drawn.iter().any(|one| one.meets && !one.is_best) {
        entries.push(Entry::mark("c-meets", Shape::Circle, "meets the constraints"));
    }
    if drawn.iter().any(|one| !one.meets && !one.is_best) {
        entries.push(Entry::mark("c-fails", Shape::Circle, "fails a constraint"));
    }
    if front(drawn).len() > 1 {
        entries.push(Entry::rule("c-front", "Pareto front"));
    }
    entries
}

/// Those that meet the constraints and that none of the others beats in both, by cost.
fn front<'a>(drawn: &[&'a Candidate]) -> Vec<&'a Candidate> {
    let mut meeting: Vec<&Candidate> = drawn.iter().copied().filter(|one| one.meets).collect();
    meeting.sort_by(|one, other| {
        let by_cost = one.usd_per_million.total_cmp(&other.usd_per_million);
        by_cost.then(one.latency_us.cmp(&other.latency_us))
    });
    let mut front: Vec<&Candidate> = Vec::new();
    for candidate in meeting {
        if front.last().is_none_or(|last| candidate.latency_us < last.latency_us) {
            front.push(candidate);
        }
    }
    front
}

/// Draws what is within the axes. False if a name found no place.
fn data(
    canvas: &mut Canvas,
    drawn: &[&Candidate],
    limit: Option<&Limit>,
    unit: LatencyUnit,
    named: bool,
) -> bool {
    let plot = canvas.plot;
    let reach = Rect { x: plot.x, y: plot.y, width: canvas.svg.width() - plot.x, ..plot };
    let mut placer = Placer::new(reach);
    let (x, y) = (canvas.x, canvas.y);
    let at = |one: &Candidate| (x.at(one.usd_per_million), y.at(unit.value(one.latency_us)));
    for candidate in drawn {
        placer.keep_off(Rect::around(at(candidate), RADIUS + 1.0));
    }
    if let Some(limit) = limit {
        let value = unit.value(limit.latency_us);
        let across = (y.at(value), plot.x, plot.right());
        canvas.limit(&limit.label, value, &mut placer);
        placer.avoid((across.1, across.0), (across.2, across.0));
    }
    let steps: Vec<Point> = front(drawn).into_iter().map(at).collect();
    stepped(canvas, &steps, &mut placer);
    let mut whiskers = Path::default();
    for candidate in drawn {
        if let Some([low, high]) = interval(candidate.usd_per_million_ci95) {
            let (left, right, middle) = (x.at(low), x.at(high), at(candidate).1);
            whisker(&mut whiskers, left, right, middle);
            placer.avoid((left, middle), (right, middle));
        }
    }
    canvas.svg.path("c-whisker", &whiskers);
    let mut order: Vec<usize> = (0..drawn.len()).collect();
    order.sort_by_key(|index| (!drawn[*index].is_best, !drawn[*index].meets));
    for index in order.iter().rev() {
        let candidate = drawn[*index];
        let mut mark = Path::default();
        let (shape, class, radius) = look(candidate);
        shape.add(&mut mark, at(candidate), radius);
        canvas.svg.named_path(class, &mark, &pointed_at(candidate));
    }
    let mut all_placed = true;
    for index in order {
        let label = name(drawn[index], index, named, plot.width * 0.42);
        let bold = if drawn[index].is_best { 1.1 } else { 1.0 };
        let place = placer.next_to(at(drawn[index]), RADIUS, text::width(&label) * bold);
        let Some(place) = place else {
            all_placed = false;
            continue;
        };
        if let Some([from, to]) = place.leader {
            canvas.svg.line("c-leader", from, to);
        }
        let class = if drawn[index].is_best { "c-label c-strong" } else { "c-label" };
        canvas.svg.text(class, place.at, place.anchor, &label);
    }
    all_placed
}

fn look(candidate: &Candidate) -> (Shape, &'static str, f64) {
    match (candidate.is_best, candidate.meets) {
        (true, _) => (Shape::Diamond, "c-best", RADIUS + 1.5),
        (false, true) => (Shape::Circle, "c-meets", RADIUS),
        (false, false) => (Shape::Circle, "c-fails", RADIUS),
    }
}

/// What a mark is called in the chart: a name, or its number in the list.
fn name(candidate: &Candidate, index: usize, named: bool, pixels: f64) -> String {
    if !named {
        return (index + 1).to_string();
    }
    let free = if candidate.usd_per_million > 0.0 { "" } else { " ($0)" };
    format!("{}{free}", text::shorten(&candidate.label, pixels.min(190.0)))
}

fn pointed_at(candidate: &Candidate) -> String {
    format!(
        "{}: ${}, {}",
        text::in_sentence(&candidate.label),
        figures::significant(candidate.usd_per_million),
        figures::latency(candidate.latency_us)
    )
}

/// The front as steps: what lies above and to the right of it is beaten.
fn stepped(canvas: &mut Canvas, steps: &[Point], placer: &mut Placer) {
    let mut path = Path::default();
    for pair in steps.windows(2) {
        if path.is_empty() {
            path.move_to(pair[0]);
        }
        path.horizontal(pair[1].0);
        path.vertical(pair[1].1);
        placer.avoid(pair[0], (pair[1].0, pair[0].1));
        placer.avoid((pair[1].0, pair[0].1), pair[1]);
    }
    canvas.svg.path("c-front", &path);
}

/// A line across with a short end on either side.
pub(super) fn whisker(path: &mut Path, left: f64, right: f64, y: f64) {
    for x in [left, right] {
        path.move_to((x, y - 3.0));
        path.vertical(y + 3.0);
    }
    path.move_to((left, y));
    path.horizontal(right);
}

/// The names of the numbers, in columns below the axis.
fn list(canvas: &mut Canvas, drawn: &[&Candidate], columns: f64) {
    let column = (canvas.svg.width() - 2.0 * EDGE) / columns;
    let top = canvas.plot.bottom() + 2.0 * LINE + 22.0;
    let rest = drawn.len().saturating_sub(MOST_LISTED);
    let mut entries: Vec<String> = drawn
        .iter()
        .take(MOST_LISTED)
        .enumerate()
        .map(|(index, candidate)| format!("{}  {}", index + 1, candidate.label))
        .collect();
    if rest > 0 {
        entries.push(format!("and {rest} more"));
    }
    let per_column = (entries.len() as f64 / columns).ceil();
    for (index, entry) in entries.iter().enumerate() {
        let place = (index as f64 / per_column).floor();
        let row = index as f64 - place * per_column;
        let at = (EDGE + place * column, top + row * LINE);
        canvas.svg.text("c-legend", at, Anchor::Start, &text::shorten(entry, column - 12.0));
    }
}

fn description(drawn: &[&Candidate]) -> String {
    let meeting = drawn.iter().filter(|one| one.meets).count();
    let verb = if meeting == 1 { "meets" } else { "meet" };
    let count = counted(drawn.len(), "candidate");
    let gist = format!("{meeting} of {count} {verb} the constraints");
    let Some(best) = drawn.iter().find(|one| one.is_best) else {
        return format!("{gist}.");
    };
    format!(
        "{gist}; the best is {} at ${} per million inferences and {}.",
        text::in_sentence(&best.label),
        figures::significant(best.usd_per_million),
        figures::latency(best.latency_us)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(usd_per_million: f64, latency_us: u64, meets: bool) -> Candidate {
        Candidate {
            label: String::new(),
            usd_per_million,
            usd_per_million_ci95: None,
            latency_us,
            meets,
            is_best: false,
        }
    }

    #[test]
    fn the_front_has_those_that_meet_and_that_nothing_beats() {
        let all = [
            candidate(3.0, 10, true),
            candidate(1.0, 30, true),
            candidate(2.0, 30, true),
            candidate(2.5, 20, true),
            candidate(0.5, 5, false),
            candidate(4.0, 10, true),
        ];
        let all: Vec<&Candidate> = all.iter().collect();
        let costs: Vec<f64> = front(&all).iter().map(|one| one.usd_per_million * 10.0).collect();
        assert_eq!(
            costs.iter().map(|cost| cost.round().to_string()).collect::<Vec<_>>(),
            ["10", "25", "30"]
        );
    }
}
