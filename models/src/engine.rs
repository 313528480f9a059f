//! The engine: a bounded queue of requests in front of N worker threads, each running forward passes
//! of one TorchScript module on M intra-op threads.
//!
//! Plain OS threads, no async runtime: a worker blocks in libtorch for milliseconds. Decoding payloads
//! and answering over the network are the server's business; here tensors come in and go out.

mod batch;
mod batch_limit;
mod caller_runs;
mod devices;
mod fit;
mod nan;
mod queue;
mod team;
mod warm_up;
mod worker;

pub(crate) mod bare;
pub(crate) mod batch_log;

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use assay_measure::{
    configuration::{Allocator, Device, Graph, Precision},
    host_status::HostStatus,
    input_spec::{DType, InputSpec},
};
use thiserror::Error;

pub use self::caller_runs::LONGEST_CALLER_PASS;
pub(crate) use self::devices::set_up_thread;
pub(crate) use self::nan::count as nan_count;
use self::{
    batch_log::BatchLog,
    caller_runs::CallerRuns,
    fit::Signature,
    queue::{Queue, Refusal},
    team::Team,
    warm_up::{WarmUp, WarmedUp},
    worker::Request,
};
use crate::{
    artifact::Artifact,
    status::StatusPipe,
    tensor::WireTensor,
    torch::{self, CallError, Missing, Module, TorchError, description::Description},
};

/// How the engine runs the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// The model's name, as `/v2/models/NAME` shows it.
    pub name: String,
    /// Worker threads, each with its own forward pass.
    pub workers: NonZeroU32,
    /// OpenMP threads inside one forward pass.
    pub intra_op_threads: NonZeroU32,
    /// The largest number of requests joined into one forward pass; 1 is no batching. See
    /// [`ModelFacts::batch_limit`].
    pub max_batch: NonZeroU32,
    /// How long a worker waits for a batch to fill.
    pub max_batch_delay: Duration,
    pub device: Device,
    /// Numeric precision of weights and arithmetic.
    pub dtype: Precision,
    /// Whether the graph is rewritten before serving.
    pub graph: Graph,
    /// The memory settings that are in force in this process (see [`crate::allocator`]); reported, not set, here.
    pub allocator: Allocator,
    /// Requests that may wait; more are refused with [`InferError::Overloaded`].
    pub queue_limit: usize,
    /// Processors that this process may use.
    pub processors: NonZeroUsize,
    /// With one processor, a pass is run by the thread that brings the request if the last one took no
    /// longer; [`LONGEST_CALLER_PASS`] is what handing it over costs.
    pub longest_caller_pass: Duration,
}

/// What is known about the model that is being served.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFacts {
    pub name: String,
    /// SHA-256 of the artifact's file, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Size of the artifact's file.
    pub size_bytes: u64,
    /// The arguments of `forward`, in order, `self` left out.
    pub inputs: Vec<InputFacts>,
    /// The outputs, as the warm-up run with the declared inputs returned them; empty when no input was declared.
    pub outputs: Vec<OutputFacts>,
    /// How many requests share a forward pass at most: [`EngineSettings::max_batch`], or less if the
    /// warm-up run found that larger batches take more time per request.
    pub batch_limit: NonZeroU32,
    /// The number of parameters (elements, buffers left out).
    pub parameters: u64,
    /// `forward(x: Tensor) -> Tensor`.
    pub signature: String,
    /// The inputs as declared on the command line.
    pub declared: Vec<InputSpec>,
    /// The memory settings of the process.
    pub allocator: Allocator,
}

/// One argument of `forward`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFacts {
    /// The argument's name in `forward`.
    pub name: String,
    /// The element type, when it was declared.
    pub dtype: Option<DType>,
    /// The shape, when it was declared; -1 is a free dimension (the first one, where the engine batches).
    pub shape: Option<Vec<i64>>,
    /// Whether `forward` has a default for it.
    pub optional: bool,
}

/// One tensor that `forward` returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFacts {
    /// Its name: the dict key, `output`, or `output_0`, `output_1` …
    pub name: String,
    pub dtype: DType,
    /// The shape for the declared inputs; -1 is the batch dimension.
    pub shape: Vec<i64>,
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Inferred {
    /// The output tensors, in the order that `forward` returns them.
    pub outputs: Vec<WireTensor>,
    /// How many requests shared the forward pass.
    pub batch_size: u32,
    /// Time from [`Engine::submit`] to the start of the forward pass.
    pub queue_us: u64,
    /// Time of the forward pass, conversions of inputs and outputs included.
    pub compute_us: u64,
    /// How many elements of the outputs are NaN.
    pub nan_outputs: u64,
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InferError {
    /// The inputs do not fit the model: wrong count, element type, shape or name.
    #[error("{message}")]
    Rejected { message: String },
    #[error("forward() raised in TorchScript: {message}")]
    ModelRaised { message: String },
    #[error("{message}")]
    Unsendable { message: String },
    #[error("the queue is full ({limit} requests are waiting)")]
    Overloaded { limit: usize },
    #[error("the model host is stopping")]
    Stopping,
}

impl From<CallError> for InferError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(message) => Self::Rejected { message },
            CallError::Raised(message) => Self::ModelRaised { message },
            CallError::Unsendable(message) => Self::Unsendable { message },
        }
    }
}

/// Why a model cannot be served.
#[derive(Debug, Error)]
pub enum EngineError {
    #[error("libtorch cannot load {path}: {message}")]
    Load { path: String, message: String },
    /// It names an operator or a class that no library has brought.
    #[error("the model in {path} needs the {}", needed(missing))]
    Missing { path: String, missing: Missing },
    #[error("device {device} is not available: {message}")]
    Device { device: Device, message: String },
    #[error("the model cannot be called: it has no forward(){}", other_methods(methods))]
    NoForward { methods: Vec<String> },
    #[error("the model cannot be called: {message}")]
    Signature { message: String },
    /// The declared inputs do not fit `forward`, or the warm-up run with them failed.
    #[error("the model does not run with the declared inputs")]
    WarmUp { source: InferError },
    #[error("cannot prepare the model ({what}): {message}")]
    Prepare { what: String, message: String },
    /// A thread could not be started, or a worker died while starting.
    #[error("cannot start a worker: {0}")]
    Thread(String),
}

fn needed(missing: &Missing) -> String {
    let name = &missing.name;
    match &missing.library {
        Some(library) => format!(
            "{name}, which the library {library} brings: name that library's file with --op-library"
        ),
        None => format!("{name}, which libtorch {} does not have", torch::version()),
    }
}

fn other_methods(methods: &[String]) -> String {
    match methods {
        [] => ", and no other method".to_owned(),
        [only] => format!("; its one method is {only}"),
        several => format!("; its methods are {}", several.join(", ")),
    }
}

/// Something that runs a model: the engine, or a stand-in in tests.
pub trait Infer: Send + Sync + 'static {
    /// What is known about the model.
    fn facts(&self) -> &ModelFacts;
    fn settings(&self) -> &EngineSettings;
    /// Queues a request; does not wait for others, and calls `reply` once from any thread, this one included.
    fn submit(&self, inputs: Vec<WireTensor>, reply: Reply);
}

/// Receives the answer to one request, on a worker's thread or the one that submitted it: it must not block.
pub type Reply = Box<dyn FnOnce(Result<Inferred, InferError>) + Send>;

/// Who is told what an engine does.
#[derive(Debug, Default)]
pub struct Telling {
    pub(crate) batch_log: Option<BatchLog>,
    pub(crate) status: Option<StatusPipe>,
}

/// A loaded model with its workers.
pub struct Engine {
    facts: ModelFacts,
    settings: EngineSettings,
    signature: Signature,
    queue: Arc<Queue<Request>>,
    caller_runs: Option<CallerRuns>,
    workers: Mutex<Option<Team>>,
}

impl Engine {
    /// Loads the module, starts the workers and, when inputs are declared, runs each once or more with
    /// them; returns when all workers are ready.
    ///
    /// # Errors
    /// [`EngineError`] names what stands in the way.
    pub fn start(
        artifact: &Artifact,
        declared: &[InputSpec],
        settings: &EngineSettings,
        Telling { batch_log, status }: Telling,
    ) -> Result<Self, EngineError> {
        torch::use_one_interop_thread();
        let how = (settings.device, settings.dtype, settings.graph);
        let (module, description, signature) = load_callable(artifact, declared, how)?;
        let queue = Arc::new(Queue::new(settings.queue_limit));
        if let Some(status) = &status {
            status.tell(&HostStatus::Loaded);
        }
        let warm_up = WarmUp::new(&signature, declared, status)?;
        let (team, WarmedUp { outputs, batch_limit }) =
            Team::start(module, &queue, settings, warm_up, batch_log)?;
        if batch_limit < settings.max_batch {
            tracing::info!(asked = %settings.max_batch, pays = %batch_limit, "larger batches take more time per request");
        }
        let facts = ModelFacts {
            name: settings.name.clone(),
            sha256: artifact.sha256.clone(),
            size_bytes: artifact.size_bytes,
            inputs: signature.inputs().to_vec(),
            outputs,
            batch_limit,
            parameters: description.parameters,
            signature: description.signature(),
            declared: declared.to_vec(),
            allocator: settings.allocator,
        };
        Ok(Self {
            facts,
            settings: settings.clone(),
            signature,
            queue,
            caller_runs: CallerRuns::new(settings, team.shared()),
            workers: Mutex::new(Some(team)),
        })
    }

    /// Takes no more requests, finishes those that wait and joins the workers; those that are still busy
    /// after [`GRACE`] (a model that hangs) are left behind.
    pub fn shut_down(&self) {
        self.queue.close();
        let team = self.workers.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(team) = team {
            team.join(GRACE);
        }
    }
}

impl Infer for Engine {
    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// With one processor, a request that nobody is ahead of is run here and now, if the last took no
    /// longer than handing it over would.
    fn submit(&self, inputs: Vec<WireTensor>, reply: Reply) {
        let inputs = match self.signature.fit(inputs) {
            Ok(inputs) => inputs,
            Err(message) => return reply(Err(InferError::Rejected { message })),
        };
        let mut request = Request::new(inputs, reply);
        if let Some(here) = &self.caller_runs {
            match here.run(&self.queue, request) {
                Ok(()) => return,
                Err(back) => request = back,
            }
        }
        if let Err((refusal, request)) = self.queue.push(request) {
            request.refuse(match refusal {
                Refusal::Full => InferError::Overloaded { limit: self.settings.queue_limit },
                Refusal::Closed => InferError::Stopping,
            });
        }
    }
}

impl Drop for Engine {
    /// Without [`Engine::shut_down`] the workers still end, but nobody waits for them.
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// How long [`Engine::shut_down`] waits for busy workers.
const GRACE: Duration = Duration::from_secs(5);

/// Opens the device, loads the module, which must have a `forward`, and prepares it. The description is of the module as saved:
/// optimizing turns parameters into constants.
pub(crate) fn load_module(
    artifact: &Artifact,
    device: Device,
    dtype: Precision,
    graph: Graph,
) -> Result<(Module, Description), EngineError> {
    devices::open(device)?;
    let failed = |error: TorchError| {
        let path = artifact.path.display().to_string();
        match torch::missing(&error) {
            Some(missing) => EngineError::Missing { path, missing },
            None => EngineError::Load { path, message: error.to_string() },
        }
    };
    let mut module = Module::load(&artifact.model_path).map_err(failed)?;
    let description = module.describe().map_err(failed)?;
    if !description.has_forward {
        return Err(EngineError::NoForward { methods: description.methods });
    }
    let changed = device != Device::Cpu || dtype != Precision::Float32 || graph != Graph::Plain;
    if changed {
        module.prepare(device, dtype, graph).map_err(|error| EngineError::Prepare {
            what: format!("device={device} dtype={dtype} graph={graph}"),
            message: error.to_string(),
        })?;
    }
    Ok((module, description))
}

/// Loads a module that can be called, with what its `forward()` takes.
fn load_callable(
    artifact: &Artifact,
    declared: &[InputSpec],
    (device, dtype, graph): (Device, Precision, Graph),
) -> Result<(Module, Description, Signature), EngineError> {
    let (module, description) = load_module(artifact, device, dtype, graph)?;
    let signature = signature(&description, declared)?;
    Ok((module, description, signature))
}

fn signature(description: &Description, declared: &[InputSpec]) -> Result<Signature, EngineError> {
    let unfit = |message| EngineError::Signature { message };
    Signature::new(&description.arguments, declared).map_err(unfit)
}

/// Whether tensors can fill the arguments of its `forward`, and the declared inputs fit them.
pub(crate) fn check_arguments(
    description: &Description,
    declared: &[InputSpec],
) -> Result<(), EngineError> {
    signature(description, declared).map(drop)
}

#[cfg(test)]
mod tests;
