//! Waiting for a state to hold, not for an event to happen: nothing is missed by asking late.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Asks until there is a value, and panics with `what` when there is none within `limit`.
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ask() {
            return value;
        }
        assert!(start.elapsed() < limit, "waited {} s in vain for {what}", limit.as_secs_f64());
        thread::sleep(Duration::from_millis(10));
    }
}

/// The same for questions that are asked over a wire; other tasks go on meanwhile.
pub async fn until_async<T>(
    what: &str,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let asking = async {
        loop {
            if let Some(value) = ask().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(limit, asking).await {
        Ok(value) => value,
        Err(_) => panic!("waited {} s in vain for {what}", limit.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_returned_as_soon_as_there_is_one() {
        let mut asked = 0;
        let value = until("three questions", Duration::from_secs(60), || {
            asked += 1;
            (asked == 3).then_some("yes")
        });
        assert_eq!((value, asked), ("yes", 3));
    }

    #[test]
    fn waiting_ends_at_the_limit_and_names_what_was_waited_for() {
        let waited = std::panic::catch_unwind(|| until::<()>("rain", Duration::ZERO, || None));
        let message = *waited.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("in vain for rain"), "{message}");
    }

    #[tokio::test]
    async fn waiting_without_blocking_ends_with_the_value_or_at_the_limit() {
        let mut asked = 0;
        let value = until_async("three questions", Duration::from_secs(60), async || {
            asked += 1;
            (asked == 3).then_some("yes")
        });
        assert_eq!(value.await, "yes");
        // A question that is never answered counts as well.
        let waited = tokio::spawn(async {
            until_async::<()>("rain", Duration::ZERO, async || std::future::pending().await).await;
        });
        let waited = waited.await.unwrap_err().into_panic();
        let message = *waited.downcast::<String>().unwrap();
        assert!(message.contains("in vain for rain"), "{message}");
    }
}
