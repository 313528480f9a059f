//! `assay-agent run`: the daemon on a candidate machine.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use assay_measure::{
    ids::{AgentName, BadId, EndpointName, InstanceTypeName},
    units::Bytes,
};
use clap::Args;
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, getppid, pidfd_open},
};
use thiserror::Error;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
};

use crate::{
    artifact_cache::{ArtifactCache, CacheError},
    confinement::{means::Means, private_folder},
    daemon::{self, EndRequest, Ended},
    hardware::facts::{Machine, host_facts},
    identity::{self, Source},
    link::{
        Introduction,
        coordinator::{BadCoordinates, Coordinates, Coordinator},
    },
    model_host::{self, ProgramMissing},
    runner::Runner,
    sandbox::{cgroup, mounts::Hierarchies},
    target::{Target, TargetError},
};

/// Arguments of `assay-agent run`.
#[derive(Clone, Debug, Args)]
pub struct RunArguments {
    /// The coordinator, such as http://127.0.0.1:7440
    #[arg(long, env = "ASSAY_SERVER", value_name = "URL")]
    pub server: String,
    /// Name of this agent, unique in the fleet [default: the machine's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<AgentName>,
    /// Instance type of this machine [default: asked of the machine, else "local"]
    #[arg(long, value_name = "TYPE")]
    pub instance_type: Option<InstanceTypeName>,
    /// Something to know this agent by; may be repeated
    #[arg(long = "label", visible_alias = "labels", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// File with the token to present to the coordinator
    #[arg(long, env = "ASSAY_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificates to trust instead of the system's, in PEM
    #[arg(long, value_name = "FILE")]
    pub ca_cert: Option<PathBuf>,
    /// How much disk the cache of models may take
    #[arg(long, value_name = "SIZE", default_value = "20GiB")]
    pub model_cache: Bytes,
    /// Folder of the cache [default: assay in the user's cache folder]
    #[arg(long, env = "ASSAY_CACHE_DIR", value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// The model host program [default: assay-host beside this program]
    #[arg(long, env = model_host::PROGRAM_VARIABLE, value_name = "FILE")]
    pub host_binary: Option<PathBuf>,
    /// A shared library of operators or classes that models may use, such as libtorchvision.so, built
    /// for the model host's libtorch; may be repeated. No job can name one
    #[arg(long = "op-library", value_name = "FILE")]
    pub op_libraries: Vec<PathBuf>,
    /// Let smaller instance types be emulated on this machine [default: only when its own is unknown]
    #[arg(long, overrides_with = "no_emulate")]
    pub emulate: bool,
    /// Do not let other instance types be emulated on this machine
    #[arg(long)]
    pub no_emulate: bool,
    /// A running server that jobs may load through this agent, and the name they know it by; may be
    /// repeated. The URL is http://HOST:PORT[/PATH], unix:PATH or grpc://HOST:PORT/MODEL
    #[arg(long = "endpoint", value_name = "NAME=URL", value_parser = endpoint)]
    pub endpoints: Vec<(EndpointName, Target)>,
    /// End when the process that started this one ends
    #[arg(long)]
    pub exit_with_parent: bool,
}

/// The agent cannot start.
#[derive(Debug, Error)]
pub enum RunError {
    #[error(transparent)]
    Coordinates(#[from] BadCoordinates),
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{0} holds no token")]
    EmptyToken(PathBuf),
    #[error("the machine's name cannot be the agent's")]
    Name(#[from] assay_measure::ids::BadId),
    #[error("the endpoint {0} is given twice")]
    EndpointTwice(EndpointName),
    #[error("{0} endpoints are given; an agent may offer {MOST_ENDPOINTS}")]
    TooManyEndpoints(usize),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Program(#[from] ProgramMissing),
    #[error("cannot read the operator library {}", path.display())]
    OperatorLibrary { path: PathBuf, source: std::io::Error },
    #[error("cannot set up the agent")]
    System(#[from] std::io::Error),
    #[error("{0}")]
    Refused(crate::link::coordinator::Refusal),
}

impl RunError {
    /// One thing to do next.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused(refusal) => Some(refusal.hint()),
            Self::Program(_) => {
                Some("install assay-host beside assay-agent, or give --host-binary or ASSAY_HOST")
            }
            Self::Coordinates(BadCoordinates::TokenInTheClear(_)) => {
                Some("serve with --tls-cert and --tls-key, and use an https:// address")
            }
            Self::Name(_) => Some("give --name"),
            Self::Cache(_) => Some("give --cache-dir a folder that can be written"),
            Self::EndpointTwice(_) => Some("give each --endpoint a name of its own"),
            Self::TooManyEndpoints(_) => Some("start another agent with the rest"),
            Self::OperatorLibrary { .. } => Some("--op-library takes the file of a shared library"),
            Self::Coordinates(_) | Self::Read { .. } | Self::EmptyToken(_) | Self::System(_) => {
                None
            }
        }
    }

    /// The exit code: 2 for what was asked wrongly, else as the cause says.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(refusal) => refusal.exit_code(),
            Self::Coordinates(_)
            | Self::Read { .. }
            | Self::EmptyToken(_)
            | Self::OperatorLibrary { .. }
            | Self::EndpointTwice(_)
            | Self::TooManyEndpoints(_)
            | Self::Name(_) => 2,
            Self::Cache(_) | Self::Program(_) | Self::System(_) => 1,
        }
    }
}

/// Runs the agent until it is asked to end. Must be called on the main thread, which every model host
/// dies with.
///
/// Returns whether it ended after the first request; the second one kills.
///
/// # Errors
/// [`RunError`] when it cannot start, or the coordinator refuses it.
pub fn run(arguments: &RunArguments) -> Result<bool, RunError> {
    // One thread is enough for a stream and a child process; measuring has threads of its own. An
    // idle agent must not be noticed on the machine that it will measure.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(arguments))?;
    match ended {
        Ended::Refused(refusal) => Err(RunError::Refused(refusal)),
        Ended::Asked => Ok(true),
        Ended::Killed => Ok(false),
    }
}

async fn serve(arguments: &RunArguments) -> Result<Ended, RunError> {
    let coordinator = Coordinator::new(&coordinates(arguments)?)?;
    // Found again for every trial; a missing one is better told now than by the first trial.
    model_host::find_program(arguments.host_binary.as_deref())?;
    let endpoints = endpoints(&arguments.endpoints)?;
    let machine = Machine::here();
    let instance_type = identity::instance_type(arguments.instance_type.clone()).await;
    let introduction = Introduction {
        name: name(arguments)?,
        emulates: arguments.emulate
            || (!arguments.no_emulate && instance_type.source == Source::Local),
        instance_type,
        fingerprint: identity::host_fingerprint(),
        host: host_facts(&machine),
        labels: arguments.labels.iter().cloned().collect::<BTreeMap<_, _>>(),
        endpoints: endpoints.keys().cloned().collect(),
    };
    let hierarchies = Hierarchies::of_this_process();
    let folders = private_folder::remove_leftovers();
    let control_groups = cgroup::remove_leftovers(&hierarchies);
    if folders + control_groups > 0 {
        tracing::info!(folders, control_groups, "what a killed agent left is removed");
    }
    let means = Means::of_this_process();
    if !means.keep_files() {
        tracing::warn!(
            "neither Landlock nor a mount namespace can be had: models can read and write what this agent's user can"
        );
    }
    let folder = arguments.cache_dir.clone().unwrap_or_else(default_cache_folder);
    let runner = Runner {
        coordinator: coordinator.clone(),
        cache: ArtifactCache::open(folder, arguments.model_cache)?,
        host_program: arguments.host_binary.clone(),
        operator_libraries: operator_libraries(&arguments.op_libraries)?,
        machine,
        hierarchies,
        means,
        endpoints,
    };
    tracing::info!(
        name = %introduction.name,
        instance_type = %introduction.instance_type.name,
        vcpus = introduction.host.vcpus,
        server = arguments.server,
        "agent starts"
    );
    let (requests, end_requests) = mpsc::channel(4);
    let mut watchers = JoinSet::new();
    watch_signals(&mut watchers, &requests)?;
    if arguments.exit_with_parent {
        watch_parent(requests)?;
    }
    Ok(daemon::run(coordinator, introduction, Arc::new(runner), end_requests).await)
}

/// The files by the paths that a host finds them under; a missing one is better told now than by every trial.
fn operator_libraries(given: &[PathBuf]) -> Result<Vec<PathBuf>, RunError> {
    let found = |path: &PathBuf| {
        let whole = fs::canonicalize(path)?;
        if whole.metadata()?.is_file() {
            Ok(whole)
        } else {
            Err(std::io::Error::other("it is no file"))
        }
    };
    let read = |path| {
        found(path).map_err(|source| RunError::OperatorLibrary { path: path.clone(), source })
    };
    given.iter().map(read).collect()
}

fn coordinates(arguments: &RunArguments) -> Result<Coordinates, RunError> {
    let read = |path: &Path| {
        fs::read(path).map_err(|source| RunError::Read { path: path.to_owned(), source })
    };
    let token = match &arguments.token_file {
        Some(path) => {
            let text = String::from_utf8_lossy(&read(path)?).trim().to_owned();
            if text.is_empty() {
                return Err(RunError::EmptyToken(path.clone()));
            }
            Some(text)
        }
        None => None,
    };
    let ca_certificate = arguments.ca_cert.as_deref().map(read).transpose()?;
    Ok(Coordinates { url: arguments.server.clone(), ca_certificate, token })
}

fn name(arguments: &RunArguments) -> Result<AgentName, RunError> {
    if let Some(name) = &arguments.name {
        return Ok(name.clone());
    }
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let harmless = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let text: String = node.chars().take(64).map(harmless).collect();
    Ok(AgentName::new(text)?)
}

fn default_cache_folder() -> PathBuf {
    let set = |variable| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(env::temp_dir)
        .join("assay")
        .join("artifacts")
}

/// As many as a coordinator takes of one agent.
const MOST_ENDPOINTS: usize = 32;

fn endpoints(given: &[(EndpointName, Target)]) -> Result<BTreeMap<EndpointName, Target>, RunError> {
    if given.len() > MOST_ENDPOINTS {
        return Err(RunError::TooManyEndpoints(given.len()));
    }
    let mut endpoints = BTreeMap::new();
    for (name, target) in given {
        if endpoints.insert(name.clone(), target.clone()).is_some() {
            return Err(RunError::EndpointTwice(name.clone()));
        }
    }
    Ok(endpoints)
}

fn endpoint(text: &str) -> Result<(EndpointName, Target), String> {
    let (name, url) =
        text.split_once('=').ok_or("write it like prod=http://127.0.0.1:8080/invocations")?;
    let name = name.parse().map_err(|error: BadId| error.to_string())?;
    let target = url.parse().map_err(|error: TargetError| error.to_string())?;
    Ok((name, target))
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it like rack=7".to_owned()),
    }
}

fn watch_signals(
    watchers: &mut JoinSet<()>,
    requests: &mpsc::Sender<EndRequest>,
) -> Result<(), RunError> {
    for (kind, by) in [(SignalKind::interrupt(), "SIGINT"), (SignalKind::terminate(), "SIGTERM")] {
        let mut signals = signal(kind)?;
        let requests = requests.clone();
        watchers.spawn(async move {
            while signals.recv().await.is_some() {
                if requests.send(EndRequest { by: by.to_owned() }).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}

/// Asks for the end once the parent process has ended. Unlike the parent death signal this does not
/// depend on which of the parent's threads started us. The waiting thread ends with the process.
fn watch_parent(requests: mpsc::Sender<EndRequest>) -> Result<(), RunError> {
    let parent: Option<Pid> = getppid();
    let handle = parent.map(|parent| pidfd_open(parent, PidfdFlags::empty())).transpose();
    let handle = handle.map_err(std::io::Error::from)?;
    std::thread::Builder::new().name("parent".to_owned()).spawn(move || {
        // A parent that was gone before we looked has been replaced by another process.
        if let Some(handle) = handle
            && getppid() == parent
        {
            // Readable means ended.
            let mut descriptors = [PollFd::new(&handle, PollFlags::IN)];
            while poll(&mut descriptors, None) == Err(rustix::io::Errno::INTR) {}
        }
        let _ =
            requests.blocking_send(EndRequest { by: "the end of its parent process".to_owned() });
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: RunArguments,
    }

    fn parse(line: &str) -> RunArguments {
        Line::try_parse_from(line.split(' ')).unwrap().arguments
    }

    #[test]
    fn a_line_with_everything_is_understood() {
        let arguments = parse(
            "run --server http://h:1 --name a.b --instance-type ml.c5.large --label rack=7 --label x=y=z \
             --model-cache 512MiB --emulate --exit-with-parent",
        );
        assert_eq!(arguments.labels, [("rack".into(), "7".into()), ("x".into(), "y=z".into())]);
        assert_eq!(arguments.model_cache, Bytes::mib(512));
        assert!(arguments.emulate && arguments.exit_with_parent);
        assert!(!parse("run --server http://h:1 --emulate --no-emulate").emulate);
    }

    #[test]
    fn the_machines_name_serves_when_none_is_given() {
        assert!(name(&parse("run --server http://h:1")).is_ok());
        assert!(Line::try_parse_from(["run", "--server", "http://h:1", "--name", "a b"]).is_err());
        assert!(Line::try_parse_from(["run", "--server", "http://h:1", "--label", "=7"]).is_err());
    }

    #[test]
    fn endpoints_have_names_of_their_own_and_addresses_that_can_be_loaded() {
        let arguments = parse(
            "run --server http://h:1 --endpoint a=http://127.0.0.1:1/x?y=z --endpoint b=unix:/s",
        );
        let known = endpoints(&arguments.endpoints).unwrap();
        let shown: Vec<String> = known.iter().map(|(n, target)| format!("{n} {target}")).collect();
        assert_eq!(shown, ["a http://127.0.0.1:1/x?y=z", "b unix:/s"]);
        for bad in ["a", "=http://h:1", "a b=http://h:1", "a=ftp://h", "a=https://h", "a_b=unix:/s"]
        {
            let line = ["run", "--server", "http://h:1", "--endpoint", bad];
            assert!(Line::try_parse_from(line).is_err(), "{bad}");
        }
        let twice = parse("run --server http://h:1 --endpoint a=unix:/s --endpoint a=unix:/t");
        assert!(matches!(endpoints(&twice.endpoints), Err(RunError::EndpointTwice(_))));
        let many: Vec<_> = (0..33).map(|n| endpoint(&format!("e{n}=unix:/s")).unwrap()).collect();
        assert!(matches!(endpoints(&many), Err(RunError::TooManyEndpoints(33))));
    }

    #[test]
    fn a_token_file_must_hold_a_token() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut arguments = parse("run --server http://127.0.0.1:1");
        arguments.token_file = Some(file.path().to_owned());
        assert!(matches!(coordinates(&arguments), Err(RunError::EmptyToken(_))));
        fs::write(file.path(), "secret\n").unwrap();
        assert_eq!(coordinates(&arguments).unwrap().token.as_deref(), Some("secret"));
        arguments.token_file = Some("/nonexistent".into());
        assert!(matches!(coordinates(&arguments), Err(RunError::Read { .. })));
    }
}
