//! `assay-agent load`: a fixed load on a target, and what came of it.

use std::{
    fs::File,
    io::{BufWriter, ErrorKind, Write},
    path::Path,
    time::{Duration, SystemTime},
};

use assay_agent::{
    capacity::fixed_step,
    load::{
        Generator, GeneratorError, GeneratorOptions,
        figures::{EndedStep, StepEnd},
        pacing::Scheduling,
    },
    payload::Payload,
    report::load::{LoadReport, Performed},
    target::Address,
};
use assay_measure::{
    printable,
    schedule::{Load, Phase, recorded},
};
use hdrhistogram::serialization::{V2DeflateSerializer, interval_log::IntervalLogWriterBuilder};

use crate::{
    cli::{Format, LoadArguments, TargetArguments},
    failure::{ExitCode, Failure},
    interruption::Interruption,
    progress::Progress,
};

const DEFAULT_DURATION: Duration = Duration::from_secs(10);

pub(crate) fn run(arguments: &LoadArguments, format: Format) -> Result<ExitCode, Failure> {
    let phases = phases(arguments)?;
    let options =
        GeneratorOptions { keep_samples: false, keep_seconds: true, ..options(&arguments.target) };
    // Made now: a load that cannot be written down must not run first.
    let log = arguments.hlog.as_deref().map(create).transpose()?;
    let payload = payload(&arguments.target)?;
    let mut generator = start(&arguments.target, payload.as_ref(), &options)?;
    let interruption = Interruption::cancels(generator.cancel_handle()).map_err(signals)?;
    let began = SystemTime::now();
    let performed = perform(&mut generator, &phases, options.request_timeout)?;
    let interrupted = interruption.happened();
    let lost = performed.iter().find_map(|phase| match &phase.result.end {
        StepEnd::TargetLost { reason } => Some(reason.clone()),
        StepEnd::Complete | StepEnd::Cancelled => None,
    });
    let report = LoadReport::of(
        arguments.target.target.to_string(),
        &performed,
        interrupted || lost.is_some(),
    );
    if let (Some(log), Some(path)) = (log, &arguments.hlog) {
        write_log(log, began, &performed).map_err(|error| cannot_write(path, &error))?;
    }
    print(&match format {
        Format::Json => to_json(&report)?,
        Format::Table => report.table(),
    })?;
    match lost {
        Some(reason) => Err(target_lost(&arguments.target, &reason)),
        None if interrupted => Ok(ExitCode::Interrupted),
        None => Ok(ExitCode::Done),
    }
}

/// The load that was asked for.
fn phases(arguments: &LoadArguments) -> Result<Vec<Phase>, Failure> {
    let duration = arguments.duration.unwrap_or(DEFAULT_DURATION);
    if let Some(load) = arguments.phases.as_ref().or(arguments.stairs.as_ref()) {
        return Ok(load.phases(duration));
    }
    if let Some(path) = &arguments.trace {
        return read_trace(path).map(|phase| vec![phase]);
    }
    let load = match arguments.rate {
        Some(rate) => {
            Load::Open { rate, arrivals: arguments.arrivals.into(), seed: arguments.target.seed }
        }
        None => Load::Closed { users: arguments.users.unwrap_or(1) },
    };
    Ok(vec![Phase { load, duration }])
}

/// Recorded arrivals, from a file.
fn read_trace(path: &Path) -> Result<Phase, Failure> {
    let wrong =
        || Failure::new(ExitCode::Usage, format!("cannot replay the trace {}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong().because(Some(&error)))?;
    recorded::parse(&text).map_err(|error| wrong().because(Some(&error)))
}

/// Carries out phases without a pause between them.
fn perform(
    generator: &mut Generator,
    phases: &[Phase],
    timeout: Duration,
) -> Result<Vec<Performed>, Failure> {
    for (index, phase) in (0..).zip(phases) {
        // Whatever has not ended by then has failed, so nothing is left open.
        let plan = fixed_step(index, phase, timeout + Duration::from_secs(1));
        generator.submit(&plan)?;
    }
    let progress = Progress::start();
    let mut performed = Vec::new();
    for (number, phase) in phases.iter().enumerate() {
        progress.doing(&format!("phase {} of {}, {:?}", number + 1, phases.len(), phase.duration));
        let Some(result) = generator.wait_next()? else { break };
        if phases.len() > 1 {
            progress.done(&in_words(number, &result));
        }
        performed.push(Performed { load: phase.load.clone(), result });
    }
    progress.finish();
    Ok(performed)
}

fn in_words(number: usize, result: &EndedStep) -> String {
    let figures = &result.figures;
    format!(
        "phase {}: {} answered, {} failed",
        number + 1,
        figures.answered,
        figures.errors.total()
    )
}

/// What there is to send; says which files are not.
pub(crate) fn payload(arguments: &TargetArguments) -> Result<Option<Payload>, Failure> {
    let Some(path) = arguments.payload.as_deref() else { return Ok(None) };
    let payload = Payload::read(path, arguments.content_type.as_deref())
        .map_err(|error| Failure::of(ExitCode::Failed, &error))?;
    if let Some(passed_over) = payload.passed_over.sentence() {
        anstream::eprintln!("note: payload {}: {passed_over}", path.display());
    }
    Ok(Some(payload))
}

/// The generator for a target, after it was seen to accept connections.
pub(crate) fn start(
    arguments: &TargetArguments,
    payload: Option<&Payload>,
    options: &GeneratorOptions,
) -> Result<Generator, Failure> {
    let address = reach(arguments)?;
    let inputs = &arguments.inputs;
    Ok(Generator::start(&arguments.target, &address, payload, inputs, options)?)
}

pub(crate) fn reach(arguments: &TargetArguments) -> Result<Address, Failure> {
    arguments.target.reach().map_err(|error| {
        Failure::of(ExitCode::Failed, &error)
            .hint("is the server running, and is this its address and port?")
    })
}

pub(crate) fn options(arguments: &TargetArguments) -> GeneratorOptions {
    GeneratorOptions {
        threads: arguments.threads,
        connections: arguments.connections,
        request_timeout: arguments.timeout,
        scheduling: Scheduling { realtime: arguments.realtime, cpus: Vec::new() },
        ..GeneratorOptions::default()
    }
}

impl From<GeneratorError> for Failure {
    fn from(error: GeneratorError) -> Self {
        let usage =
            matches!(error, GeneratorError::Request(_) | GeneratorError::TooManyArrivals { .. });
        Self::of(if usage { ExitCode::Usage } else { ExitCode::Failed }, &error)
    }
}

pub(crate) fn signals(error: std::io::Error) -> Failure {
    Failure::new(ExitCode::Failed, "cannot listen for signals").cause(error)
}

pub(crate) fn target_lost(arguments: &TargetArguments, reason: &str) -> Failure {
    Failure::new(
        ExitCode::Failed,
        format!("the target {} went away while it was loaded", arguments.target),
    )
    .cause(reason)
    .hint("look at the server's own log: did it crash, or was it stopped?")
}

/// Writes a result to standard output. A reader that has seen enough and closed it is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout().lock(), "{}", printable::text(text)) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(ExitCode::Failed, "cannot write the result").cause(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(crate) fn to_json(report: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(report).map_err(|error| {
        Failure::new(ExitCode::Failed, "cannot write the report as JSON").cause(error)
    })?;
    Ok(printable::json(&text).into_owned())
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(ExitCode::Failed, format!("cannot write {}", path.display())).cause(error)
}

/// Writes HdrHistogram's interval log: values in microseconds, the maximum column in milliseconds.
fn write_log(file: File, began: SystemTime, performed: &[Performed]) -> Result<(), String> {
    let mut writer = BufWriter::new(file);
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment("[Logged with assay-agent; values are latencies in microseconds]")
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(1000.0);
    let mut log =
        builder.begin_log_with(&mut writer, &mut serializer).map_err(|error| error.to_string())?;
    let first_us = performed.first().map_or(0, |phase| phase.result.observation.started_us);
    for phase in performed {
        let begin = Duration::from_micros(phase.result.observation.started_us - first_us);
        for second in &phase.result.figures.seconds {
            let start = begin + Duration::from_secs(second.index);
            log.write_histogram(&second.latency, start, Duration::from_secs(1), None)
                .map_err(|error| error.to_string())?;
        }
    }
    writer.flush().map_err(|error| error.to_string())
}
