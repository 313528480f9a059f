//! `assay doctor`: can this machine run everything, and does the coordinator answer?

use std::process::Stdio;

use tokio::process::Command;

use crate::{
    binaries,
    cli::{DoctorArgs, OutputFormat},
    client::Client,
    config::Settings,
    failure::{ExitCode, Failure, OrFail},
    output,
};

#[derive(Debug, serde::Serialize)]
struct Check {
    name: String,
    ok: bool,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// Looks at everything; exit code 1 when something is not as it should be.
pub(crate) async fn run(args: &DoctorArgs, settings: &Settings) -> Result<ExitCode, Failure> {
    let mut checks = Vec::new();
    let agent = args.agent_binary.as_deref().or(settings.agent_binary.as_deref());
    let agent = binaries::find("assay-agent", agent, "--agent-binary", "ASSAY_AGENT");
    let host = args.host_binary.as_deref().or(settings.host_binary.as_deref());
    let host = binaries::find("assay-host", host, "--host-binary", "ASSAY_HOST");
    for (name, found) in [("assay-agent", &agent), ("assay-host", &host)] {
        checks.push(match found {
            Ok(path) => well(name, path.display().to_string()),
            Err(failure) => of_failure(name, failure),
        });
    }
    if settings.server.is_some() {
        checks.push(coordinator(settings).await);
    }
    let mut reports = String::new();
    for program in [&agent, &host].into_iter().flatten() {
        let output = Command::new(program).arg("doctor").stdin(Stdio::null()).output().await;
        match output {
            Ok(output) => {
                let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
                checks.push(Check {
                    name: format!("{name} doctor"),
                    ok: output.status.success(),
                    detail: if output.status.success() { "all well" } else { "something is wrong" }
                        .to_owned(),
                    fix: (!output.status.success())
                        .then(|| format!("see below, or run `{name} doctor`")),
                });
                reports += &format!("\n{name}\n{}", String::from_utf8_lossy(&output.stdout));
            }
            Err(error) => {
                let failure =
                    Failure::failed(format!("cannot start {}", program.display())).because(&error);
                checks.push(of_failure("start", &failure));
            }
        }
    }
    let well = checks.iter().all(|check| check.ok);
    output::write(&rendered(&checks, &reports, settings.output)?)?;
    Ok(if well { ExitCode::Done } else { ExitCode::Failed })
}

async fn coordinator(settings: &Settings) -> Check {
    let url = settings.server.clone().unwrap_or_default();
    let asked = async {
        let mut client = Client::connect(settings).await?;
        let agents = client.agents().await?;
        Ok::<_, Failure>(agents.iter().filter(|agent| agent.connected).count())
    };
    match asked.await {
        Ok(connected) => {
            well("coordinator", format!("{url} answers; {connected} agents are connected"))
        }
        Err(failure) => of_failure("coordinator", &failure),
    }
}

fn well(name: &str, detail: String) -> Check {
    Check { name: name.to_owned(), ok: true, detail, fix: None }
}

fn of_failure(name: &str, failure: &Failure) -> Check {
    let text = failure.to_string();
    let (detail, fix) =
        text.split_once("\nhint: ").map_or((text.as_str(), None), |(d, f)| (d, Some(f)));
    Check {
        name: name.to_owned(),
        ok: false,
        detail: detail.trim_start_matches("error: ").replace("\n  cause:", ";"),
        fix: fix.map(str::to_owned),
    }
}

fn rendered(checks: &[Check], reports: &str, format: OutputFormat) -> Result<String, Failure> {
    if matches!(format, OutputFormat::Json | OutputFormat::Jsonl) {
        return serde_json::to_string_pretty(
            &serde_json::json!({"schema": "assay.doctor/1", "checks": checks}),
        )
        .map(output::escaped)
        .or_failed("cannot write JSON");
    }
    let mut text = String::new();
    for check in checks {
        text +=
            &format!("{} {:<18} {}\n", if check.ok { "✓" } else { "✗" }, check.name, check.detail);
        if let Some(fix) = &check.fix {
            text += &format!("  fix: {fix}\n");
        }
    }
    Ok(text + reports)
}
