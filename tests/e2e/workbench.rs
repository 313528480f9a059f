//! A folder with models in it, and commands that run there.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use assay_tests::{binaries, child::Child};
use serde_json::Value;
use tempfile::TempDir;

/// Generous: what runs here shares two cores with other tests.
pub(crate) const LIMIT: Duration = Duration::from_secs(240);

/// The declared input of the reference model `mlp`.
pub(crate) const MLP_INPUT: &str = "float32[1,64]";

/// A scratch folder, and the machine to itself: tests that measure would disturb each other.
pub(crate) struct Workbench {
    dir: TempDir,
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());

impl Workbench {
    pub(crate) fn new() -> Self {
        // A test that failed while it had the machine leaves nothing half-done.
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().expect("there is room for a temporary folder");
        Self { dir, _alone: alone }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes one of the reference models and says where.
    pub(crate) fn model(&self, name: &str) -> PathBuf {
        let path = self.path().join(format!("{name}.pt"));
        let mut host = Command::new(binaries::assay_host());
        host.args(["reference", name, "--out"]).arg(&path);
        let mut child = Child::start("assay-host reference", &mut host);
        assert_eq!(child.exit_code(LIMIT), 0, "{}", child.stderr());
        path
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).expect("the temporary folder is writable");
        path
    }

    /// `assay`, in this folder, with nothing of the tester's own configuration.
    pub(crate) fn assay(&self) -> Command {
        self.in_folder(binaries::assay())
    }

    /// Any program in the same circumstances.
    pub(crate) fn in_folder(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path());
        for variable in [
            "ASSAY_SERVER",
            "ASSAY_TOKEN_FILE",
            "ASSAY_OUTPUT",
            "ASSAY_PROGRESS",
            "ASSAY_LOG",
            "ASSAY_AGENT",
            "ASSAY_HOST",
        ] {
            command.env_remove(variable);
        }
        command
    }

    /// `assay recommend MODEL`, quick, one configuration, ended soon: a search.
    pub(crate) fn recommend(&self, model: &Path) -> Command {
        let mut command = self.assay();
        command.arg("recommend").arg(model).args(["--quick", "--max-duration", "40s"]);
        command.args(["--sweep", "workers=1", "--sweep", "intra-op=1", "--sweep", "graph=plain"]);
        command
    }

    /// The same with a load of one second instead: for what does not hang on what a search finds.
    pub(crate) fn recommend_briefly(&self, model: &Path) -> Command {
        let mut command = self.recommend(model);
        command.args(["--load", "users:1/1s"]);
        command
    }

    /// `assay serve` on a free port, and its address.
    pub(crate) fn serve(&self) -> (Child, String) {
        self.serve_with(self.assay())
    }

    /// The same by a command that starts `assay` in another way.
    pub(crate) fn serve_with(&self, mut command: Command) -> (Child, String) {
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(self.path().join("data"));
        let mut server = Child::start("assay serve", &mut command);
        let url = server.listening(LIMIT);
        (server, url)
    }

    /// `assay-agent run`, attached to a coordinator.
    pub(crate) fn agent(&self, url: &str, name: &str) -> Child {
        Child::start("assay-agent run", &mut self.agent_command(url, name))
    }

    pub(crate) fn agent_command(&self, url: &str, name: &str) -> Command {
        let mut command = Command::new(binaries::assay_agent());
        command.current_dir(self.path());
        command.args(["run", "--server", url, "--name", name, "--emulate", "--cache-dir"]);
        command.arg(self.path().join(format!("cache-{name}")));
        command
    }

    /// Waits until so many agents are connected.
    pub(crate) fn wait_for_agents(&self, url: &str, count: usize) {
        assay_tests::wait::until("agents to attach", LIMIT, || {
            let agents = self.json(&["--server", url, "agents", "list", "-o", "json"]);
            let connected =
                agents.as_array()?.iter().filter(|agent| agent["connected"] == true).count();
            (connected == count).then_some(())
        });
    }

    /// Runs `assay` with these arguments to its end; it must succeed.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let run = run(self.assay().args(arguments));
        assert_eq!(run.code, 0, "assay {arguments:?}\n{}", run.stderr);
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}:\n{}", run.stdout))
    }
}

/// How a command ended and what it printed.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}:\n{}\n{}", self.stdout, self.stderr))
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Run {
    let mut child = Child::start("assay", command);
    let code = child.exit_code(LIMIT);
    Run { code, stdout: child.stdout(), stderr: child.stderr() }
}

/// Every candidate that was measured, best first. On a disturbed machine a measurement is listed as
/// failed because it cannot be believed: its figures are there all the same.
pub(crate) fn measured(report: &Value) -> Vec<Value> {
    let lists = ["ranking", "rejected", "failed"].into_iter();
    let entries = lists.flat_map(|list| report[list].as_array().cloned().unwrap_or_default());
    entries.filter(|entry| entry.get("max_invocations_per_min").is_some()).collect()
}
