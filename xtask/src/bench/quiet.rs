//! Is anything else running here? Figures from a busy machine say nothing.

use std::{fs, thread, time::Duration};

use anyhow::{Context, Result};

/// The share of all processors that may be busy before a run.
const LIMIT: f64 = 0.05;
const WATCHED: Duration = Duration::from_secs(3);

/// Watches the machine for a moment, and says so when it is not quiet.
pub(crate) fn warning() -> Result<Option<String>> {
    let before = busy_and_all()?;
    thread::sleep(WATCHED);
    Ok(judged(before, busy_and_all()?))
}

fn judged(before: (u64, u64), after: (u64, u64)) -> Option<String> {
    let all = after.1.saturating_sub(before.1).max(1);
    let share = after.0.saturating_sub(before.0) as f64 / all as f64;
    (share > LIMIT).then(|| {
        format!(
            "**The machine was {:.0} % busy with something else before the run: do not trust these figures.**",
            share * 100.0
        )
    })
}

/// Ticks of all processors so far: spent on anything, and in total.
fn busy_and_all() -> Result<(u64, u64)> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    parse(&stat).context("/proc/stat looks unlike what proc(5) says")
}

fn parse(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are counted in user already.
    let ticks: Vec<u64> =
        line.split_whitespace().take(8).map_while(|ticks| ticks.parse().ok()).collect();
    let all: u64 = ticks.iter().sum();
    Some((all - ticks.get(3)? - ticks.get(4)?, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_disks_is_not_being_busy() {
        assert_eq!(parse("cpu  10 0 5 80 5 0 0 0 3 0\ncpu0 1 1 1 1 1 1 1 1\n"), Some((15, 100)));
        assert_eq!(parse("cpu 1 2\n"), None);
    }

    #[test]
    fn a_busy_machine_gets_a_warning_and_a_quiet_one_none() {
        assert!(judged((0, 0), (50, 100)).unwrap().contains("50 % busy"));
        assert_eq!(judged((0, 0), (4, 100)), None);
    }
}
