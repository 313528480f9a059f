//! `assay agents`: the fleet.

use assay_proto::v1;
use jiff::Timestamp;
use serde_json::json;

use crate::{
    cli::{AgentsCommand, OutputFormat},
    client::Client,
    config::Settings,
    failure::{ExitCode, Failure, OrFail},
    figures,
    output::{self, Listing},
    wire::time,
};

/// Performs one of the commands.
pub(crate) async fn run(command: &AgentsCommand, settings: &Settings) -> Result<ExitCode, Failure> {
    let mut client = Client::connect(settings).await?;
    match command {
        AgentsCommand::List => {
            let agents = client.agents().await?;
            let wide = settings.output == OutputFormat::Wide;
            listing(&agents, wide).write(settings.output)?;
        }
        AgentsCommand::Describe { name } => {
            let agents = client.agents().await?;
            let agent = agents.iter().find(|agent| agent.name == *name).ok_or_else(|| {
                Failure::new(ExitCode::NotFound, format!("no agent {name:?}"))
                    .hint("assay agents list")
            })?;
            let text =
                serde_json::to_string_pretty(&object(agent)).or_failed("cannot write JSON")?;
            output::write(&text)?;
        }
        AgentsCommand::Drain { name } => drain(&mut client, name, DRAIN).await?,
        AgentsCommand::Undrain { name } => drain(&mut client, name, UNDRAIN).await?,
        AgentsCommand::Forget { name } => {
            client.fleet.forget_agent(v1::ForgetAgentRequest { name: name.clone() }).await?;
        }
    }
    Ok(ExitCode::Done)
}

const DRAIN: bool = true;
const UNDRAIN: bool = false;

async fn drain(client: &mut Client, name: &str, draining: bool) -> Result<(), Failure> {
    let request = v1::DrainAgentRequest { name: name.to_owned(), draining };
    client.fleet.drain_agent(request).await?;
    Ok(())
}

fn state(agent: &v1::Agent) -> &'static str {
    match (agent.connected, agent.draining, agent.running_trial_id.is_some()) {
        (false, _, _) => "lost",
        (true, true, _) => "draining",
        (true, false, true) => "busy",
        (true, false, false) => "idle",
    }
}

/// Endpoints only where there is room for them.
fn listing(agents: &[v1::Agent], wide: bool) -> Listing {
    let now = Timestamp::now();
    let rows = agents.iter().map(|agent| {
        let host = agent.host.clone().unwrap_or_default();
        let mut row = vec![
            agent.name.clone(),
            agent.instance_type.clone(),
            state(agent).to_owned(),
            agent.running_trial_id.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{} vCPU", host.vcpus),
            assay_measure::units::Bytes::new(host.memory_bytes).to_string(),
            host.gpus.len().to_string(),
            time(agent.last_seen_at).map_or_else(|| "-".to_owned(), |then| figures::ago(then, now)),
        ];
        if wide {
            let endpoints = Some(agent.endpoints.join(",")).filter(|names| !names.is_empty());
            row.push(endpoints.unwrap_or_else(|| "-".to_owned()));
        }
        row
    });
    let mut header = vec!["NAME", "INSTANCE", "STATE", "TRIAL", "CPU", "MEMORY", "GPUS", "SEEN"];
    if wide {
        header.push("ENDPOINTS");
    }
    Listing {
        header,
        rows: rows.collect(),
        json: agents.iter().map(object).collect(),
        empty: "no agents; `assay-agent run --server URL` on a machine attaches it".to_owned(),
    }
}

fn object(agent: &v1::Agent) -> serde_json::Value {
    let host = agent.host.clone().unwrap_or_default();
    let mut object = json!({
        "name": agent.name,
        "instance_type": agent.instance_type,
        "instance_type_source": agent.instance_type_source,
        "state": state(agent),
        "connected": agent.connected,
        "draining": agent.draining,
        "agent_version": agent.agent_version,
        "host_fingerprint": agent.host_fingerprint,
        "labels": agent.labels,
        "endpoints": agent.endpoints,
        "host": {
            "cpu_model": host.cpu_model,
            "vcpus": host.vcpus,
            "memory_bytes": host.memory_bytes,
            "kernel": host.kernel,
            "architecture": host.architecture,
            "gpus": host.gpus.iter().map(|gpu| json!({
                "index": gpu.index, "name": gpu.name, "memory_bytes": gpu.memory_bytes,
            })).collect::<Vec<_>>(),
        },
    });
    if let Some(trial) = &agent.running_trial_id {
        object["running_trial_id"] = json!(trial);
    }
    if let Some(at) = time(agent.last_seen_at) {
        object["last_seen_at"] = json!(at.to_string());
    }
    object
}
