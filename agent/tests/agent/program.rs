//! The program itself: exit codes, and what it leaves behind when it is killed.

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use assay_measure::outcome::TrialOutcome;
use rustix::process::{Pid, Signal, kill_process};
use tonic::Status;

use crate::support::{Place, TestCoordinator, fake_host, until_gone, users_for};

fn agent(url: &str, cache: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay-agent"));
    command
        .args([
            "run",
            "--server",
            url,
            "--name",
            "a1",
            "--instance-type",
            "onprem.test",
            "--cache-dir",
        ])
        .arg(cache)
        .arg("--host-binary")
        .arg(fake_host())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn process(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

/// Waits on another thread: the coordinator of the test lives on this one.
async fn output(child: Child) -> Output {
    let wait = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .expect("the agent did not end")
        .unwrap()
}

#[tokio::test]
async fn sigterm_ends_the_program_with_success_and_its_log_is_plain_in_a_pipe() {
    let coordinator = TestCoordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let child = agent(&coordinator.url, folder.path()).spawn().unwrap();
    coordinator.until_attached(1).await;
    assert_eq!(coordinator.state().registrations[0].instance_type, "onprem.test");
    assert!(
        !coordinator.state().registrations[0].emulates,
        "a machine of a known type emulates only when told to"
    );
    kill_process(process(&child), Signal::TERM).unwrap();
    let ended = output(child).await;
    assert_eq!(ended.status.code(), Some(0));
    let log = String::from_utf8(ended.stderr).unwrap();
    assert!(log.contains("INFO") && !log.contains('\x1b'), "{log:?}");
}

#[tokio::test]
async fn refusals_are_told_with_a_hint_and_an_exit_code() {
    let coordinator = TestCoordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    for (status, code, hint) in [
        (
            Status::already_exists("an agent named a1 is connected"),
            1,
            "hint: give this agent another --name",
        ),
        (
            Status::failed_precondition("this coordinator speaks version 9"),
            1,
            "hint: install the same version",
        ),
        (Status::unauthenticated("unknown token"), 4, "hint: give --token-file"),
    ] {
        coordinator.state().refuse = Some(status.clone());
        let ended = output(agent(&coordinator.url, folder.path()).spawn().unwrap()).await;
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(code), "{said}");
        let error = format!("error: the coordinator refuses this agent: {}", status.message());
        assert!(said.contains(&error) && said.contains(hint), "{said}");
    }
}

#[tokio::test]
async fn a_missing_host_program_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = agent("http://127.0.0.1:1", folder.path());
    let ended =
        output(command.args(["--host-binary", "/nonexistent/assay-host"]).spawn().unwrap()).await;
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(2), "given twice: {said}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay-agent"));
    command.args([
        "run",
        "--server",
        "http://127.0.0.1:1",
        "--host-binary",
        "/nonexistent/assay-host",
    ]);
    let ended = output(command.stderr(Stdio::piped()).spawn().unwrap()).await;
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(
        said.contains("/nonexistent/assay-host does not exist") && said.contains("hint:"),
        "{said}"
    );
}

#[tokio::test]
async fn a_model_host_dies_with_an_agent_that_is_killed() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let mut child = agent(&coordinator.url, place.folder.path()).spawn().unwrap();
    coordinator.until_attached(1).await;
    let mut spec = place.spec(&coordinator, "serve:1000");
    spec.work = users_for(1, 60_000);
    coordinator.start_trial("aa01", &spec).await;
    let host = place.host_process().await;
    child.kill().unwrap();
    child.wait().unwrap();
    until_gone(host).await;
}

#[tokio::test]
async fn an_agent_ends_with_its_parent_when_told_to() {
    let coordinator = TestCoordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    // A shell as parent, which starts the agent, tells its id, and is killed.
    let mut parent = Command::new("sh")
        .args(["-c", "\"$@\" --exit-with-parent & echo $! > \"$PID_FILE\"; wait", "sh"])
        .arg(env!("CARGO_BIN_EXE_assay-agent"))
        .args(["run", "--server", &coordinator.url, "--name", "a1", "--cache-dir"])
        .arg(folder.path())
        .arg("--host-binary")
        .arg(fake_host())
        .env("PID_FILE", folder.path().join("pid"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    coordinator.until_attached(1).await;
    let text = std::fs::read_to_string(folder.path().join("pid")).unwrap();
    let agent = Pid::from_raw(text.trim().parse().unwrap()).unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    until_gone(agent).await;
}

/// The host has another working directory, and sees no folder that a `..` would go through.
#[tokio::test]
async fn a_trial_runs_whatever_way_its_files_are_named() {
    let coordinator = TestCoordinator::start().await;
    let place = Place::new(&coordinator);
    let host = fake_host();
    let (folder, name) = (host.parent().unwrap(), host.file_name().unwrap());
    let roundabout = folder.join("..").join(folder.file_name().unwrap()).join(name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay-agent"));
    command
        .args(["run", "--server", &coordinator.url, "--name", "a1", "--cache-dir", "below/cache"])
        .args(["--op-library", "operators.so"])
        .arg("--host-binary")
        .arg(roundabout)
        .current_dir(place.folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    std::fs::write(place.folder.path().join("operators.so"), "").unwrap();
    let mut child = command.spawn().unwrap();
    coordinator.until_attached(1).await;
    coordinator.start_trial("aa01", &place.spec(&coordinator, "serve")).await;
    let outcome = coordinator.outcome().await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(outcome, TrialOutcome::Measured(_)), "{outcome:?}");
}
