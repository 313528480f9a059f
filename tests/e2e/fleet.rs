//! A coordinator and agents in processes of their own.

use std::process::Command;

use assay_tests::{child::Child, python::python, wait};
use serde_json::Value;

use crate::workbench::{LIMIT, MLP_INPUT, Workbench, measured, run};

#[test]
fn a_fleet_answers_like_one_machine_and_its_jobs_can_be_listed_watched_and_described() {
    let bench = Workbench::new();
    let (_server, url) = bench.serve();
    let _first = bench.agent(&url, "first");
    let _second = bench.agent(&url, "second");
    bench.wait_for_agents(&url, 2);
    let model = bench.model("mlp");
    let run = run(bench.recommend_briefly(&model).args([
        "--server",
        &url,
        "--name",
        "fleet-job",
        "--input",
        MLP_INPUT,
        "--instance-types",
        "own.small=1x2GiB@0.05,own.large=2x4GiB@0.09",
        "-o",
        "json",
    ]));
    assert!([0, 1].contains(&run.code), "{}\n{}", run.stdout, run.stderr);
    assert_eq!(measured(&run.json()).len(), 2, "{}", run.stdout);

    let jobs = bench.json(&["--server", &url, "jobs", "list", "-o", "json"]);
    assert_eq!(jobs[0]["name"], "fleet-job");
    assert_eq!(jobs[0]["status"], "completed");
    let shown = |code: i32, arguments: &[&str]| {
        let shown = crate::workbench::run(
            bench.assay().args(["--server", &url, "jobs"]).args(arguments).args(["-o", "json"]),
        );
        assert_eq!(shown.code, code, "{arguments:?}: {}", shown.stderr);
        shown.json()
    };
    assert_eq!(measured(&shown(0, &["describe", "fleet-job"])), measured(&run.json()));
    // Who followed it is told as the one who ran it: a disturbed machine has nothing to recommend.
    assert_eq!(measured(&shown(run.code, &["watch", "fleet-job"])), measured(&run.json()));
    let sized = measured(&shown(0, &["describe", "fleet-job", "--demand", "1000000/min"]));
    assert_eq!(sized.len(), 2, "{sized:#?}");
    assert!(
        sized.iter().all(|entry| entry["sizing"]["instance_count"].as_u64() >= Some(1)),
        "{sized:#?}"
    );
    for format in ["json", "csv", "md"] {
        let out = bench.path().join(format!("out.{format}"));
        let export = crate::workbench::run(
            bench
                .assay()
                .args(["--server", &url, "export", "fleet-job", "--format", format, "-O"])
                .arg(&out),
        );
        assert_eq!(export.code, 0, "{}", export.stderr);
        assert!(std::fs::read_to_string(&out).unwrap().contains("own.small"), "{format}");
    }
    python_lists_and_watches(&url);
    name_stays_taken(&bench, &url);
}

/// Another gRPC implementation, which knows our services by reflection alone.
fn python_lists_and_watches(url: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/python/jobs_client.py");
    let address = url.trim_start_matches("http://");
    let mut client = Child::start(
        "jobs_client.py",
        Command::new(python()).arg(script).args([address, "fleet-job"]),
    );
    assert_eq!(client.exit_code(LIMIT), 0, "{}\n{}", client.stdout(), client.stderr());
}

fn name_stays_taken(bench: &Workbench, url: &str) {
    let model = bench.path().join("mlp.pt");
    let again = |bench: &Workbench| {
        run(bench.recommend(&model).args([
            "--server",
            url,
            "--name",
            "fleet-job",
            "--input",
            MLP_INPUT,
            "--detach",
        ]))
    };
    let taken = again(bench);
    assert_eq!(taken.code, 2, "{}", taken.stderr);
    assert!(taken.stderr.contains("fleet-job"), "{}", taken.stderr);
    let deleted = run(bench.assay().args(["--server", url, "jobs", "delete", "fleet-job"]));
    assert_eq!(deleted.code, 0, "{}", deleted.stderr);
    assert_eq!(again(bench).code, 2, "a deleted job's name was given away");
    let gone = run(bench.assay().args(["--server", url, "jobs", "describe", "fleet-job"]));
    assert_eq!(gone.code, 7, "{}", gone.stderr);
}

#[test]
fn a_job_is_stopped_by_somebody_else_and_keeps_what_it_has() {
    let bench = Workbench::new();
    let (_server, url) = bench.serve();
    let _agent = bench.agent(&url, "only");
    bench.wait_for_agents(&url, 1);
    let model = bench.model("mlp");
    let mut command = bench.recommend(&model);
    command.args(["--server", &url, "--name", "to-stop", "--input", MLP_INPUT]);
    command.args(["--instance-types", "own.small=1x2GiB@0.05", "-o", "json"]);
    let mut waiting = Child::start("assay recommend", &mut command);
    wait::until("the job to run", LIMIT, || {
        let jobs = bench.json(&["--server", &url, "jobs", "list", "-o", "json"]);
        (jobs[0]["status"] == "running").then_some(())
    });
    let stop = run(bench.assay().args(["--server", &url, "jobs", "stop", "to-stop"]));
    assert_eq!(stop.code, 0, "{}", stop.stderr);
    assert_eq!(waiting.exit_code(LIMIT), 5, "{}", waiting.stderr());
    let report: Value = serde_json::from_str(&waiting.stdout()).unwrap();
    assert_eq!(report["status"], "stopped");
    let again = run(bench.assay().args(["--server", &url, "jobs", "stop", "to-stop"]));
    assert_eq!(again.code, 1, "{}", again.stderr);
}

#[test]
fn an_agent_whose_name_is_taken_is_told_so_and_ends() {
    let bench = Workbench::new();
    let (_server, url) = bench.serve();
    let _first = bench.agent(&url, "twin");
    bench.wait_for_agents(&url, 1);
    let mut second = bench.agent(&url, "twin");
    assert_eq!(second.exit_code(LIMIT), 1, "{}", second.stderr());
    assert!(second.stderr().contains("twin"), "{}", second.stderr());
    assert!(second.stderr().contains("hint:"), "{}", second.stderr());
}

#[test]
fn a_killed_coordinator_comes_back_with_its_jobs_and_its_agent_finishes_them() {
    let bench = Workbench::new();
    let (mut server, url) = bench.serve();
    let port = url.rsplit(':').next().unwrap().to_owned();
    let mut agent = bench.agent(&url, "steady");
    bench.wait_for_agents(&url, 1);
    let model = bench.model("mlp");
    let created = run(bench.recommend_briefly(&model).args([
        "--server",
        &url,
        "--name",
        "survivor",
        "--input",
        MLP_INPUT,
        "--detach",
        "--instance-types",
        "own.small=1x2GiB@0.05",
    ]));
    assert_eq!(created.code, 0, "{}", created.stderr);
    wait::until("the job to run", LIMIT, || {
        let jobs = bench.json(&["--server", &url, "jobs", "list", "-o", "json"]);
        (jobs[0]["status"] == "running").then_some(())
    });
    server.signal(rustix::process::Signal::KILL);
    server.end(LIMIT);
    let mut command = bench.assay();
    command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--data-dir"]);
    command.arg(bench.path().join("data"));
    let mut server = Child::start("assay serve", &mut command);
    server.listening(LIMIT);
    let jobs = wait::until("the job to end", LIMIT, || {
        let jobs = bench.json(&["--server", &url, "jobs", "list", "-o", "json"]);
        assert!(agent.ended().is_none(), "{}", agent.stderr());
        let ended = ["completed", "failed", "stopped"].map(Value::from);
        ended.contains(&jobs[0]["status"]).then_some(jobs)
    });
    assert_eq!(jobs[0]["status"], "completed", "{jobs:#}\n{}", agent.stderr());
}

#[test]
fn the_trial_of_an_agent_that_is_ended_by_a_signal_is_finished_by_another() {
    let bench = Workbench::new();
    let (_server, url) = bench.serve();
    let mut leaving = bench.agent(&url, "leaving");
    bench.wait_for_agents(&url, 1);
    let model = bench.model("mlp");
    let created = run(bench.recommend_briefly(&model).args([
        "--server",
        &url,
        "--name",
        "handed-over",
        "--input",
        MLP_INPUT,
        "--detach",
        "--instance-types",
        "own.small=1x2GiB@0.05",
    ]));
    assert_eq!(created.code, 0, "{}", created.stderr);
    let jobs = || bench.json(&["--server", &url, "jobs", "list", "-o", "json"]);
    wait::until("the job to run", LIMIT, || (jobs()[0]["status"] == "running").then_some(()));
    leaving.signal(rustix::process::Signal::TERM);
    leaving.end(LIMIT);
    assert_eq!(jobs()[0]["status"], "running", "{}", leaving.stderr());
    let mut heir = bench.agent(&url, "heir");
    let ended = wait::until("the job to end", LIMIT, || {
        let jobs = jobs();
        assert!(heir.ended().is_none(), "{}", heir.stderr());
        let ended = ["completed", "failed", "stopped"].map(Value::from);
        ended.contains(&jobs[0]["status"]).then_some(jobs)
    });
    assert_eq!(ended[0]["status"], "completed", "{ended:#}\n{}", heir.stderr());
}

#[test]
fn a_second_coordinator_on_the_same_port_or_data_is_refused() {
    let bench = Workbench::new();
    let (_server, url) = bench.serve();
    let port = url.rsplit(':').next().unwrap().to_owned();
    let address = format!("127.0.0.1:{port}");
    let other = bench.path().join("other-data");
    let taken = run(bench.assay().args(["serve", "--listen", &address, "--data-dir"]).arg(&other));
    assert_eq!(taken.code, 1, "{}", taken.stderr);
    assert!(taken.stderr.contains(&address) && taken.stderr.contains("hint:"), "{}", taken.stderr);
    let same = bench.path().join("data");
    let locked =
        run(bench.assay().args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&same));
    assert_eq!(locked.code, 1, "{}", locked.stderr);
    assert!(locked.stderr.contains("hint:"), "{}", locked.stderr);
    let open = run(bench.assay().args(["serve", "--listen", "0.0.0.0:0"]));
    assert_eq!(open.code, 2, "{}", open.stderr);
    assert!(open.stderr.contains("without authentication"), "{}", open.stderr);
}
