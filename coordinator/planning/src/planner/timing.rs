//! How long trials may take, shared out of the job's time limit, and the time limits inside a trial.

use std::{collections::BTreeMap, time::Duration};

use assay_measure::{
    job::JobSpec, load_profile::LoadProfile, search::Mode, slo::Slo, trial::ArtifactRef,
};

use super::{Placement, PlannedTrial};
use crate::fleet::AgentView;

/// Starting the host, warming up, cooling down, reporting.
const AROUND_A_SEARCH: Duration = Duration::from_secs(10);

struct Bounds {
    usual: Duration,
    least: Duration,
    most: Duration,
}

const fn bounds(mode: Mode) -> Bounds {
    let (usual, least, most) = match mode {
        Mode::Quick => (55, 20, 75),
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
    let mut by_place: BTreeMap<&Placement, usize> = BTreeMap::new();
    for trial in trials {
        *by_place.entry(&trial.placement).or_default() += 1;
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
            (None, Placement::Endpoint { endpoint, .. }) => format!("endpoint {endpoint}"),
        };
        *queues.entry(queue).or_default() += count.div_ceil(hosts.len().max(1));
    }
    queues.into_values().max().and_then(|longest| u32::try_from(longest).ok()).unwrap_or(1).max(1)
}

/// What a search may take, without its soak, so that the longest queue ends within the time given. Where
/// the user gives a model longer than usual to become ready, its passes are long, and a search may take all
/// of its share: its usual time holds too few of them.
///
/// Time to make up for is taken off what a search may take at most, but not off what it usually takes:
/// what lies between the two narrows the interval on a restless machine, and is the first to go.
fn per_search(
    mode: Mode,
    soak: Duration,
    longest_queue: u32,
    time: Duration,
    makes_up_for: Duration,
    slow_start: Option<Duration>,
) -> Duration {
    let bounds = bounds(mode);
    let around = AROUND_A_SEARCH + soak + slow_start.unwrap_or_default();
    let share = (time / longest_queue).saturating_sub(around);
    let most = bounds.most.saturating_sub(makes_up_for).max(bounds.usual);
    share.clamp(bounds.least, if slow_start.is_some() { most.max(share) } else { most })
}

/// That the time given may be too short for searches in this mode, or for a fixed load.
pub(super) fn warning(
    job: &JobSpec,
    mode: Mode,
    longest_queue: u32,
    time: Duration,
) -> Option<String> {
    let soak = job.soak.filter(|_| mode == job.mode).unwrap_or_default();
    let slow_start = job
        .model()
        .and_then(|model| job.ready_timeout.filter(|within| *within > ready_within(model)));
    let around = AROUND_A_SEARCH + soak + slow_start.unwrap_or_default();
    let each = around
        + match &job.load {
            Some(load) => load.duration(),
            None => per_search(mode, soak, longest_queue, time, Duration::ZERO, slow_start),
        };
    let needed = each.saturating_mul(longest_queue);
    (needed > time).then(|| {
        format!(
            "{longest_queue} {} one after another may take up to {} s, and there are {} s for them: the last may not end",
            if longest_queue == 1 { "trial" } else { "trials" },
            needed.as_secs(),
            time.as_secs()
        )
    })
}

/// Gives a trial its share of the time for a queue, less what it makes up for.
pub(super) fn give(
    trial: &mut PlannedTrial,
    job: &JobSpec,
    longest_queue: u32,
    time: Duration,
    makes_up_for: Duration,
) {
    let slow_start = trial
        .subject
        .served()
        .filter(|served| served.ready_within > ready_within(&served.model))
        .map(|served| served.ready_within);
    let load = match &mut trial.search {
        None => job.load.as_ref().map(LoadProfile::duration).unwrap_or_default(),
        Some(search) => {
            let soak = search.soak.unwrap_or_default();
            let own = per_search(search.mode, soak, longest_queue, time, makes_up_for, slow_start);
            search.max_duration = own + soak;
            (bounds(search.mode).usual + soak).min(search.max_duration)
        }
    };
    trial.expected = AROUND_A_SEARCH + load;
}

/// Roughly what the full trial of a configuration takes that won its race.
pub(super) fn usual_final(job: &JobSpec) -> Duration {
    AROUND_A_SEARCH + bounds(Mode::Full).usual + job.soak.unwrap_or_default()
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
