//! The model host as a child process: found, started in its sandbox, watched, and gone in the end.
//!
//! It runs in a process group of its own and dies with the agent: killed by id on every path of this
//! module, and by the kernel (parent death signal) when the agent itself is killed. Its exit is
//! watched from the start, so a segfault ends a trial within a moment.

pub mod batch_log;
pub mod client;
pub mod comparison;
pub mod launch;
mod stderr_tail;

use std::{
    env,
    ffi::OsString,
    io,
    net::SocketAddr,
    num::NonZeroU32,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use assay_measure::{configuration::Configuration, environment, input_spec::InputSpec};
use rustix::process::{Pid, Signal, getpid, kill_process_group};
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    task::JoinSet,
};

use crate::sandbox::Sandbox;
use batch_log::BatchLog;
use stderr_tail::Tail;

/// The name under which the host serves the model.
pub const MODEL_NAME: &str = "model";
const PROGRAM: &str = "assay-host";
/// Names the host program.
pub const PROGRAM_VARIABLE: &str = "ASSAY_HOST";
/// Variables that change how libtorch and its allocator behave. They are not inherited: the
/// configuration alone says how a model is served.
const NOT_INHERITED: [&str; 6] = ["OMP_", "KMP_", "GOMP_", "MKL_", "MALLOC_", "ATEN_"];

/// The host program is nowhere to be found.
#[derive(Debug, Error)]
#[error("the model host program {path} does not exist")]
pub struct ProgramMissing {
    /// Where it was looked for.
    pub path: PathBuf,
}

/// Finds the host program: as given, as `ASSAY_HOST` says, or beside this program.
///
/// # Errors
/// [`ProgramMissing`] when there is no such file.
pub fn find_program(given: Option<&Path>) -> Result<PathBuf, ProgramMissing> {
    let beside = || {
        let own = env::current_exe().unwrap_or_default();
        own.parent().map_or_else(|| PathBuf::from(PROGRAM), |folder| folder.join(PROGRAM))
    };
    let path = given
        .map(Path::to_path_buf)
        .or_else(|| {
            env::var_os(PROGRAM_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
        })
        .unwrap_or_else(beside);
    if path.is_file() { Ok(path) } else { Err(ProgramMissing { path }) }
}

/// What to serve, and how.
#[derive(Clone, Debug)]
pub struct Serving<'a> {
    /// The model's file.
    pub model: &'a Path,
    /// The settings.
    pub configuration: &'a Configuration,
    /// Declared inputs.
    pub inputs: &'a [InputSpec],
}

impl Serving<'_> {
    fn arguments(&self) -> Vec<OsString> {
        let c = self.configuration;
        let mut arguments: Vec<OsString> = vec!["serve".into(), self.model.into()];
        let mut add = |flag: &str, value: String| arguments.extend([flag.into(), value.into()]);
        add("--listen", "127.0.0.1:0".to_owned());
        add("--model-name", MODEL_NAME.to_owned());
        add("--workers", c.workers.to_string());
        add("--intra-op-threads", c.intra_op_threads.to_string());
        add("--max-batch", c.max_batch.to_string());
        add("--max-batch-delay", format!("{}us", c.max_batch_delay_us));
        self.add_how(&mut arguments);
        arguments
    }

    /// How the model itself is run, whatever it is run for.
    fn add_how(&self, arguments: &mut Vec<OsString>) {
        let c = self.configuration;
        let mut add = |flag: &str, value: String| arguments.extend([flag.into(), value.into()]);
        add("--device", c.device.to_string());
        add("--dtype", c.dtype.to_string());
        add("--graph", c.graph.to_string());
        add("--allocator", c.allocator.to_string());
        for input in self.inputs {
            add("--input", input.to_string());
        }
    }

    /// Where the host is to tell its batches, if it makes any. The search does without where the
    /// system refuses the memory.
    fn batch_log(&self) -> Option<BatchLog> {
        let batches = self.configuration.max_batch > NonZeroU32::MIN;
        let refused = |error: &io::Error| tracing::warn!(%error, "no memory to tell batches in");
        batches.then(BatchLog::create)?.inspect_err(refused).ok()
    }

    fn command(&self, program: &Path, arguments: Vec<OsString>) -> std::process::Command {
        let mut command = std::process::Command::new(program);
        for (name, _) in env::vars_os() {
            let known = |text: &str| NOT_INHERITED.iter().any(|prefix| text.starts_with(prefix));
            if name.to_str().is_some_and(known) {
                command.env_remove(name);
            }
        }
        let threads = self.configuration.intra_op_threads.to_string();
        command
            .args(arguments)
            .env("OMP_NUM_THREADS", &threads)
            .env("MKL_NUM_THREADS", &threads)
            // Its last lines stand in failures: only what went wrong belongs there.
            .env("ASSAY_LOG", "warn")
            // Whatever a coordinator sent: the last gate stands where the process begins.
            .envs(environment::split(&self.configuration.environment).0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// A running host. Dropping it kills it.
#[derive(Debug)]
pub struct ModelHost {
    child: Child,
    process_id: u32,
    stdout: Option<BufReader<ChildStdout>>,
    tail: Tail,
    readers: JoinSet<()>,
    batch_log: Option<BatchLog>,
}

/// How a host ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(ExitStatus);

impl Exit {
    /// It was killed by a signal, not by its own will.
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        self.0.signal()
    }

    /// The status it returned.
    #[must_use]
    pub fn code(self) -> Option<i32> {
        self.0.code()
    }

    /// In words, such as `was killed by signal 11 (SIGSEGV)`.
    #[must_use]
    pub fn in_words(self) -> String {
        match (self.signal(), self.code()) {
            (Some(signal), _) => match signal_name(signal) {
                Some(name) => format!("was killed by signal {signal} ({name})"),
                None => format!("was killed by signal {signal}"),
            },
            (None, Some(code)) => format!("exited with status {code}"),
            (None, None) => "ended".to_owned(),
        }
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGBUS => "SIGBUS",
        libc::SIGABRT => "SIGABRT",
        libc::SIGILL => "SIGILL",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGTERM => "SIGTERM",
        libc::SIGINT => "SIGINT",
        _ => return None,
    })
}

/// A host did not come to serve.
#[derive(Debug, Error)]
pub enum NotReady {
    /// It ended first.
    #[error("the model host {} before it was ready", .0.in_words())]
    Exited(Exit),
    /// It took too long.
    #[error("the model host was not ready within {:.1} s", .0.as_secs_f64())]
    TooSlow(Duration),
    /// It closed its output without saying where it listens.
    #[error("the model host did not say where it listens, but {0:?}")]
    Unexpected(String),
}

impl ModelHost {
    /// Starts the host inside the sandbox. It must be called on a thread that lives as long as the
    /// host is wanted (see [`launch::inside`]).
    ///
    /// # Errors
    /// When the program cannot be executed or the sandbox not entered.
    pub fn start(program: &Path, serving: &Serving<'_>, sandbox: &Sandbox) -> io::Result<Self> {
        let batch_log = serving.batch_log();
        let mut arguments = serving.arguments();
        if let Some(log) = &batch_log {
            arguments.extend(["--batch-log".into(), log.path().into()]);
        }
        let mut command = serving.command(program, arguments);
        if let Some(log) = &batch_log {
            log.give_to(&mut command);
        }
        let mut host = Self::spawn(command, sandbox)?;
        host.batch_log = batch_log;
        Ok(host)
    }

    /// Starts it to compare outputs instead: it answers once (see [`ModelHost::compared`]) and ends.
    ///
    /// # Errors
    /// As [`ModelHost::start`].
    pub fn start_comparing(
        program: &Path,
        serving: &Serving<'_>,
        bodies: &comparison::Bodies,
        sandbox: &Sandbox,
    ) -> io::Result<Self> {
        Self::spawn(serving.command(program, serving.comparing_arguments(bodies)), sandbox)
    }

    fn spawn(mut command: std::process::Command, sandbox: &Sandbox) -> io::Result<Self> {
        launch::inside(&mut command, sandbox.entry()?, Some(getpid()));
        let mut child = Command::from(command).kill_on_drop(true).spawn()?;
        let process_id =
            child.id().ok_or_else(|| io::Error::other("the child has no process id"))?;
        let tail = Tail::default();
        let mut readers = JoinSet::new();
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(tail.clone().follow(stderr));
        }
        let stdout = child.stdout.take().map(BufReader::new);
        Ok(Self { child, process_id, stdout, tail, readers, batch_log: None })
    }

    /// Where it tells its batches; none when it serves one request at a time.
    #[must_use]
    pub fn batch_log(&self) -> Option<&BatchLog> {
        self.batch_log.as_ref()
    }

    /// Its process id.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    /// Waits until it says where it listens and answers `/ping`.
    ///
    /// # Errors
    /// [`NotReady`] when it ends first, or is not ready `within` the time given.
    pub async fn ready(&mut self, within: Duration) -> Result<SocketAddr, NotReady> {
        let Some(mut stdout) = self.stdout.take() else {
            return Err(NotReady::Unexpected("no output".to_owned()));
        };
        let mut line = String::new();
        let come_up = async {
            stdout.read_line(&mut line).await.ok();
            let address =
                line.trim().strip_prefix("listening http://").and_then(|a| a.parse().ok());
            let Some(address) = address else {
                return Err(NotReady::Unexpected(line.trim().to_owned()));
            };
            while !client::is_healthy(address).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(address)
        };
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(within, come_up) => outcome.unwrap_or(Err(NotReady::TooSlow(within))),
            exit = Self::exit_of(&mut self.child) => Err(NotReady::Exited(exit)),
        };
        match outcome {
            Ok(address) => {
                // Nothing more is expected there; a host that writes must not get stuck.
                self.readers.spawn(Tail::default().follow(stdout));
                Ok(address)
            }
            // A host that ends closes its output a moment before its exit can be seen.
            Err(NotReady::Unexpected(said)) if said.is_empty() => {
                match tokio::time::timeout(Duration::from_secs(2), self.exited()).await {
                    Ok(exit) => Err(NotReady::Exited(exit)),
                    Err(_) => Err(NotReady::Unexpected(said)),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until it has ended. May be dropped and called again.
    pub async fn exited(&mut self) -> Exit {
        Self::exit_of(&mut self.child).await
    }

    async fn exit_of(child: &mut Child) -> Exit {
        match child.wait().await {
            Ok(status) => Exit(status),
            // Only when somebody else reaped it; then it is gone, too.
            Err(_) => Exit(ExitStatus::default()),
        }
    }

    /// Kills it and waits until it is gone. What it wrote last is kept.
    pub async fn kill(&mut self) -> Exit {
        self.kill_group();
        let exit = self.exited().await;
        self.finish_reading().await;
        exit
    }

    /// Reads what is left in its pipes; a grandchild that holds them open is not waited for.
    pub async fn finish_reading(&mut self) {
        let read = async { while self.readers.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_millis(500), read).await.is_err() {
            self.readers.abort_all();
        }
    }

    fn kill_group(&self) {
        // `id` is there as long as the child was not waited for: only then is the number still its own.
        let group = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(group) = group {
            // Gone already is as good.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// The last that it wrote to its standard error.
    #[must_use]
    pub fn last_words(&self) -> String {
        self.tail.text()
    }

    /// The error it gave, in one line.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.tail.error()
    }
}

impl Drop for ModelHost {
    fn drop(&mut self) {
        self.kill_group();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_told_its_whole_configuration() {
        let mut configuration = Configuration::cpu(NonZeroU32::new(2).unwrap(), NonZeroU32::MIN);
        for (name, value) in [("ONEDNN_VERBOSE", "1"), ("LD_PRELOAD", "/x.so"), ("LABELS", "cat")] {
            configuration.environment.insert(name.into(), value.into());
        }
        let inputs = ["x=float32[1,3]".parse().unwrap()];
        let serving = Serving {
            model: Path::new("/cache/m.pt"),
            configuration: &configuration,
            inputs: &inputs,
        };
        let command = serving.command(Path::new("/bin/assay-host"), serving.arguments());
        let arguments: Vec<_> =
            command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        assert_eq!(
            arguments.join(" "),
            "serve /cache/m.pt --listen 127.0.0.1:0 --model-name model --workers 2 --intra-op-threads 1 \
             --max-batch 1 --max-batch-delay 0us --device cpu --dtype float32 --graph plain --allocator tuned \
             --input x=float32[1,3]"
        );
        let environment: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)))
            .collect();
        assert!(
            environment.contains(&("OMP_NUM_THREADS", "1"))
                && environment.contains(&("ONEDNN_VERBOSE", "1"))
        );
        let set = |name| environment.iter().any(|(set, _)| *set == name);
        assert!(!set("LD_PRELOAD") && !set("LABELS"), "{environment:?}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = find_program(Some(Path::new("/nonexistent/assay-host"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the model host program /nonexistent/assay-host does not exist"
        );
    }

    #[test]
    fn endings_are_told_in_words() {
        assert_eq!(Exit(ExitStatus::from_raw(11)).in_words(), "was killed by signal 11 (SIGSEGV)");
        assert_eq!(Exit(ExitStatus::from_raw(1 << 8)).in_words(), "exited with status 1");
    }
}
