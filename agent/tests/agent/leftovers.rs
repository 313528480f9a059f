//! What is left of a trial and of an agent, however either of them ends: nothing.

use std::{
    env, fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use assay_agent::{
    hardware::facts::Machine,
    sandbox::{Allotment, Sandbox, mounts::Hierarchies},
};
use assay_measure::{
    configuration::Precision,
    hardware::{LimitInForce, Shape},
    outcome::{FailureKind, TrialOutcome},
    trial::TrialSpec,
    units::Bytes,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{PATIENCE, Place, TestCoordinator, fake_host, users_for};

/// Names the agent, for a test that runs itself as another user.
const PROGRAM: &str = "ASSAY_TEST_AGENT";
const ORDINARY_USER: u32 = 54_321;

/// The shape that trials emulate: what is left of its control groups shows where these can be had.
const SHAPE: Shape = Shape { vcpus: 1, memory_bytes: Bytes::mib(96) };

/// A coordinator, and a folder for temporary files that is only for the agents of one test.
struct Scene {
    coordinator: TestCoordinator,
    place: Place,
    temporary: tempfile::TempDir,
    /// Every agent so far leads a session of its own, which its children cannot leave.
    sessions: Vec<u32>,
}

impl Scene {
    async fn new() -> Self {
        let coordinator = TestCoordinator::start().await;
        let place = Place::new(&coordinator);
        let temporary = tempfile::tempdir().unwrap();
        // A host's user goes through it.
        fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { coordinator, place, temporary, sessions: Vec::new() }
    }

    async fn agent(&mut self) -> Running {
        let mut command = Command::new("setsid");
        command
            .arg(program())
            .args(["run", "--server", &self.coordinator.url, "--name", "a1", "--cache-dir"])
            .arg(self.place.folder.path())
            .arg("--host-binary")
            .arg(fake_host())
            .env("TMPDIR", self.temporary.path())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit());
        let agent = Running(command.spawn().unwrap());
        self.sessions.push(agent.0.id());
        self.coordinator.until_attached(self.sessions.len()).await;
        agent
    }

    /// A trial of a `model.tar.gz`, held to a shape.
    fn spec(&self, behaviour: &str) -> TrialSpec {
        let mut spec = self.place.spec(&self.coordinator, behaviour);
        let model = Place::model(&[("host", behaviour), ("compare", "0.1,0.1")]);
        let archive = self.coordinator.add_artifact("model.tar.gz", &archive(model.as_bytes()));
        let served = spec.subject.served_mut().unwrap();
        served.emulated = Some(SHAPE);
        served.model = archive;
        spec
    }

    /// Waits until a trial of a minute is under load, and what there is of it then has been seen here.
    async fn in_the_middle_of_a_trial(&self) {
        let mut spec = self.spec("serve:1000");
        spec.work = users_for(1, 60_000);
        self.coordinator.start_trial("aa01", &spec).await;
        let loaded = |progress: &assay_proto::v1::TrialProgress| {
            progress.progress.as_ref().is_some_and(|progress| progress.stage == "searching")
        };
        self.coordinator
            .until("load", |state| state.progress.iter().any(loaded).then_some(()))
            .await;
        let there = self.left();
        let is_there = |what: &str| there.iter().any(|thing| thing.contains(what));
        assert!(is_there("model.pt") && is_there("process"), "{there:?}");
        assert_eq!(is_there("control group"), control_groups_can_be_had(), "{there:?}");
    }

    /// All that agents have left or are using, apart from themselves and whole files of the cache.
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        files_below(self.temporary.path(), &mut left);
        for name in names_in(self.place.folder.path()) {
            if name.starts_with(".partial-") {
                left.push(format!("unfinished {name}"));
            }
        }
        for (hierarchy, _) in Hierarchies::of_this_process().for_limits() {
            let is_theirs = |name: &String| {
                self.sessions.iter().any(|agent| name.starts_with(&format!("assay-{agent}-")))
            };
            let groups = names_in(&hierarchy.directory).into_iter().filter(is_theirs);
            left.extend(groups.map(|name| format!("control group {name}")));
        }
        left.extend(names_in(Path::new("/proc")).iter().filter_map(|id| self.process(id)));
        left
    }

    /// A process that an agent started; not one that is dead and none of ours to reap.
    fn process(&self, id: &str) -> Option<String> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name in parentheses may contain anything.
        let after_name = stat.rsplit_once(')')?.1;
        let mut fields = after_name.split_whitespace();
        let state = fields.next()?;
        let mut number = || fields.next()?.parse::<u32>().ok();
        let (parent, _group, session) = (number()?, number()?, number()?);
        let is_child = self.sessions.contains(&parent);
        let is_agent = self.sessions.contains(&id.parse().ok()?);
        let is_theirs = is_child || (self.sessions.contains(&session) && !is_agent);
        (is_theirs && (is_child || state != "Z")).then(|| format!("process {}", stat.trim_end()))
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        let left = self.left();
        assert!(left.is_empty(), "left behind: {left:#?}");
    }

    /// For what goes without anybody waiting for it.
    async fn until_nothing_is_left(&self) {
        let gone = async {
            while !self.left().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, gone).await.is_err() {
            self.nothing_is_left();
        }
    }

    /// A trial on the agent that is attached.
    async fn outcome_of(&self, spec: &TrialSpec) -> TrialOutcome {
        self.coordinator.state().outcomes.clear();
        self.coordinator.start_trial("bb02", spec).await;
        self.coordinator.outcome().await
    }
}

fn control_groups_can_be_had() -> bool {
    let allotment = Allotment::of(&Machine::here(), Some(SHAPE)).unwrap();
    let sandbox = Sandbox::set_up(&allotment, &Hierarchies::of_this_process());
    let groups = [LimitInForce::CpuSetCgroup, LimitInForce::MemoryCgroup];
    groups.iter().any(|limit| sandbox.limits_in_force().contains(limit))
}

fn program() -> PathBuf {
    env::var_os(PROGRAM).map_or_else(|| env!("CARGO_BIN_EXE_assay-agent").into(), PathBuf::from)
}

/// A `model.tar.gz` with this for a model.
fn archive(model: &[u8]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    let mut header = tar::Header::new_gnu();
    header.set_size(model.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "model.pt", model).unwrap();
    tar.into_inner().unwrap().finish().unwrap()
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn files_below(folder: &Path, found: &mut Vec<String>) {
    for path in names_in(folder).iter().map(|name| folder.join(name)) {
        found.push(path.display().to_string());
        if path.is_dir() && !path.is_symlink() {
            files_below(&path, found);
        }
    }
}

/// An agent, which a test that fails leaves no more than any other does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn tell(agent: &Running, signals: &[Signal]) {
    let process = Pid::from_raw(i32::try_from(agent.0.id()).unwrap()).unwrap();
    for signal in signals {
        kill_process(process, *signal).unwrap();
    }
}

/// Waits on another thread: the coordinator of the test lives on this one.
async fn end(mut agent: Running) {
    let wait = tokio::task::spawn_blocking(move || agent.0.wait().unwrap());
    tokio::time::timeout(PATIENCE, wait).await.expect("the agent did not end").unwrap();
}

#[tokio::test]
async fn a_trial_that_succeeds_leaves_nothing() {
    let mut scene = Scene::new().await;
    let agent = scene.agent().await;
    scene.nothing_is_left();
    let mut spec = scene.spec("serve:1000");
    // With a comparison of outputs before it, in a host of its own.
    spec.subject.served_mut().unwrap().configuration.dtype = Precision::Bfloat16;
    let outcome = scene.outcome_of(&spec).await;
    scene.nothing_is_left();
    let TrialOutcome::Measured(measured) = outcome else { panic!("{outcome:?}") };
    assert!(measured.output_deviation.is_some(), "{measured:?}");
    tell(&agent, &[Signal::TERM]);
    end(agent).await;
    scene.nothing_is_left();
}

#[tokio::test]
async fn a_trial_that_fails_leaves_nothing_at_whatever_stage() {
    let mut scene = Scene::new().await;
    let agent = scene.agent().await;
    for (behaviour, kind) in [
        ("bad-model", FailureKind::ModelRejected),
        ("exit-early", FailureKind::HostStartFailed),
        ("crash-from:3", FailureKind::HostCrashed),
        ("hang-from:3", FailureKind::ModelHangs),
    ] {
        let outcome = scene.outcome_of(&scene.spec(behaviour)).await;
        scene.nothing_is_left();
        let TrialOutcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
        assert_eq!(failure.kind, kind, "{failure:?}");
    }
    tell(&agent, &[Signal::TERM]);
    end(agent).await;
    scene.nothing_is_left();
}

#[tokio::test]
async fn an_agent_that_is_asked_to_end_in_the_middle_of_a_trial_leaves_nothing() {
    // The second request ends it at once, without waiting for the trial.
    for signals in [&[Signal::TERM][..], &[Signal::INT, Signal::TERM]] {
        let mut scene = Scene::new().await;
        let agent = scene.agent().await;
        scene.in_the_middle_of_a_trial().await;
        tell(&agent, signals);
        end(agent).await;
        match signals {
            [_] => scene.nothing_is_left(),
            _ => scene.until_nothing_is_left().await,
        }
    }
}

#[tokio::test]
async fn what_an_agent_leaves_that_is_killed_goes_with_the_next_start() {
    let mut scene = Scene::new().await;
    let agent = scene.agent().await;
    scene.in_the_middle_of_a_trial().await;
    tell(&agent, &[Signal::KILL]);
    end(agent).await;
    // Without a trial in between: there may never be another one here.
    let agent = scene.agent().await;
    scene.until_nothing_is_left().await;
    let outcome = scene.outcome_of(&scene.spec("serve:1000")).await;
    assert!(matches!(outcome, TrialOutcome::Measured(_)), "{outcome:?}");
    scene.nothing_is_left();
    tell(&agent, &[Signal::TERM]);
    end(agent).await;
    scene.nothing_is_left();
}

/// Whose host is of the same user, and may keep that user from removing what it wrote.
#[tokio::test]
async fn an_agent_of_an_ordinary_user_leaves_nothing_as_well() {
    if !rustix::process::geteuid().is_root() {
        // Then the tests above have shown it.
        return;
    }
    let programs = tempfile::tempdir().unwrap();
    let at = |name: &str| programs.path().join(name);
    for folder in [at("deps"), at("examples")] {
        fs::create_dir(folder).unwrap();
    }
    fs::set_permissions(programs.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // As cargo lays them out.
    let (own, agent) = (at("deps/tests"), at("assay-agent"));
    fs::copy(env::current_exe().unwrap(), &own).unwrap();
    fs::copy(fake_host(), at("examples/fake_host")).unwrap();
    fs::copy(program(), &agent).unwrap();
    let mut command = Command::new(&own);
    command
        .arg("leftovers::")
        .args(["--skip", "ordinary_user", "--nocapture"])
        .env(PROGRAM, agent)
        .env("RUST_BACKTRACE", "0")
        .current_dir("/")
        .uid(ORDINARY_USER)
        .gid(ORDINARY_USER);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success() && said[0].contains("4 passed"), "{}\n{}", said[0], said[1]);
}
