//! `assay-agent capacity`: how much a target carries, with its interval and whether to believe it.

use std::time::Instant;

use assay_agent::{
    capacity::{
        CapacityError, SearchEnd, SearchEvent, SearchRun, StepRecord, no_batches, one_request,
        search,
    },
    load::{Generator, figures::ErrorKind},
    report::{capacity::CapacityReport, grouped},
    target::Target,
};
use assay_measure::{
    figures,
    schedule::Load,
    search::{Mode, SearchFailure, SearchPlan, StepPlan},
    validity::judge,
};

use crate::{
    cli::{CapacityArguments, Format},
    failure::{ExitCode, Failure},
    interruption::Interruption,
    load_command::{options, payload, print, reach, signals, start, target_lost, to_json},
    progress::Progress,
};

/// The share of failed calls up to which a load counts as carried.
pub(crate) const MAX_ERROR_SHARE: f64 = 0.01;

pub(crate) fn run(arguments: &CapacityArguments, format: Format) -> Result<ExitCode, Failure> {
    let plan = SearchPlan {
        constraints: arguments.constraints.clone(),
        mode: if arguments.quick { Mode::Quick } else { Mode::Full },
        seed: arguments.target.seed,
        max_duration: arguments.max_duration,
        soak: arguments.soak,
        skip_thermal_check: false,
        max_error_share: MAX_ERROR_SHARE,
    };
    let options = options(&arguments.target);
    let shares_cores = reach(&arguments.target)?.is_on_this_machine();
    let payload = payload(&arguments.target)?;
    let mut trying = start(&arguments.target, payload.as_ref(), &options)?;
    try_one_request(&mut trying, &arguments.target.target, &plan)?;
    drop(trying);
    let mut generator = start(&arguments.target, payload.as_ref(), &options)?;
    let interruption = Interruption::cancels(generator.cancel_handle()).map_err(signals)?;
    let began = Instant::now();
    let run = watch(&mut generator, &plan)?;
    let took = began.elapsed();
    let validity = judge(&run.evidence(&plan, shares_cores));
    let report =
        CapacityReport::of(arguments.target.target.to_string(), &plan, &run, validity, took);
    let text = match format {
        Format::Json => to_json(&report)?,
        Format::Table => report.table(run.answer()),
    };
    print(&text)?;
    conclude(arguments, &run, interruption.happened())
}

fn conclude(
    arguments: &CapacityArguments,
    run: &SearchRun,
    interrupted: bool,
) -> Result<ExitCode, Failure> {
    match &run.end {
        SearchEnd::Answered(_) => Ok(ExitCode::Done),
        SearchEnd::Cancelled => Ok(ExitCode::Interrupted),
        _ if interrupted => Ok(ExitCode::Interrupted),
        SearchEnd::TargetLost { reason } => Err(target_lost(&arguments.target, reason)),
        SearchEnd::Failed(failure) => Err(no_capacity(failure)),
    }
}

pub(crate) fn no_capacity(failure: &SearchFailure) -> Failure {
    let (code, hint) = match failure {
        SearchFailure::ConstraintUnreachable { .. } => {
            (ExitCode::NothingMeets, "allow more latency with --slo, or make the target faster")
        }
        SearchFailure::GeneratorLags { .. } => {
            (ExitCode::Failed, "give it a core of its own, or try --realtime or --threads")
        }
        SearchFailure::OutOfTime { .. } | SearchFailure::StillGrowing { .. } => {
            (ExitCode::Failed, "allow more with --max-duration")
        }
        SearchFailure::NoAnswer
        | SearchFailure::AllCallsFailed { .. }
        | SearchFailure::TooManyErrors { .. } => {
            (ExitCode::Failed, "`assay-agent load --users 1` shows the first failing response")
        }
    };
    Failure::of(code, failure).hint(hint)
}

/// Runs a search and shows how it goes.
pub(crate) fn watch(generator: &mut Generator, plan: &SearchPlan) -> Result<SearchRun, Failure> {
    let progress = Progress::start();
    let run = search(generator, plan, no_batches, |event| match event {
        SearchEvent::StepPlanned(step) => progress.doing(&asked(step)),
        SearchEvent::StepFinished(step) => progress.done(&seen(step)),
    });
    progress.finish();
    run.map_err(|error| match error {
        CapacityError::Generator(error) => error.into(),
        CapacityError::Disagreement(_) => Failure::of(ExitCode::Failed, &error),
    })
}

fn asked(step: &StepPlan) -> String {
    let load = match &step.load {
        Load::Closed { users } => format!("{users} users"),
        Load::Open { rate, .. } => format!("{}/min", grouped(rate.as_per_minute())),
        Load::Replay { at_us } => format!("{} recorded arrivals", at_us.len()),
    };
    format!("{} {load} for {:?}", step.purpose, step.duration)
}

fn seen(step: &StepRecord) -> String {
    let latency = step.latency().map_or_else(String::new, |latency| {
        format!(
            ", p50 {}, p95 {}",
            figures::latency(latency.p50_us),
            figures::latency(latency.p95_us)
        )
    });
    let failed = step.figures.errors.total();
    let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    format!(
        "{}: {}/min{latency}{failed}",
        asked(&step.plan),
        grouped(step.achieved().as_per_minute())
    )
}

/// One request first: a target that rejects it has no capacity worth a search.
fn try_one_request(
    generator: &mut Generator,
    target: &Target,
    plan: &SearchPlan,
) -> Result<(), Failure> {
    generator.submit(&one_request(0, plan.max_duration))?;
    let result = generator.wait_next()?;
    let Some(failure) = result.and_then(|result| result.figures.first_failure) else {
        return Ok(());
    };
    let mut told =
        Failure::new(ExitCode::Failed, format!("the target {target} does not answer the request"))
            .cause(&failure.message);
    if !failure.body.is_empty() {
        told = told.cause(String::from_utf8_lossy(&failure.body).trim());
    }
    Err(told.hint(match failure.kind {
        ErrorKind::Status => "give a body that it accepts with --payload and --content-type, and the right path in --target",
        ErrorKind::Timeout => "allow more time with --timeout",
        ErrorKind::Connect | ErrorKind::Reset | ErrorKind::Malformed => "does it speak this protocol on this port?",
    }))
}
