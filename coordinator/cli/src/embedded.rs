//! A coordinator inside this process, and an agent child on this machine: what `assay recommend`
//! uses when no server is named. Jobs go the same way as in a fleet: gRPC over loopback.

use std::{
    env,
    ffi::OsStr,
    fs::Permissions,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use assay_measure::printable;
use assay_server::{
    data_dir::remove_abandoned,
    server::{RunningServer, Server},
    settings::{Listen, ServerSettings},
};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{
    binaries,
    client::Client,
    failure::{Failure, OrFail},
    serve::ended_by_itself,
};

const AGENT_NAME: &str = "this-machine";
/// How the directories begin that such a run keeps its store in.
const PREFIX: &str = "assay-";
const ATTACHED_WITHIN: Duration = Duration::from_secs(20);
const ENDS_WITHIN: Duration = Duration::from_secs(10);
/// How much of the agent's log is kept for the case that it fails.
const KEPT_LOG: usize = 16 << 10;

/// The programs and places that an embedded run uses.
#[derive(Debug)]
pub(crate) struct EmbeddedOptions<'a> {
    pub(crate) save: Option<&'a Path>,
    pub(crate) agent_binary: Option<&'a Path>,
    pub(crate) host_binary: Option<&'a Path>,
    pub(crate) op_libraries: &'a [PathBuf],
    pub(crate) verbose: bool,
}

/// Coordinator and agent while they live.
pub(crate) struct Embedded {
    server: RunningServer,
    data_dir: PathBuf,
    agent: Child,
    agent_log: Option<tokio::task::JoinHandle<String>>,
    url: String,
    /// Held so that the directory lives as long as the store in it.
    _scratch: Option<TempDir>,
}

impl Embedded {
    /// Starts both, and waits until the agent is attached.
    pub(crate) async fn start(options: EmbeddedOptions<'_>) -> Result<Self, Failure> {
        let agent_binary =
            binaries::find("assay-agent", options.agent_binary, "--agent-binary", "ASSAY_AGENT")?;
        let host_binary = match options.host_binary {
            Some(path) => binaries::find("assay-host", Some(path), "--host-binary", "ASSAY_HOST")?,
            None => host_beside(&agent_binary)?,
        };
        let (data_dir, scratch) = place(options.save)?;
        let listen = Listen::At(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let server = Server::start(ServerSettings::new(listen, data_dir.clone()))
            .await
            .map_err(crate::serve::start_failure)?;
        let url = format!("http://{}", server.address());
        let mut agent =
            spawn_agent(&agent_binary, &host_binary, options.op_libraries, &url, &data_dir)?;
        let agent_log =
            agent.stderr.take().map(|stderr| tokio::spawn(keep_log(stderr, options.verbose)));
        let mut embedded = Self { server, agent, agent_log, url, data_dir, _scratch: scratch };
        match embedded.wait_attached().await {
            Ok(()) => Ok(embedded),
            Err(failure) => {
                embedded.shut_down().await;
                Err(failure)
            }
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Waits until one of the two has ended; neither should while a job runs.
    pub(crate) async fn ended(&mut self) -> Failure {
        tokio::select! {
            ended = self.server.wait() => return ended_by_itself(ended, &self.data_dir),
            _ = self.agent.wait() => {}
        }
        self.agent_ended().await
    }

    /// Waits until the agent has ended; it should not while a job runs.
    async fn agent_ended(&mut self) -> Failure {
        let ended = match self.agent.wait().await {
            Ok(status) => format!("the agent ended: {status}"),
            Err(error) => format!("the agent is lost: {error}"),
        };
        let failure = Failure::failed(ended);
        match self.take_log().await {
            Some(line) => failure.cause(line),
            None => failure,
        }
    }

    /// Ends the agent, then the coordinator. The agent ends its model host.
    pub(crate) async fn shut_down(mut self) {
        let pid = self.agent.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // The child has not been waited for, so the pid is still its own; it may have ended.
            let _ = rustix::process::kill_process(pid, Signal::TERM);
            if timeout(ENDS_WITHIN, self.agent.wait()).await.is_err() {
                tracing::warn!(?pid, "the agent did not end in time and is killed");
                // Already gone is as good as killed.
                drop(self.agent.kill().await);
            }
        }
        if let Some(log) = self.agent_log.take() {
            log.abort();
        }
        if let Err(error) = self.server.shut_down(ENDS_WITHIN).await {
            tracing::warn!(%error, "the coordinator did not end in order");
        }
    }

    async fn wait_attached(&mut self) -> Result<(), Failure> {
        let mut client = Client::connect_to(&self.url).await?;
        let deadline = Instant::now() + ATTACHED_WITHIN;
        loop {
            let agents = client.agents().await?;
            if agents.iter().any(|agent| agent.connected) {
                return Ok(());
            }
            if let Ok(Some(_)) = self.agent.try_wait() {
                return Err(self.agent_ended().await);
            }
            if Instant::now() > deadline {
                return Err(Failure::failed(format!(
                    "the agent did not attach within {ATTACHED_WITHIN:?}"
                ))
                .hint("`assay-agent doctor` checks this machine"));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The last line that the agent wrote.
    async fn take_log(&mut self) -> Option<String> {
        let log = timeout(Duration::from_secs(1), self.agent_log.take()?).await.ok()?.ok()?;
        log.lines().rev().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned())
    }
}

fn host_beside(agent_binary: &Path) -> Result<PathBuf, Failure> {
    let beside = agent_binary.with_file_name("assay-host");
    if beside.is_file() {
        return Ok(beside);
    }
    binaries::find("assay-host", None, "--host-binary", "ASSAY_HOST")
}

fn place(save: Option<&Path>) -> Result<(PathBuf, Option<TempDir>), Failure> {
    if let Some(directory) = save {
        return Ok((directory.to_owned(), None));
    }
    let left = remove_abandoned(&env::temp_dir(), PREFIX);
    if left > 0 {
        tracing::info!(left, "directories of runs that were killed are removed");
    }
    // Others pass through, as the user of a model host does to a model, and see nothing on the way.
    let scratch = tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(Permissions::from_mode(0o711))
        .tempdir()
        .or_failed("cannot make a temporary directory")?;
    Ok((scratch.path().to_owned(), Some(scratch)))
}

/// The agent gets a process group of its own: Ctrl-C on the terminal reaches only this process, which
/// then ends the job in order. It dies with this process however that dies.
fn spawn_agent(
    agent: &Path,
    host: &Path,
    op_libraries: &[PathBuf],
    url: &str,
    data_dir: &Path,
) -> Result<Child, Failure> {
    let op_libraries =
        op_libraries.iter().flat_map(|file| [OsStr::new("--op-library"), file.as_os_str()]);
    Command::new(agent)
        .args(["run", "--server", url, "--name", AGENT_NAME, "--emulate", "--exit-with-parent"])
        .arg("--host-binary")
        .arg(host)
        .arg("--cache-dir")
        .arg(data_dir.join("agent-cache"))
        .args(op_libraries)
        .env_remove("ASSAY_TOKEN_FILE")
        .env_remove("ASSAY_SERVER")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .or_failed(format_args!("cannot start {}", agent.display()))
}

async fn keep_log(mut stderr: tokio::process::ChildStderr, verbose: bool) -> String {
    let mut kept = Vec::new();
    let mut piece = vec![0; 4096];
    while let Ok(read) = stderr.read(&mut piece).await {
        if read == 0 {
            break;
        }
        if verbose {
            anstream::eprint!("{}", printable::text(&String::from_utf8_lossy(&piece[..read])));
        }
        kept.extend_from_slice(&piece[..read]);
        let excess = kept.len().saturating_sub(KEPT_LOG);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).into_owned()
}
