//! What a worker does with a batch: one forward pass for all, or one for each when the model's outputs
//! cannot be told apart.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use assay_measure::units::as_micros;

use super::{
    InferError, Inferred, Reply,
    batch::{self, Inputs},
    batch_log::{BatchLog, Pass},
    nan,
    queue::{Queue, Queued},
};
use crate::{clock, tensor::WireTensor, torch::Module};

/// A request on its way through the queue.
pub(super) struct Request {
    inputs: Inputs,
    /// Rows in dimension 0; `None` keeps it alone.
    rows: Option<i64>,
    submitted: Instant,
    reply: SureReply,
}

impl Request {
    pub(super) fn new(inputs: Inputs, reply: Reply) -> Self {
        let rows = batch::rows(&inputs);
        Self { inputs, rows, submitted: clock::now(), reply: SureReply(Some(reply)) }
    }

    pub(super) fn refuse(self, error: InferError) {
        self.reply.send(Err(error));
    }
}

impl Queued for Request {
    fn submitted(&self) -> Instant {
        self.submitted
    }

    fn joins(&self, other: &Self) -> bool {
        self.rows.is_some() && other.rows.is_some() && batch::alike(&self.inputs, &other.inputs)
    }
}

/// A reply that is sent even when what should have sent it panics.
struct SureReply(Option<Reply>);

impl SureReply {
    fn send(mut self, answer: Result<Inferred, InferError>) {
        if let Some(reply) = self.0.take() {
            reply(answer);
        }
    }
}

impl Drop for SureReply {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            let message = "the worker failed before it could answer".to_owned();
            // Already unwinding, perhaps: a panic in the reply must not become an abort.
            let sent =
                catch_unwind(AssertUnwindSafe(|| reply(Err(InferError::ModelRaised { message }))));
            if sent.is_err() {
                tracing::error!("a reply panicked");
            }
        }
    }
}

/// Whether this model may be given several requests at once. Found out with the first batch, and kept.
#[derive(Debug, Default)]
pub(super) struct BatchTrust(AtomicU8);

impl BatchTrust {
    const PROVEN: u8 = 1;
    const REFUTED: u8 = 2;

    fn is_refuted(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::REFUTED
    }

    fn is_proven(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::PROVEN
    }

    fn set(&self, proven: bool) {
        let before =
            self.0.swap(if proven { Self::PROVEN } else { Self::REFUTED }, Ordering::Relaxed);
        if !proven && before != Self::REFUTED {
            tracing::warn!(
                "the model's outputs do not follow dimension 0 of its inputs: requests run one by one"
            );
        }
    }
}

/// What every worker is: the module it calls and the batches it may make.
pub(super) struct Worker {
    pub(super) module: Module,
    pub(super) trust: BatchTrust,
    pub(super) batch_log: Option<BatchLog>,
    /// How long the last forward pass of any worker took, in microseconds; greater than any real one until
    /// there was one.
    pub(super) last_pass_us: AtomicU64,
    /// How many requests to join, at most.
    pub(super) batch_limit: AtomicU32,
    pub(super) delay: Duration,
}

impl Worker {
    /// Works until the queue is closed and empty.
    pub(super) fn run(&self, queue: &Queue<Request>) {
        loop {
            let Some(requests) = queue.next(|| self.most(), self.delay) else { return };
            self.serve_surely(requests);
        }
    }

    /// The requests that may share a forward pass as things stand.
    fn most(&self) -> usize {
        if self.trust.is_refuted() {
            return 1;
        }
        usize::try_from(self.batch_limit.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// The requests answer for themselves when dropped, so a panic costs one batch and not the worker.
    pub(super) fn serve_surely(&self, requests: Vec<Request>) {
        if catch_unwind(AssertUnwindSafe(|| self.serve(requests))).is_err() {
            tracing::error!("a worker panicked; its requests were answered with an error");
        }
    }

    fn serve(&self, requests: Vec<Request>) {
        let started = clock::now();
        if requests.len() > 1
            && let Some(answers) = self.together(&requests)
        {
            let size = u32::try_from(requests.len()).unwrap_or(u32::MAX);
            let compute = started.elapsed();
            let waited = |request: &Request| started.duration_since(request.submitted);
            let longest = requests.first().map(waited).unwrap_or_default();
            self.tell(&Pass { started, compute, requests: size, waited: longest });
            for (request, outputs) in requests.into_iter().zip(answers) {
                let inferred = inferred(outputs, size, waited(&request), compute);
                request.reply.send(Ok(inferred));
            }
            return;
        }
        for request in requests {
            self.serve_alone(request);
        }
    }

    fn serve_alone(&self, request: Request) {
        let started = clock::now();
        let answer = self.module.call(&batch::borrowed(&request.inputs));
        let compute = started.elapsed();
        let waited = started.duration_since(request.submitted);
        self.tell(&Pass { started, compute, requests: 1, waited });
        request.reply.send(match answer {
            Ok(outputs) => Ok(inferred(outputs, 1, waited, compute)),
            Err(error) => Err(error.into()),
        });
    }

    fn tell(&self, pass: &Pass) {
        self.last_pass_us.store(as_micros(pass.compute), Ordering::Relaxed);
        if let Some(log) = &self.batch_log {
            log.tell(pass);
        }
    }

    /// One forward pass for all; `None` when each has to run alone.
    fn together(&self, requests: &[Request]) -> Option<Vec<Vec<WireTensor>>> {
        let inputs: Vec<&Inputs> = requests.iter().map(|request| &request.inputs).collect();
        let rows: Vec<i64> = requests.iter().map(|request| request.rows).collect::<Option<_>>()?;
        let joined = batch::joined(&inputs);
        // A model that raises for the whole may raise because of one: each alone finds out which.
        let outputs = self.module.call(&batch::borrowed(&joined)).ok()?;
        let Some(answers) = batch::split(&outputs, &rows) else {
            self.trust.set(false);
            return None;
        };
        if !self.trust.is_proven() {
            let proven = inputs
                .iter()
                .zip(&answers)
                .all(|(inputs, answer)| self.agrees_alone(inputs, answer));
            self.trust.set(proven);
            if !proven {
                return None;
            }
        }
        Some(answers)
    }

    /// Whether a request alone gets what it got in company, but for rounding.
    fn agrees_alone(&self, inputs: &Inputs, in_company: &[WireTensor]) -> bool {
        self.module.call(&batch::borrowed(inputs)).is_ok_and(|alone| {
            alone.len() == in_company.len()
                && alone.iter().zip(in_company).all(|(a, b)| nan::nearly_equal(a, b))
        })
    }
}

fn inferred(
    outputs: Vec<WireTensor>,
    batch_size: u32,
    waited: Duration,
    compute: Duration,
) -> Inferred {
    let nan_outputs = outputs.iter().map(nan::count).sum();
    Inferred {
        outputs,
        batch_size,
        queue_us: as_micros(waited),
        compute_us: as_micros(compute),
        nan_outputs,
    }
}
