use assay_measure::{
    search::{Answer, Confirmation, Estimate, LimitedBy, Mode},
    units::Rate,
    validity::{Finding, FindingName},
};

use super::*;
use crate::capacity::SearchEnd;

fn rate(per_second: f64) -> Rate {
    Rate::per_second(per_second).unwrap()
}

fn report(found: Option<[f64; 3]>, findings: Vec<Finding>) -> CalibrationReport {
    let queue = KnownQueue::new(1, Duration::from_millis(10)).unwrap();
    let plan = SearchPlan {
        constraints: vec!["p95<=50ms".parse().unwrap()],
        mode: Mode::Quick,
        seed: 1,
        max_duration: Duration::from_secs(30),
        soak: None,
        skip_thermal_check: false,
        max_error_share: 0.01,
    };
    let exact = queue.capacity(&plan.constraints).unwrap();
    let end = match found {
        None => SearchEnd::Cancelled,
        Some([low, value, high]) => {
            let capacity = Estimate { value: rate(value), low: rate(low), high: rate(high) };
            SearchEnd::Answered(Box::new(Answer {
                capacity,
                plateau: capacity,
                plateau_users: 2,
                limited_by: LimitedBy::Slo,
                confirmation: Confirmation::Held,
                answer_steps: vec![],
                drift: None,
                precise: true,
                samples: 1000,
                out_of_time: false,
            }))
        }
    };
    let watched = Watched {
        validity: Validity::from_findings(findings),
        generator_cpu_pct: 1.0,
        server_cpu_pct: 1.0,
    };
    let run = SearchRun { end, steps: vec![] };
    CalibrationReport::of(queue, &exact, &plan, &run, watched, Duration::from_secs(30))
}

#[test]
fn close_to_the_truth_or_an_interval_that_holds_it_is_calibrated() {
    for found in [[69.0, 69.4, 70.0], [69.5, 70.5, 71.5], [68.0, 71.5, 75.0]] {
        let report = report(Some(found), vec![]);
        assert!(report.calibrated, "{report:?}");
        assert!(report.conclusion().starts_with("calibrated: +"), "{}", report.conclusion());
    }
}

#[test]
fn far_from_the_truth_is_not_calibrated_and_a_wide_interval_does_not_help() {
    for found in [[71.0, 72.0, 73.0], [64.0, 66.0, 68.0], [40.0, 60.0, 80.0]] {
        let report = report(Some(found), vec![]);
        assert!(!report.calibrated, "{report:?}");
        assert!(report.conclusion().starts_with("not calibrated: "), "{}", report.conclusion());
    }
    let nothing = report(None, vec![]);
    assert!(!nothing.calibrated && nothing.conclusion() == "nothing was found");
}

#[test]
fn the_table_names_what_disturbed_and_ends_with_the_conclusion() {
    let finding = |name, value, severity| Finding { name, value, threshold: 5.0, severity };
    let report = report(
        Some([68.0, 69.0, 70.0]),
        vec![
            finding(FindingName::NoBurnIn, 1.0, Verdict::Valid),
            finding(FindingName::OtherLoad, 87.5, Verdict::Invalid),
        ],
    );
    let table = report.table();
    assert!(table.contains("invalid: other_load 87.50 (threshold 5.00)"), "{table}");
    assert!(!table.contains("no_burn_in"), "{table}");
    assert!(table.contains("4 163 invocations/min (69.377/s), Erlang's formula"), "{table}");
    let last = table.lines().last().unwrap();
    assert_eq!(
        last,
        "  Verdict    calibrated: -0.54 % from exact, the interval holds the exact figure"
    );
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
}
