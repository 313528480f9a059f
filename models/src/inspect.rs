//! What a model is: its signature, weights, and what its inputs seem to be.
//!
//! TorchScript does not record the shapes that a model was made for. They are guessed from the first
//! weights that each argument meets, and suggested only if the model runs with them ([`suggestion`]).

mod suggestion;

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use assay_measure::{
    configuration::{Device, Graph, Precision},
    input_spec::InputSpec,
    printable,
};
use serde::Serialize;
use thiserror::Error;

use self::suggestion::Suggestion;
use crate::{
    artifact::Artifact,
    engine::{self, EngineError},
    payload::ImageSettings,
    response,
    sample::random_inputs,
    tensor::WireTensor,
    torch::{
        self, CallError, Module,
        description::{Description, FirstUse, type_word},
    },
};

/// What is known about a model (`assay.model/1`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Inspection {
    /// The format of this report.
    pub schema: &'static str,
    pub path: String,
    pub size_bytes: u64,
    pub sha256: String,
    /// `forward(x: Tensor) -> Tensor`.
    pub signature: String,
    /// The name of the model's class.
    pub class: String,
    pub parameters: u64,
    pub buffers: u64,
    pub parameter_dtypes: BTreeMap<String, u64>,
    /// The arguments of `forward`.
    pub inputs: Vec<InspectedInput>,
    /// What to give to `--input`, once per element: the model was seen to run with it. Absent where no
    /// guess runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggested_inputs: Option<Vec<String>>,
    /// How pictures become tensors; present when the input seems to be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSettings>,
    /// What came of trying it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<TrialRun>,
}

/// One argument of `forward`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct InspectedInput {
    pub name: String,
    #[serde(rename = "type")]
    pub type_name: String,
    /// Whether it may be left out.
    pub optional: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seems: Option<String>,
}

/// What the model did with made-up inputs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TrialRun {
    /// The inputs, as `--input` takes them.
    pub inputs: Vec<String>,
    /// What came out, in the same notation.
    pub outputs: Vec<String>,
    /// The time of one forward pass, on one thread, warmed up.
    pub forward_us: f64,
    pub nan_outputs: u64,
    #[serde(skip)]
    pub input_tensors: Vec<WireTensor>,
    #[serde(skip)]
    pub output_tensors: Vec<WireTensor>,
}

/// Why a model cannot be inspected.
#[derive(Debug, Error)]
pub(crate) enum InspectError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("what the inputs are cannot be guessed, so the model cannot be tried")]
    UnknownInputs,
    #[error("the model does not run with {inputs}")]
    Run { inputs: String, source: CallError },
    #[error("cannot write {}", path.display())]
    Save { path: PathBuf, source: io::Error },
}

impl TrialRun {
    /// Writes what went in and came out as `input_0.npy`, `output_0.npy` and so on. The folder is made.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), InspectError> {
        fs::create_dir_all(folder)
            .map_err(|source| InspectError::Save { path: folder.to_owned(), source })?;
        for (kind, tensors) in [("input", &self.input_tensors), ("output", &self.output_tensors)] {
            for (index, tensor) in tensors.iter().enumerate() {
                let path = folder.join(format!("{kind}_{index}.npy"));
                fs::write(&path, response::to_npy(tensor))
                    .map_err(|source| InspectError::Save { path, source })?;
            }
        }
        Ok(())
    }
}

/// Looks into a model; with `run`, tries it with the declared inputs, or the suggested ones.
pub(crate) fn inspect(
    artifact: &Artifact,
    declared: &[InputSpec],
    run: bool,
) -> Result<Inspection, InspectError> {
    torch::use_one_interop_thread();
    // Before anything runs: a copy of this process, in which guesses are tried, has no pool of threads.
    torch::set_intra_op_threads(NonZeroU32::MIN.get());
    let (module, description) =
        engine::load_module(artifact, Device::Cpu, Precision::Float32, Graph::Plain)?;
    if run {
        engine::check_arguments(&description, declared)?;
    }
    let suggestion = Suggestion::find(&module, &description);
    let trial = match (run, declared, &suggestion) {
        (false, _, _) => None,
        (true, [], Suggestion::Unknown) => {
            return Err(why_nothing_is_guessed(&module, &description));
        }
        // Of guesses that do not run, the likeliest shows what the model has against it.
        (true, [], Suggestion::Runs(specs) | Suggestion::NoneRuns(specs)) => {
            Some(try_out(&module, specs)?)
        }
        (true, declared, _) => Some(try_out(&module, declared)?),
    };
    let image = description.first_uses.iter().any(FirstUse::takes_colours);
    let parameter_types = description.parameter_types.iter();
    let in_notation = |specs: &[InputSpec]| specs.iter().map(InputSpec::to_string).collect();
    Ok(Inspection {
        schema: "assay.model/1",
        path: artifact.path.display().to_string(),
        size_bytes: artifact.size_bytes,
        sha256: artifact.sha256.clone(),
        signature: description.signature(),
        class: description.class.clone(),
        parameters: description.parameters,
        buffers: description.buffers,
        parameter_dtypes: parameter_types.map(|(name, &count)| (type_word(name), count)).collect(),
        inputs: inspected_inputs(&description, &suggestion),
        suggested_inputs: suggestion.inputs().map(in_notation),
        image: image.then(ImageSettings::default),
        run: trial,
    })
}

/// Whatever the inputs are, a model that asks for another device, or returns what cannot be sent, does
/// not run: a call with numbers of no meaning shows it, and then the inputs are not the trouble.
fn why_nothing_is_guessed(module: &Module, description: &Description) -> InspectError {
    let Some(specs) = suggestion::placeholders(description) else {
        return InspectError::UnknownInputs;
    };
    match try_out(module, &specs) {
        Err(InspectError::Run { inputs, source }) if !source.may_be_the_inputs() => {
            InspectError::Run { inputs, source }
        }
        _ => InspectError::UnknownInputs,
    }
}

fn inspected_inputs(description: &Description, suggestion: &Suggestion) -> Vec<InspectedInput> {
    description
        .arguments
        .iter()
        .enumerate()
        .map(|(index, argument)| InspectedInput {
            name: argument.name.clone(),
            type_name: argument.type_name.clone(),
            optional: argument.optional,
            seems: suggestion.in_words(description, index),
        })
        .collect()
}

const WARM_UP_RUNS: u32 = 3;
const TIMED: Duration = Duration::from_millis(200);

fn try_out(module: &Module, specs: &[InputSpec]) -> Result<TrialRun, InspectError> {
    let input_tensors = random_inputs(specs);
    let inputs: Vec<String> = specs.iter().map(InputSpec::to_string).collect();
    let failed = |source| InspectError::Run { inputs: inputs.join(" "), source };
    let tensors: Vec<Option<&WireTensor>> = input_tensors.iter().map(Some).collect();
    let outputs = module.call(&tensors).map_err(failed)?;
    let (forwards, elapsed) =
        module.run_in_a_loop(&tensors, WARM_UP_RUNS, TIMED).map_err(failed)?;
    Ok(TrialRun {
        outputs: outputs.iter().map(notation).collect(),
        forward_us: elapsed.as_secs_f64() * 1e6 / forwards.max(1) as f64,
        nan_outputs: outputs.iter().map(engine::nan_count).sum(),
        inputs,
        input_tensors,
        output_tensors: outputs,
    })
}

fn notation(tensor: &WireTensor) -> String {
    // The model chose the name.
    format!("{}={}", printable::line(&tensor.name), tensor.kind())
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types: Vec<String> =
            self.parameter_dtypes.iter().map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(f, "  File         {}", self.path)?;
        writeln!(f, "  Size         {} bytes", self.size_bytes)?;
        writeln!(f, "  SHA-256      {}", self.sha256)?;
        writeln!(f, "  Signature    {}", self.signature)?;
        writeln!(f, "  Parameters   {} ({})", self.parameters, types.join(", "))?;
        for input in &self.inputs {
            let seems = input
                .seems
                .as_ref()
                .map_or_else(String::new, |seems| format!(": {seems}, it seems"));
            let optional = if input.optional { " (optional)" } else { "" };
            writeln!(f, "  Input        {}: {}{optional}{seems}", input.name, input.type_name)?;
        }
        match &self.suggested_inputs {
            Some(inputs) if inputs.is_empty() => {
                writeln!(f, "  Suggested    nothing: forward() takes no inputs")?;
            }
            Some(inputs) => {
                let flags: Vec<String> =
                    inputs.iter().map(|input| format!("--input '{input}'")).collect();
                writeln!(f, "  Suggested    {}", flags.join(" "))?;
            }
            None => writeln!(
                f,
                "  Suggested    nothing: no inputs could be guessed that the model runs with; declare them with --input"
            )?,
        }
        if let Some(image) = &self.image {
            writeln!(f, "  Pictures     {image}")?;
        }
        if let Some(run) = &self.run {
            let inputs = match &*run.inputs {
                [] => "no inputs".to_owned(),
                inputs => inputs.join(" "),
            };
            writeln!(
                f,
                "  Tried with   {inputs}: {} in {:.1} us on one thread",
                run.outputs.join(", "),
                run.forward_us
            )?;
            if run.nan_outputs > 0 {
                writeln!(f, "  warning      {} output elements are NaN", run.nan_outputs)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use assay_measure::units;

    use super::*;

    fn artifact(folder: &Path, name: &str) -> Artifact {
        let path = folder.join("model.pt");
        crate::reference::write(name, &path).unwrap();
        Artifact::open(&path, units::Bytes::gib(1)).unwrap()
    }

    #[test]
    fn what_the_reference_models_take_is_guessed_right_and_runs() {
        for name in ["mlp", "transformer"] {
            let folder = tempfile::tempdir().unwrap();
            let inspection = inspect(&artifact(folder.path(), name), &[], true).unwrap();
            let reference = crate::reference::find(name).unwrap();
            let nameless = reference.inputs[0].rsplit('=').next().unwrap();
            assert_eq!(inspection.suggested_inputs, Some(vec![nameless.to_owned()]), "{name}");
            assert!(inspection.run.unwrap().forward_us > 0.0);
            assert!(inspection.image.is_none());
        }
    }

    #[test]
    fn an_argument_that_no_tensor_fills_is_named_whether_inputs_are_declared_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.pt");
        let source = "def forward(self, x: str) -> Tensor:\n  return torch.ones([len(x)])\n";
        Module::define("Net", source, &[]).unwrap().save(&path).unwrap();
        let artifact = Artifact::open(&path, units::Bytes::gib(1)).unwrap();
        for declared in [vec![], vec!["float32[1,3]".parse().unwrap()]] {
            let error = inspect(&artifact, &declared, true).unwrap_err().to_string();
            assert!(error.contains("\"x\" of forward() is a str, which no payload"), "{error}");
        }
        assert_eq!(inspect(&artifact, &[], false).unwrap().suggested_inputs, None);
    }

    #[test]
    fn a_picture_model_shows_how_pictures_become_tensors() {
        let folder = tempfile::tempdir().unwrap();
        let inspection = inspect(&artifact(folder.path(), "mobilenet_v2"), &[], false).unwrap();
        assert_eq!(
            inspection.suggested_inputs.as_deref(),
            Some(&["float32[1,3,224,224]".to_owned()][..])
        );
        assert_eq!(inspection.image, Some(ImageSettings::default()));
        assert_eq!(inspection.parameter_dtypes.get("float32"), Some(&inspection.parameters));
        let text = inspection.to_string();
        assert!(
            text.contains("--input 'float32[1,3,224,224]'") && text.contains("centre 224x224"),
            "{text}"
        );
    }

    #[test]
    fn a_model_without_weights_is_told_what_it_does_wrong_rather_than_asked_for_inputs() {
        for (expression, wrong) in [
            ("torch.complex(x, x)", "the element type complex64, which cannot be sent"),
            ("torch.zeros([1], device=torch.device(\"cuda:0\"))", "asks for a CUDA device by name"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("model.pt");
            let source =
                format!("def forward(self, x: Tensor) -> Tensor:\n  return {expression}\n");
            Module::define("Net", &source, &[]).unwrap().save(&path).unwrap();
            let artifact = Artifact::open(&path, units::Bytes::gib(1)).unwrap();
            let error = inspect(&artifact, &[], true).unwrap_err();
            let InspectError::Run { inputs, source } = &error else { panic!("{error}") };
            assert_eq!(inputs, "float32[1,8]");
            assert!(source.to_string().contains(wrong), "{source}");
        }
    }

    #[test]
    fn inputs_that_cannot_be_guessed_must_be_declared_to_try_the_model() {
        let folder = tempfile::tempdir().unwrap();
        let multi = artifact(folder.path(), "multi");
        assert!(matches!(inspect(&multi, &[], true), Err(InspectError::UnknownInputs)));
        let declared =
            ["left=float32[1,4]".parse().unwrap(), "right=float32[1,4]".parse().unwrap()];
        let run = inspect(&multi, &declared, true).unwrap().run.unwrap();
        assert_eq!(run.outputs, ["difference=float32[1,4]", "sum=float32[1,4]"]);
        let wrong = ["left=float32[1,4]".parse().unwrap(), "right=float32[1,3]".parse().unwrap()];
        assert!(matches!(inspect(&multi, &wrong, true), Err(InspectError::Run { .. })));
    }
}
