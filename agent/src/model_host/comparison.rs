//! `assay-host compare` as a child process: how far a configuration's outputs are from plain float32.

use std::{ffi::OsString, path::PathBuf};

use assay_measure::{
    configuration::{Configuration, Graph, Precision},
    outcome::OutputDeviation,
};

use super::{Exit, ModelHost, Serving, status::Progress, surroundings};

/// As many bodies as the host runs.
pub const MOST_BODIES: usize = 8;

/// Whether a configuration's outputs may differ from those of plain float32.
#[must_use]
pub fn is_due(configuration: &Configuration) -> bool {
    configuration.graph != Graph::Plain || configuration.dtype != Precision::Float32
}

#[derive(Clone, Debug)]
pub struct Bodies {
    /// One file per body.
    pub files: Vec<PathBuf>,
    pub content_type: String,
}

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

impl Serving<'_> {
    pub(super) fn comparing_arguments(&self, bodies: &Bodies) -> Vec<OsString> {
        let mut arguments: Vec<OsString> =
            vec!["compare".into(), surroundings::argument(self.model)];
        let mut add = |flag: &str, value: OsString| arguments.extend([flag.into(), value]);
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
        let exit = self.exited().await;
        self.finish_reading().await;
        verdict(exit, &self.told.progress())
    }
}

fn verdict(exit: Exit, told: &Progress) -> Compared {
    match (exit.code(), told.compared, &told.failure) {
        (Some(0), Some((max, mean)), _) if max >= 0.0 && mean >= 0.0 => {
            Compared::Deviation(OutputDeviation { max, mean })
        }
        (Some(0), ..) => Compared::Failed("the model host gave no answer".to_owned()),
        (_, _, Some(failure)) => match failure.code.as_str() {
            "artifact" | "engine" => Compared::Rejected(failure.message.clone()),
            "model" => Compared::Raised(failure.message.clone()),
            "outputs" => Compared::Incomparable(failure.message.clone()),
            _ => Compared::Failed(failure.message.clone()),
        },
        (_, _, None) => Compared::Failed(format!("the model host {}", exit.in_words())),
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, os::unix::process::ExitStatusExt, path::Path, process::ExitStatus};

    use super::{super::status::Failure, *};

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
        assert!(line.starts_with("compare m.pt --payload b0 "), "{line}");
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
        let answer = Progress { compared: Some((0.5, 0.25)), ..Progress::default() };
        assert_eq!(verdict(exit(0), &answer), Compared::Deviation(deviation));
        for nonsense in [None, Some((f64::NAN, 0.0)), Some((0.5, -1.0))] {
            let told = Progress { compared: nonsense, ..Progress::default() };
            assert!(matches!(verdict(exit(0), &told), Compared::Failed(_)), "{nonsense:?}");
        }
        let said = |code: &str| {
            let failure = Failure { code: code.to_owned(), message: "what: why".to_owned() };
            verdict(exit(1), &Progress { failure: Some(failure), ..Progress::default() })
        };
        let told = "what: why".to_owned();
        assert_eq!(said("engine"), Compared::Rejected(told.clone()));
        assert_eq!(said("model"), Compared::Raised(told.clone()));
        assert_eq!(said("outputs"), Compared::Incomparable(told.clone()));
        assert_eq!(said("plain"), Compared::Failed(told));
        let killed = verdict(Exit(ExitStatus::from_raw(11)), &Progress::default());
        assert_eq!(
            killed,
            Compared::Failed("the model host was killed by signal 11 (SIGSEGV)".to_owned())
        );
    }
}
