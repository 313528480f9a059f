//! Files of a trial in words that leave the agent: by the names that their owner gave them. Where they lie
//! on this machine helps nobody who reads the answer elsewhere, and may be gone by then.

use std::path::Path;

use assay_measure::{
    outcome::{Failure, TrialOutcome},
    trial::TrialSpec,
};

use crate::artifact_cache::ArtifactCache;

/// Places on this machine, and what to say instead.
#[derive(Debug, Default)]
pub(super) struct FileNames(Vec<(String, String)>);

impl FileNames {
    /// Those of the model and the payload, and of the folder they lie in.
    pub(super) fn of_trial(spec: &TrialSpec, cache: &ArtifactCache) -> Self {
        let mut names = Self::default();
        let model = spec.served().map(|served| &served.model);
        for artifact in model.into_iter().chain([&spec.payload.artifact]) {
            names.add(&cache.path_of(artifact), artifact.name.clone());
        }
        names.add(&cache.folder, "the model cache".to_owned());
        names
    }

    /// Adds one; of places within each other the inner one comes first.
    pub(super) fn add(&mut self, place: &Path, name: String) {
        // Replacing "/" or "" would spoil every text.
        if place.file_name().is_some() {
            self.0.push((place.display().to_string(), name));
            self.0.sort_by_key(|(place, _)| std::cmp::Reverse(place.len()));
        }
    }

    /// An outcome that names no place.
    pub(super) fn in_outcome(&self, outcome: TrialOutcome) -> TrialOutcome {
        match outcome {
            TrialOutcome::Measured(mut measurement) => {
                let texts = [&mut measurement.first_error, &mut measurement.comparison_failure];
                for text in texts.into_iter().flatten() {
                    *text = self.in_text(text);
                }
                TrialOutcome::Measured(measurement)
            }
            TrialOutcome::Failed(failure) => TrialOutcome::Failed(Failure {
                message: self.in_text(&failure.message),
                detail: self.in_text(&failure.detail),
                ..failure
            }),
            cancelled @ TrialOutcome::Cancelled { .. } => cancelled,
        }
    }

    fn in_text(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (place, name)| text.replace(place.as_str(), name))
    }
}

#[cfg(test)]
mod tests {
    use assay_measure::outcome::FailureKind;

    use super::*;

    #[test]
    fn a_failure_names_the_users_files_and_no_place_on_this_machine() {
        let mut names = FileNames::default();
        names.add(Path::new("/tmp/assay-x/agent-cache"), "the model cache".to_owned());
        names.add(Path::new("/tmp/assay-x/agent-cache/0a1b.m.pt"), "m.pt".to_owned());
        names.add(Path::new("/"), "nothing".to_owned());
        let failure = Failure::new(
            FailureKind::ModelRejected,
            "cannot load /tmp/assay-x/agent-cache/0a1b.m.pt: a/b is odd".to_owned(),
            "hint: `assay-host inspect /tmp/assay-x/agent-cache/0a1b.m.pt` shows it\n\
                     cannot store x in /tmp/assay-x/agent-cache"
                .to_owned(),
        );
        let TrialOutcome::Failed(told) = names.in_outcome(TrialOutcome::Failed(failure)) else {
            panic!("a failure stays one")
        };
        assert_eq!(told.message, "cannot load m.pt: a/b is odd");
        let detail = "hint: `assay-host inspect m.pt` shows it\ncannot store x in the model cache";
        assert_eq!(told.detail, detail);
    }
}
