//! A job's report to and from `jobs.proto`: the server sends it, and clients written in Rust read it back.

use assay_measure::{
    ids::{InstanceTypeName, TrialId},
    money::PricePerHour,
};
use assay_planning::{
    prices::PriceQuote,
    ranking::RankedBy,
    report::{Entry, JobReport, Progress},
    sizing::Sizing,
};
use assay_proto::{
    agent::{Malformed, all, duration, figure, finite, micros, optional, parse, parse_all, texts},
    v1,
};
use jiff::Timestamp;

use crate::grpc::job_wire::timestamp as timestamp_to_wire;

/// The report as a message.
#[must_use]
pub fn to_wire(report: JobReport) -> v1::JobReport {
    let entries = |list: Vec<Entry>| list.into_iter().map(entry_to_wire).collect();
    v1::JobReport {
        name: report.name.to_string(),
        status: v1::JobStatus::from(report.status).into(),
        created_at: Some(timestamp_to_wire(report.created_at)),
        finished_at: report.finished_at.map(timestamp_to_wire),
        model: report.model.map(Into::into),
        endpoint: report.endpoint.map(|name| name.to_string()),
        ready_timeout_us: report.ready_timeout.map(micros),
        goals: report.goals.map(Into::into),
        constraints: texts(&report.constraints),
        ranked_by: report.ranked_by.word().to_owned(),
        trials_planned: report.progress.trials,
        trials_ended: report.progress.ended,
        ranking: entries(report.ranking),
        rejected: entries(report.rejected),
        failed: entries(report.failed),
        no_recommendation_reason: report.no_recommendation_reason,
        warnings: report.warnings,
    }
}

/// The report of a message.
///
/// # Errors
/// [`Malformed`] names the field that a report cannot have.
pub fn from_wire(wire: v1::JobReport) -> Result<JobReport, Malformed> {
    let entries = |list: Vec<v1::ReportEntry>| -> Result<Vec<Entry>, Malformed> {
        list.into_iter().map(entry_from_wire).collect()
    };
    Ok(JobReport {
        name: parse("name", &wire.name)?,
        status: v1::JobStatus::try_from(wire.status)
            .unwrap_or(v1::JobStatus::Unspecified)
            .try_into()?,
        created_at: timestamp("created_at", wire.created_at.as_ref())?
            .ok_or_else(|| Malformed::missing("created_at"))?,
        finished_at: timestamp("finished_at", wire.finished_at.as_ref())?,
        model: optional("model", wire.model)?,
        endpoint: name("endpoint", wire.endpoint)?,
        ready_timeout: wire
            .ready_timeout_us
            .map(|within| duration("ready_timeout_us", within))
            .transpose()?,
        goals: optional("goals", wire.goals)?,
        constraints: parse_all("constraints", &wire.constraints)?,
        ranked_by: ranked_by(&wire.ranked_by)?,
        progress: Progress { trials: wire.trials_planned, ended: wire.trials_ended },
        ranking: entries(wire.ranking)?,
        rejected: entries(wire.rejected)?,
        failed: entries(wire.failed)?,
        no_recommendation_reason: wire.no_recommendation_reason,
        warnings: wire.warnings,
    })
}

fn entry_to_wire(entry: Entry) -> v1::ReportEntry {
    v1::ReportEntry {
        rank: entry.rank,
        score: entry.score,
        score_ci95: entry.score_ci95.map(interval_to_wire),
        tied_with: entry.tied_with,
        instance_type: entry.instance_type.to_string(),
        trial_id: entry.trial.map(|trial| trial.to_string()),
        emulated: entry.emulated,
        shared_trial_with: texts(&entry.shared_trial_with),
        instance_count: entry.instance_count,
        configuration: entry.configuration.map(Into::into),
        endpoint: entry.endpoint.map(|name| name.to_string()),
        price: entry.price.map(price_to_wire),
        cost_per_hour_usd: entry.cost_per_hour_usd,
        cost_per_inference_usd: entry.cost_per_inference_usd,
        cost_per_inference_usd_ci95: entry.cost_per_inference_ci95.map(interval_to_wire),
        cost_per_million_usd: entry.cost_per_million_usd,
        max_invocations_per_min: entry.max_invocations_per_min,
        max_invocations_per_min_ci95: entry.max_invocations_ci95.map(interval_to_wire),
        memory_utilization_pct: entry.memory_utilization_pct,
        sizing: entry.sizing.map(sizing_to_wire),
        mode: entry.mode.to_string(),
        seed: entry.seed,
        meets: entry.meets,
        reason: entry.reason,
        detail: entry.detail,
        failure_kind: entry.failure_kind.map(|kind| kind.to_string()),
        result: entry.result.map(|result| (*result).into()),
        steps: entry.steps.into_iter().map(Into::into).collect(),
        validity: entry.validity.map(Into::into),
        warnings: entry.warnings,
    }
}

fn entry_from_wire(wire: v1::ReportEntry) -> Result<Entry, Malformed> {
    let instance_type: InstanceTypeName = parse("instance_type", &wire.instance_type)?;
    let trial: Option<TrialId> = name("trial_id", wire.trial_id)?;
    Ok(Entry {
        rank: wire.rank,
        score: figure("score", wire.score)?,
        score_ci95: interval("score_ci95", wire.score_ci95)?,
        tied_with: wire.tied_with,
        trial,
        emulated: wire.emulated,
        shared_trial_with: parse_all("shared_trial_with", &wire.shared_trial_with)?,
        instance_count: wire.instance_count,
        configuration: optional("configuration", wire.configuration)?,
        endpoint: name("endpoint", wire.endpoint)?,
        price: wire.price.map(price_from_wire),
        cost_per_hour_usd: figure("cost_per_hour_usd", wire.cost_per_hour_usd)?,
        cost_per_inference_usd: figure("cost_per_inference_usd", wire.cost_per_inference_usd)?,
        cost_per_inference_ci95: interval(
            "cost_per_inference_usd_ci95",
            wire.cost_per_inference_usd_ci95,
        )?,
        cost_per_million_usd: figure("cost_per_million_usd", wire.cost_per_million_usd)?,
        max_invocations_per_min: figure("max_invocations_per_min", wire.max_invocations_per_min)?,
        max_invocations_ci95: interval(
            "max_invocations_per_min_ci95",
            wire.max_invocations_per_min_ci95,
        )?,
        memory_utilization_pct: figure("memory_utilization_pct", wire.memory_utilization_pct)?,
        sizing: wire.sizing.map(sizing_from_wire).transpose()?,
        meets: wire.meets,
        reason: wire.reason,
        detail: wire.detail,
        failure_kind: name("failure_kind", wire.failure_kind)?,
        result: wire.result.map(|result| result.try_into().map(Box::new)).transpose()?,
        steps: all("steps", wire.steps)?,
        validity: optional("validity", wire.validity)?,
        warnings: wire.warnings,
        ..Entry::new(instance_type, parse("mode", &wire.mode)?, wire.seed)
    })
}

fn ranked_by(word: &str) -> Result<RankedBy, Malformed> {
    RankedBy::ALL
        .into_iter()
        .find(|known| known.word() == word)
        .ok_or_else(|| Malformed::new("ranked_by", format!("unknown word {word:?}")))
}

fn interval_to_wire([low, high]: [f64; 2]) -> v1::Interval {
    v1::Interval { low, high }
}

fn interval(
    field: &'static str,
    wire: Option<v1::Interval>,
) -> Result<Option<[f64; 2]>, Malformed> {
    wire.map(|wire| Ok([finite(field, wire.low)?, finite(field, wire.high)?])).transpose()
}

fn price_to_wire(price: PriceQuote) -> v1::PriceQuote {
    v1::PriceQuote {
        pico_usd_per_hour: price.usd_per_hour.pico_usd(),
        region: price.region,
        source: price.source,
        as_of: price.as_of,
        estimate: price.estimate,
        note: price.note,
    }
}

fn price_from_wire(wire: v1::PriceQuote) -> PriceQuote {
    PriceQuote {
        usd_per_hour: PricePerHour::from_pico_usd(wire.pico_usd_per_hour),
        region: wire.region,
        source: wire.source,
        as_of: wire.as_of,
        estimate: wire.estimate,
        note: wire.note,
    }
}

fn sizing_to_wire(sizing: Sizing) -> v1::Sizing {
    v1::Sizing {
        demand_per_min: sizing.demand_per_min,
        headroom: sizing.headroom,
        instance_count: sizing.instance_count,
        usd_per_month: sizing.usd_per_month,
        cost_per_million_usd: sizing.cost_per_million_usd,
    }
}

fn sizing_from_wire(wire: v1::Sizing) -> Result<Sizing, Malformed> {
    Ok(Sizing {
        demand_per_min: finite("demand_per_min", wire.demand_per_min)?,
        headroom: finite("headroom", wire.headroom)?,
        instance_count: wire.instance_count,
        usd_per_month: figure("usd_per_month", wire.usd_per_month)?,
        cost_per_million_usd: figure("cost_per_million_usd", wire.cost_per_million_usd)?,
    })
}

/// A text of the domain's grammar that may be absent.
fn name<T>(field: &'static str, text: Option<String>) -> Result<Option<T>, Malformed>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.map(|text| parse(field, &text)).transpose()
}

fn timestamp(
    field: &'static str,
    wire: Option<&prost_types::Timestamp>,
) -> Result<Option<Timestamp>, Malformed> {
    wire.map(|wire| {
        Timestamp::new(wire.seconds, wire.nanos).map_err(|error| Malformed::new(field, error))
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    use assay_measure::{
        configuration::Configuration,
        job::JobStatus,
        outcome::{FailureKind, TrialOutcome},
        search::Mode,
        validity::{Finding, FindingName, Validity, Verdict},
    };
    use std::num::NonZeroU32;

    use super::*;
    use crate::tests::support::{measured, step};

    /// Every field is there, and no two of the same type are alike.
    fn report() -> JobReport {
        let TrialOutcome::Measured(result) = measured() else { panic!("measured") };
        let finding = Finding {
            name: FindingName::CpuSteal,
            value: 12.5,
            threshold: 1.0,
            severity: Verdict::Suspect,
        };
        let entry = Entry {
            rank: Some(1),
            score: Some(99.5),
            score_ci95: Some([98.25, 100.0]),
            tied_with: vec![2],
            trial: "demo/3".parse().ok(),
            emulated: true,
            shared_trial_with: vec!["ml.m5.large".parse().unwrap()],
            instance_count: 2,
            configuration: Some(Configuration::cpu(NonZeroU32::MIN, 2.try_into().unwrap())),
            endpoint: "mine".parse().ok(),
            price: Some(PriceQuote {
                usd_per_hour: PricePerHour::from_pico_usd(102_000_000_001),
                region: "us-east-1".to_owned(),
                source: "somewhere".to_owned(),
                as_of: "2026-11-22".to_owned(),
                estimate: true,
                note: Some("a ratio".to_owned()),
            }),
            cost_per_hour_usd: Some(0.204),
            cost_per_inference_usd: Some(5.25e-6),
            cost_per_inference_ci95: Some([5.0e-6, 5.5e-6]),
            cost_per_million_usd: Some(5.25),
            max_invocations_per_min: Some(648.0),
            max_invocations_ci95: Some([640.0, 656.0]),
            memory_utilization_pct: Some(12.5),
            sizing: Some(Sizing {
                demand_per_min: 1000.0,
                headroom: 0.7,
                instance_count: 3,
                usd_per_month: Some(447.0),
                cost_per_million_usd: Some(10.2),
            }),
            meets: true,
            reason: Some("why".to_owned()),
            detail: Some("the last line".to_owned()),
            failure_kind: Some(FailureKind::HostCrashed),
            result: Some(result),
            steps: vec![step(0), step(1)],
            validity: Some(Validity::from_findings(vec![finding])),
            warnings: vec!["emulated".to_owned()],
            ..Entry::new("ml.c5.xlarge".parse().unwrap(), Mode::Full, u64::MAX)
        };
        let other = Entry::new("own.a".parse().unwrap(), Mode::Quick, 7);
        JobReport {
            status: JobStatus::Stopped,
            finished_at: "2026-11-22T14:03:00.25Z".parse().ok(),
            endpoint: "mine".parse().ok(),
            ready_timeout: Some(std::time::Duration::from_millis(90_500)),
            goals: "cost=low,latency=high,throughput=moderate".parse().ok(),
            constraints: vec!["p95<=50ms".parse().unwrap()],
            ranked_by: RankedBy::Throughput,
            progress: Progress { trials: 5, ended: 3 },
            ranking: vec![entry.clone()],
            rejected: vec![other.clone(), entry],
            failed: vec![other],
            no_recommendation_reason: Some("none".to_owned()),
            warnings: vec!["careful".to_owned()],
            ..JobReport::new("demo".parse().unwrap(), "2026-11-22T14:00:00Z".parse().unwrap())
        }
    }

    #[test]
    fn a_report_comes_back_as_it_was_sent() {
        assert_eq!(from_wire(to_wire(report())), Ok(report()));
    }

    #[test]
    fn what_no_report_can_hold_is_refused_with_the_field() {
        let refused = |spoil: fn(&mut v1::JobReport)| {
            let mut wire = to_wire(report());
            spoil(&mut wire);
            from_wire(wire).unwrap_err().to_string()
        };
        for (spoil, field) in [
            ((|r| r.ranked_by = "luck".to_owned()) as fn(&mut v1::JobReport), "ranked_by"),
            (|r| r.created_at = None, "created_at"),
            (|r| r.status = 0, "status"),
            (|r| r.ranking[0].score = Some(f64::NAN), "score"),
            (|r| r.rejected[0].instance_type.clear(), "instance_type"),
            (|r| r.failed[0].mode = "hasty".to_owned(), "mode"),
        ] {
            let said = refused(spoil);
            assert!(said.contains(field), "{said}");
        }
    }
}
