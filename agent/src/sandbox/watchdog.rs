//! The agent's own watch over the memory of the model host, where no control group can be had.
//!
//! It looks twenty times a second, so a model that allocates very fast goes over its limit by what
//! it gets in 50 ms. A control group is exact; this is what an unprivileged agent can do.

use std::time::Duration;

use assay_measure::units::Bytes;

use crate::hardware::sampler::host_use;

const INTERVAL: Duration = Duration::from_millis(50);

/// Waits until the process and its children hold more than `limit`, and says how much. Waits for ever
/// once the process is gone: its end is noticed elsewhere.
pub async fn exceeded(process_id: u32, limit: Bytes) -> Bytes {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match host_use(process_id) {
            Some(used) if used.resident > limit => return used.resident,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_over_its_limit_is_noticed() {
        let used = exceeded(std::process::id(), Bytes::mib(1)).await;
        assert!(used > Bytes::mib(1), "{used}");
    }
}
