//! `assay-host serve`: from the command line to a host that answers.

use std::{io::Write, num::NonZeroUsize, path::Path, sync::Arc, thread};

use assay_measure::configuration::Allocator;

use super::ServeArguments;
use crate::{
    engine::{
        Engine, EngineError, EngineSettings, Infer, InferError, LONGEST_CALLER_PASS, Telling,
        batch_log::BatchLog,
    },
    failure::Failure,
    payload::{DecodeSettings, ImageSettings},
    process,
    server::{self, BindError, Bound, ServerSettings},
    status::StatusPipe,
    torch::{self, Missing},
};

/// Serves until told to stop.
pub(super) fn run(
    arguments: &ServeArguments,
    allocator: Allocator,
    status: Option<StatusPipe>,
) -> Result<u8, Failure> {
    let server_settings = server_settings(arguments)?;
    // First: a port in use is found out before a large model is loaded for nothing.
    let mut bound = vec![bind(&arguments.listen)?];
    if let Some(address) = &arguments.grpc_listen {
        bound.push(bind(address)?);
    }
    let artifact = super::open(&arguments.model, arguments.max_unpacked)?;
    let name = arguments.model_name.clone().unwrap_or_else(|| artifact.stem());
    let settings = engine_settings(arguments, name, allocator);
    let batch_log = arguments.batch_log.as_deref().and_then(open_batch_log);
    let telling = Telling { batch_log, status };
    let engine =
        Engine::start(&artifact, &arguments.model.inputs, &settings, telling).map_err(|error| {
            with_hint(Failure::new("engine", &error), &error, &arguments.model.inspect_hint())
        })?;
    let engine = Arc::new(engine);
    tracing::info!(model = %engine.facts().name, signature = %engine.facts().signature, "ready");
    server::serve(bound, Arc::<Engine>::clone(&engine), &server_settings, announce)
        .map_err(|error| Failure::new("serve", &error))?;
    engine.shut_down();
    Ok(0)
}

/// Serving does not depend on it: whoever reads the log does without when nothing is told.
fn open_batch_log(path: &Path) -> Option<BatchLog> {
    BatchLog::open(path)
        .inspect_err(|error| tracing::warn!(%error, log = %path.display(), "batches are not told"))
        .ok()
}

/// The one line on stdout: whoever started this process waits for it.
fn announce(url: &str) {
    let mut stdout = process::results();
    if let Err(error) = writeln!(stdout, "listening {url}").and_then(|()| stdout.flush()) {
        tracing::warn!(%error, "cannot write to stdout");
    }
}

fn bind(address: &server::ListenAddress) -> Result<Bound, Failure> {
    Bound::bind(address).map_err(|error| {
        let failure = Failure::new("listen", &error);
        match error {
            BindError::InUse(_) => {
                failure.hint("another program listens there; port 0 takes any free port")
            }
            BindError::Refused { .. } => failure,
        }
    })
}

fn engine_settings(
    arguments: &ServeArguments,
    name: String,
    allocator: Allocator,
) -> EngineSettings {
    EngineSettings {
        name,
        workers: arguments.engine.workers,
        intra_op_threads: arguments.engine.intra_op_threads,
        max_batch: arguments.max_batch,
        max_batch_delay: arguments.max_batch_delay,
        device: arguments.engine.device,
        dtype: arguments.engine.dtype,
        graph: arguments.engine.graph,
        allocator,
        queue_limit: arguments.queue_limit,
        processors: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        longest_caller_pass: LONGEST_CALLER_PASS,
    }
}

fn server_settings(arguments: &ServeArguments) -> Result<ServerSettings, Failure> {
    let max_payload_bytes = usize::try_from(arguments.max_payload.count()).unwrap_or(usize::MAX);
    let mut image = ImageSettings::default();
    if let Some(side) = arguments.image_resize {
        image.resize_shorter_side = side;
    }
    if let Some(side) = arguments.image_crop {
        (image.crop_width, image.crop_height) = (side, side);
    }
    image.mean = arguments.image_mean.map_or(image.mean, |triple| triple.0);
    image.std = arguments.image_std.map_or(image.std, |triple| triple.0);
    image.check().map_err(|error| Failure::new("usage", &error).usage())?;
    let default = DecodeSettings::default();
    let decode = DecodeSettings { image, limit_bytes: default.limit_bytes.max(max_payload_bytes) };
    Ok(ServerSettings { decode, max_payload_bytes, threads: arguments.server_threads })
}

/// What helps where outputs are the trouble.
pub(super) const TENSORS_ONLY: &str = "forward() must return tensors of real numbers, integers or booleans, or tuples, lists and dicts of them";

/// What helps where the code of the model names a GPU.
pub(super) const NO_DEVICE_IN_CODE: &str = "as it is, it runs only where there is a GPU; traced or scripted on the CPU, it names no device";

/// The hint that a kind of failure allows; `inspect` says how to look at the model.
pub(super) fn with_hint(failure: Failure, error: &EngineError, inspect: &str) -> Failure {
    match error {
        EngineError::WarmUp { source: InferError::Unsendable { .. } } => failure.hint(TENSORS_ONLY),
        EngineError::WarmUp { source: InferError::ModelRaised { message } }
            if torch::wants_cuda(message) =>
        {
            failure.hint(NO_DEVICE_IN_CODE)
        }
        EngineError::WarmUp { .. } | EngineError::Signature { .. } => failure.hint(inspect),
        EngineError::NoForward { .. } => {
            failure.hint("only forward() is served: give its class one, and save the model again")
        }
        EngineError::Device { .. } => failure
            .hint("`assay-host doctor` shows what libtorch finds; --device cpu works without"),
        EngineError::Load { .. } => {
            failure.hint("was it saved with torch.jit by a version up to 2.11?")
        }
        EngineError::Missing { missing: Missing { library: Some(library), .. }, .. } => failure
            .hint(format!("--op-library FILE loads it; {library} must be built for this libtorch")),
        EngineError::Missing { .. } => {
            failure.hint("it was saved by a later version: save it with one up to 2.11")
        }
        EngineError::Prepare { .. } => {
            failure.hint("--dtype float32 --graph plain serves the model as saved")
        }
        EngineError::Thread(_) => failure,
    }
}
