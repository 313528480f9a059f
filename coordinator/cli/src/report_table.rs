//! A job's report as a person reads it: the ranked table, the recommendation, warnings.

use std::fmt::Write as _;

use assay_measure::printable;
use assay_planning::report::{Entry, JobReport, emulation_note};
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table};

use crate::{figures, output};

/// The column that is broken first where the terminal is narrow: between its words, all others stay whole.
const CONFIGURATION: usize = 2;
/// Its longest words, `CONFIGURATION` among them.
const CONFIGURATION_WORD: usize = 13;
/// Before the first column, and after each.
const GAP: u16 = 2;

/// Which columns, and how wide they may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) wide: bool,
    /// Width of the terminal; `None` does not wrap.
    pub(crate) width: Option<u16>,
}

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
            sentence(&mut text, "  * ", &emulation_note(emulated.host()), layout);
        }
        doubts(&mut text, &rows, layout);
        text.push('\n');
    }
    recommendation(&mut text, report, layout);
    left_out(&mut text, report, layout);
    for warning in &report.warnings {
        sentence(&mut text, "  warning: ", warning, layout);
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
        column.set_padding((if index == 0 { GAP } else { 0 }, GAP));
        if index != 1 && index != CONFIGURATION {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    keep_figures_whole(&mut table, layout.width);
    table
}

/// Where the rest fits, so does the table, with the configuration on more lines.
fn keep_figures_whole(table: &mut Table, width: Option<u16>) {
    let Some(width) = width else { return };
    let contents = table.column_max_content_widths();
    let others = contents.iter().enumerate().filter(|(index, _)| *index != CONFIGURATION);
    let others: usize = others.map(|(_, content)| usize::from(*content)).sum();
    let gaps = usize::from(GAP) * (contents.len() + 1);
    if others + gaps + CONFIGURATION_WORD > usize::from(width) {
        return;
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        if index != CONFIGURATION {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

fn row(entry: &Entry, meets: &str, scored: bool, wide: bool) -> Vec<Cell> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let per_cent = |share: Option<f64>| or_dash(share.map(|share| format!("{share:.0} %")));
    let latency = entry.latency();
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
        or_dash(latency.map(|latency| figures::latency(latency.p95_us))),
        or_dash(
            entry
                .max_invocations_per_min
                .map(|rate| figures::with_interval(rate, entry.max_invocations_ci95)),
        ),
        per_cent(entry.cpu_utilization_pct()),
        format!("{meets}{}", if entry.is_suspect() { "?" } else { "" }),
    ]);
    if wide {
        cells.extend([
            or_dash(latency.map(|latency| figures::latency(latency.p50_us))),
            or_dash(latency.map(|latency| figures::latency(latency.p99_us))),
            or_dash(entry.plateau_invocations_per_min().map(figures::grouped)),
            per_cent(entry.memory_utilization_pct),
            or_dash(
                entry
                    .result
                    .as_ref()
                    .and_then(|result| result.output_deviation)
                    .map(|deviation| format!("{} %", figures::significant(deviation.max * 100.0))),
            ),
            or_dash(entry.validity.as_ref().map(|validity| validity.verdict.to_string())),
            or_dash(entry.price.as_ref().map(|price| price.source.clone())),
        ]);
    }
    cells.iter().map(|cell| Cell::new(printable::line(cell))).collect()
}

/// What somebody said, on as many lines as it takes where the terminal has a width.
fn sentence(text: &mut String, lead: &str, said: &str, layout: Layout) {
    let said = printable::line(said);
    let hanging = " ".repeat(lead.len() - lead.trim_start().len() + 2);
    let _ = writeln!(text, "{}", output::wrapped(&said, lead, &hanging, layout.width));
}

/// The legend of the suspect rows: what casts doubt on each.
fn doubts(text: &mut String, rows: &[(&Entry, &str)], layout: Layout) {
    for (entry, _) in rows.iter().filter(|(entry, _)| entry.is_suspect()) {
        let row =
            entry.rank.map_or_else(|| entry.instance_type.to_string(), |rank| format!("#{rank}"));
        sentence(text, "  ? ", &format!("{row} is suspect: {}", entry.doubts()), layout);
    }
}

fn recommendation(text: &mut String, report: &JobReport, layout: Layout) {
    let Some(best) = report.recommendation() else {
        if let Some(reason) = &report.no_recommendation_reason {
            sentence(text, "  No recommendation: ", reason, layout);
        }
        return;
    };
    let configuration = printable::line(&best.serving().unwrap_or_default());
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
    let footnote = emulation_note(best.host());
    for warning in best.warnings.iter().filter(|warning| **warning != footnote) {
        sentence(text, "    warning: ", warning, layout);
    }
}

/// Candidates without a place in the table, each with its reason.
fn left_out(text: &mut String, report: &JobReport, layout: Layout) {
    let all = report.rejected.iter().chain(&report.failed);
    for entry in all {
        let configuration =
            entry.serving().map_or_else(String::new, |serving| format!(" {serving}"));
        let reason = printable::line(entry.reason.as_deref().unwrap_or("no reason was recorded"));
        let of = printable::line(&format!("{}{configuration}", entry.instance_type));
        let doubt = if entry.is_suspect() {
            format!(" (suspect: {})", entry.doubts())
        } else {
            String::new()
        };
        sentence(text, "  ", &format!("{of}: {reason}{doubt}"), layout);
        let detail = entry.detail.as_deref().and_then(|detail| detail.lines().last());
        let detail = detail.map(printable::line);
        if let Some(line) = detail.filter(|line| !line.is_empty() && !reason.contains(line)) {
            sentence(text, "    ", &line, layout);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use assay_measure::{
        configuration::Configuration,
        job::JobStatus,
        outcome::TrialResult,
        search::Mode,
        validity::{Finding, FindingName, Validity, Verdict},
    };

    use super::*;

    fn report() -> JobReport {
        let found = |name, severity| Finding { name, value: 1.0, threshold: 1.0, severity };
        let entry = |rank: u32, findings| Entry {
            rank: Some(rank),
            emulated: true,
            meets: true,
            endpoint: "mine".parse().ok(),
            cost_per_hour_usd: Some(0.102),
            max_invocations_per_min: Some(1380.0),
            max_invocations_ci95: Some([1172.0, 1588.0]),
            validity: Some(Validity::from_findings(findings)),
            ..Entry::new("ml.c5.large".parse().unwrap(), Mode::Quick, 1)
        };
        let doubts = [
            FindingName::CpuSteal,
            FindingName::OtherLoad,
            FindingName::RunQueue,
            FindingName::IntervalTooWide,
            FindingName::Drift,
            FindingName::Errors,
        ];
        let suspect = doubts.map(|name| found(name, Verdict::Suspect)).to_vec();
        let note = vec![found(FindingName::NoBurnIn, Verdict::Valid)];
        JobReport { ranking: vec![entry(1, note), entry(2, suspect)], ..empty() }
    }

    /// A measurement in which the model's processors were that busy.
    fn busy(cpu_pct: f64) -> TrialResult {
        serde_json::from_value(serde_json::json!({
            "utilization": {"cpu_pct": cpu_pct},
            "validity": {"verdict": "valid", "findings": []},
            "host": {"cpu_model": "AMD EPYC", "vcpus": 2, "memory_bytes": 8}, "limits_in_force": [],
            "harness": {"cpu_share_pct": 0.8, "lag_p50_us": 1, "lag_p99_us": 2, "sampler_cpu_s": 0.1},
            "nan_outputs": 0, "calls": 1, "failed_calls": 0,
            "ready_after": {"secs": 1, "nanos": 0}, "took": {"secs": 50, "nanos": 0},
        }))
        .unwrap()
    }

    fn empty() -> JobReport {
        JobReport::new("a".parse().unwrap(), "2026-11-22T14:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_suspect_row_is_marked_in_the_table_and_explained_below_it() {
        let warning = "quick mode heats the machine for seconds only, so throttling may be missed";
        let report = JobReport { warnings: vec![warning.repeat(2)], ..report() };
        let text = render(&report, Layout { wide: false, width: Some(80) });
        let rows: Vec<&str> = text.lines().collect();
        assert!(rows[1].ends_with(" yes") && rows[2].ends_with(" yes?"), "{text}");
        let legend = "  ? #2 is suspect: cpu_steal, other_load, run_queue, interval_too_wide, drift,\n    errors\n";
        assert!(text.contains(legend), "{text}");
        let broken = "  warning: quick mode heats the machine for seconds only, so throttling may be\n    missed";
        assert!(text.contains(broken), "{text}");
        let unbroken = render(&report, Layout { wide: false, width: None });
        assert!(unbroken.contains(&report.warnings[0]), "{unbroken}");
        assert!(!text.contains("#1 is suspect") && !text.contains("no_burn_in"), "{text}");
        assert!(rows.iter().all(|row| row.chars().count() <= 80), "{text}");
    }

    #[test]
    fn a_narrow_terminal_breaks_the_configuration_and_no_figure() {
        let mut report = report();
        for entry in &mut report.ranking {
            entry.endpoint = None;
            entry.configuration = Some(Configuration::cpu(2.try_into().unwrap(), NonZeroU32::MIN));
            entry.cost_per_million_usd = Some(1.23);
            entry.result = Some(Box::new(busy(81.0)));
        }
        let text = render(&report, Layout { wide: false, width: Some(80) });
        let rows: Vec<&str> = text.lines().take(5).collect();
        assert!(rows.iter().all(|row| row.chars().count() <= 80), "{text}");
        assert!(rows[0].contains("CONFIGURATION") && rows[0].contains("MAX INV/MIN"), "{text}");
        assert!(rows[1].contains("ml.c5.large*  workers=2 "), "{text}");
        assert!(rows[1].contains("1 380 ± 208  81 %") && rows[1].ends_with(" yes"), "{text}");
        assert_eq!(rows[2].trim(), "intra-op=1", "{text}");
        assert!(rows[3].ends_with(" yes?"), "{text}");
    }

    #[test]
    fn nothing_that_a_model_or_an_agent_said_acts_on_the_terminal() {
        let hostile = "bad\u{1b}[2J\u{1b}]0;mine\u{7} model\n  Recommendation  free\u{202e}";
        let failed = Entry {
            reason: Some(hostile.to_owned()),
            detail: Some(format!("first\nlast \u{9b}31m{}", "x".repeat(5000))),
            ..Entry::new("ml.c5.large".parse().unwrap(), Mode::Quick, 1)
        };
        let report = JobReport {
            status: JobStatus::Failed,
            failed: vec![failed],
            no_recommendation_reason: Some(hostile.to_owned()),
            warnings: vec![hostile.to_owned()],
            ..empty()
        };
        for wide in [false, true] {
            let text = render(&report, Layout { wide, width: None });
            assert_eq!(text, assay_measure::printable::text(&text), "{text:?}");
            assert_eq!(text.lines().count(), 4, "{text}");
            let said = "ml.c5.large: bad model   Recommendation  free";
            assert!(text.contains(said) && text.contains("more characters)"), "{text}");
        }
        let json = crate::output::rendered(&report, crate::cli::OutputFormat::Json).unwrap();
        assert_eq!(json, assay_measure::printable::text(&json));
        let back: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(back["failed"][0]["reason"], hostile, "programs get all of it");
    }
}
