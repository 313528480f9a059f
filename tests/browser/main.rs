//! The pages and the report in a real browser: Debian's Chromium, driven by Playwright's scripts beside this file.
//!
//! What is measured is known in advance, so that pages say the same each time.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod studio;

use std::time::Duration;

use self::studio::Studio;

/// So long that a job can be seen running.
const PACE: Duration = Duration::from_millis(700);

#[test]
fn somebody_walks_from_the_registry_to_a_recommendation() {
    let studio = Studio::with_agent(PACE);
    studio.script("walk.py", &[]);
}

#[test]
fn a_job_is_made_by_form_with_and_without_scripts_and_by_keyboard() {
    let studio = Studio::with_agent(Duration::ZERO);
    studio.script("forms.py", &[]);
}

#[test]
fn a_report_from_a_disk_ranks_again_and_asks_nobody() {
    let studio = Studio::with_agent(Duration::ZERO);
    let slow: Vec<String> = (1..=9).map(|n| format!("own.t{n}=1x{}MiB@0.0{n}", 512 * n)).collect();
    let types = format!("own.fast=4x8GiB@0.90,{}", slow.join(","));
    let report = studio.path().join("report.html");
    let arguments = ["--instance-types", &types, "--slo", "p95<=50ms", "--html"];
    studio.recommend("reported", &[&arguments[..], &[report.to_str().unwrap()]].concat());
    let size = std::fs::metadata(&report).unwrap().len();
    assert!(size < 150_000, "{size} bytes for 10 candidates");
    studio.script("report.py", &[report.to_str().unwrap()]);
}

#[test]
fn every_page_and_state_is_accessible_and_fits_and_says_what_it_said() {
    let studio = Studio::with_agent(Duration::ZERO);
    studio.register_model();
    let types = "own.small=1x2GiB@0.05,own.large=2x4GiB@0.09,own.huge=64x256GiB@2.00";
    let priced = ["--instance-types", types, "--slo", "p95<=50ms"];
    studio.recommend("ranked", &priced);
    studio.recommend("ranked-again", &priced);
    studio.recommend("unpriced", &["--instance-types", "own.free=1x2GiB"]);
    studio.recommend(
        "too-strict",
        &["--instance-types", "own.small=1x2GiB@0.05", "--slo", "p99<=1us"],
    );
    studio.recommend("broken", &["--instance-types", "own.small=1x2GiB@0.05"]);
    studio.recommend("held-stopped", &["--instance-types", "own.small=1x2GiB@0.05", "--detach"]);
    studio.wait_for_step("held-stopped");
    studio.assay(&["jobs", "stop", "held-stopped"]);
    studio.recommend(
        "held-running",
        &["--instance-types", "own.small=1x2GiB@0.05,own.large=2x4GiB@0.09", "--detach"],
    );
    studio.wait_for_step("held-running");
    studio.old_price("own.old");
    let empty = Studio::without_agent();
    empty.recommend("waiting", &["--instance-types", "own.small=1x2GiB@0.05", "--detach"]);
    let guarded = Studio::guarded();
    let snapshots = concat!(env!("CARGO_MANIFEST_DIR"), "/browser/snapshots");
    studio.script(
        "looks.py",
        &[empty.url(), empty.path().to_str().unwrap(), guarded.url(), snapshots],
    );
}
