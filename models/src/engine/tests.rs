//! The engine on small models compiled from source, and against libtorch's own answers.

use std::{sync::mpsc, thread};

use assay_measure::{
    batch_log::{RECORD_BYTES, Reader, Record},
    units,
};
use tempfile::TempDir;

use super::*;

/// A model compiled from source and saved, as the engine meets it.
fn saved(folder: &TempDir, source: &str, numbers: &[(&str, i64)]) -> Artifact {
    let path = folder.path().join("model.pt");
    Module::define("Model", source, numbers).unwrap().save(&path).unwrap();
    Artifact::open(&path, units::Bytes::gib(1)).unwrap()
}

fn settings(workers: u32, max_batch: u32) -> EngineSettings {
    EngineSettings {
        name: "model".to_owned(),
        workers: NonZeroU32::new(workers).unwrap(),
        intra_op_threads: NonZeroU32::MIN,
        max_batch: NonZeroU32::new(max_batch).unwrap(),
        max_batch_delay: Duration::ZERO,
        device: Device::Cpu,
        dtype: Precision::Float32,
        graph: Graph::Plain,
        allocator: Allocator::Default,
        queue_limit: 1000,
        processors: NonZeroUsize::new(2).unwrap(),
        longest_caller_pass: LONGEST_CALLER_PASS,
    }
}

fn started(source: &str, settings: &EngineSettings, declared: &[&str]) -> Engine {
    started_with(source, &[], settings, declared).unwrap()
}

fn started_with(
    source: &str,
    numbers: &[(&str, i64)],
    settings: &EngineSettings,
    declared: &[&str],
) -> Result<Engine, EngineError> {
    let folder = tempfile::tempdir().unwrap();
    let declared: Vec<InputSpec> = declared.iter().map(|text| text.parse().unwrap()).collect();
    Engine::start(&saved(&folder, source, numbers), &declared, settings, Telling::default())
}

fn row(values: &[f32]) -> WireTensor {
    rows(&[values])
}

fn rows(rows: &[&[f32]]) -> WireTensor {
    WireTensor {
        name: String::new(),
        dtype: DType::Float32,
        shape: vec![i64::try_from(rows.len()).unwrap(), i64::try_from(rows[0].len()).unwrap()],
        data: rows
            .iter()
            .copied()
            .flatten()
            .flat_map(|value| value.to_le_bytes())
            .collect::<Vec<_>>()
            .into(),
    }
}

fn values(tensor: &WireTensor) -> Vec<f32> {
    tensor.data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn submitted(
    engine: &Engine,
    inputs: Vec<WireTensor>,
) -> mpsc::Receiver<Result<Inferred, InferError>> {
    let (sender, receiver) = mpsc::channel();
    engine.submit(inputs, Box::new(move |answer| sender.send(answer).unwrap()));
    receiver
}

fn infer(engine: &Engine, inputs: Vec<WireTensor>) -> Result<Inferred, InferError> {
    submitted(engine, inputs).recv().expect("every request is answered")
}

const DOUBLE: &str = "def forward(self, x: Tensor) -> Tensor:\n  return x * 2\n";

/// Waits until a number in the input file-free way: sleeps in the interpreter by counting.
const SLOW: &str = "
def forward(self, x: Tensor) -> Tensor:
  y = x
  for i in range(20000):
    y = y + 1
  return y
";

#[test]
fn requests_are_answered_with_what_the_model_computes() {
    let engine = started(DOUBLE, &settings(2, 1), &["float32[1,2]"]);
    let inferred = infer(&engine, vec![row(&[1.0, 2.0])]).unwrap();
    assert_eq!(values(&inferred.outputs[0]), [2.0, 4.0]);
    assert_eq!((inferred.batch_size, inferred.nan_outputs), (1, 0));
    assert_eq!(engine.facts().signature, "forward(x: Tensor) -> Tensor");
    assert_eq!(engine.facts().inputs[0].shape.as_deref(), Some(&[-1, 2][..]));
    assert_eq!(engine.facts().outputs[0].shape, [1, 2]);
}

#[test]
fn many_requests_at_once_each_get_their_own_answer() {
    let engine = started(DOUBLE, &settings(4, 1), &[]);
    let answers: Vec<_> =
        (0..200u16).map(|i| submitted(&engine, vec![row(&[f32::from(i)])])).collect();
    for (answer, i) in answers.into_iter().zip(0u16..) {
        assert_eq!(values(&answer.recv().unwrap().unwrap().outputs[0]), [2.0 * f32::from(i)]);
    }
}

#[test]
fn batched_requests_get_what_they_would_get_alone() {
    let engine = started(SLOW, &settings(1, 8), &[]);
    let answers: Vec<_> =
        (0..17u16).map(|i| submitted(&engine, vec![row(&[f32::from(i), 0.5])])).collect();
    let mut largest = 0;
    for (answer, i) in answers.into_iter().zip(0u16..) {
        let inferred = answer.recv().unwrap().unwrap();
        largest = largest.max(inferred.batch_size);
        assert_eq!(inferred.outputs[0].shape, [1, 2]);
        assert_eq!(values(&inferred.outputs[0]), [f32::from(i) + 20000.0, 20000.5]);
    }
    assert_eq!(largest, 8, "requests that wait together run together");
}

/// The largest batch that an engine with declared inputs makes of 17 requests that wait together, and the
/// limit that it states.
fn largest_after_warm_up(source: &str) -> (u32, u32) {
    let engine = started(source, &settings(1, 8), &["float32[1,2]"]);
    let answers: Vec<_> = (0..17).map(|_| submitted(&engine, vec![row(&[0.5, 0.5])])).collect();
    let sizes = answers.into_iter().map(|answer| answer.recv().unwrap().unwrap().batch_size);
    (sizes.max().unwrap(), engine.facts().batch_limit.get())
}

#[test]
fn batches_are_as_large_as_the_warm_up_found_worthwhile() {
    assert_eq!(largest_after_warm_up(SLOW), (8, 8), "a pass takes as long for eight as for one");
    let quadratic = SLOW.replace("20000", "200 * x.size(0) * x.size(0)");
    assert_eq!(largest_after_warm_up(&quadratic), (1, 1), "eight take as long as sixty-four");
    let stepped = SLOW.replace("20000", "2000 if x.size(0) < 4 else 20000");
    assert_eq!(largest_after_warm_up(&stepped), (2, 2));
    let one_row = "def forward(self, x: Tensor) -> Tensor:\n  return x.sum()\n";
    assert_eq!(largest_after_warm_up(one_row), (1, 8), "not for the warm-up to say");
}

/// What an engine tells of 17 requests that wait together, with the sizes of batches in its answers.
fn told(source: &str, workers: u32) -> (Vec<Record>, Vec<u32>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("batches");
    std::fs::write(&path, vec![0; 32 * RECORD_BYTES]).unwrap();
    let log = BatchLog::open(&path).unwrap();
    let artifact = saved(&folder, source, &[]);
    let engine = Engine::start(
        &artifact,
        &[],
        &settings(workers, 8),
        Telling { batch_log: Some(log), status: None },
    )
    .unwrap();
    let answers: Vec<_> =
        (0..17u16).map(|i| submitted(&engine, vec![row(&[f32::from(i)])])).collect();
    let sizes = answers.into_iter().map(|answer| answer.recv().unwrap().unwrap().batch_size);
    let sizes = sizes.collect();
    // Read while the engine lives: what is answered has been told.
    let mut reader = Reader::default();
    let ring = std::fs::read(&path).unwrap();
    let from = usize::try_from(reader.offset(32)).unwrap();
    (reader.read(&ring[from..]).unwrap(), sizes)
}

#[test]
fn every_forward_pass_is_told_before_its_requests_are_answered() {
    let before_ns = crate::clock::moment().1;
    let (records, sizes) = told(SLOW, 1);
    for size in 1..=8 {
        let passes = records.iter().filter(|record| record.requests == size).count();
        let answers = sizes.iter().filter(|answered| **answered == size).count();
        assert_eq!(passes * size as usize, answers, "{records:?}");
    }
    assert!(records.iter().any(|record| record.requests == 8), "{records:?}");
    assert!(records[0].started_ns >= before_ns, "{records:?}");
    for pair in records.windows(2) {
        let ended_ns = pair[0].started_ns + pair[0].service_ns;
        assert!(ended_ns <= pair[1].started_ns, "one worker does one after the other: {pair:?}");
    }
    let last = records.last().unwrap();
    assert!(last.service_ns > 0 && u64::from(last.waited_us) * 1_000 >= records[0].service_ns);
}

#[test]
fn several_workers_tell_their_passes_in_one_order_without_gaps() {
    let (records, sizes) = told(&SLOW.replace("return y", "return y.sum()"), 3);
    assert_eq!(records.iter().map(|record| record.requests).sum::<u32>(), 17, "{records:?}");
    assert!(records.len() == 17 && sizes.iter().all(|size| *size == 1));
}

#[test]
fn a_log_without_room_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(BatchLog::open(file.path()).is_err());
}

#[test]
fn requests_with_several_rows_are_split_where_they_were_joined() {
    let engine = started(SLOW, &settings(1, 8), &[]);
    let blocker = submitted(&engine, vec![row(&[0.0, 0.0])]);
    let three = submitted(&engine, vec![rows(&[&[1.0, 1.0], &[2.0, 2.0], &[3.0, 3.0]])]);
    let one = submitted(&engine, vec![row(&[4.0, 4.0])]);
    blocker.recv().unwrap().unwrap();
    let (three, one) = (three.recv().unwrap().unwrap(), one.recv().unwrap().unwrap());
    assert_eq!((three.outputs[0].shape[0], one.outputs[0].shape[0]), (3, 1));
    assert_eq!(values(&three.outputs[0])[4..], [20003.0, 20003.0]);
    assert_eq!(values(&one.outputs[0]), [20004.0, 20004.0]);
}

/// Checks that a model is served one by one although batches are allowed, with correct answers.
fn runs_one_by_one(source: &str, expected: fn(f32) -> f32) {
    let engine = started(source, &settings(1, 8), &[]);
    for _ in 0..2 {
        let answers: Vec<_> =
            [1.0f32, 2.0, 3.0].iter().map(|&x| (x, submitted(&engine, vec![row(&[x])]))).collect();
        for (x, answer) in answers {
            let inferred = answer.recv().unwrap().unwrap();
            assert_eq!(inferred.batch_size, 1);
            assert!(
                (values(&inferred.outputs[0])[0] - expected(x)).abs() < 1e-3 * expected(x).abs(),
                "{x}"
            );
        }
    }
}

#[test]
fn a_model_whose_output_has_no_rows_is_not_batched() {
    runs_one_by_one(&SLOW.replace("return y", "return y.sum()"), |x| x + 20000.0);
}

#[test]
fn a_model_whose_rows_influence_each_other_is_not_batched() {
    runs_one_by_one(&SLOW.replace("return y", "return x / x.sum() + y - y"), |_| 1.0);
}

#[test]
fn a_model_that_raises_says_so_and_the_worker_lives_on() {
    let source = "
def forward(self, x: Tensor) -> Tensor:
  self.calls = self.calls + 1
  if self.calls == 3:
    assert False, 'no third time'
  return x
";
    let engine = started_with(source, &[("calls", 0)], &settings(1, 1), &[]).unwrap();
    let answers: Vec<_> = (0..4).map(|_| infer(&engine, vec![row(&[1.0])])).collect();
    assert!(answers[0].is_ok() && answers[1].is_ok());
    assert_eq!(
        answers[2],
        Err(InferError::ModelRaised { message: "AssertionError: no third time".to_owned() })
    );
    assert!(answers[3].is_ok());
}

#[test]
fn in_a_batch_only_the_request_that_raises_gets_the_error() {
    let source = &SLOW.replace("return y", "assert bool((x >= 0).all()), 'negative'\n  return y");
    let engine = started(source, &settings(1, 8), &[]);
    let answers: Vec<_> =
        [1.0f32, 2.0, -1.0, 3.0].iter().map(|&x| submitted(&engine, vec![row(&[x])])).collect();
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.recv().unwrap()).collect();
    assert!(answers[0].is_ok() && answers[1].is_ok() && answers[3].is_ok());
    assert!(
        matches!(&answers[2], Err(InferError::ModelRaised { message }) if message.contains("negative"))
    );
}

#[test]
fn nan_outputs_are_allowed_and_counted() {
    let engine =
        started("def forward(self, x: Tensor) -> Tensor:\n  return x / 0\n", &settings(1, 1), &[]);
    let inferred = infer(&engine, vec![row(&[0.0, 1.0, 0.0])]).unwrap();
    assert_eq!(inferred.nan_outputs, 2);
}

#[test]
fn inputs_that_do_not_fit_are_refused_without_running_the_model() {
    let engine = started(DOUBLE, &settings(1, 1), &["float32[1,2]"]);
    for bad in [vec![], vec![row(&[1.0, 2.0, 3.0])], vec![row(&[1.0, 2.0]), row(&[1.0, 2.0])]] {
        assert!(matches!(infer(&engine, bad).unwrap_err(), InferError::Rejected { .. }));
    }
}

#[test]
fn a_full_queue_refuses_at_once() {
    let engine = started(SLOW, &EngineSettings { queue_limit: 1, ..settings(1, 1) }, &[]);
    let answers: Vec<_> = (0..20).map(|_| submitted(&engine, vec![row(&[1.0])])).collect();
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.recv().unwrap()).collect();
    assert!(answers[0].is_ok());
    assert!(answers.contains(&Err(InferError::Overloaded { limit: 1 })));
}

#[test]
fn shutting_down_answers_what_waits_and_refuses_what_comes() {
    let engine = started(SLOW, &settings(2, 1), &[]);
    let answers: Vec<_> = (0..6).map(|_| submitted(&engine, vec![row(&[1.0])])).collect();
    engine.shut_down();
    assert!(answers.into_iter().all(|answer| answer.recv().unwrap().is_ok()));
    assert_eq!(infer(&engine, vec![row(&[1.0])]), Err(InferError::Stopping));
}

#[test]
fn a_reply_that_panics_costs_neither_the_worker_nor_the_other_requests() {
    let engine = started(DOUBLE, &settings(1, 1), &[]);
    engine.submit(vec![row(&[1.0])], Box::new(|_| panic!("a careless caller")));
    assert!(infer(&engine, vec![row(&[1.0])]).is_ok());
}

#[test]
fn a_request_dropped_without_an_answer_answers_for_itself() {
    let (sender, receiver) = mpsc::channel();
    let reply: Reply = Box::new(move |answer| sender.send(answer).unwrap());
    drop(Request::new(vec![Some(row(&[1.0]))], reply));
    assert!(matches!(receiver.recv().unwrap(), Err(InferError::ModelRaised { .. })));
}

#[test]
fn a_model_that_cannot_run_with_the_declared_inputs_does_not_start() {
    let source =
        "def forward(self, x: Tensor) -> Tensor:\n  return torch.matmul(x, torch.ones([3, 3]))\n";
    let error = started_with(source, &[], &settings(2, 1), &["float32[1,2]"]).err().unwrap();
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("mat1 and mat2 shapes"), "{error}: {cause}");
    assert!(!error.to_string().contains(&cause), "told twice: {error}");
    let error =
        started_with(source, &[], &settings(1, 1), &["float32[1,3]", "float32[1]"]).err().unwrap();
    assert!(matches!(error, EngineError::Signature { .. }), "{error}");
}

#[test]
fn a_module_without_forward_or_that_is_no_module_does_not_start() {
    let error = started_with(
        "def predict(self, x: Tensor) -> Tensor:\n  return x\n",
        &[],
        &settings(1, 1),
        &[],
    );
    assert!(error.err().unwrap().to_string().contains("no forward()"));
}

#[test]
fn a_cuda_device_that_does_not_exist_is_named() {
    let error = started_with(
        DOUBLE,
        &[],
        &EngineSettings { device: Device::Cuda(99), ..settings(1, 1) },
        &[],
    );
    let error = error.err().unwrap();
    assert!(matches!(error, EngineError::Device { device: Device::Cuda(99), .. }), "{error}");
}

#[test]
fn several_inputs_and_a_dict_go_by_name() {
    let source = "
def forward(self, left: Tensor, right: Tensor):
  return {'difference': left - right, 'sum': left + right}
";
    let engine = started(source, &settings(1, 1), &["left=float32[1,1]", "right=float32[1,1]"]);
    let named = |name: &str, value| WireTensor { name: name.to_owned(), ..row(&[value]) };
    let inferred = infer(&engine, vec![named("right", 1.0), named("left", 3.0)]).unwrap();
    let names: Vec<&str> = inferred.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["difference", "sum"]);
    assert_eq!(values(&inferred.outputs[0]), [2.0]);
    assert_eq!(engine.facts().outputs.len(), 2);
}

#[test]
fn an_optimized_graph_gives_the_same_answers() {
    let source = "
def forward(self, x: Tensor) -> Tensor:
  y = torch.relu(x) + torch.ones([2])
  return torch.relu(y) * 3
";
    let plain = started(source, &settings(1, 1), &[]);
    let optimized = started(
        source,
        &EngineSettings { graph: Graph::Optimized, ..settings(1, 4) },
        &["float32[1,2]"],
    );
    let input = row(&[1.5, -2.0]);
    let (one, other) =
        (infer(&plain, vec![input.clone()]).unwrap(), infer(&optimized, vec![input]).unwrap());
    assert_eq!(values(&one.outputs[0]), values(&other.outputs[0]));
    assert_eq!(optimized.facts().outputs[0].shape, [-1, 2]);
}

/// The thread on which the answer to one more request came.
fn answering_thread(engine: &Engine, inputs: Vec<WireTensor>) -> thread::ThreadId {
    let (sender, receiver) = mpsc::channel();
    engine.submit(
        inputs,
        Box::new(move |answer| sender.send((thread::current().id(), answer)).unwrap()),
    );
    let (thread, answer) = receiver.recv().unwrap();
    assert_eq!(values(&answer.unwrap().outputs[0]).len(), 2);
    thread
}

/// With every pass called short, however busy the machine is.
fn on_one_processor(max_batch: u32) -> EngineSettings {
    EngineSettings {
        processors: NonZeroUsize::MIN,
        longest_caller_pass: Duration::from_secs(60),
        ..settings(1, max_batch)
    }
}

/// How many of 50 passes the thread ran that asked for them.
fn run_by_the_caller(settings: &EngineSettings, source: &str) -> usize {
    let engine = started(source, settings, &["float32[1,2]"]);
    let here = thread::current().id();
    let run_here = |_: &i32| {
        // A worker that has just answered is not asleep yet.
        thread::sleep(Duration::from_millis(2));
        answering_thread(&engine, vec![row(&[1.0, 2.0])]) == here
    };
    (0..50).filter(run_here).count()
}

#[test]
fn with_one_processor_short_passes_run_where_the_request_came_and_otherwise_never() {
    // The first pass is a worker's, which tells how long it takes; others are if it is slow to go to sleep.
    let alone = run_by_the_caller(&on_one_processor(1), DOUBLE);
    assert!((1..50).contains(&alone), "{alone} of 50");
    assert_eq!(run_by_the_caller(&settings(1, 1), DOUBLE), 0, "two processors");
    assert_eq!(run_by_the_caller(&on_one_processor(8), DOUBLE), 0, "batches are gathered");
}

#[test]
fn a_pass_that_takes_long_is_a_workers() {
    let longest_caller_pass = LONGEST_CALLER_PASS;
    let settings = EngineSettings { longest_caller_pass, ..on_one_processor(1) };
    let engine = started(SLOW, &settings, &["float32[1,2]"]);
    for _ in 0..5 {
        let thread = answering_thread(&engine, vec![row(&[1.0, 2.0])]);
        assert_ne!(thread, thread::current().id());
    }
}

#[test]
fn a_model_that_raises_where_the_request_came_is_an_error_and_no_end() {
    let raising = "
def forward(self, x: Tensor) -> Tensor:
  assert bool(x[0, 0] <= 1), 'too much'
  return x
";
    let engine = started(raising, &on_one_processor(1), &[]);
    for _ in 0..20 {
        let refused = infer(&engine, vec![row(&[2.0, 0.0])]).unwrap_err();
        assert!(matches!(refused, InferError::ModelRaised { .. }), "{refused}");
        assert_eq!(values(&infer(&engine, vec![row(&[1.0, 0.0])]).unwrap().outputs[0]), [1.0, 0.0]);
    }
    engine.shut_down();
    let refused = infer(&engine, vec![row(&[1.0, 0.0])]).unwrap_err();
    assert_eq!(refused, InferError::Stopping);
}
