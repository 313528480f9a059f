//! Which charts a report gives.

use assay_measure::{
    figures,
    hardware::{GpuUtilization, Utilization},
    latency::{self, Latency},
    outcome::StepResult,
    search::Purpose,
    slo::Slo,
    validity::thresholds,
};
use assay_planning::{
    compare::{Compared, Verdict as ChangeVerdict},
    report::{Entry, JobReport},
};

use crate::chart::{
    Limit, comparison,
    cost_demand::{self, Line},
    latency_cost::{self, Candidate},
    latency_percentiles::{self, Curve},
    load_curve, load_overlay,
    utilization::{self, Band, Mark, Series, Unit},
};

/// In pixels: fits beside another one, and a narrow page shrinks it little.
const WIDTH: u32 = 460;
/// Without a demand the costs are drawn for so many times what the best candidate carries.
const DEMAND_FACTOR: f64 = 5.0;

/// Break-even points in the table below a chart.
const MOST_BREAK_EVENS: usize = 20;

/// A drawing with its heading, and its figures.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) svg: String,
    pub(crate) figures: Figures,
}

/// What a chart shows, to be read: a row begins with what it is about.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Figures {
    fn new(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Self {
        Self { header: header.iter().map(|&name| name.to_owned()).collect(), rows: rows.collect() }
    }
}

/// Whether a drawing says which candidate is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Best {
    Marked,
    /// It is not: the reader may rank again.
    Unmarked,
}

/// Of all candidates.
pub(crate) fn of_report(report: &JobReport, best: Best) -> Vec<Chart> {
    [latency_against_cost(report, best), cost_against_demand(report)]
        .into_iter()
        .flatten()
        .collect()
}

/// The constraint that latency is drawn against.
fn constraint(report: &JobReport) -> Option<Slo> {
    report.constraints.first().copied()
}

fn limit(slo: Slo) -> Limit {
    let latency_us = u64::try_from(slo.limit().as_micros()).unwrap_or(u64::MAX);
    Limit { label: slo.to_string().replace("<=", " ≤ "), latency_us }
}

fn label(entry: &Entry) -> String {
    let serving = entry.serving().map(|serving| format!(" {serving}")).unwrap_or_default();
    format!("{}{serving}", entry.instance_type)
}

fn latency_against_cost(report: &JobReport, best: Best) -> Option<Chart> {
    let metric = report.metric();
    // What cannot be believed has no place on it.
    let all = report.ranking.iter().chain(&report.rejected);
    let candidates: Vec<Candidate> = all
        .filter_map(|entry| {
            Some(Candidate {
                label: label(entry),
                usd_per_million: entry.cost_per_million_usd?,
                usd_per_million_ci95: entry
                    .cost_per_inference_ci95
                    .map(|interval| interval.map(|cost| cost * 1e6)),
                latency_us: entry.latency()?.figure_us(metric),
                meets: entry.meets,
                is_best: best == Best::Marked && entry.rank == Some(1),
            })
        })
        .collect();
    let limit = constraint(report).map(limit);
    let row = |one: &Candidate| {
        let interval = one.usd_per_million_ci95.map(|[low, high]| {
            format!("{} to {}", figures::significant(low), figures::significant(high))
        });
        vec![
            one.label.clone(),
            figures::significant(one.usd_per_million),
            interval.unwrap_or_else(|| "–".to_owned()),
            figures::latency(one.latency_us),
            if one.meets { "yes" } else { "no" }.to_owned(),
        ]
    };
    let latency = format!("Latency {metric}");
    let header = ["Candidate", "$ per million", "95 % interval", &latency, "Meets"];
    (!candidates.is_empty()).then(|| Chart {
        title: "Latency against cost",
        svg: latency_cost::draw(&candidates, limit.as_ref(), WIDTH),
        figures: Figures::new(&header, candidates.iter().map(row)),
    })
}

fn cost_against_demand(report: &JobReport) -> Option<Chart> {
    let sizing = report.ranking.iter().find_map(|entry| entry.sizing);
    let headroom = sizing.map_or(0.7, |sizing| sizing.headroom);
    let lines: Vec<Line> = report
        .ranking
        .iter()
        .filter_map(|entry| {
            Some(Line {
                label: label(entry),
                usd_per_hour: entry.cost_per_hour_usd?,
                usable_per_min: entry.max_invocations_per_min? * headroom,
            })
        })
        .collect();
    let most = lines.iter().map(|line| line.usable_per_min).fold(0.0, f64::max);
    let asked = sizing.map(|sizing| sizing.demand_per_min);
    let largest = asked.map_or(most * DEMAND_FACTOR, |asked| asked * 2.0);
    (!lines.is_empty()).then(|| Chart {
        title: "Cost per month against demand",
        svg: cost_demand::draw(&lines, largest, asked, WIDTH),
        figures: costs(&lines, largest),
    })
}

/// Dollars per month where the cheapest candidate changes, and at the largest demand.
fn costs(lines: &[Line], largest: f64) -> Figures {
    let points = cost_demand::break_even_points(lines, largest);
    let demands = points.iter().map(|point| point.demand_per_min).take(MOST_BREAK_EVENS);
    let row = |demand: f64| {
        let costs = lines.iter().map(|line| line.usd_per_month(demand));
        let least = costs.clone().fold(f64::INFINITY, f64::min);
        let cheapest = lines.iter().zip(costs).filter(|(_, cost)| *cost <= least);
        let cheapest: Vec<&str> = cheapest.map(|(line, _)| &*line.label).collect();
        vec![figures::grouped(demand), cheapest.join(", "), figures::grouped(least)]
    };
    let header = ["Up to, per minute", "Cheapest", "$ per month"];
    Figures::new(&header, demands.chain([largest]).map(row))
}

/// Of one candidate.
pub(crate) fn of_entry(report: &JobReport, entry: &Entry) -> Vec<Chart> {
    let charts = [load_curve(report, entry), percentiles(entry), utilization(entry)];
    charts.into_iter().flatten().collect()
}

/// The steps of one curve.
fn curve(entry: &Entry) -> Vec<load_curve::Step> {
    let step = |(step, latency): (&StepResult, &Latency)| load_curve::Step {
        invocations_per_min: step.achieved.as_per_minute(),
        p50_us: latency.p50_us,
        p95_us: latency.p95_us,
        p99_us: latency.p99_us,
    };
    // Concurrent users and arrivals give different latencies at the same throughput: one curve is of one of them. An
    // overload has no latency of its own, only a growing queue.
    let staircase = |step: &&StepResult| step.purpose == Purpose::Staircase;
    let carried = |step: &&StepResult| {
        step.purpose != Purpose::WarmUp && step.offered.is_some() && step.accepted != Some(false)
    };
    let fixed = |step: &&StepResult| step.purpose == Purpose::Fixed;
    let of = |wanted: &dyn Fn(&&StepResult) -> bool| -> Vec<load_curve::Step> {
        let answered = entry.steps.iter().filter(|step| wanted(step));
        answered.filter_map(|step| Some((step, step.latency.as_ref()?))).map(step).collect()
    };
    let curves = [of(&staircase), of(&carried), of(&fixed)];
    curves.into_iter().find(|steps| steps.len() > 1).unwrap_or_default()
}

pub(crate) fn load_curve(report: &JobReport, entry: &Entry) -> Option<Chart> {
    let steps = curve(entry);
    let capacity = entry.max_invocations_per_min.map(|rate| load_curve::Capacity {
        invocations_per_min: rate,
        ci95: entry.max_invocations_ci95,
    });
    let limit = constraint(report).map(limit);
    let row = |step: &load_curve::Step| {
        let latencies = [step.p50_us, step.p95_us, step.p99_us].map(figures::latency);
        [vec![figures::grouped(step.invocations_per_min)], latencies.to_vec()].concat()
    };
    let header = ["Invocations per minute", "p50", "p95", "p99"];
    (!steps.is_empty()).then(|| Chart {
        title: "Latency against load",
        svg: load_curve::draw(&steps, capacity.as_ref(), limit.as_ref(), WIDTH),
        figures: Figures::new(&header, steps.iter().map(row)),
    })
}

/// The steps of the answer together, as far as their histograms are there.
fn percentiles(entry: &Entry) -> Option<Chart> {
    let answer = entry.result.as_ref().and_then(|result| result.answer.as_ref());
    let is_of_answer = |step: &&StepResult| match answer {
        Some(answer) => answer.answer_steps.contains(&step.index),
        None => step.purpose == Purpose::Fixed,
    };
    let mut pooled = latency::histogram();
    for step in entry.steps.iter().filter(is_of_answer).filter(|step| !step.histogram.is_empty()) {
        // What cannot be read is not drawn.
        pooled.add(latency::decode(&step.histogram).ok()?).ok()?;
    }
    let points: Vec<(f64, u64)> = pooled
        .iter_quantiles(4)
        .map(|at| (at.quantile_iterated_to(), at.value_iterated_to()))
        .filter(|(quantile, _)| *quantile < 1.0)
        .collect();
    const SHOWN: [f64; 8] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999];
    let most = points.last().map_or(0.0, |(quantile, _)| *quantile);
    let row = |quantile: f64| {
        let latency = figures::latency(pooled.value_at_quantile(quantile));
        vec![format!("p{}", figures::significant(quantile * 100.0)), latency]
    };
    let figures = Figures::new(
        &["Percentile", "Latency"],
        SHOWN.into_iter().filter(|quantile| *quantile <= most).map(row),
    );
    (!points.is_empty()).then(|| Chart {
        title: "Latency by percentile, at the capacity",
        svg: latency_percentiles::draw(&[Curve { name: label(entry), points }], WIDTH),
        figures,
    })
}

/// Each step is a stretch of its own mean.
fn utilization(entry: &Entry) -> Option<Chart> {
    let series = |name: &str, of: fn(&StepResult) -> Option<f64>| {
        let samples = entry.steps.iter().filter_map(|step| Some((middle(step), of(step)?)));
        Series { name: name.to_owned(), unit: Unit::Percent, samples: samples.collect() }
    };
    let mut all = vec![
        series("CPU", |step| step.utilization.cpu_pct),
        series("memory", |step| step.utilization.memory_pct),
        series("other load", |step| step.utilization.other_cpu_pct),
        series("steal", |step| step.utilization.steal_pct),
    ];
    let gpus = entry.steps.iter().map(|step| step.utilization.gpus.len()).max().unwrap_or(0);
    for gpu in 0..gpus {
        let name = if gpus == 1 { "GPU".to_owned() } else { format!("GPU {gpu}") };
        let percent = of_gpu(entry, gpu, |gpu| gpu.utilization_pct);
        all.push(Series { name: name.clone(), unit: Unit::Percent, samples: percent });
        let watts = of_gpu(entry, gpu, |gpu| gpu.power_w);
        all.push(Series { name: format!("{name} power"), unit: Unit::Watts, samples: watts });
    }
    let drawn: Vec<Series> = all.into_iter().filter(|series| !series.samples.is_empty()).collect();
    let bands = entry.steps.iter().map(|step| Band {
        from_s: step.started.as_secs_f64(),
        to_s: (step.started + step.duration).as_secs_f64(),
        label: step.purpose.to_string(),
        disturbed: is_disturbed(step),
    });
    let bands: Vec<Band> = bands.collect();
    let marks: Vec<Mark> = entry.steps.iter().filter_map(throttled).collect();
    let header = ["Step".to_owned()].into_iter().chain(drawn.iter().map(|series| {
        let unit = match series.unit {
            Unit::Percent => "%",
            Unit::Watts => "W",
        };
        format!("{}, {unit}", series.name)
    }));
    let row = |step: &StepResult| {
        let at = middle(step);
        let of_series = drawn.iter().map(|series| {
            let sample = series.samples.iter().find(|(when, _)| (when - at).abs() < 1e-9);
            sample.map_or_else(|| "–".to_owned(), |(_, value)| format!("{value:.0}"))
        });
        let name = format!("{} {}", step.index, step.purpose);
        [name].into_iter().chain(of_series).collect::<Vec<String>>()
    };
    let figures = Figures { header: header.collect(), rows: entry.steps.iter().map(row).collect() };
    (!drawn.is_empty()).then(|| Chart {
        title: "Utilization, mean of each step",
        svg: utilization::draw(&drawn, &bands, &marks, "utilization", WIDTH),
        figures,
    })
}

fn middle(step: &StepResult) -> f64 {
    step.started.as_secs_f64() + step.duration.as_secs_f64() / 2.0
}

fn of_gpu(
    entry: &Entry,
    index: usize,
    figure: impl Fn(&GpuUtilization) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let sample =
        |step: &StepResult| Some((middle(step), figure(step.utilization.gpus.get(index)?)?));
    entry.steps.iter().filter_map(sample).collect()
}

/// From where a whole trial would be suspect.
fn is_disturbed(step: &StepResult) -> bool {
    let Utilization { steal_pct, other_cpu_pct, memory_pressure_pct, .. } = &step.utilization;
    let beyond = |figure: &Option<f64>, limit| figure.is_some_and(|figure| figure > limit);
    beyond(steal_pct, thresholds::STEAL_PCT)
        || beyond(other_cpu_pct, thresholds::OTHER_LOAD_PCT)
        || beyond(memory_pressure_pct, thresholds::MEMORY_PRESSURE_PCT)
}

fn throttled(step: &StepResult) -> Option<Mark> {
    let mut of_gpus = step.utilization.gpus.iter().flat_map(|gpu| gpu.throttle_reasons.first());
    let by_quota = step
        .utilization
        .quota_throttled_pct
        .filter(|share| *share > thresholds::QUOTA_THROTTLED_PCT)
        .map(|_| "CPU quota".to_owned());
    let label = of_gpus.next().cloned().map(|reason| format!("GPU: {reason}")).or(by_quota)?;
    Some(Mark { at_s: middle(step), label })
}

/// The load curves of a candidate in two jobs, where either has one.
pub(crate) fn of_both(base: &JobReport, new: &JobReport, candidate: &str) -> Option<String> {
    let run = |report: &JobReport| {
        let entry = report.entries().find(|entry| label(entry) == candidate)?;
        let steps = curve(entry);
        (!steps.is_empty()).then(|| load_overlay::Run { name: report.name.to_string(), steps })
    };
    let runs: Vec<load_overlay::Run> = [base, new].into_iter().filter_map(run).collect();
    (!runs.is_empty()).then(|| load_overlay::draw(&runs, WIDTH))
}

/// Of two jobs' candidate.
pub(crate) fn of_compared(compared: &Compared) -> String {
    let row = |change: &assay_planning::compare::Change| comparison::Row {
        label: change.metric.to_string(),
        change_pct: change.change_pct,
        ci95_pct: change.change_ci95_pct,
        verdict: match change.verdict {
            ChangeVerdict::Improved => comparison::Verdict::Improved,
            ChangeVerdict::Unchanged => comparison::Verdict::Unchanged,
            ChangeVerdict::Regressed => comparison::Verdict::Regressed,
            ChangeVerdict::Inconclusive => comparison::Verdict::Inconclusive,
        },
    };
    let gate = compared.changes.first().map_or(0.0, |change| change.gate_pct);
    let rows: Vec<comparison::Row> = compared.changes.iter().map(row).collect();
    comparison::draw(&rows, gate, WIDTH)
}
