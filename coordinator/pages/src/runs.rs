//! What pages and reports show alike of a job's candidates: the recommended one, and the table of all.

use askama::Template;
use assay_measure::job::JobSpec;
use assay_planning::{
    repeat::{self, NoFlag},
    report::{Entry, JobReport},
    snippet::{self, NoSnippet, Recommended},
};

use crate::{filters, results::trial_path};

/// The figures of a recommended candidate.
#[derive(Clone, Debug, Template)]
#[template(path = "panel.html")]
pub(crate) struct Panel<'a> {
    pub(crate) best: &'a Entry,
    pub(crate) title: &'static str,
    /// Of its heading: a page that holds several has several.
    pub(crate) id: String,
}

/// The table of all runs.
#[derive(Clone, Debug, Template)]
#[template(path = "runs.html")]
pub(crate) struct Runs<'a> {
    rows: Vec<Row<'a>>,
    has_score: bool,
    has_sizing: bool,
    has_emulated: bool,
}

/// Where the rows of a table lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// To the pages of the trials.
    Trials,
    /// Nowhere: there are no other pages.
    None,
}

impl<'a> Runs<'a> {
    pub(crate) fn of(report: &'a JobReport, has_score: bool, links: Links) -> Self {
        let path = |entry: &Entry| match links {
            Links::Trials => entry.trial.as_ref().map(trial_path),
            Links::None => None,
        };
        let ranked = report.ranking.iter().enumerate().map(|(index, entry)| {
            let class = if entry.rank == Some(1) { "best" } else { "" };
            let verdict = if entry.is_suspect() {
                format!("suspect: {}", entry.doubts())
            } else {
                entry.validity.as_ref().map_or("", |validity| validity.verdict.word()).to_owned()
            };
            Row { entry, index: Some(index), class, verdict, path: path(entry) }
        });
        let others = report.rejected.iter().map(|entry| (entry, "rejected"));
        let others = others.chain(report.failed.iter().map(|entry| (entry, "failed")));
        let others = others.map(|(entry, list)| Row {
            entry,
            index: None,
            class: "out",
            verdict: list.to_owned(),
            path: path(entry),
        });
        let rows: Vec<Row<'_>> = ranked.chain(others).collect();
        Self {
            has_score,
            has_sizing: rows.iter().any(|row| row.entry.sizing.is_some()),
            has_emulated: rows.iter().any(|row| row.entry.emulated),
            rows,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[derive(Clone, Debug)]
struct Row<'a> {
    entry: &'a Entry,
    /// Its place in the ranking as it was given, from 0.
    index: Option<usize>,
    class: &'static str,
    /// The list that it is in instead of the ranking, or what its figures are worth.
    verdict: String,
    path: Option<String>,
}

impl Row<'_> {
    /// Why it is not ranked.
    fn reason(&self) -> Option<&str> {
        let is_out = self.entry.rank.is_none();
        is_out.then(|| self.entry.reason.as_deref().unwrap_or("no reason was given"))
    }
}

/// A candidate as text to be run.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    pub(crate) title: &'static str,
    /// The text, or why there is none.
    pub(crate) text: Result<String, String>,
}

/// Ways to run a job again.
pub(crate) fn repeats(spec: &JobSpec) -> Vec<Use> {
    let of = |title, text: Result<String, NoFlag>| Use {
        title,
        text: text.map_err(|error| error.to_string()),
    };
    vec![
        of("Command line", repeat::command_line(spec)),
        of("Job file, for assay jobs create -f", repeat::job_file(spec)),
    ]
}

/// Ways to put a candidate of a job to use.
pub(crate) fn uses(report: &JobReport, entry: &Entry, spec: &JobSpec) -> Vec<Use> {
    let Some(model) = &report.model else { return Vec::new() };
    let recommended = Recommended {
        entry,
        model: &model.name,
        inputs: &spec.inputs,
        sizing: entry.sizing.as_ref(),
    };
    let of = |title, text: Result<String, NoSnippet>| Use {
        title,
        text: text.map_err(|error| error.to_string()),
    };
    vec![
        of("On this machine", snippet::command_line(recommended)),
        of("Kubernetes", snippet::kubernetes(recommended)),
        of("SageMaker, with boto3", snippet::boto3(recommended)),
    ]
}
