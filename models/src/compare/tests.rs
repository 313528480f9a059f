//! Comparisons of real modules: the reference `mlp`, and small ones whose deviation is known.

use assay_measure::units;
use tempfile::TempDir;

use super::*;
use crate::{reference, response, sample::random_input, torch::Module};

const FLOAT32: Configured = Configured {
    device: Device::Cpu,
    dtype: Precision::Float32,
    graph: Graph::Plain,
    intra_op_threads: NonZeroU32::MIN,
};

fn opened(path: &std::path::Path) -> Artifact {
    Artifact::open(path, units::Bytes::gib(1)).unwrap()
}

fn defined(folder: &TempDir, source: &str) -> Artifact {
    let path = folder.path().join("model.pt");
    Module::define("Model", source, &[]).unwrap().save(&path).unwrap();
    opened(&path)
}

fn bodies(input: &str, count: u64) -> (Vec<InputSpec>, Vec<Bytes>) {
    let spec: InputSpec = input.parse().unwrap();
    let bodies =
        (0..count).map(|seed| response::to_npy(&random_input(&spec, seed)).into()).collect();
    (vec![spec], bodies)
}

fn compared(
    artifact: &Artifact,
    configured: Configured,
    input: &str,
    count: u64,
) -> Result<Comparison, CompareError> {
    let (declared, bodies) = bodies(input, count);
    compare(artifact, &declared, configured, ContentType::Npy, &bodies)
}

#[test]
fn the_reference_mlp_is_the_same_optimized_and_visibly_different_in_bfloat16() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlp.pt");
    reference::write("mlp", &path).unwrap();
    let mlp = opened(&path);
    let input = reference::PUBLIC.iter().find(|model| model.name == "mlp").unwrap().inputs[0];
    let of = |configured| compared(&mlp, configured, input, 3).unwrap();
    let optimized = of(Configured { graph: Graph::Optimized, ..FLOAT32 });
    assert!(optimized.max < 1e-4, "{optimized:?}");
    assert!(optimized.bodies == 3 && optimized.elements > 3, "{optimized:?}");
    let rounded = of(Configured { dtype: Precision::Bfloat16, ..FLOAT32 });
    assert!(rounded.max > 1e-4 && rounded.max < 0.2, "{rounded:?}");
    assert!(0.0 < rounded.mean && rounded.mean <= rounded.max, "{rounded:?}");
    let itself = of(FLOAT32);
    assert!(itself.max <= 0.0, "{itself:?}");
}

#[test]
fn the_rounding_of_a_weight_is_found_to_its_size() {
    let folder = tempfile::tempdir().unwrap();
    // 1 + 2⁻⁸ lies half-way between two bfloat16 numbers and rounds to 1.
    let artifact = defined(
        &folder,
        "def forward(self, x: Tensor) -> Tensor:\n  return (x * 0.0 + 1.00390625).to(x.dtype)\n",
    );
    let half = Configured { dtype: Precision::Bfloat16, ..FLOAT32 };
    let found = compared(&artifact, half, "float32[1,4]", 1).unwrap();
    let exact = 0.00390625 / 1.00390625;
    assert!((found.max - exact).abs() < 1e-7 && (found.mean - exact).abs() < 1e-7, "{found:?}");
    assert_eq!((found.elements, found.bodies), (4, 1));
}

#[test]
fn at_most_eight_bodies_are_run() {
    let folder = tempfile::tempdir().unwrap();
    let artifact = defined(&folder, "def forward(self, x: Tensor) -> Tensor:\n  return x + 1\n");
    let found = compared(&artifact, FLOAT32, "float32[1,2]", 9).unwrap();
    assert_eq!((found.bodies, found.elements), (8, 16));
}

#[test]
fn an_overflow_of_the_smaller_type_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let artifact =
        defined(&folder, "def forward(self, x: Tensor) -> Tensor:\n  return (x + 1) * 60000 * 2\n");
    let half = Configured { dtype: Precision::Float16, ..FLOAT32 };
    let error = compared(&artifact, half, "float32[1,1]", 1).unwrap_err();
    let CompareError::Incomparable { number: 1, source } = error else { panic!("{error:?}") };
    assert!(source.to_string().starts_with("element 0 of output \"output\" is inf"), "{source}");
}

/// In TorchScript source that is compiled from text, element types are numbers; 6 is float32.
#[test]
fn outputs_of_another_shape_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let artifact = defined(
        &folder,
        "def forward(self, x: Tensor) -> Tensor:\n  if x.dtype == 6:\n    return x\n  return x[:, :1]\n",
    );
    let half = Configured { dtype: Precision::Bfloat16, ..FLOAT32 };
    let error = compared(&artifact, half, "float32[1,2]", 1).unwrap_err();
    let CompareError::Incomparable { source, .. } = error else { panic!("{error:?}") };
    assert!(matches!(source, Incomparable::Structure { .. }), "{source}");
}

#[test]
fn it_is_told_which_of_the_two_failed() {
    let folder = tempfile::tempdir().unwrap();
    let raises = |when: &str| {
        format!(
            "def forward(self, x: Tensor) -> Tensor:\n  assert x.dtype {when} 6, 'no such cup'\n  return x\n"
        )
    };
    let half = Configured { dtype: Precision::Bfloat16, ..FLOAT32 };
    let configured_only = defined(&folder, &raises("=="));
    let error = compared(&configured_only, half, "float32[1,2]", 1).unwrap_err();
    assert!(matches!(error, CompareError::Run { number: 1, .. }), "{error:?}");
    let plain_too = defined(&folder, &raises("!="));
    let error = compared(&plain_too, half, "float32[1,2]", 1).unwrap_err();
    assert!(matches!(error, CompareError::PlainRun { number: 1, .. }), "{error:?}");
    let (declared, _) = bodies("float32[1,2]", 1);
    let no_payload = [Bytes::from_static(b"not npy")];
    let error = compare(&plain_too, &declared, half, ContentType::Npy, &no_payload).unwrap_err();
    assert!(matches!(error, CompareError::Payload { number: 1, .. }), "{error:?}");
    let (_, other) = bodies("float32[1,3]", 1);
    let error = compare(&plain_too, &declared, half, ContentType::Npy, &other).unwrap_err();
    assert!(matches!(error, CompareError::Refused { number: 1, .. }), "{error:?}");
}
