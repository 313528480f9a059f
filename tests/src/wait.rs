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
}
