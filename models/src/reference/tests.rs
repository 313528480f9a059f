use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::mpsc,
    time::{Duration, Instant},
};

use assay_measure::{
    configuration::{Allocator, Device, Graph, Precision},
    input_spec::{DType, InputSpec},
    units,
};
use tch::{CModule, Tensor};

use super::*;
use crate::{
    artifact::Artifact,
    engine::{Engine, EngineSettings, Infer as _, Telling},
    sample::random_input,
    tensor::WireTensor,
    torch::CallError,
};

fn inputs(name: &str) -> Vec<WireTensor> {
    let specs = find(name).unwrap().inputs.iter().map(|text| text.parse::<InputSpec>().unwrap());
    specs.zip(0..).map(|(spec, seed)| random_input(&spec, seed)).collect()
}

fn call(module: &Module, inputs: &[WireTensor]) -> Result<Vec<WireTensor>, CallError> {
    module.call(&inputs.iter().map(Some).collect::<Vec<_>>())
}

#[test]
fn a_reference_model_is_the_same_file_every_time() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["mlp", "transformer"] {
        let (one, other) = (folder.path().join("one.pt"), folder.path().join("other.pt"));
        write(name, &one).unwrap();
        write(name, &other).unwrap();
        assert!(std::fs::read(&one).unwrap() == std::fs::read(&other).unwrap(), "{name}");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "nothing but the models is left behind");
}

fn through_the_engine(path: &Path, declared: &[&str], input: WireTensor) -> WireTensor {
    let artifact = Artifact::open(path, units::Bytes::gib(1)).unwrap();
    let declared: Vec<InputSpec> = declared.iter().map(|text| text.parse().unwrap()).collect();
    let settings = EngineSettings {
        name: artifact.stem(),
        workers: NonZeroU32::MIN,
        intra_op_threads: NonZeroU32::MIN,
        max_batch: NonZeroU32::MIN,
        max_batch_delay: Duration::ZERO,
        device: Device::Cpu,
        dtype: Precision::Float32,
        graph: Graph::Plain,
        allocator: Allocator::Default,
        queue_limit: 1,
        processors: NonZeroUsize::MIN,
        longest_caller_pass: crate::engine::LONGEST_CALLER_PASS,
    };
    let engine = Engine::start(&artifact, &declared, &settings, Telling::default()).unwrap();
    let (sender, receiver) = mpsc::channel();
    engine.submit(vec![input], Box::new(move |answer| sender.send(answer).unwrap()));
    receiver.recv().unwrap().unwrap().outputs.remove(0)
}

/// tch's own loading and calling is the witness.
fn agrees_with_libtorch(name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pt");
    write(name, &path).unwrap();
    let input = inputs(name).remove(0);
    let kind = if input.dtype == DType::Int64 { tch::Kind::Int64 } else { tch::Kind::Float };
    let tensor = Tensor::from_data_size(&input.data, &input.shape, kind);
    let expected = CModule::load(&path).unwrap().forward_ts(&[tensor]).unwrap();
    let expected = Vec::<f32>::try_from(expected.flatten(0, -1)).unwrap();

    let output = through_the_engine(&path, find(name).unwrap().inputs, input);
    let actual = output.data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    assert_eq!(actual.len(), expected.len());
    let widest = actual.zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    let largest = expected.iter().fold(0.0f32, |all, value| all.max(value.abs()));
    assert!(
        largest > 1e-2 && largest < 1e3,
        "{name}: outputs that can be compared, largest {largest}"
    );
    assert!(widest <= 1e-5, "{name}: {widest}");
}

#[test]
fn resnet18_through_the_engine_agrees_with_libtorch() {
    agrees_with_libtorch("resnet18");
}

#[test]
fn the_transformer_through_the_engine_agrees_with_libtorch() {
    agrees_with_libtorch("transformer");
}

#[test]
fn weights_stay_parameters_with_names() {
    let description = build("mlp").unwrap().describe().unwrap();
    assert_eq!(description.parameters, 64 * 64 + 64 + 64 * 10 + 10);
    assert_eq!(description.signature(), "forward(x: Tensor) -> Tensor");
    assert_eq!(description.first_uses[0].weight_shape, [64, 64]);
}

#[test]
fn reference_models_take_more_rows_than_they_were_traced_with() {
    for name in ["mlp", "pool", "fixed-time", "transformer"] {
        let input = inputs(name).remove(0);
        let mut shape = input.shape.clone();
        shape[0] = 3;
        let tripled = WireTensor { shape, data: input.data.repeat(3).into(), ..input };
        assert_eq!(call(&build(name).unwrap(), &[tripled]).unwrap()[0].shape[0], 3, "{name}");
    }
}

#[test]
fn a_fixed_time_passes_as_saved_and_optimized() {
    for graph in [Graph::Plain, Graph::Optimized] {
        let mut module = build("fixed-time").unwrap();
        module.prepare(Device::Cpu, Precision::Float32, graph).unwrap();
        let inputs = inputs("fixed-time");
        // The first calls of a module are profiled and compiled; a clock taken for a constant shows later.
        for call_number in 1..=5 {
            let start = Instant::now();
            let outputs = call(&module, &inputs).unwrap();
            let took = start.elapsed();
            assert!(took >= Duration::from_millis(10), "{graph:?}, call {call_number}: {took:?}");
            assert_eq!(outputs[0].data, inputs[0].data);
        }
    }
}

#[test]
fn faulty_models_fail_from_the_call_they_are_told_to() {
    let input = inputs("faulty-raise");
    let module = build("faulty-raise").unwrap();
    assert!(call(&module, &input).is_ok() && call(&module, &input).is_ok());
    assert!(
        matches!(call(&module, &input), Err(CallError::Raised(message)) if message.contains("by design"))
    );
    assert!(call(&module, &input).is_err());
    assert!(call(&build("faulty-raise@1").unwrap(), &input).is_err());
}

#[test]
fn every_hidden_model_can_be_built_and_runs_until_its_fault() {
    for reference in faulty::HIDDEN {
        let outputs = call(&build(reference.name).unwrap(), &inputs(reference.name)).unwrap();
        assert!(!outputs.is_empty(), "{}", reference.name);
    }
}

#[test]
fn an_unknown_name_lists_the_public_ones() {
    let error = find("resnet19").unwrap_err().to_string();
    assert!(
        error.contains("resnet18, resnet50, mobilenet_v2, mlp, pool, fixed-time, transformer"),
        "{error}"
    );
    assert!(!error.contains("faulty"));
    assert!(find("faulty-hang@x").is_err());
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let error = write("mlp", Path::new("/proc/nowhere/mlp.pt")).unwrap_err();
    assert!(matches!(error, ReferenceError::Write { .. }), "{error}");
}
