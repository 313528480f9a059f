//! A job's report as a person reads it: the ranked table, the recommendation, warnings.

use std::fmt::Write as _;

use assay_planning::report::{Entry, JobReport, emulation_note};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

use crate::figures;

/// Which columns, and how wide they may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// All columns.
    pub(crate) wide: bool,
    /// Width of the terminal; `None` does not wrap.
    pub(crate) width: Option<u16>,
}

/// The whole answer.
pub(crate) fn render(report: &JobReport, layout: Layout) -> String {
    let mut text = String::new();
    let ranked: Vec<(&Entry, &str)> = report.ranking.iter().map(|entry| (entry, "yes")).collect();
    let measured_but_rejected = report
        .rejected
        .iter()
        .filter(|entry| entry.max_invocations_per_min.is_some())
        .map(|entry| (entry, if entry.meets { "yes" } else { "no" }));
    let rows: Vec<(&Entry, &str)> = ranked.into_iter().chain(measured_but_rejected).collect();
    if !rows.is_empty() {
        let _ = writeln!(text, "{}", table(&rows, report, layout).trim_fmt());
        if let Some((emulated, _)) = rows.iter().find(|(entry, _)| entry.emulated) {
            let _ = writeln!(text, "  * {}", emulation_note(emulated.host.as_ref()));
        }
        text.push('\n');
    }
    recommendation(&mut text, report);
    left_out(&mut text, report);
    for warning in &report.warnings {
        let _ = writeln!(text, "  warning: {warning}");
    }
    text
}

fn table(rows: &[(&Entry, &str)], report: &JobReport, layout: Layout) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = layout.width {
        table.set_width(width);
    }
    let scored = report.goals.is_some() || layout.wide;
    let mut header = vec!["#", "INSTANCE", "CONFIGURATION"];
    if scored {
        header.push("SCORE");
    }
    header.extend(["$/1M", "$/HOUR", "P95", "MAX INV/MIN", "CPU", "MEETS"]);
    if layout.wide {
        header.extend(["P50", "P99", "PLATEAU", "MEM", "DEVIATION", "VERDICT", "PRICE FROM"]);
    }
    table.set_header(header);
    for (entry, meets) in rows {
        table.add_row(row(entry, meets, scored, layout.wide));
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if index == 0 { 2 } else { 0 }, 2));
        if index != 1 && index != 2 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn row(entry: &Entry, meets: &str, scored: bool, wide: bool) -> Vec<Cell> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let per_cent = |share: Option<f64>| or_dash(share.map(|share| format!("{share:.0} %")));
    let latency = entry.latency_us;
    let star = if entry.emulated { "*" } else { "" };
    let estimate = if entry.price.as_ref().is_some_and(|price| price.estimate) { "~" } else { "" };
    let mut cells = vec![
        or_dash(entry.rank.map(|rank| {
            if entry.tied_with.is_empty() { rank.to_string() } else { format!("{rank}=") }
        })),
        format!("{}{star}", entry.instance_type),
        entry.serving().unwrap_or_default(),
    ];
    if scored {
        cells.push(or_dash(entry.score.map(|score| format!("{score:.1}"))));
    }
    cells.extend([
        or_dash(entry.cost_per_million_usd.map(figures::significant)),
        or_dash(
            entry
                .cost_per_hour_usd
                .map(|cost| format!("{estimate}{}", figures::dollars_per_hour(cost))),
        ),
        or_dash(latency.map(|latency| figures::latency(latency.p95))),
        or_dash(
            entry
                .max_invocations_per_min
                .map(|rate| figures::with_interval(rate, entry.max_invocations_ci95)),
        ),
        per_cent(entry.cpu_utilization_pct),
        meets.to_owned(),
    ]);
    if wide {
        cells.extend([
            or_dash(latency.map(|latency| figures::latency(latency.p50))),
            or_dash(latency.map(|latency| figures::latency(latency.p99))),
            or_dash(entry.plateau_invocations_per_min.map(figures::grouped)),
            per_cent(entry.memory_utilization_pct),
            or_dash(
                entry
                    .output_deviation
                    .map(|deviation| format!("{} %", figures::significant(deviation.max * 100.0))),
            ),
            or_dash(entry.validity.as_ref().map(|validity| validity.verdict.to_string())),
            or_dash(entry.price.as_ref().map(|price| price.source.clone())),
        ]);
    }
    cells.into_iter().map(Cell::new).collect()
}

fn recommendation(text: &mut String, report: &JobReport) {
    let Some(best) = &report.recommendation else {
        if let Some(reason) = &report.no_recommendation_reason {
            let _ = writeln!(text, "  No recommendation: {reason}");
        }
        return;
    };
    let configuration = best.serving().unwrap_or_default();
    let _ = writeln!(text, "  Recommendation  {}, {configuration}", best.instance_type);
    if let Some(cost) = best.cost_per_million_usd {
        let _ = write!(text, "    ${} per million inferences", figures::significant(cost));
        let second = report.ranking.get(1).and_then(|entry| entry.cost_per_million_usd);
        match second {
            Some(second) if second > cost && best.tied_with.is_empty() => {
                let _ = write!(text, ", {:.0} % cheaper than #2", (1.0 - cost / second) * 100.0);
            }
            Some(_) | None => {}
        }
        text.push('\n');
    }
    if let Some(sizing) = &best.sizing {
        let _ = write!(
            text,
            "    {} instances carry {} per minute",
            sizing.instance_count,
            figures::grouped(sizing.demand_per_min),
        );
        if let (Some(month), Some(million)) = (sizing.usd_per_month, sizing.cost_per_million_usd) {
            let (month, million) = (figures::grouped(month), figures::significant(million));
            let _ = write!(text, ": ${month} per month, ${million} per million");
        }
        text.push('\n');
    }
    // What the footnote says already is not said again.
    let footnote = emulation_note(best.host.as_ref());
    for warning in best.warnings.iter().filter(|warning| **warning != footnote) {
        let _ = writeln!(text, "    warning: {warning}");
    }
}

/// Candidates without a place in the table, each with its reason.
fn left_out(text: &mut String, report: &JobReport) {
    let all = report.rejected.iter().chain(&report.failed);
    for entry in all {
        let configuration =
            entry.serving().map_or_else(String::new, |serving| format!(" {serving}"));
        let reason = entry.reason.as_deref().unwrap_or("no reason was recorded");
        let _ = writeln!(text, "  {}{configuration}: {reason}", entry.instance_type);
        let detail = entry.detail.as_deref().and_then(|detail| detail.lines().last());
        if let Some(line) = detail.filter(|line| !line.is_empty() && !reason.contains(line)) {
            let _ = writeln!(text, "    {line}");
        }
    }
}
