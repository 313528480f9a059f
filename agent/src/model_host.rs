//! The model host as a child process: found, started within its limits, watched, and gone in the end.
//!
//! It runs in a process group of its own and dies with the agent: killed by id on every path of this
//! module, and by the kernel (parent death signal) when the agent itself is killed. Its exit is
//! watched from the start, so a segfault ends a trial within a moment.
//!
//! The model may print what it likes and decides nothing by that: the host listens on a socket that it
//! inherits, so the agent knows the address, and tells of its start over a pipe of its own.

pub mod batch_log;
pub mod client;
pub mod comparison;
mod exit;
pub mod launch;
mod printed;
mod start;
mod status;
mod surroundings;

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    num::NonZeroU32,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use assay_measure::{
    configuration::Configuration, environment, hardware::LimitInForce, input_spec::InputSpec,
    units::Bytes,
};
use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;
use tokio::{net::unix::pipe::Receiver, process::Child, task::JoinSet};

use crate::confinement::{descendants::Descendants, means::Means, private_folder::PrivateFolder};
use batch_log::BatchLog;
pub use exit::Exit;
use printed::Tail;
pub use start::StartError;
use start::{Inherited, Launch};
pub use status::Progress;
use status::Told;
pub use surroundings::Surroundings;

/// The name under which the host serves the model.
pub const MODEL_NAME: &str = "model";
const PROGRAM: &str = "assay-host";
pub const PROGRAM_VARIABLE: &str = "ASSAY_HOST";
/// What a host writes besides the model of an archive: kernels that a GPU's driver keeps.
const LARGEST_FILE: Bytes = Bytes::mib(256);
/// How an archive begins, whatever it is called.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// What the model of an archive may unpack to; the host's own limit is the same.
const LARGEST_UNPACKED: Bytes = Bytes::gib(32);

/// The host program is nowhere to be found.
#[derive(Debug, Error)]
#[error("the model host program {path} does not exist")]
pub struct ProgramMissing {
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

#[derive(Clone, Debug)]
pub struct Serving<'a> {
    pub model: &'a Path,
    pub configuration: &'a Configuration,
    pub inputs: &'a [InputSpec],
}

impl Serving<'_> {
    fn arguments(&self) -> Vec<OsString> {
        let c = self.configuration;
        let mut arguments: Vec<OsString> = vec!["serve".into(), surroundings::argument(self.model)];
        let mut add = |flag: &str, value: String| arguments.extend([flag.into(), value.into()]);
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

    /// The program with its arguments and an environment of its own; `home` is all that it may write to.
    fn command(
        &self,
        program: &Path,
        arguments: &[OsString],
        home: &Path,
    ) -> std::process::Command {
        let mut command = std::process::Command::new(program);
        let threads = self.configuration.intra_op_threads.to_string();
        command
            .args(arguments)
            .env_clear()
            .envs(surroundings::passed_on())
            // Whatever a coordinator sent: the last gate stands where the process begins.
            .envs(environment::split(&self.configuration.environment).0)
            .env("OMP_NUM_THREADS", &threads)
            .env("MKL_NUM_THREADS", &threads)
            // Its last lines stand in failures: only what went wrong belongs there.
            .env("ASSAY_LOG", "warn")
            .env("HOME", home)
            .env("TMPDIR", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The largest file that the host has to write.
    fn largest_file(&self) -> Bytes {
        let mut start = [0; GZIP_MAGIC.len()];
        // A file that cannot be read is the host's to tell.
        let read = File::open(self.model).and_then(|mut model| model.read_exact(&mut start));
        let is_archive = read.is_ok() && start == GZIP_MAGIC;
        if is_archive { LARGEST_UNPACKED } else { LARGEST_FILE }
    }
}

/// A running host. Dropping it kills it.
#[derive(Debug)]
pub struct ModelHost {
    child: Child,
    process_id: u32,
    address: Option<SocketAddr>,
    told: Told,
    printed: Tail,
    readers: JoinSet<()>,
    batch_log: Option<BatchLog>,
    in_force: Vec<LimitInForce>,
    /// Where nothing keeps it from starting processes.
    descendants: Option<Descendants>,
    /// Removed when the host is gone.
    _folder: PrivateFolder,
}

/// A host did not come to serve.
#[derive(Debug, Error)]
pub enum NotReady {
    #[error("the model host {} before it was ready", .0.in_words())]
    Exited(Exit),
    #[error(
        "the model host was not ready within {:.1} s: {}; allow more with --ready-timeout",
        within.as_secs_f64(),
        progress.in_words()
    )]
    TooSlow { within: Duration, progress: Progress },
    #[error("the model host was not started to serve")]
    NoServer,
}

impl ModelHost {
    /// Starts the host within its limits. It must be called on a thread that lives as long as the
    /// host is wanted (see [`launch::inside`]).
    ///
    /// # Errors
    /// When the program cannot be executed or the limits not be entered.
    pub fn start(around: &Surroundings<'_>, serving: &Serving<'_>) -> Result<Self, StartError> {
        let no_socket = |source| StartError::System { what: "a socket", source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(no_socket)?;
        let address = listener.local_addr().map_err(no_socket)?;
        let listener = Arc::new(File::from(OwnedFd::from(listener)));
        let folder = Self::folder(around.means)?;
        let mut host = Self::launch(around, serving, serving.arguments(), Some(listener), folder)?;
        host.address = Some(address);
        Ok(host)
    }

    /// Starts it to compare outputs instead: it answers once (see [`ModelHost::compared`]) and ends. The
    /// bodies lie in `folder`.
    ///
    /// # Errors
    /// As [`ModelHost::start`].
    pub fn start_comparing(
        around: &Surroundings<'_>,
        serving: &Serving<'_>,
        bodies: &comparison::Bodies,
        folder: PrivateFolder,
    ) -> Result<Self, StartError> {
        let arguments = serving.comparing_arguments(bodies);
        Self::launch(around, serving, arguments, None, folder)
    }

    /// A folder for the next host.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(means: Means) -> Result<PrivateFolder, StartError> {
        PrivateFolder::create(means.user)
            .map_err(|source| StartError::System { what: "a folder", source })
    }

    fn launch(
        around: &Surroundings<'_>,
        serving: &Serving<'_>,
        mut arguments: Vec<OsString>,
        listener: Option<Arc<File>>,
        mut folder: PrivateFolder,
    ) -> Result<Self, StartError> {
        let no_pipe = |source| StartError::System { what: "a pipe", source };
        let (status, writer) = Told::pipe().map_err(no_pipe)?;
        let batch_log = listener.is_some().then(|| serving.batch_log()).flatten();
        let inherited = Inherited { status: Arc::new(writer), listener, batch_log };
        arguments.extend(around.arguments());
        arguments.extend(inherited.arguments());
        let program = fs::canonicalize(around.program)
            .map_err(|source| StartError::Files { program: around.program.to_owned(), source })?;
        let launch = Launch { around, serving, program, arguments, inherited };
        // A filter of system calls leaves nothing to adopt.
        let descendants = (!around.means.filter).then(Descendants::adopt).transpose();
        let descendants = descendants.map_err(no_pipe)?;
        let (child, in_force) = launch.start(&mut folder)?;
        let batch_log = launch.inherited.batch_log;
        let mut host = Self::watch(child, status, batch_log, in_force, folder).map_err(no_pipe)?;
        host.descendants = descendants;
        Ok(host)
    }

    fn watch(
        mut child: Child,
        status: Receiver,
        batch_log: Option<BatchLog>,
        in_force: Vec<LimitInForce>,
        folder: PrivateFolder,
    ) -> io::Result<Self> {
        let process_id =
            child.id().ok_or_else(|| io::Error::other("the child has no process id"))?;
        let (told, printed) = (Told::default(), Tail::default());
        let mut readers = JoinSet::new();
        readers.spawn(told.clone().follow(status));
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(printed.clone().follow(stderr));
        }
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(printed.clone().follow(stdout));
        }
        Ok(Self {
            child,
            process_id,
            address: None,
            told,
            printed,
            readers,
            batch_log,
            in_force,
            descendants: None,
            _folder: folder,
        })
    }

    /// Where it tells its batches; none when it serves one request at a time.
    #[must_use]
    pub fn batch_log(&self) -> Option<&BatchLog> {
        self.batch_log.as_ref()
    }

    /// Where it serves, if it does: connections are taken from the start.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    #[must_use]
    pub fn in_force(&self) -> &[LimitInForce] {
        &self.in_force
    }

    /// Waits until it answers `/ping`. Its socket takes connections from the start, and holds them until
    /// they are served.
    ///
    /// # Errors
    /// [`NotReady`] when it ends first, or is not ready `within` the time given.
    pub async fn ready(&mut self, within: Duration) -> Result<SocketAddr, NotReady> {
        let address = self.address.ok_or(NotReady::NoServer)?;
        let come_up = async {
            while !client::is_healthy(address).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let told = self.told.clone();
        tokio::select! {
            // A host that died hangs up on whoever asks for its health: its end is the reason.
            biased;
            exit = Self::exit_of(&mut self.child) => Err(NotReady::Exited(exit)),
            outcome = tokio::time::timeout(within, come_up) => match outcome {
                Ok(()) => Ok(address),
                Err(_) => Err(NotReady::TooSlow { within, progress: told.progress() }),
            },
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
        if let Some(descendants) = self.descendants.take() {
            // The host is reaped, so none of those that are left is it.
            descendants.end();
        }
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

    /// The last that it and the model printed: nothing to be believed, and something to look at.
    #[must_use]
    pub fn last_words(&self) -> String {
        self.printed.text()
    }

    /// Why it ends, as it told over its own pipe.
    #[must_use]
    pub fn failure(&self) -> Option<status::Failure> {
        self.told.progress().failure
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
        let command = serving.command(
            Path::new("/bin/assay-host"),
            &serving.arguments(),
            Path::new("/scratch"),
        );
        let arguments: Vec<_> =
            command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        assert_eq!(
            arguments.join(" "),
            "serve /cache/m.pt --model-name model --workers 2 --intra-op-threads 1 \
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
    fn an_archive_may_unpack_to_more_whatever_it_is_called() {
        let configuration = Configuration::cpu(NonZeroU32::MIN, NonZeroU32::MIN);
        let largest = |content: &[u8]| {
            let model = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(model.path(), content).unwrap();
            let serving =
                Serving { model: model.path(), configuration: &configuration, inputs: &[] };
            serving.largest_file()
        };
        assert_eq!(largest(&[0x1f, 0x8b, 8]), LARGEST_UNPACKED);
        assert_eq!(largest(b"PK\x03\x04"), LARGEST_FILE);
        assert_eq!(largest(b""), LARGEST_FILE);
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = find_program(Some(Path::new("/nonexistent/assay-host"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the model host program /nonexistent/assay-host does not exist"
        );
    }
}
