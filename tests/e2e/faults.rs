//! Models that misbehave: each ends its trial with the reason, and never the agent.

use serde_json::Value;

use crate::workbench::{Workbench, measured, run};

/// One coordinator and one agent outlive every faulty model, and then measure a good one.
#[test]
fn every_faulty_model_ends_its_trial_with_the_reason_and_never_the_agent() {
    let bench = Workbench::new();
    let (_server, url) = bench.serve();
    let mut agent = bench.agent(&url, "patient");
    bench.wait_for_agents(&url, 1);
    for (fault, reasons) in [
        ("faulty-raise", &["raise"][..]),
        ("faulty-segfault", &["signal 11", "SIGSEGV"]),
        ("faulty-hang", &["answer", "hang"]),
        ("faulty-oom", &["needs more than 1 GiB"]),
    ] {
        let (code, report) = recommend(&bench, &url, fault);
        assert_eq!(code, 1, "{fault}: {report:#}");
        let reason = report["failed"][0]["reason"].as_str().unwrap_or_default().to_owned();
        let told = reasons.iter().any(|word| reason.contains(word));
        assert!(told, "{fault} ended with {reason:?}:\n{report:#}");
        assert!(agent.ended().is_none(), "{fault} ended the agent:\n{}", agent.stderr());
    }
    let (code, report) = recommend(&bench, &url, "faulty-nan");
    assert!([0, 1].contains(&code), "{report:#}");
    let entry = measured(&report).pop().unwrap_or_else(|| panic!("NaN is allowed: {report:#}"));
    let findings = entry["validity"]["findings"].to_string();
    assert!(findings.contains("nan_outputs"), "{report:#}");
    assert!(agent.ended().is_none(), "{}", agent.stderr());
}

fn recommend(bench: &Workbench, url: &str, model: &str) -> (i32, Value) {
    let path = bench.model(model);
    let run = run(bench.recommend_briefly(&path).args([
        "--server",
        url,
        "--input",
        "float32[1,8]",
        "--instance-types",
        "own.small=1x1GiB@0.05",
        "-o",
        "json",
    ]));
    assert!(!run.stdout.is_empty(), "{model}: {}", run.stderr);
    (run.code, run.json())
}
