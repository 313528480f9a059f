//! `bench startup`: how soon a model host is ready, confined and not, what an idle agent costs, and that
//! only the host carries libtorch.

use std::{path::Path, process::Command, thread, time::Duration};

use anyhow::Result;

use super::{
    Bench,
    confined::{Host, Kept},
    figures::{Figure, verdict},
    model::Model,
    report::Section,
    server::{Server, connected_agent, coordinator, model_host},
};
use crate::{files, process::capture};

const READY_GOAL: Duration = Duration::from_secs(2);
const RESIDENT_GOAL_MIB: f64 = 25.0;
const CPU_GOAL_PERCENT: f64 = 0.5;
const IDLE: Duration = Duration::from_secs(60);

/// What an agent without work uses.
#[derive(Debug)]
struct Idle {
    resident_mib: f64,
    cpu_percent: f64,
}

/// All three, one table row each.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Section> {
    let file = Model::Mlp.file(bench)?;
    let ready = host_ready(bench, &file)?;
    let kept = Readiness::measure(bench, &file)?;
    let idle = idle_agent(bench)?;
    let mut body = String::from("| what | measured | goal |\n|---|---|---|\n");
    body.push_str(&format!(
        "| `assay-host serve mlp.pt` to `listening` | {} ms | < {} ms: {} |\n",
        ready.shown(0),
        READY_GOAL.as_millis(),
        verdict(ready.median() < milliseconds(READY_GOAL))
    ));
    body.push_str(&kept.rows());
    body.push_str(&format!(
        "| idle `assay-agent`, resident | {:.1} MiB | < {RESIDENT_GOAL_MIB} MiB: {} |\n",
        idle.resident_mib,
        verdict(idle.resident_mib < RESIDENT_GOAL_MIB)
    ));
    body.push_str(&format!(
        "| idle `assay-agent`, CPU of one core | {:.2} % | < {CPU_GOAL_PERCENT} %: {} |\n",
        idle.cpu_percent,
        verdict(idle.cpu_percent < CPU_GOAL_PERCENT)
    ));
    for binary in ["assay", "assay-agent"] {
        let linked = linked_torch(bench, binary)?;
        let shown = if linked.is_empty() { "none".to_owned() } else { linked.join(", ") };
        body.push_str(&format!(
            "| libtorch in `ldd {binary}` | {shown} | none: {} |\n",
            verdict(linked.is_empty())
        ));
    }
    body.push_str(&format!(
        "\nReady: median (least–greatest) of {} starts. As the agent starts it: until it answers `/ping`, means of two starts each in the order unconfined, confined, confined, unconfined; confined: `{}`. Idle: connected to `assay serve` on loopback, over {} s.",
        bench.rounds(),
        kept.limits,
        IDLE.as_secs()
    ));
    Ok(Section { name: "startup", title: "Start and idle", body })
}

fn host_ready(bench: &Bench<'_>, file: &Path) -> Result<Figure> {
    let mut ready = Figure::default();
    for _ in 0..bench.rounds() {
        let (_server, heard) = Server::heard(&mut model_host(bench.checkout, file, Model::Mlp))?;
        ready.add(milliseconds(heard.took));
    }
    bench.say(&format!("the host is ready after {} ms", ready.shown(0)));
    Ok(ready)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// How soon a host is ready that is started as for a trial, in milliseconds.
#[derive(Debug, Default)]
struct Readiness {
    unconfined: Figure,
    confined: Figure,
    limits: String,
}

impl Readiness {
    fn measure(bench: &Bench<'_>, file: &Path) -> Result<Self> {
        let mut all = Self::default();
        for _ in 0..bench.rounds() {
            // Each has ended before the next is started.
            let start = |kept| {
                let host = Host::start(bench, kept, file, Model::Mlp, ("1", "1"))?;
                Ok::<_, anyhow::Error>((milliseconds(host.ready), host.limits))
            };
            let (first, _) = start(Kept::Unconfined)?;
            let (second, limits) = start(Kept::Confined)?;
            let (third, _) = start(Kept::Confined)?;
            let (last, _) = start(Kept::Unconfined)?;
            all.add(f64::midpoint(first, last), f64::midpoint(second, third));
            all.limits = limits;
        }
        bench.say(&format!("confinement adds {} ms to a start", all.added().shown(1)));
        Ok(all)
    }

    fn add(&mut self, unconfined: f64, confined: f64) {
        self.unconfined.add(unconfined);
        self.confined.add(confined);
    }

    /// By confinement, round by round.
    fn added(&self) -> Figure {
        self.confined.less(&self.unconfined)
    }

    fn rows(&self) -> String {
        format!(
            "| `mlp.pt` as the agent starts it, unconfined | {} ms | |\n| the same confined | {} ms | < {} ms: {} |\n| what confinement adds | {} ms, confined / unconfined {} | |\n",
            self.unconfined.shown(1),
            self.confined.shown(1),
            READY_GOAL.as_millis(),
            verdict(self.confined.median() < milliseconds(READY_GOAL)),
            self.added().shown(1),
            self.confined.ratio_to(&self.unconfined).shown(3)
        )
    }
}

fn idle_agent(bench: &Bench<'_>) -> Result<Idle> {
    let data = bench.checkout.target_dir().join("bench/coordinator");
    files::remove_dir(&data)?;
    let (_server, url) = Server::listening(&mut coordinator(bench.checkout, &data))?;
    let agent = connected_agent(bench.checkout, &url, "bench", &[])?;
    bench.say(&format!("the agent is connected, watching it for {} s", IDLE.as_secs()));
    // What it does on arrival is no idling.
    thread::sleep(Duration::from_secs(5));
    let before = agent.usage()?;
    thread::sleep(IDLE);
    let after = agent.usage()?;
    Ok(Idle {
        resident_mib: after.resident_bytes as f64 / f64::from(1 << 20),
        cpu_percent: (after.cpu.saturating_sub(before.cpu)).as_secs_f64() / IDLE.as_secs_f64()
            * 100.0,
    })
}

fn linked_torch(bench: &Bench<'_>, binary: &str) -> Result<Vec<String>> {
    let mut ldd = Command::new("ldd");
    ldd.env_remove("LD_LIBRARY_PATH").arg(bench.checkout.release_binary(binary));
    let libraries = capture(&mut ldd)?;
    let of_torch = |line: &&str| line.contains("torch") || line.contains("libc10");
    Ok(libraries.lines().filter(of_torch).map(|line| line.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_confinement_adds_is_told_as_difference_and_as_ratio() {
        let mut readiness = Readiness::default();
        readiness.add(200.0, 210.0);
        readiness.add(100.0, 110.0);
        let rows = readiness.rows();
        assert!(
            rows.contains("| 10.0 (10.0–10.0) ms, confined / unconfined 1.075 (1.050–1.100) |"),
            "{rows}"
        );
    }
}
