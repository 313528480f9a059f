//! `assay-agent calibrate`: whether the instrument can be trusted on this machine.

use std::time::Instant;

use assay_agent::{
    calibrate::{SetUpError, TestBench, report::CalibrationReport},
    capacity::SearchEnd,
};
use assay_measure::{
    known_queue::KnownQueue,
    search::{Mode, SearchPlan},
    slo::{Slo, SloMetric},
};

use crate::{
    capacity_command::{MAX_ERROR_SHARE, no_capacity, watch},
    cli::{CalibrateArguments, Format},
    failure::{ExitCode, Failure},
    interruption::Interruption,
    load_command::{print, signals, to_json},
};

/// The constraint without `--slo`: p95 within so many service times.
const DEFAULT_SERVICE_TIMES: u32 = 5;

pub(crate) fn run(arguments: &CalibrateArguments, format: Format) -> Result<ExitCode, Failure> {
    let queue = known_queue(arguments.workers, arguments.service_time)?;
    let plan = plan(arguments, queue)?;
    let exact =
        queue.capacity(&plan.constraints).map_err(|error| Failure::of(ExitCode::Usage, &error))?;
    let mut bench = TestBench::set_up(queue).map_err(|error| match error {
        SetUpError::Generator(error) => error.into(),
        SetUpError::System { .. } => Failure::of(ExitCode::Failed, &error),
    })?;
    let interruption = Interruption::cancels(bench.generator.cancel_handle()).map_err(signals)?;
    let began = Instant::now();
    let run = watch(&mut bench.generator, &plan)?;
    let took = began.elapsed();
    let watched = bench.take_down(&plan, &run);
    let report = CalibrationReport::of(queue, &exact, &plan, &run, watched, took);
    print(&match format {
        Format::Json => to_json(&report)?,
        Format::Table => report.table().trim_end().to_owned(),
    })?;
    match &run.end {
        SearchEnd::Answered(_) if report.calibrated => Ok(ExitCode::Done),
        SearchEnd::Answered(_) => Err(not_calibrated(&report)),
        _ if interruption.happened() => Ok(ExitCode::Interrupted),
        SearchEnd::Cancelled => Ok(ExitCode::Interrupted),
        SearchEnd::TargetLost { reason } => {
            Err(Failure::new(ExitCode::Failed, "the built-in server went away").cause(reason))
        }
        SearchEnd::Failed(failure) => Err(no_capacity(failure)),
    }
}

/// The queue that the flags describe.
pub(crate) fn known_queue(
    workers: u32,
    service_time: std::time::Duration,
) -> Result<KnownQueue, Failure> {
    KnownQueue::new(workers, service_time).map_err(|error| Failure::of(ExitCode::Usage, &error))
}

fn plan(arguments: &CalibrateArguments, queue: KnownQueue) -> Result<SearchPlan, Failure> {
    let constraints = if arguments.saturation {
        Vec::new()
    } else if arguments.constraints.is_empty() {
        let limit = queue.service_time() * DEFAULT_SERVICE_TIMES;
        let slo = Slo::new(SloMetric::P95, limit);
        vec![slo.map_err(|error| Failure::of(ExitCode::Usage, &error))?]
    } else {
        arguments.constraints.clone()
    };
    Ok(SearchPlan {
        constraints,
        mode: if arguments.quick { Mode::Quick } else { Mode::Full },
        seed: arguments.seed,
        max_duration: arguments.max_duration,
        soak: None,
        skip_thermal_check: false,
        max_error_share: MAX_ERROR_SHARE,
    })
}

/// What it means that found and exact differ.
fn not_calibrated(report: &CalibrationReport) -> Failure {
    let found = report.max_invocations_per_min.unwrap_or(0.0);
    let exact = report.exact_invocations_per_min;
    let consequence = if found > exact { "promise more than" } else { "promise less than" };
    let what = format!(
        "the instrument found {found:.0} invocations/min where there are {exact:.0}: figures measured here {consequence} a machine carries"
    );
    let failure = Failure::new(ExitCode::Failed, what);
    let mut disturbed = false;
    let failure = report.disturbances().fold(failure, |failure, finding| {
        disturbed = true;
        failure.cause(finding)
    });
    failure.hint(if disturbed {
        "stop what disturbs (`assay-agent doctor` looks for it), then calibrate again"
    } else {
        "calibrate again without --quick; if it stays, do not trust figures from this machine"
    })
}
