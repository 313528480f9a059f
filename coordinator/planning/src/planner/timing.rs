//! How long trials may take, shared out of the job's time limit, and the time limits inside a trial.

use std::{collections::BTreeMap, time::Duration};

use assay_measure::{job::JobSpec, search::Mode, slo::Slo, trial::ArtifactRef};

use super::{Placement, PlannedTrial};
use crate::fleet::AgentView;

/// Starting the host, warming up, cooling down, reporting.
const AROUND_A_SEARCH: Duration = Duration::from_secs(10);

/// The time for each search of a job.
pub(super) struct Budget {
    pub(super) per_search: Duration,
    pub(super) warning: Option<String>,
}

struct Bounds {
    usual: Duration,
    least: Duration,
    most: Duration,
}

const fn bounds(mode: Mode) -> Bounds {
    let (usual, least, most) = match mode {
        Mode::Quick => (40, 20, 75),
        Mode::Full => (150, 45, 240),
    };
    Bounds {
        usual: Duration::from_secs(usual),
        least: Duration::from_secs(least),
        most: Duration::from_secs(most),
    }
}

/// How many trials the busiest machine runs one after another; at least 1.
pub(super) fn longest_queue(trials: &[PlannedTrial], fleet: &[AgentView]) -> u32 {
    let mut queues: BTreeMap<String, usize> = BTreeMap::new();
    let mut by_place: Vec<(&Placement, usize)> = Vec::new();
    for trial in trials {
        match by_place.iter_mut().find(|(place, _)| *place == &trial.placement) {
            Some((_, count)) => *count += 1,
            None => by_place.push((&trial.placement, 1)),
        }
    }
    for (place, count) in by_place {
        let mut hosts: Vec<&str> = fleet
            .iter()
            .filter(|agent| place.allows(agent))
            .map(|agent| agent.fingerprint.as_str())
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        let queue = match (hosts.first(), place) {
            (Some(host), _) => format!("host {host}"),
            (None, Placement::Native(name)) => format!("type {name}"),
            (None, Placement::Emulated(fingerprint)) => format!("host {fingerprint}"),
        };
        *queues.entry(queue).or_default() += count.div_ceil(hosts.len().max(1));
    }
    queues.into_values().max().and_then(|longest| u32::try_from(longest).ok()).unwrap_or(1).max(1)
}

/// What each search may take so that the longest queue ends within the job's limit.
pub(super) fn budget(job: &JobSpec, longest_queue: u32) -> Budget {
    let bounds = bounds(job.mode);
    let soak = job.soak.unwrap_or_default();
    let around = AROUND_A_SEARCH + soak;
    let share = (job.max_duration / longest_queue).saturating_sub(around);
    let per_search = share.clamp(bounds.least, bounds.most);
    let needed = (per_search + around).saturating_mul(longest_queue);
    let warning = (job.fixed_load.is_none() && needed > job.max_duration).then(|| {
        format!(
            "{longest_queue} trials one after another may take up to {} s, the job ends after {} s: the last may not begin",
            needed.as_secs(),
            job.max_duration.as_secs()
        )
    });
    Budget { per_search: per_search + soak, warning }
}

/// Roughly how long a trial takes.
pub(super) fn expected(job: &JobSpec, per_search: Duration) -> Duration {
    let load = match &job.fixed_load {
        Some(phases) => phases.iter().map(|phase| phase.duration).sum(),
        None => (bounds(job.mode).usual + job.soak.unwrap_or_default()).min(per_search),
    };
    AROUND_A_SEARCH + load
}

/// A minute, and a second for every 16 MiB of model.
pub(super) fn ready_within(model: &ArtifactRef) -> Duration {
    Duration::from_secs(60 + model.size_bytes.count() / (16 << 20))
}

/// Far beyond every constraint, so that a slow answer is measured and a hang is still noticed soon.
pub(super) fn request_timeout(constraints: &[Slo]) -> Duration {
    let largest = constraints.iter().map(|slo| slo.limit()).max();
    let floor = Duration::from_secs(5);
    match largest {
        None => Duration::from_secs(30),
        Some(limit) => limit
            .saturating_mul(20)
            .clamp(floor, Duration::from_secs(60))
            .max(limit.saturating_mul(2)),
    }
}
