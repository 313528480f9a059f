//! `assay compare`: two jobs, of a coordinator or as exported files, held against each other.

use std::{fs, io, path::Path};

use assay_measure::printable;
use assay_planning::compare::{
    self, Change, ComparedJob, Comparison, FIELDS, FailedGate, Metric, Unlike, Verdict,
};
use assay_proto::LARGEST_ANSWER;
use quick_xml::{Writer, events::BytesText};
use serde_json::json;

use crate::{
    cli::{CompareArgs, OutputFormat},
    client::Client,
    config::Settings,
    failure::{ExitCode, Failure, OrFail},
    figures,
    output::{self, Listing},
    recommend,
};

/// Prints what changed; the exit code tells whether a gate failed.
pub(crate) async fn run(args: &CompareArgs, settings: &Settings) -> Result<ExitCode, Failure> {
    let unknown = args.allowed.iter().find(|name| !FIELDS.contains(&name.as_str()));
    if let Some(unknown) = unknown {
        return Err(Failure::usage(format!("--allow-mismatch knows no field {unknown:?}"))
            .hint(format!("the fields are {}", FIELDS.join(", "))));
    }
    let (base, new) = (job(&args.base, settings).await?, job(&args.new, settings).await?);
    let comparison = compare::compare(&base, &new, &args.gates, &args.allowed)
        .map_err(|unlike| refused(args, &unlike))?;
    if let Some(path) = &args.junit {
        let report = junit(&comparison).or_failed("cannot write the JUnit report")?;
        output::replace(path, format!("{report}\n").as_bytes())
            .or_failed(format_args!("cannot write {}", path.display()))?;
    }
    show(&comparison, if args.md { OutputFormat::Md } else { settings.output })?;
    Ok(if comparison.failed_gates.is_empty() { ExitCode::Done } else { ExitCode::GateFailed })
}

fn refused(args: &CompareArgs, unlike: &Unlike) -> Failure {
    let failure =
        Failure::failed(format!("cannot compare {} with {}", args.base, args.new)).because(unlike);
    match unlike {
        Unlike::Field(difference) => failure.hint(format!(
            "figures of unlike jobs say little; --allow-mismatch {} compares them all the same",
            difference.field
        )),
        Unlike::NothingInCommon => failure.hint(
            "candidates are the same when their instance type and configuration (or endpoint) are",
        ),
    }
}

/// A file if there is one of that name, else the job of a coordinator.
async fn job(name: &str, settings: &Settings) -> Result<ComparedJob, Failure> {
    let path = Path::new(name);
    if path.is_file() || name.contains('/') || name.ends_with(".json") {
        let cannot_read = format!("cannot read {name}");
        let size = fs::metadata(path).or_failed(&cannot_read)?.len();
        if size > LARGEST_ANSWER as u64 {
            return Err(Failure::failed(cannot_read).cause(format!("it has {size} bytes")));
        }
        let text = fs::read_to_string(path).or_failed(&cannot_read)?;
        return ComparedJob::read(&text).map_err(|error| {
            Failure::failed(cannot_read)
                .because(&error)
                .hint("`assay export JOB --format json -O FILE` writes what can be compared")
        });
    }
    let mut client = Client::connect(settings).await?;
    let report = recommend::report_of(&mut client, name).await?;
    ComparedJob::of(&report).or_failed(format_args!("cannot compare {name}"))
}

fn show(comparison: &Comparison, format: OutputFormat) -> Result<(), Failure> {
    let mut listing = listing(comparison);
    match format {
        OutputFormat::Json => {
            let document = serde_json::to_string_pretty(comparison)
                .or_failed("cannot write the comparison as JSON")?;
            output::write(&output::escaped(document))
        }
        OutputFormat::Jsonl | OutputFormat::Csv => listing.write(format),
        OutputFormat::Table | OutputFormat::Wide => {
            // Said once for all of its metrics.
            let mut last = String::new();
            for row in &mut listing.rows {
                if row[0] == last {
                    row[0].clear();
                } else {
                    last.clone_from(&row[0]);
                }
            }
            listing.write(format)?;
            said(comparison, "  ")
        }
        OutputFormat::Md => {
            listing.write(format)?;
            said(comparison, "- ")
        }
    }
}

fn listing(comparison: &Comparison) -> Listing {
    let of_all = || {
        let candidates = comparison.candidates.iter();
        candidates.flat_map(|one| one.changes.iter().map(|change| (&one.candidate, change)))
    };
    let row = |(candidate, change): (&String, &Change)| {
        vec![
            candidate.clone(),
            change.metric.to_string(),
            figure(change.metric, change.base),
            figure(change.metric, change.new),
            in_words(change),
            change.verdict.word().to_owned(),
        ]
    };
    let json = |(candidate, change): (&String, &Change)| {
        let mut object = json!(change);
        object["candidate"] = json!(candidate);
        object
    };
    Listing {
        header: vec!["CANDIDATE", "METRIC", "BASE", "NEW", "CHANGE", "VERDICT"],
        rows: of_all().map(row).collect(),
        json: of_all().map(json).collect(),
        empty: String::new(),
    }
}

/// What stands beside the table: what differs, what has no counterpart, and which gates failed.
fn said(comparison: &Comparison, lead: &str) -> Result<(), Failure> {
    let differences = comparison
        .differences
        .iter()
        .map(|one| format!("{}: {} → {}", one.field, one.base, one.new));
    let alone = |job: &str, of: &[compare::Unmatched]| {
        let line = |one: &compare::Unmatched| match &one.reason {
            Some(reason) => format!("only in {job}: {} ({reason})", one.candidate),
            None => format!("only in {job}: {}", one.candidate),
        };
        of.iter().map(line).collect::<Vec<_>>()
    };
    let gates = comparison.failed_gates.iter().map(|failed| {
        format!("gate {} failed: {} {}", failed.gate, failed.candidate, failed.reason)
    });
    let lines: Vec<String> = differences
        .chain(alone(&comparison.base, &comparison.only_in_base))
        .chain(alone(&comparison.new, &comparison.only_in_new))
        .chain(gates)
        .map(|line| format!("{lead}{}", printable::line(&line)))
        .collect();
    if lines.is_empty() { Ok(()) } else { output::write(&format!("\n{}", lines.join("\n"))) }
}

fn figure(metric: Metric, value: f64) -> String {
    match metric {
        Metric::Cost => format!("${}/1M", figures::significant(value * 1e6)),
        Metric::Throughput => format!("{}/min", figures::grouped(value)),
        Metric::P50 | Metric::P95 | Metric::P99 => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a latency of at most ten minutes in microseconds"
            )]
            let micros = value.round() as u64;
            figures::latency(micros)
        }
    }
}

/// `+1.9 % (-0.9 to +4.8)`.
fn in_words(change: &Change) -> String {
    let interval = change.change_ci95_pct;
    let interval = interval.map(|[low, high]| format!(" ({low:+.1} to {high:+.1})"));
    format!("{:+.1} %{}", change.change_pct, interval.unwrap_or_default())
}

/// A test case of each metric that a candidate has or a gate asks for, failed where a gate did.
fn junit(comparison: &Comparison) -> io::Result<String> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    let name = format!("assay compare {} {}", comparison.base, comparison.new);
    let suite = writer.create_element("testsuite").with_attribute(("name", &*name));
    suite.write_inner_content(|writer| {
        for one in &comparison.candidates {
            for metric in Metric::ALL {
                let change = one.changes.iter().find(|change| change.metric == metric);
                let failed = failed_gates(comparison, &one.candidate)
                    .find(|failed| failed.gate.metric == metric);
                test_case(writer, (&one.candidate, metric.word()), change, failed)?;
            }
        }
        for one in &comparison.only_in_base {
            let failed = failed_gates(comparison, &one.candidate).next();
            test_case(writer, (&one.candidate, "measured"), None, failed)?;
        }
        Ok(())
    })?;
    let body = String::from_utf8_lossy(&writer.into_inner()).into_owned();
    Ok(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}\n"))
}

fn failed_gates<'a>(
    comparison: &'a Comparison,
    candidate: &'a str,
) -> impl Iterator<Item = &'a FailedGate> {
    comparison.failed_gates.iter().filter(move |failed| failed.candidate == candidate)
}

/// Nothing where neither has anything to say.
fn test_case(
    writer: &mut Writer<Vec<u8>>,
    (class, name): (&str, &str),
    change: Option<&Change>,
    failed: Option<&FailedGate>,
) -> io::Result<()> {
    let words = change.map(|change| format!("{}, {}", in_words(change), change.verdict.word()));
    let (kind, words) = match (failed, change.map(|change| change.verdict), words) {
        (Some(failed), _, words) => ("failure", words.unwrap_or_else(|| failed.reason.clone())),
        (None, Some(Verdict::Inconclusive), Some(words)) => ("skipped", words),
        (None, _, Some(words)) => ("system-out", words),
        (None, _, None) => return Ok(()),
    };
    let case = writer.create_element("testcase").with_attribute(("classname", class));
    let case = case.with_attribute(("name", name));
    case.write_inner_content(|writer| {
        if kind == "system-out" {
            let said = writer.create_element(kind);
            return said.write_text_content(BytesText::new(&words)).map(drop);
        }
        outcome(writer, kind, &words)
    })
    .map(drop)
}

fn outcome(writer: &mut Writer<Vec<u8>>, kind: &str, message: &str) -> io::Result<()> {
    let message = printable::line(message);
    writer.create_element(kind).with_attribute(("message", &*message)).write_empty().map(drop)
}
