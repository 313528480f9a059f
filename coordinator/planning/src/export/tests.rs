//! Exports of whole reports.

use super::*;
use crate::job_report::{Overrides, build, samples};

fn report() -> JobReport {
    build(&samples::of_every_kind()[0], Overrides::default())
}

fn rows(text: &str) -> Vec<csv::StringRecord> {
    csv::Reader::from_reader(text.as_bytes()).records().map(Result::unwrap).collect()
}

fn column(text: &str, name: &str) -> usize {
    let header = csv::Reader::from_reader(text.as_bytes()).headers().unwrap().clone();
    header.iter().position(|column| column == name).unwrap()
}

#[test]
fn csv_has_a_row_per_candidate_and_empty_fields_for_what_is_missing() {
    let (text, report) = (csv(&table::of_trials(&report())).unwrap(), report());
    let rows = rows(&text);
    assert_eq!(rows.len(), report.ranking.len() + report.rejected.len() + report.failed.len());
    let lists: Vec<&str> = rows.iter().map(|row| row.get(column(&text, "list")).unwrap()).collect();
    assert_eq!(lists, ["ranking", "ranking", "rejected", "failed"]);
    let cost = column(&text, "cost_per_inference_usd");
    assert_eq!(
        rows[0].get(cost).unwrap().parse::<f64>().ok(),
        report.ranking[0].cost_per_inference_usd
    );
    assert_eq!(rows[3].get(cost), Some(""));
    assert_eq!(rows[3].get(column(&text, "reason")), Some("the model host died: signal 11"));
}

#[test]
fn a_job_without_candidates_says_why_in_every_format() {
    let mut facts = samples::of_every_kind()[0].clone();
    (facts.plan, facts.trials) = Default::default();
    facts.status = assay_measure::job::JobStatus::Failed;
    facts.warnings = vec!["the model cannot be fetched".to_owned()];
    let report = build(&facts, Overrides::default());
    let text = csv(&table::of_trials(&report)).unwrap();
    let rows = rows(&text);
    assert_eq!(rows.len(), 1, "{text}");
    assert_eq!(rows[0].get(column(&text, "list")), Some("job"));
    let reason = "nothing was measured: the model cannot be fetched";
    assert_eq!(rows[0].get(column(&text, "reason")), Some(reason));
    let line: serde_json::Value = serde_json::from_str(jsonl(&report).unwrap().trim()).unwrap();
    assert_eq!(line, serde_json::json!({"job": "demo", "list": "job", "reason": reason}));
    assert!(markdown(&report).contains(reason));
}

#[test]
fn a_step_is_there_once_however_many_types_share_its_trial() {
    let report = report();
    let steps = table::of_steps(&report);
    let all = report.ranking.iter().chain(&report.rejected).chain(&report.failed);
    let trials: std::collections::BTreeMap<_, usize> =
        all.filter_map(|entry| Some((entry.trial.clone()?, entry.steps.len()))).collect();
    assert_eq!(steps.rows, trials.values().sum::<usize>());
    assert!(steps.rows > 0);
    let text = csv(&steps).unwrap();
    assert_eq!(rows(&text).len(), steps.rows);
    assert_eq!(rows(&text)[0].get(column(&text, "step")), Some("0"));
}

#[test]
fn every_figure_of_a_table_has_its_unit_in_its_name() {
    const PLAIN: [&str; 8] = [
        "rank",
        "score",
        "output_deviation_max",
        "output_deviation_mean",
        "step",
        "users",
        "energy_j_per_inference",
        "max_invocations_per_min_low",
    ];
    const UNITS: [&str; 7] = ["_usd", "_per_min", "_per_hour", "_us", "_s", "_pct", "_calls"];
    let report = report();
    for column in [table::of_trials(&report), table::of_steps(&report)]
        .into_iter()
        .flat_map(|table| table.columns)
    {
        let is_figure = matches!(column.values, Values::Real(_) | Values::Whole(_));
        let name = column.name.trim_end_matches("_high");
        let has_unit = UNITS.iter().any(|unit| name.ends_with(unit)) || PLAIN.contains(&name);
        assert!(!is_figure || has_unit, "{}", column.name);
    }
}

#[test]
fn every_line_of_jsonl_is_a_candidate_with_its_job_and_list() {
    let text = jsonl(&report()).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(
        (&lines[0]["job"], &lines[0]["list"], &lines[0]["rank"]),
        (&"demo".into(), &"ranking".into(), &1.into())
    );
    assert!(lines[3].get("rank").is_none());
}

#[test]
fn markdown_shows_the_ranking_and_why_the_others_are_not_in_it() {
    let text = markdown(&report());
    let row = "| 1 | ml.c5.large\\* | workers=1 intra-op=2 | 100.0 | 0.640 | ~0.1020 | 45 ms | 2655 ± 18 | 97 % |  | valid |";
    assert!(text.contains(row), "{text}");
    assert!(text.contains("## Rejected\n\n- ml.c6i.24xlarge: larger than the machine"), "{text}");
    assert!(
        text.contains("## Failed\n\n- own.a, workers=1 intra-op=1: the model host died"),
        "{text}"
    );
    assert!(text.contains("Recommendation: ml.c5.large, workers=1 intra-op=2\n"), "{text}");
}

#[test]
fn text_from_elsewhere_cannot_break_out_of_a_markdown_table() {
    let mut report = report();
    report.failed[0].reason = Some("a | b\n# c\u{1b}[31m\u{202e}".to_owned());
    assert!(markdown(&report).contains("own.a, workers=1 intra-op=1: a \\| b # c\n"));
}

#[test]
fn without_a_recommendation_the_reason_stands_in_its_place() {
    let facts = &samples::of_every_kind()[1];
    let text = markdown(&build(facts, Overrides::default()));
    assert!(text.contains("Recommendation: none: no valid measurement (1 invalid)"), "{text}");
}
