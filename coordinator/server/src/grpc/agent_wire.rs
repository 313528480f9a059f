//! `AgentService` messages to and from [`crate::agent_link`].

use std::collections::BTreeSet;

use assay_measure::{
    bounded_text,
    ids::EndpointName,
    outcome::{Failure, FailureKind, LONGEST_MESSAGE, TrialOutcome},
    units::as_micros,
};
use assay_proto::{PROTOCOL_VERSION, agent::Malformed, refusal, v1};
use tonic::{Code, Status};

use super::status::{id, refuse};
use crate::{
    agent_link::{AgentCommand, AgentFacts, AgentReport, Held, ReportKind},
    dispatch::Registration,
};

/// More than this are no endpoints of one machine.
const MOST_ENDPOINTS: usize = 32;

/// What an agent registers with, from its first message.
pub(super) fn registration(first: Option<v1::AgentMessage>) -> Result<Registration, Status> {
    use v1::agent_message::Message;
    let Some(Message::Register(register)) = first.and_then(|first| first.message) else {
        return Err(refusal(
            Code::FailedPrecondition,
            "the first message of an agent must be its registration",
        ));
    };
    if register.protocol_version != PROTOCOL_VERSION {
        let theirs = register.protocol_version;
        return Err(refuse(
            Code::FailedPrecondition,
            format_args!(
                "the agent speaks protocol version {theirs}, this coordinator version {PROTOCOL_VERSION}"
            ),
            "use assay and assay-agent of the same release",
        ));
    }
    let held = register.running.map(held).transpose()?;
    let host = register
        .host
        .ok_or_else(|| refusal(Code::InvalidArgument, "the registration names no host"))?;
    let facts = AgentFacts {
        name: id(&register.name)?,
        version: register.agent_version,
        instance_type: id(&register.instance_type)?,
        instance_type_source: register.instance_type_source,
        fingerprint: id(&register.host_fingerprint)?,
        host: host.try_into()?,
        labels: register.labels.into_iter().collect(),
        emulates: register.emulates,
        endpoints: endpoints(&register.endpoints)?,
    };
    Ok(Registration { facts, held })
}

/// Names only: an agent is never told an address, and tells none.
fn endpoints(names: &[String]) -> Result<BTreeSet<EndpointName>, Status> {
    if names.len() > MOST_ENDPOINTS {
        return Err(refusal(
            Code::InvalidArgument,
            format!(
                "the agent offers {} endpoints; at most {MOST_ENDPOINTS} are taken",
                names.len()
            ),
        ));
    }
    names.iter().map(|name| id(name)).collect()
}

/// What an agent reports; `None` for what is of no use and does no harm. A message that nobody can
/// attribute ends the connection.
pub(super) fn report(message: v1::AgentMessage) -> Result<Option<AgentReport>, Status> {
    use v1::agent_message::Message;
    let Some(message) = message.message else {
        return Ok(None);
    };
    match message {
        Message::Register(_) => {
            Err(refusal(Code::FailedPrecondition, "the agent is registered already"))
        }
        Message::Heartbeat(heartbeat) => {
            Ok(Some(AgentReport::Heartbeat(heartbeat.running.map(held).transpose()?)))
        }
        Message::TrialProgress(progress) => {
            let held = held_by(&progress.trial_id, &progress.lease_token)?;
            // Progress is for people; a wrong one is not worth a trial.
            let progress = progress.progress.and_then(|progress| progress.try_into().ok());
            Ok(progress.map(|progress| AgentReport::Progressed(held, progress)))
        }
        Message::StepFinished(step) => step_finished(step).map(Some),
        Message::TrialFinished(finished) => {
            let held = held_by(&finished.trial_id, &finished.lease_token)?;
            Ok(Some(AgentReport::TrialFinished(held, Box::new(outcome(finished.outcome)))))
        }
        Message::TrialDeclined(declined) => {
            let held = held_by(&declined.trial_id, &declined.lease_token)?;
            let reason = bounded_text::beginning(declined.reason, LONGEST_MESSAGE);
            Ok(Some(AgentReport::TrialDeclined(held, reason)))
        }
    }
}

fn step_finished(message: v1::StepFinished) -> Result<AgentReport, Status> {
    let held = held_by(&message.trial_id, &message.lease_token)?;
    let step = message
        .step
        .ok_or_else(|| refusal(Code::InvalidArgument, "a report of a step without the step"))?;
    let index = step.index;
    match step.try_into() {
        Ok(step) => Ok(AgentReport::StepFinished(held, Box::new(step))),
        Err(malformed) => {
            let malformed: Malformed = malformed;
            tracing::warn!(trial = %held.trial, index, %malformed, "an agent reported an impossible step");
            Ok(AgentReport::StepUnreadable(held, index))
        }
    }
}

/// An outcome that cannot be read still ends its trial; otherwise the agent would send it for ever.
fn outcome(wire: Option<v1::TrialOutcome>) -> TrialOutcome {
    let read = match wire {
        Some(wire) => wire.try_into().map_err(|malformed: Malformed| malformed.to_string()),
        None => Err("it is missing".to_owned()),
    };
    let outcome = read.unwrap_or_else(|problem| {
        TrialOutcome::Failed(Failure::new(
            FailureKind::Internal,
            format!("the agent's report of the outcome cannot be read: {problem}"),
            String::new(),
        ))
    });
    // Whatever an agent sends, it is stored and shown in a size that people and clients can take.
    outcome.bounded()
}

fn held(wire: v1::HeldTrial) -> Result<Held, Status> {
    held_by(&wire.trial_id, &wire.lease_token)
}

fn held_by(trial: &str, token: &str) -> Result<Held, Status> {
    Ok(Held { trial: id(trial)?, token: id(token)? })
}

/// What an agent is told.
pub(super) fn command(command: AgentCommand) -> v1::CoordinatorMessage {
    use v1::coordinator_message::Message;
    let message = match command {
        AgentCommand::Registered { heartbeat_interval, lease_term, held_trial_stands } => {
            Message::Registered(v1::Registered {
                heartbeat_interval_us: as_micros(heartbeat_interval),
                lease_us: as_micros(lease_term),
                coordinator_version: env!("CARGO_PKG_VERSION").to_owned(),
                held_trial_stands,
            })
        }
        AgentCommand::HeartbeatSeen { lease_stands } => {
            Message::HeartbeatSeen(v1::HeartbeatSeen { lease_stands })
        }
        AgentCommand::StartTrial(token, spec) => Message::StartTrial(v1::StartTrial {
            lease_token: token.to_string(),
            spec: Some((*spec).into()),
        }),
        AgentCommand::CancelTrial(held, by) => Message::CancelTrial(v1::CancelTrial {
            trial_id: held.trial.to_string(),
            lease_token: held.token.to_string(),
            by,
        }),
        AgentCommand::Acknowledge { held, report, stale } => {
            Message::Acknowledge(v1::Acknowledge {
                trial_id: held.trial.to_string(),
                lease_token: held.token.to_string(),
                what: Some(match report {
                    ReportKind::Step(index) => v1::acknowledge::What::StepIndex(index),
                    ReportKind::Outcome => v1::acknowledge::What::Outcome(true),
                }),
                stale,
            })
        }
        AgentCommand::Drain(draining) => Message::Drain(v1::Drain { draining }),
    };
    v1::CoordinatorMessage { message: Some(message) }
}
