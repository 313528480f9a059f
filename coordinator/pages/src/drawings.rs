//! Which charts a report gives.

use assay_measure::{
    latency::{self, Latency},
    outcome::StepResult,
    search::Purpose,
    slo::{Slo, SloMetric},
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
    load_curve,
    utilization::{self, Band, Series, Unit},
};

/// In pixels: fits beside another one, and a narrow page shrinks it little.
const WIDTH: u32 = 460;
/// Without a demand the costs are drawn for so many times what the best candidate carries.
const DEMAND_FACTOR: f64 = 5.0;

/// A drawing with its heading.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) svg: String,
}

/// Of all candidates.
pub(crate) fn of_report(report: &JobReport) -> Vec<Chart> {
    [latency_against_cost(report), cost_against_demand(report)].into_iter().flatten().collect()
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

fn latency_against_cost(report: &JobReport) -> Option<Chart> {
    let metric = constraint(report).map_or(SloMetric::P95, Slo::metric);
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
                is_best: entry.rank == Some(1),
            })
        })
        .collect();
    let limit = constraint(report).map(limit);
    (!candidates.is_empty()).then(|| Chart {
        title: "Latency against cost",
        svg: latency_cost::draw(&candidates, limit.as_ref(), WIDTH),
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
    })
}

/// Of one candidate.
pub(crate) fn of_entry(report: &JobReport, entry: &Entry) -> Vec<Chart> {
    let charts = [load_curve(report, entry), percentiles(entry), utilization(entry)];
    charts.into_iter().flatten().collect()
}

fn load_curve(report: &JobReport, entry: &Entry) -> Option<Chart> {
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
    let steps = curves.into_iter().find(|steps| steps.len() > 1).unwrap_or_default();
    let capacity = entry.max_invocations_per_min.map(|rate| load_curve::Capacity {
        invocations_per_min: rate,
        ci95: entry.max_invocations_ci95,
    });
    let limit = constraint(report).map(limit);
    (!steps.is_empty()).then(|| Chart {
        title: "Latency against load",
        svg: load_curve::draw(&steps, capacity.as_ref(), limit.as_ref(), WIDTH),
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
    (!points.is_empty()).then(|| Chart {
        title: "Latency by percentile, at the capacity",
        svg: latency_percentiles::draw(&[Curve { name: label(entry), points }], WIDTH),
    })
}

/// Each step is a stretch of its own mean.
fn utilization(entry: &Entry) -> Option<Chart> {
    let series = |name: &str, of: fn(&StepResult) -> Option<f64>| {
        let middle =
            |step: &StepResult| step.started.as_secs_f64() + step.duration.as_secs_f64() / 2.0;
        let samples = entry.steps.iter().filter_map(|step| Some((middle(step), of(step)?)));
        Series { name: name.to_owned(), unit: Unit::Percent, samples: samples.collect() }
    };
    let all = [
        series("CPU", |step| step.utilization.cpu_pct),
        series("memory", |step| step.utilization.memory_pct),
        series("other load", |step| step.utilization.other_cpu_pct),
        series("steal", |step| step.utilization.steal_pct),
        series("GPU", |step| step.utilization.gpus.first()?.utilization_pct),
    ];
    let drawn: Vec<Series> = all.into_iter().filter(|series| !series.samples.is_empty()).collect();
    let bands = entry.steps.iter().map(|step| Band {
        from_s: step.started.as_secs_f64(),
        to_s: (step.started + step.duration).as_secs_f64(),
        label: step.purpose.to_string(),
        disturbed: false,
    });
    let bands: Vec<Band> = bands.collect();
    (!drawn.is_empty()).then(|| Chart {
        title: "Utilization, mean of each step",
        svg: utilization::draw(&drawn, &bands, &[], "utilization", WIDTH),
    })
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
