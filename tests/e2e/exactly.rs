//! A job that says exactly what to try: environments of the model host, and a load that stops by itself.

use assay_proto::v1::{self, job_service_client::JobServiceClient};

use crate::workbench::{MLP_INPUT, Workbench, measured, run};

/// The specification of `template` with other candidates and another load, as a new job.
async fn create(url: String) {
    let mut jobs = JobServiceClient::connect(url).await.unwrap();
    let template =
        v1::GetJobRequest { name: "template".to_owned(), ..v1::GetJobRequest::default() };
    let mut spec = jobs.get_job(template).await.unwrap().into_inner().spec.unwrap();
    let range = |name: &str, values: &[&str]| v1::EnvironmentRange {
        name: name.to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    spec.name = "exactly".to_owned();
    spec.sweep = None;
    spec.instance_types[0].environment =
        vec![range("OMP_NUM_THREADS", &["1"]), range("ASSAY_MAX_BATCH", &["1", "4", "8"])];
    let users = |users| v1::Phase {
        load: Some(v1::Load { load: Some(v1::load::Load::Closed(v1::ClosedLoad { users })) }),
        duration_us: 1_000_000,
    };
    spec.fixed_load = Some(v1::FixedLoad { phases: (1..=4).map(users).collect() });
    spec.stopping = Some(v1::StoppingConditions {
        flat_invocations: "stop".to_owned(),
        max_error_share: 0.01,
        ..v1::StoppingConditions::default()
    });
    spec.limits = Some(v1::ResourceLimits { most_trials: Some(2), ..Default::default() });
    let request = v1::CreateJobRequest { spec: Some(spec) };
    assert_eq!(jobs.create_job(request).await.unwrap().into_inner().trials.len(), 2);
}

#[test]
fn environments_and_a_load_that_stops_are_measured_on_a_real_host() {
    let bench = Workbench::new();
    let (_server, url) = bench.serve();
    let _agent = bench.agent(&url, "only");
    bench.wait_for_agents(&url, 1);
    let model = bench.model("mlp");
    let template = run(bench.recommend_briefly(&model).args([
        "--server",
        &url,
        "--name",
        "template",
        "--detach",
        "--input",
        MLP_INPUT,
        "--instance-types",
        "own.small=1x2GiB@0.05",
    ]));
    assert_eq!(template.code, 0, "{}\n{}", template.stdout, template.stderr);
    tokio::runtime::Runtime::new().unwrap().block_on(create(url.clone()));

    let report =
        run(bench.assay().args(["--server", &url, "jobs", "watch", "exactly", "-o", "json"]));
    let report = report.json();
    let entries = measured(&report);
    assert_eq!(entries.len(), 2, "{report:#}");
    for entry in &entries {
        let configuration = &entry["configuration"];
        assert_eq!(configuration["environment"]["OMP_NUM_THREADS"], "1");
        assert_eq!(
            configuration["environment"]["ASSAY_MAX_BATCH"],
            configuration["max_batch"].to_string()
        );
        let causes = ["load_ended", "flat_invocations"];
        assert!(causes.contains(&entry["stopped_by"].as_str().unwrap()), "{entry:#}");
        assert!(entry["latency_us"]["p95"].as_u64() > Some(0), "{entry:#}");
    }
    let beyond = report["rejected"].as_array().unwrap();
    let told = |entry: &serde_json::Value| {
        entry["reason"] == "not measured: the job may run at most 2 trials"
    };
    assert!(beyond.iter().any(told), "{report:#}");
}
