//! Jobs and their records as clients see them.

use assay_measure::units::as_micros;
use assay_proto::v1;
use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    exports::ExportedFile,
    job_event::{Happening, JobEvent, TrialBrief},
    store::JobSummary,
};

/// Data of a file in one message.
const EXPORTED_PIECE: usize = 256 << 10;

pub(crate) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
}

/// A job at a glance.
pub(super) fn job(summary: JobSummary) -> v1::Job {
    let mut instance_types: Vec<String> =
        summary.spec.instance_types.iter().map(|candidate| candidate.name.to_string()).collect();
    let plan = summary.planned.map(|planned| planned.plan).unwrap_or_default();
    if instance_types.is_empty() {
        // The job took what the fleet offered.
        for candidate in &plan.candidates {
            let name = candidate.instance_type.to_string();
            if !instance_types.contains(&name) {
                instance_types.push(name);
            }
        }
    }
    let best = summary.recommended;
    let model = summary.spec.model().cloned();
    v1::Job {
        name: summary.spec.name.to_string(),
        status: v1::JobStatus::from(summary.status).into(),
        endpoint: summary.spec.endpoint().map(ToString::to_string),
        model_sha256: model.as_ref().map(|model| model.sha256.to_string()).unwrap_or_default(),
        model_name: model.map(|model| model.name).unwrap_or_default(),
        created_at: Some(timestamp(summary.created_at)),
        finished_at: summary.finished_at.map(timestamp),
        trials_total: summary.trials_total,
        trials_ended: summary.trials_ended,
        reason: summary.reason,
        cost_per_inference_usd: best.as_ref().and_then(|best| best.cost_per_inference_usd),
        recommended_configuration: best.as_ref().map(|best| best.configuration.clone()),
        recommended_instance_type: best.map(|best| best.instance_type),
        instance_types,
    }
}

pub(super) fn planned_trial(brief: &TrialBrief) -> v1::PlannedTrial {
    v1::PlannedTrial {
        trial_id: brief.id.to_string(),
        instance_types: brief.instance_types.iter().map(ToString::to_string).collect(),
        configuration: brief.serving.configuration().cloned().map(Into::into),
        endpoint: brief.serving.endpoint().map(ToString::to_string),
        emulated: brief.emulated,
        expected_us: as_micros(brief.expected),
    }
}

/// A file as it travels: its header, then its data.
pub(super) fn exported(file: ExportedFile) -> impl Iterator<Item = v1::ExportJobResponse> {
    use v1::export_job_response::Part;
    let header = v1::ExportedFile {
        name: file.name,
        content_type: file.content_type.to_owned(),
        size_bytes: file.content.len() as u64,
    };
    let mut content = Bytes::from(file.content);
    let pieces = std::iter::from_fn(move || {
        let size = content.len().min(EXPORTED_PIECE);
        (size > 0).then(|| Part::Data(content.split_to(size)))
    });
    let parts = std::iter::once(Part::File(header)).chain(pieces);
    parts.map(|part| v1::ExportJobResponse { part: Some(part) })
}

/// One entry of a job's record.
pub(super) fn job_event(event: &JobEvent) -> v1::JobEvent {
    v1::JobEvent {
        sequence: event.sequence,
        at: Some(timestamp(event.at)),
        event: Some(happening(event.what.clone())),
    }
}

fn happening(what: Happening) -> v1::job_event::Event {
    use v1::job_event::Event;
    match what {
        Happening::StatusChanged { status, reason } => Event::StatusChanged(v1::JobStatusChanged {
            status: v1::JobStatus::from(status).into(),
            reason,
        }),
        Happening::TrialStarted { trial, agent } => Event::TrialStarted(v1::TrialStarted {
            trial: Some(planned_trial(&trial)),
            agent: agent.to_string(),
        }),
        Happening::TrialProgressed { trial, progress } => {
            Event::TrialProgressed(v1::TrialProgressed {
                trial_id: trial.to_string(),
                progress: Some(progress.into()),
            })
        }
        Happening::StepFinished { trial, step } => Event::StepFinished(v1::TrialStepFinished {
            trial_id: trial.to_string(),
            step: Some((*step).into()),
        }),
        Happening::TrialEnded { trial, outcome } => Event::TrialEnded(v1::TrialEnded {
            trial_id: trial.to_string(),
            outcome: Some((*outcome).into()),
        }),
        Happening::TrialReturned { trial, reason } => {
            Event::TrialReturned(v1::TrialReturned { trial_id: trial.to_string(), reason })
        }
    }
}
