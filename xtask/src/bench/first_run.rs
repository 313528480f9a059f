//! `bench first-run`: what a newcomer waits for, from a fresh clone to a ranking, and then to tests that run.

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{self, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{Bench, report::Section};
use crate::{checkout, files, process::run};

/// A ranking of a machine that others use is none, and the demo then says so with this code.
const NOT_BELIEVED: i32 = 1;

/// A clone in a folder of its own, with nothing built or fetched but what cargo keeps for all projects.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Section> {
    // Not below this checkout, whose settings cargo would find.
    let folder = env::temp_dir().join(format!("assay-first-run-{}", process::id()));
    let section = measure_in(bench, &folder);
    files::remove_dir(&folder)?;
    section
}

fn measure_in(bench: &Bench<'_>, clone: &Path) -> Result<Section> {
    run(Command::new("git").args(["clone", "-q"]).arg(bench.checkout.root()).arg(clone))?;
    bench.say("a fresh clone: cargo xtask demo");
    let demo = Watched::run(clone, &["xtask", "demo"])?;
    bench.say("cargo test --no-run");
    let tests = Watched::run(clone, &["test", "--workspace", "--no-run"])?;
    let again = demo.compiled.intersection(&tests.compiled).count();
    let body = format!(
        "| what | measured | goal |\n|---|---|---|\n\
         | `cargo xtask demo`: until {} | {} | 12 min |\n\
         | of it building ({} packages) | {} | |\n\
         | every test built after it | {} | |\n\
         | packages that this compiles, and the demo has not | {} | |\n\
         | packages that it compiles once more | {again} | only our own |\n\n\
         Once, with whatever the package registries and their caches gave at that time.",
        if demo.succeeded {
            "its ranking"
        } else {
            "it had no recommendation, the machine being disturbed"
        },
        minutes(demo.took),
        demo.compiled.len(),
        minutes(demo.compiling),
        minutes(tests.took),
        tests.compiled.difference(&demo.compiled).count(),
    );
    Ok(Section { name: "first-run", title: "From a fresh clone", body })
}

struct Watched {
    succeeded: bool,
    took: Duration,
    /// From the first package to the last.
    compiling: Duration,
    compiled: BTreeSet<String>,
}

impl Watched {
    fn run(clone: &Path, arguments: &[&str]) -> Result<Self> {
        let began = Instant::now();
        let mut command = Command::new("cargo");
        command.current_dir(clone).args(arguments).stdin(Stdio::null()).stderr(Stdio::piped());
        for variable in ["CARGO_TARGET_DIR", "LIBTORCH", "CARGO"] {
            command.env_remove(variable);
        }
        checkout::forget_this_package(&mut command);
        let mut child = command.spawn().context("cannot start cargo")?;
        let lines = child.stderr.take().map(BufReader::new).context("cargo has no stderr")?.lines();
        let (mut compiled, mut first, mut last) = (BTreeSet::new(), None, began);
        for line in lines {
            let line = line.context("cannot read what cargo says")?;
            eprintln!("{line}");
            let Some(package) = line.trim_start().strip_prefix("Compiling ") else { continue };
            compiled.insert(package.split(" (").next().unwrap_or(package).to_owned());
            first.get_or_insert_with(Instant::now);
            last = Instant::now();
        }
        let status = child.wait().context("cannot wait for cargo")?;
        if !status.success() && status.code() != Some(NOT_BELIEVED) {
            bail!("`cargo {}` ended with {status}", arguments.join(" "));
        }
        let compiling = first.map_or(Duration::ZERO, |first| last.duration_since(first));
        Ok(Self { succeeded: status.success(), took: began.elapsed(), compiling, compiled })
    }
}

fn minutes(duration: Duration) -> String {
    format!("{:.1} min", duration.as_secs_f64() / 60.0)
}
