//! The bounded queue between those who submit requests and the workers, and the gathering of batches.
//!
//! First in, first out, except that a worker that gathers a batch takes requests of the same kind from
//! further back. What a batch is made of is decided in [`super::batch`].

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::clock;

/// A request as far as the queue is concerned.
pub(super) trait Queued {
    fn submitted(&self) -> Instant;
    /// Whether both may share a forward pass.
    fn joins(&self, other: &Self) -> bool;
}

/// Why a request was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// As many requests as allowed are waiting.
    Full,
    Closed,
}

pub(super) struct Queue<R> {
    state: Mutex<State<R>>,
    /// A request came, or the queue was closed: for workers with nothing to do.
    work: Condvar,
    /// The same, for workers whose batch is not full yet.
    gather: Condvar,
    limit: usize,
}

struct State<R> {
    waiting: VecDeque<R>,
    open: bool,
    idle: usize,
    gathering: usize,
}

impl<R: Queued> Queue<R> {
    pub(super) fn new(limit: usize) -> Self {
        let state = State { waiting: VecDeque::new(), open: true, idle: 0, gathering: 0 };
        Self { state: Mutex::new(state), work: Condvar::new(), gather: Condvar::new(), limit }
    }

    /// Nothing that holds the lock can leave the state half-changed, so a panic elsewhere is no reason to stop.
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, request: R) -> Result<(), (Refusal, R)> {
        let mut state = self.lock();
        if !state.open {
            return Err((Refusal::Closed, request));
        }
        if state.waiting.len() >= self.limit {
            return Err((Refusal::Full, request));
        }
        state.waiting.push_back(request);
        let (gathering, idle) = (state.gathering, state.idle);
        drop(state);
        // A wake-up costs a system call: none is made when nobody sleeps.
        if gathering > 0 {
            self.gather.notify_all();
        } else if idle > 0 {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Waits for requests and returns one, or up to `most` that join it, waiting for these until the first
    /// one is `delay` old. `None` once the queue is closed and empty. `most` is asked when there is a
    /// first one: it may have changed during the wait.
    pub(super) fn next(&self, most: impl FnOnce() -> usize, delay: Duration) -> Option<Vec<R>> {
        let mut state = self.lock();
        let first = loop {
            if let Some(first) = state.waiting.pop_front() {
                break first;
            }
            if !state.open {
                return None;
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        };
        let mut batch = vec![first];
        let most = most();
        if most > 1 {
            take_joining(&mut state.waiting, &mut batch, most);
            if !delay.is_zero() {
                state = self.wait_for_more(state, &mut batch, most, delay);
            }
        }
        // Requests that came while this worker gathered woke only this worker.
        if !state.waiting.is_empty() && state.idle > 0 {
            self.work.notify_one();
        }
        Some(batch)
    }

    fn wait_for_more<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<R>>,
        batch: &mut Vec<R>,
        most: usize,
        delay: Duration,
    ) -> MutexGuard<'a, State<R>> {
        let Some(deadline) = batch.first().map(|first| first.submitted() + delay) else {
            return state;
        };
        while batch.len() < most && state.open {
            let left = deadline.saturating_duration_since(clock::now());
            if left.is_zero() {
                break;
            }
            state.gathering += 1;
            state = self.gather.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.gathering -= 1;
            take_joining(&mut state.waiting, batch, most);
            // What does not fit this batch must not wait for it.
            if !state.waiting.is_empty() && state.idle > 0 {
                self.work.notify_one();
            }
        }
        state
    }

    /// Takes the place of a worker with nothing to do while no request waits; `None` when there is none.
    pub(super) fn take_turn(&self) -> Option<Turn<'_, R>> {
        let mut state = self.lock();
        let free = state.open && state.waiting.is_empty() && state.idle > 0;
        free.then(|| {
            state.idle -= 1;
            Turn(self)
        })
    }

    /// Refuses new requests; workers finish those that wait.
    pub(super) fn close(&self) {
        self.lock().open = false;
        self.work.notify_all();
        self.gather.notify_all();
    }
}

/// The place of a worker that sleeps: until this is dropped, none is woken for it.
pub(super) struct Turn<'a, R: Queued>(&'a Queue<R>);

impl<R: Queued> Drop for Turn<'_, R> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.idle += 1;
        // What came meanwhile woke nobody.
        if !state.waiting.is_empty() {
            self.0.work.notify_one();
        }
    }
}

fn take_joining<R: Queued>(waiting: &mut VecDeque<R>, batch: &mut Vec<R>, most: usize) {
    let mut index = 0;
    while batch.len() < most && index < waiting.len() {
        let joins =
            batch.first().zip(waiting.get(index)).is_some_and(|(first, other)| first.joins(other));
        if joins {
            batch.extend(waiting.remove(index));
        } else {
            index += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
    };

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Item(char, Instant);

    impl Queued for Item {
        fn submitted(&self) -> Instant {
            self.1
        }
        fn joins(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }

    fn filled(kinds: &str) -> Queue<Item> {
        let queue = Queue::new(16);
        for kind in kinds.chars() {
            queue.push(Item(kind, clock::now())).unwrap();
        }
        queue
    }

    fn kinds(batch: Option<Vec<Item>>) -> String {
        batch.unwrap_or_default().iter().map(|item| item.0).collect()
    }

    #[test]
    fn a_batch_takes_only_requests_that_join_it_and_keeps_the_order_of_the_rest() {
        let queue = filled("abaab");
        assert_eq!(kinds(queue.next(|| 8, Duration::ZERO)), "aaa");
        assert_eq!(kinds(queue.next(|| 8, Duration::ZERO)), "bb");
        let queue = filled("aaa");
        assert_eq!(kinds(queue.next(|| 2, Duration::ZERO)), "aa");
        assert_eq!(kinds(queue.next(|| 1, Duration::from_secs(600))), "a");
    }

    #[test]
    fn a_batch_is_as_large_as_allowed_when_its_first_request_came() {
        let queue = Arc::new(filled(""));
        let most = Arc::new(AtomicUsize::new(8));
        let worker = thread::spawn({
            let (queue, most) = (Arc::clone(&queue), Arc::clone(&most));
            move || kinds(queue.next(|| most.load(Ordering::Relaxed), Duration::ZERO))
        });
        while queue.lock().idle == 0 {
            thread::yield_now();
        }
        most.store(2, Ordering::Relaxed);
        let mut state = queue.lock();
        state.waiting.extend(['a'; 5].map(|kind| Item(kind, clock::now())));
        drop(state);
        queue.work.notify_one();
        assert_eq!(worker.join().unwrap(), "aa");
    }

    #[test]
    fn a_full_queue_refuses_and_gives_the_request_back() {
        let queue = Queue::new(1);
        queue.push(Item('a', clock::now())).unwrap();
        let (refusal, item) = queue.push(Item('b', clock::now())).unwrap_err();
        assert_eq!((refusal, item.0), (Refusal::Full, 'b'));
    }

    #[test]
    fn a_closed_queue_is_drained_and_then_ends() {
        let queue = filled("ab");
        queue.close();
        assert_eq!(queue.push(Item('c', clock::now())).unwrap_err().0, Refusal::Closed);
        assert_eq!(kinds(queue.next(|| 1, Duration::ZERO)), "a");
        assert_eq!(kinds(queue.next(|| 8, Duration::from_secs(600))), "b");
        assert!(queue.next(|| 1, Duration::ZERO).is_none());
    }

    #[test]
    fn a_gathering_worker_is_released_by_the_request_that_fills_its_batch() {
        let queue = Arc::new(filled("a"));
        let gatherer = thread::spawn({
            let queue = Arc::clone(&queue);
            move || kinds(queue.next(|| 3, Duration::from_secs(600)))
        });
        queue.push(Item('a', clock::now())).unwrap();
        queue.push(Item('a', clock::now())).unwrap();
        assert_eq!(gatherer.join().unwrap(), "aaa");
    }

    #[test]
    fn a_turn_is_a_sleeping_workers_and_what_comes_meanwhile_wakes_it_afterwards() {
        let queue = Arc::new(filled(""));
        assert!(queue.take_turn().is_none(), "no worker sleeps");
        let worker = thread::spawn({
            let queue = Arc::clone(&queue);
            move || kinds(queue.next(|| 1, Duration::ZERO))
        });
        let turn = loop {
            match queue.take_turn() {
                Some(turn) => break turn,
                None => thread::yield_now(),
            }
        };
        assert!(queue.take_turn().is_none(), "one worker, one turn");
        queue.push(Item('a', clock::now())).unwrap();
        thread::sleep(Duration::from_millis(20));
        assert!(!worker.is_finished() && queue.lock().waiting.len() == 1, "the turn is taken");
        drop(turn);
        assert_eq!(worker.join().unwrap(), "a");
    }

    #[test]
    fn there_is_no_turn_in_a_closed_queue_nor_past_those_that_wait() {
        let queue = filled("a");
        queue.lock().idle = 1;
        assert!(queue.take_turn().is_none());
        queue.next(|| 1, Duration::ZERO);
        assert!(queue.take_turn().is_some());
        queue.close();
        assert!(queue.take_turn().is_none());
    }

    #[test]
    fn a_sleeping_worker_is_woken_by_a_request_and_by_closing() {
        let queue = Arc::new(filled(""));
        let worker = thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                let mut seen = String::new();
                while let Some(batch) = queue.next(|| 1, Duration::ZERO) {
                    seen += &kinds(Some(batch));
                }
                seen
            }
        });
        queue.push(Item('a', clock::now())).unwrap();
        queue.close();
        assert_eq!(worker.join().unwrap(), "a");
    }
}
