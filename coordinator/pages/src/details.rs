//! A job in full: what was asked for, prices, machines, the record of what happened.

use std::collections::BTreeMap;

use askama::Template;
use assay_measure::{
    hardware::HostFacts,
    ids::InstanceTypeName,
    job::{Goals, JobSpec},
    load_profile::LoadProfile,
};
use assay_planning::{
    prices::PriceQuote,
    report::{Entry, JobReport},
};
use jiff::Timestamp;

use crate::{
    filters,
    frame::Frame,
    results::job_path,
    runs::{Use, repeats},
};

/// One entry of a job's record, in words.
#[derive(Clone, Debug)]
pub struct EventRow {
    pub sequence: u64,
    pub at: Timestamp,
    pub text: String,
}

/// A job's details.
#[derive(Clone, Debug, Template)]
#[template(path = "details.html")]
pub struct Details<'a> {
    frame: Frame,
    report: &'a JobReport,
    spec: &'a JobSpec,
    path: String,
    tab: &'static str,
    reason: &'a str,
    took: String,
    settings: Vec<(&'static str, String)>,
    /// The same job again, as text.
    uses: Vec<Use>,
    prices: BTreeMap<&'a InstanceTypeName, &'a PriceQuote>,
    machines: Vec<Machine<'a>>,
    events: Vec<EventRow>,
    more_events: bool,
}

#[derive(Clone, Debug)]
struct Machine<'a> {
    candidate: String,
    host: &'a HostFacts,
    limits: String,
}

impl<'a> Details<'a> {
    #[must_use]
    pub fn new(
        frame: Frame,
        report: &'a JobReport,
        (spec, reason): (&'a JobSpec, &'a str),
        (events, more_events): (Vec<EventRow>, bool),
    ) -> Self {
        let prices = report
            .entries()
            .filter_map(|entry| Some((&entry.instance_type, entry.price.as_ref()?)))
            .collect();
        let took = report.finished_at.map(|at| at.duration_since(report.created_at).as_secs());
        Self {
            frame,
            report,
            spec,
            path: job_path(&report.name),
            tab: "details",
            reason,
            took: took.map(minutes).unwrap_or_default(),
            settings: settings(spec),
            uses: repeats(spec),
            prices,
            machines: report.entries().filter_map(machine).collect(),
            events,
            more_events,
        }
    }
}

fn machine(entry: &Entry) -> Option<Machine<'_>> {
    let result = entry.result.as_ref()?;
    let serving = entry.serving().unwrap_or_default();
    let limits = result.limits_in_force.iter().map(|limit| limit.word());
    Some(Machine {
        candidate: format!("{} {serving}", entry.instance_type),
        host: &result.host,
        limits: limits.collect::<Vec<_>>().join(", "),
    })
}

/// `4:08`, in minutes and seconds.
fn minutes(seconds: i64) -> String {
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// What was asked for, where it says more than the default.
fn settings(spec: &JobSpec) -> Vec<(&'static str, String)> {
    let list = |items: Vec<String>| items.join(", ");
    let types = spec.instance_types.iter().map(|one| one.name.to_string()).collect();
    let seconds = |duration: std::time::Duration| format!("{} s", duration.as_secs_f64());
    let mut settings = vec![
        ("Instance types", list(types)),
        ("Constraints", list(spec.constraints.iter().map(ToString::to_string).collect())),
        ("Search", spec.mode.word().to_owned()),
        ("Seed", spec.seed.to_string()),
        ("Region of prices", spec.region.clone()),
        ("Limit", seconds(spec.max_duration)),
    ];
    settings.extend(spec.goals.map(|goals| {
        let Goals { cost, latency, throughput } = goals;
        let words = [("cost", cost), ("latency", latency), ("throughput", throughput)];
        ("Goals", list(words.map(|(goal, of)| format!("{goal}={}", of.word())).to_vec()))
    }));
    settings.extend(spec.soak.map(|soak| ("Soak", seconds(soak))));
    settings.extend(spec.ready_timeout.map(|within| ("Ready within", seconds(within))));
    let load = spec.load.as_ref().map(|load| match load {
        LoadProfile::Phases(_) => "fixed, in phases",
        LoadProfile::Stepped(_) => "fixed, in steps of users",
        LoadProfile::Recorded(_) => "recorded arrivals",
    });
    settings.extend(load.map(|load| ("Load", load.to_owned())));
    let demand = spec.demand.map(|demand| {
        format!("{} with {} % of the capacity used", demand.rate, demand.headroom_pct)
    });
    settings.extend(demand.map(|demand| ("Demand", demand)));
    settings.retain(|(_, value)| !value.is_empty());
    settings
}
