//! How the rounds are shown, and which goals they reach.

use super::{
    Row,
    tools::{Offered, Tool},
};
use crate::bench::{
    Arguments,
    figures::{Figure, verdict},
};

/// Above this the server may be what limits a generator.
const BUSY_LIMIT_PERCENT: f64 = 90.0;
const GRPC_GOAL_PER_S: f64 = 50_000.0;
const GRPC_GOAL_RATIO: f64 = 3.0;
const LAG_GOAL_US: f64 = 100.0;
const HEAD: &str = "| generator | load | answers/s | p50 µs | p99 µs | CPU µs per request | server busy % |\n|---|---|---|---|---|---|---|\n";

pub(crate) fn body(
    closed: &[Row],
    open: &[Row],
    grpc: &[Row],
    versions: &str,
    arguments: &Arguments,
) -> String {
    let mut text = String::from("HTTP/1.1, closed loop:\n\n");
    text.push_str(&table(closed));
    text.push_str("\nHTTP/1.1, open loop:\n\n");
    text.push_str(&table(open));
    text.push_str("\ngRPC `ModelInfer`, 64-byte tensor:\n\n");
    text.push_str(&table(grpc));
    text.push_str("\n| goal | measured | |\n|---|---|---|\n");
    let goals = [
        beside_wrk(closed, Offered::Closed(16)),
        beside_wrk(closed, Offered::Closed(64)),
        open_p50(open),
        open_cpu(open),
        grpc_rate(grpc),
        grpc_ratio(grpc),
    ];
    goals.into_iter().flatten().for_each(|goal| text.push_str(&goal));
    open.iter().filter(|row| row.tool == Tool::Assay).for_each(|row| text.push_str(&lag(row)));
    text.push_str(&format!(
        "\nMedian (least–greatest) of {} runs of {} s each, in turns; generator on one core, a server that answers at once on the other. CPU: the generator's whole process. perf_analyzer is given a number of requests, about what it can send in that time, and its rate is the calls at a time by its mean latency (it rounds times to whole seconds). In gRPC, h2load gets as many connections and streams as ours uses. Peers: {versions}.",
        arguments.rounds, arguments.seconds
    ));
    let rows = closed.iter().chain(open).chain(grpc);
    text.extend(rows.filter(|row| row.repeated > 0).map(|row| {
        let (tool, load) = (row.tool.name(), row.offered.in_words());
        format!(" Repeated, as it failed or did not end: {tool}, {load}, {} ×.", row.repeated)
    }));
    text
}

impl Offered {
    pub(crate) fn in_words(self) -> String {
        match self {
            Self::Closed(users) => format!("{users} at a time"),
            Self::Even(rate) => format!("{rate}/s, evenly spaced"),
            Self::Poisson(rate) => format!("{rate}/s, Poisson"),
        }
    }
}

fn table(rows: &[Row]) -> String {
    let line = |row: &Row| {
        format!(
            "| {} | {} | {} | {} | {} | {} | {} |\n",
            row.tool.name(),
            row.offered.in_words(),
            row.per_s.shown(0),
            known(&row.p50_us, 0),
            known(&row.p99_us, 0),
            known(&row.cpu_us, 2),
            row.server_busy_percent.shown(0)
        )
    };
    HEAD.to_owned() + &rows.iter().map(line).collect::<String>()
}

fn known(figure: &Figure, decimals: usize) -> String {
    if figure.is_empty() { "–".to_owned() } else { figure.shown(decimals) }
}

fn find(rows: &[Row], tool: Tool, offered: Offered) -> Option<&Row> {
    rows.iter().find(|row| row.tool == tool && row.offered == offered)
}

fn goal(what: &str, measured: &str, met: bool) -> String {
    format!("| {what} | {measured} | {} |\n", verdict(met))
}

/// Where the server is the limit, throughput says nothing about the generator: then processor time does.
fn beside_wrk(rows: &[Row], offered: Offered) -> Option<String> {
    let (ours, wrk) = (find(rows, Tool::Assay, offered)?, find(rows, Tool::Wrk, offered)?);
    let busy = ours.server_busy_percent.median().max(wrk.server_busy_percent.median());
    let ratio = ours.per_s.ratio_to(&wrk.per_s);
    let cpu = ours.cpu_us.ratio_to(&wrk.cpu_us);
    let words = offered.in_words();
    Some(if busy < BUSY_LIMIT_PERCENT {
        let what = format!("{words}: ≥ 1.0 × wrk's answers/s");
        goal(&what, &format!("{} ×", ratio.shown(2)), ratio.median() >= 1.0)
    } else {
        let what =
            format!("{words}: the server is {busy:.0} % busy, so less CPU per request than wrk");
        let measured = format!("{} × (answers/s {} ×)", cpu.shown(2), ratio.shown(2));
        goal(&what, &measured, cpu.median() < 1.0)
    })
}

fn open_rows(rows: &[Row]) -> Option<(&Row, &Row)> {
    let offered = rows.iter().find(|row| row.tool == Tool::Oha)?.offered;
    Some((find(rows, Tool::Assay, offered)?, find(rows, Tool::Oha, offered)?))
}

fn open_p50(rows: &[Row]) -> Option<String> {
    let (ours, oha) = open_rows(rows)?;
    let what = format!("{}: p50 no worse than oha's", ours.offered.in_words());
    let measured = format!("{} against {} µs", ours.p50_us.shown(0), oha.p50_us.shown(0));
    Some(goal(&what, &measured, ours.p50_us.median() <= oha.p50_us.median()))
}

fn open_cpu(rows: &[Row]) -> Option<String> {
    let (ours, oha) = open_rows(rows)?;
    let what = format!("{}: less CPU than oha", ours.offered.in_words());
    let measured =
        format!("{} against {} µs per request", ours.cpu_us.shown(1), oha.cpu_us.shown(1));
    Some(goal(&what, &measured, ours.cpu_us.median() < oha.cpu_us.median()))
}

/// The fastest closed loop of a tool.
fn fastest(rows: &[Row], tool: Tool) -> Option<&Row> {
    rows.iter()
        .filter(|row| row.tool == tool && matches!(row.offered, Offered::Closed(_)))
        .max_by(|a, b| a.per_s.median().total_cmp(&b.per_s.median()))
}

fn grpc_rate(rows: &[Row]) -> Option<String> {
    let ours = fastest(rows, Tool::Assay)?;
    let measured = format!("{}/s", ours.per_s.shown(0));
    Some(goal(
        "gRPC: ≥ 50 000 ModelInfer/s on one core",
        &measured,
        ours.per_s.median() >= GRPC_GOAL_PER_S,
    ))
}

/// At each concurrency; the least ratio counts.
fn grpc_ratio(rows: &[Row]) -> Option<String> {
    let ratio = |row: &Row| {
        let analyzer = find(rows, Tool::PerfAnalyzer, row.offered)?;
        Some((row.offered, row.per_s.ratio_to(&analyzer.per_s)))
    };
    let ratios: Vec<(Offered, Figure)> =
        rows.iter().filter(|row| row.tool == Tool::Assay).filter_map(ratio).collect();
    let least = ratios.iter().map(|(_, ratio)| ratio.median()).min_by(f64::total_cmp)?;
    let shown: Vec<String> = ratios
        .iter()
        .map(|(offered, ratio)| format!("{} × ({})", ratio.shown(1), offered.in_words()))
        .collect();
    Some(goal("gRPC: ≥ 3 × perf_analyzer", &shown.join(", "), least >= GRPC_GOAL_RATIO))
}

fn lag(row: &Row) -> String {
    let what = format!("lag at {}: p99 under 100 µs", row.offered.in_words());
    let measured = format!("p50 {}, p99 {} µs", row.lag_p50_us.shown(0), row.lag_p99_us.shown(0));
    goal(&what, &measured, row.lag_p99_us.median() < LAG_GOAL_US)
}
