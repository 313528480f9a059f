//! `assay-host compare` as a child process: how far a configuration's outputs are from plain float32.

use std::{ffi::OsString, path::PathBuf};

use assay_measure::{
    configuration::{Configuration, Graph, Precision},
    outcome::OutputDeviation,
};
use serde::Deserialize;
use tokio::io::AsyncReadExt;

use super::{Exit, ModelHost, Serving};

/// As many bodies as the host runs.
pub const MOST_BODIES: usize = 8;
/// The host prints one small object.
const ANSWER_LIMIT: u64 = 64 << 10;

/// Whether a configuration's outputs may differ from those of plain float32.
#[must_use]
pub fn is_due(configuration: &Configuration) -> bool {
    configuration.graph != Graph::Plain || configuration.dtype != Precision::Float32
}

/// What to compare over.
#[derive(Clone, Debug)]
pub struct Bodies {
    /// One file per body.
    pub files: Vec<PathBuf>,
    /// What they are.
    pub content_type: String,
}

/// How a comparison went.
#[derive(Clone, Debug, PartialEq)]
pub enum Compared {
    /// It came to a figure.
    Deviation(OutputDeviation),
    /// Outputs differ by more than a figure can tell; in one line.
    Incomparable(String),
    /// The model cannot be loaded as configured; in one line.
    Rejected(String),
    /// The model raises as configured, and does not plain; in one line.
    Raised(String),
    /// Anything else; in one line. Serving will show whether it matters.
    Failed(String),
}

/// The object that the host prints.
#[derive(Deserialize)]
struct Answer {
    max: f64,
    mean: f64,
}

/// The error object of its last line on stderr.
#[derive(Deserialize)]
struct ErrorLine {
    error: Problem,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    message: String,
    #[serde(default)]
    causes: Vec<String>,
}

impl Serving<'_> {
    pub(super) fn comparing_arguments(&self, bodies: &Bodies) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["compare".into(), self.model.into()];
        let mut add = |flag: &str, value: OsString| arguments.extend([flag.into(), value]);
        add("--output", "json".into());
        for file in bodies.files.iter().take(MOST_BODIES) {
            add("--payload", file.into());
        }
        add("--content-type", bodies.content_type.clone().into());
        add("--intra-op-threads", self.configuration.intra_op_threads.to_string().into());
        self.add_how(&mut arguments);
        arguments
    }
}

impl ModelHost {
    /// Waits for the answer of a host that was started to compare.
    pub async fn compared(&mut self) -> Compared {
        let mut text = String::new();
        if let Some(stdout) = self.stdout.take() {
            // An answer cut short is no answer, which is told below.
            stdout.take(ANSWER_LIMIT).read_to_string(&mut text).await.ok();
        }
        let exit = self.exited().await;
        self.finish_reading().await;
        verdict(exit, &text, &self.last_words())
    }
}

fn verdict(exit: Exit, stdout: &str, stderr: &str) -> Compared {
    if exit.code() == Some(0) {
        return match serde_json::from_str::<Answer>(stdout) {
            Ok(Answer { max, mean }) if max >= 0.0 && mean >= 0.0 => {
                Compared::Deviation(OutputDeviation { max, mean })
            }
            Ok(_) | Err(_) => Compared::Failed(format!("the model host answered {stdout:?}")),
        };
    }
    let problem =
        stderr.lines().rev().find_map(|line| serde_json::from_str::<ErrorLine>(line).ok());
    let Some(ErrorLine { error }) = problem else {
        return Compared::Failed(format!("the model host {}", exit.in_words()));
    };
    let told = [vec![error.message], error.causes].concat().join(": ");
    match error.code.as_str() {
        "artifact" | "engine" => Compared::Rejected(told),
        "model" => Compared::Raised(told),
        "outputs" => Compared::Incomparable(told),
        _ => Compared::Failed(told),
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, os::unix::process::ExitStatusExt, path::Path, process::ExitStatus};

    use super::*;

    fn exit(code: i32) -> Exit {
        Exit(ExitStatus::from_raw(code << 8))
    }

    #[test]
    fn the_host_is_told_what_to_compare() {
        let mut configuration = Configuration::cpu(NonZeroU32::MIN, NonZeroU32::MIN);
        assert!(!is_due(&configuration));
        configuration.graph = Graph::Optimized;
        assert!(is_due(&configuration));
        let inputs = ["x=float32[1,3]".parse().unwrap()];
        let serving =
            Serving { model: Path::new("m.pt"), configuration: &configuration, inputs: &inputs };
        let files = (0..9).map(|number| PathBuf::from(format!("b{number}"))).collect();
        let bodies = Bodies { files, content_type: "application/x-npy".to_owned() };
        let line: Vec<_> = serving
            .comparing_arguments(&bodies)
            .iter()
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect();
        let line = line.join(" ");
        assert!(line.starts_with("compare m.pt --output json --payload b0 "), "{line}");
        assert!(line.contains("--payload b7 --content-type application/x-npy"), "{line}");
        assert!(
            line.ends_with(
                "--device cpu --dtype float32 --graph optimized --allocator tuned --input x=float32[1,3]"
            ),
            "{line}"
        );
    }

    #[test]
    fn every_ending_is_told_apart() {
        let deviation = OutputDeviation { max: 0.5, mean: 0.25 };
        let answer = r#"{"max": 0.5, "mean": 0.25, "elements": 4, "bodies": 1}"#;
        assert_eq!(verdict(exit(0), answer, ""), Compared::Deviation(deviation));
        assert!(matches!(verdict(exit(0), "", ""), Compared::Failed(_)));
        let said = |code: &str| {
            let line = format!(
                "a warning of libtorch\n{{\"error\":{{\"code\":\"{code}\",\"message\":\"what\",\"causes\":[\"why\"]}}}}"
            );
            verdict(exit(1), "", &line)
        };
        let told = "what: why".to_owned();
        assert_eq!(said("engine"), Compared::Rejected(told.clone()));
        assert_eq!(said("model"), Compared::Raised(told.clone()));
        assert_eq!(said("outputs"), Compared::Incomparable(told.clone()));
        assert_eq!(said("plain"), Compared::Failed(told));
        let killed = verdict(Exit(ExitStatus::from_raw(11)), "", "");
        assert_eq!(
            killed,
            Compared::Failed("the model host was killed by signal 11 (SIGSEGV)".to_owned())
        );
    }
}
