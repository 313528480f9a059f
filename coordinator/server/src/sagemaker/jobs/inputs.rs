//! Which inputs are declared for a job. `DataInputConfig` has the shapes; whether they are needed is a question
//! of the bodies.

use assay_measure::input_spec::InputSpec;
use assay_sagemaker::{
    data_input_config::{self, Declared},
    error::ApiError,
};

use super::intake::Subject;

/// What becomes of a `DataInputConfig`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// What the model host is told.
    pub(crate) declared: Vec<InputSpec>,
    /// What people are told, in whole sentences.
    pub(crate) remarks: Vec<String>,
}

/// The inputs of a job whose bodies are of this content type; what it is may not be known yet.
pub(crate) fn of(subject: &Subject, content_type: Option<&str>) -> Result<Inputs, ApiError> {
    let Some(text) = subject.data_input_config.as_deref() else {
        return Ok(Inputs { declared: Vec::new(), remarks: without_config(content_type) });
    };
    let config =
        data_input_config::parse(text).map_err(|error| ApiError::validation(error.to_string()))?;
    let is_needed = content_type.is_some_and(|said| is_needed(&config, said));
    let mut remarks = vec![effect(&config, content_type, is_needed)];
    remarks.extend(config.remarks.into_iter().map(|remark| format!("DataInputConfig: {remark}")));
    Ok(Inputs { declared: if is_needed { config.inputs } else { Vec::new() }, remarks })
}

/// The same for the job's log, from what was known when the job was created: its lines never change.
pub(crate) fn remarks(subject: &Subject) -> Vec<String> {
    of(subject, subject.content_type.as_deref())
        .map_or_else(|error| vec![error.message], |inputs| inputs.remarks)
}

/// What is taken for granted where nothing is said: a wrong size would be measured in silence.
fn without_config(content_type: Option<&str>) -> Vec<String> {
    match content_type.map(essence) {
        Some(said) if is_picture(&said) => vec![
            "Without a DataInputConfig pictures are resized and cropped to 224 by 224 pixels."
                .to_owned(),
        ],
        _ => Vec::new(),
    }
}

fn effect(config: &Declared, content_type: Option<&str>, is_needed: bool) -> String {
    let shown: Vec<String> = config.inputs.iter().map(InputSpec::to_string).collect();
    let shown = if shown.is_empty() { "no input".to_owned() } else { shown.join(", ") };
    match content_type {
        Some(said) if !is_needed => format!(
            "DataInputConfig means {shown} and changes nothing: bodies of {said} have their own shape."
        ),
        Some(said) => format!("DataInputConfig means {shown}, which bodies of {said} are read as."),
        None => format!(
            "DataInputConfig means {shown}, which bodies are read as that do not have a shape of their own."
        ),
    }
}

/// A guess must not contradict what the bodies themselves know. Pictures are scaled to the declared size, bare
/// elements have no shape at all, and a row of CSV is one item. JSON has shapes and leaves the type of its numbers
/// to the model host, which finds out what the model takes; a type that was asked for is not to be found out.
fn is_needed(config: &Declared, content_type: &str) -> bool {
    match essence(content_type).as_str() {
        "text/csv" | "application/octet-stream" => true,
        json if json.starts_with("application/") && json.contains("json") => config.has_types,
        other => is_picture(other),
    }
}

fn is_picture(essence: &str) -> bool {
    essence == "application/x-image" || essence.starts_with("image/")
}

/// A media type without its parameters.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
