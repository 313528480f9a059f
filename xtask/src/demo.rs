//! `cargo xtask demo`: from a fresh checkout to a ranking of instance types for a real ResNet-18.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result};
use clap::Args;

use crate::{binaries, checkout::Checkout, console::Console, files, process};

/// Two shapes at least: the first two types are 2 vCPU each, the third is a machine of one's own.
const INSTANCE_TYPES: &str = "ml.c5.large,ml.m5.large,onprem.small=1x2GiB@0.05";
/// Threads only: the graph, which the default sweep varies as well, would double the demo's time.
const SWEEP: &str = "graph=plain";
const SLO: &str = "p95<=250ms";
/// Of the instrument's test of itself, so that the whole stays within its five minutes.
const CALIBRATION_LIMIT: &str = "30s";

/// Options of `cargo xtask demo`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Handed to `assay recommend` after the demo's own arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    more: Vec<OsString>,
}

/// Ends with the output and the exit code of `assay recommend`.
pub(crate) fn run(
    checkout: &Checkout,
    console: Console,
    arguments: &Arguments,
) -> Result<ExitCode> {
    // Those that the tests use as well, so that whoever tries Assay and then changes it compiles once. They are
    // optimized enough to measure a network of some milliseconds; small models want `--release`.
    binaries::build(checkout, console)?;
    let host = checkout.dev_program("assay-host");
    let model = reference_model(checkout, console, host, "resnet18")?;
    calibrate(checkout, console)?;
    let mut recommend = checkout.dev_program("assay");
    recommend.arg("recommend").arg(model).args(["--input", "float32[1,3,224,224]"]);
    recommend
        .args(["--instance-types", INSTANCE_TYPES, "--slo", SLO, "--quick", "--sweep", SWEEP])
        .args(&arguments.more);
    console.say(&process::shown(&recommend));
    let status = process::status(&mut recommend)?;
    let next = checkout.dev_program("assay");
    console.say(&format!(
        "next, a model of your own: {} recommend model.pt --help",
        process::shown(&next)
    ));
    // A signal has no code; 130 is what Ctrl-C stands for everywhere else.
    let code = status.code().map_or(130, |code| u8::try_from(code).unwrap_or(1));
    Ok(ExitCode::from(code))
}

/// Whether this machine measures what is there. It is told, and the demo goes on either way: the
/// ranking carries its own findings.
fn calibrate(checkout: &Checkout, console: Console) -> Result<()> {
    let mut calibrate = checkout.dev_program("assay-agent");
    calibrate.args(["calibrate", "--quick", "--max-duration", CALIBRATION_LIMIT]);
    console.say(&process::shown(&calibrate));
    let output = calibrate
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", process::shown(&calibrate)))?;
    let table = String::from_utf8_lossy(&output.stdout);
    // The table ends with its conclusion; without one the command has said why on stderr.
    let conclusion = table.lines().last().map_or("no conclusion", str::trim);
    console.say(&format!("calibration: {}", conclusion.trim_start_matches("Verdict").trim()));
    Ok(())
}

/// The three binaries as users get them.
pub(crate) fn build_release(checkout: &Checkout, console: Console) -> Result<()> {
    console.say("building assay, assay-agent and assay-host (release)");
    checkout.run_cargo("build --release --bins -p assay -p assay-agent -p assay-host")
}

/// Has the host write one of its built-in models; the same bytes every time.
pub(crate) fn reference_model(
    checkout: &Checkout,
    console: Console,
    mut host: Command,
    name: &str,
) -> Result<PathBuf> {
    let folder = checkout.target_dir().join("demo");
    files::create_dir(&folder)?;
    let path = folder.join(format!("{name}.pt"));
    console.say(&format!("writing the reference model {}", path.display()));
    process::capture(host.args(["reference", name, "--out"]).arg(&path))?;
    Ok(path)
}
