//! What one sample of the machine costs, and a sampler to run beside something else.
//!
//! `sampler_cost measure PID COUNT` takes samples one after another, watching that process, and prints
//! JSON; `sampler_cost watch PID` samples once a second, as a trial does, until it is ended.

use std::{env, io::Write, process::ExitCode, thread, time::Duration};

use assay_agent::{
    clock::Clock,
    hardware::{facts::Machine, sampler::Sampler},
};
use rustix::process::{Signal, set_parent_process_death_signal};

/// Between two samples: they are seldom taken in a hurry, with everything still in the caches.
const PAUSE: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["measure", process, count] => match (process.parse(), count.parse()) {
            (Ok(process), Ok(count)) => measure(process, count),
            _ => return usage(),
        },
        ["watch", process] => match process.parse() {
            Ok(process) => watch(process),
            Err(_) => return usage(),
        },
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot sample\n  cause: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: sampler_cost measure PID COUNT | watch PID");
    ExitCode::from(2)
}

fn sampler(process: u32) -> std::io::Result<Sampler> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let machine = Machine::here();
    let sampler = Sampler::start(Clock::start(), machine.cpus.clone(), machine.memory)?;
    sampler.watch_host(Some(process));
    Ok(sampler)
}

fn measure(process: u32, count: u32) -> std::io::Result<()> {
    let sampler = sampler(process)?;
    let sample = || drop(sampler.window(0, sampler.mark()));
    // The first one looks for GPUs and control groups as well.
    sample();
    let before = sampler.cpu_seconds();
    for _ in 0..count {
        thread::sleep(PAUSE);
        sample();
    }
    let spent = sampler.cpu_seconds() - before;
    let per_sample_us = spent * 1e6 / f64::from(count.max(1));
    writeln!(std::io::stdout(), "{{\"cpu_us_per_sample\": {per_sample_us:.1}}}")
}

fn watch(process: u32) -> std::io::Result<()> {
    let _sampler = sampler(process)?;
    loop {
        thread::park();
    }
}
