//! Puts searches, or single steps, before a simulated server.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use assay_measure::{
    schedule::Load,
    search::{Next, Sample, Search, StepObservation, StepPlan, Verdict},
};

use super::{Server, whole};

/// What a whole search came to.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) end: Next,
    /// When the last load ended, from the beginning of the search.
    pub(crate) seconds: f64,
    /// The longest that working off a queue took beyond what a search allows for it: one and a half times the longest
    /// latency just seen, and a pause.
    pub(crate) unforeseen_s: f64,
    pub(crate) steps: Vec<StepPlan>,
}

/// Performs steps on a server, one after the other, in simulated time.
#[derive(Debug)]
pub(crate) struct Driver {
    server: Server,
    /// Where the last step ended.
    ended_s: f64,
    /// Requests of the step after the one performed, when it was begun for it.
    ahead: Option<(u32, Vec<(f64, usize)>)>,
    /// When verdicts of the last step were in.
    now_s: f64,
    /// By when a search expects what is outstanding to be worked off.
    foreseen_s: f64,
    unforeseen_s: f64,
}

impl Driver {
    pub(crate) fn new(server: Server) -> Self {
        Self { server, ended_s: 0.0, ahead: None, now_s: 0.0, foreseen_s: 0.0, unforeseen_s: 0.0 }
    }

    /// How long all steps took, their verdicts included.
    pub(crate) fn seconds(&self) -> f64 {
        self.ended_s.max(self.now_s)
    }

    /// Performs `step`; `following` is asked for already, and continues it.
    pub(crate) fn perform(
        &mut self,
        step: &StepPlan,
        following: Option<&StepPlan>,
    ) -> StepObservation {
        let begins_s = if step.continues {
            self.ended_s
        } else {
            self.server.drain().max(self.now_s).max(self.ended_s)
        };
        let ends_s = begins_s + step.duration.as_secs_f64();
        if !step.continues {
            self.unforeseen_s = self.unforeseen_s.max(begins_s - self.foreseen_s.max(self.now_s));
        }
        self.ended_s = ends_s;
        let (samples, now_s) = match &step.load {
            Load::Closed { users } => (self.closed(*users, begins_s, ends_s), ends_s),
            Load::Open { .. } | Load::Replay { .. } => {
                let verdicts_s = ends_s + step.verdict_after.as_secs_f64();
                (self.open(step, following, begins_s, verdicts_s), verdicts_s)
            }
        };
        self.now_s = self.now_s.max(now_s);
        let longest_us = samples.iter().map(|sample| sample.latency_us).max().unwrap_or(0);
        self.foreseen_s = ends_s + 1.5 * longest_us as f64 / 1e6 + 0.1;
        let batches = self.server.batches_until(micros(ends_s));
        StepObservation {
            index: step.index,
            started_us: micros(begins_s),
            elapsed_us: micros(ends_s) - micros(begins_s),
            generator_saturated: self.generator_lags(step, &samples),
            samples,
            batches,
        }
    }

    fn generator_lags(&self, step: &StepPlan, samples: &[Sample]) -> bool {
        let rate = match &step.load {
            Load::Open { rate, .. } => rate.as_per_second(),
            Load::Closed { .. } | Load::Replay { .. } => {
                samples.len() as f64 / step.duration.as_secs_f64()
            }
        };
        self.server.kind.generator_limit.is_some_and(|most| rate > most)
    }

    fn closed(&mut self, users: u32, begins_s: f64, ends_s: f64) -> Vec<Sample> {
        let mut ready: BinaryHeap<Reverse<(u64, usize)>> =
            (0..users as usize).map(|u| Reverse((nanos(begins_s), u))).collect();
        let mut waiting: Vec<(usize, usize, f64)> = Vec::new();
        let mut samples = Vec::new();
        loop {
            let next_ready =
                ready.peek().map_or(f64::INFINITY, |Reverse((at, _))| *at as f64 / 1e9);
            let next_start = self.server.next_start().map_or(f64::INFINITY, |(_, start)| start);
            if next_ready.min(next_start) >= ends_s {
                break;
            }
            if next_start < next_ready {
                self.server.work_until(next_start.next_up());
            } else if let Some(Reverse((_, user))) = ready.pop() {
                waiting.push((self.server.offer(next_ready), user, next_ready));
            }
            let ended = &self.server.ended;
            waiting.retain(|(number, user, sent_s)| match ended[*number] {
                None => true,
                Some((at_s, answered)) => {
                    // Whoever is refused tries again a little later.
                    ready.push(Reverse((nanos(if answered { at_s } else { at_s + 1e-3 }), *user)));
                    if at_s <= ends_s {
                        samples.push(sample(*sent_s, at_s, answered));
                    }
                    false
                }
            });
        }
        samples.sort_by_key(|sample| sample.intended_us);
        samples
    }

    fn open(
        &mut self,
        step: &StepPlan,
        following: Option<&StepPlan>,
        begins_s: f64,
        verdicts_s: f64,
    ) -> Vec<Sample> {
        let sent = match self.ahead.take() {
            Some((index, sent)) if index == step.index => sent,
            _ => self.send(step, begins_s),
        };
        if let Some(next) = following.filter(|next| next.continues) {
            let requests = self.send(next, self.ended_s);
            self.ahead = Some((next.index, requests));
        }
        self.server.work_until(verdicts_s);
        sent.into_iter()
            .map(|(at_s, number)| {
                match self.server.ended[number].filter(|(ended_s, _)| *ended_s <= verdicts_s) {
                    Some((ended_s, answered)) => sample(at_s, ended_s, answered),
                    None => {
                        Sample { verdict: Verdict::Outstanding, ..sample(at_s, verdicts_s, true) }
                    }
                }
            })
            .collect()
    }

    fn send(&mut self, step: &StepPlan, begins_s: f64) -> Vec<(f64, usize)> {
        let offsets = step.load.send_times(step.duration).expect("open loop has send times");
        offsets
            .map(|offset_us| {
                let at_s = begins_s + offset_us as f64 / 1e6;
                (at_s, self.server.offer(at_s))
            })
            .collect()
    }
}

fn sample(sent_s: f64, ended_s: f64, answered: bool) -> Sample {
    let intended_us = micros(sent_s);
    Sample {
        intended_us,
        latency_us: micros(ended_s).saturating_sub(intended_us),
        verdict: if answered { Verdict::Answered } else { Verdict::Failed },
    }
}

fn micros(seconds: f64) -> u64 {
    whole((seconds * 1e6).round())
}

fn nanos(seconds: f64) -> u64 {
    whole((seconds * 1e9).round())
}

/// Drives a search to its end, asking ahead whenever it lets one.
pub(crate) fn drive(search: Search, server: Server) -> Finished {
    drive_with(search, server, |search, observation| {
        search.observe(observation).expect("the step is in flight");
    })
}

/// The same, handing every observation to `observe`, which must pass it on.
pub(crate) fn drive_with(
    mut search: Search,
    server: Server,
    mut observe: impl FnMut(&mut Search, &StepObservation),
) -> Finished {
    let mut driver = Driver::new(server);
    let mut in_flight: VecDeque<StepPlan> = VecDeque::new();
    let mut steps = Vec::new();
    loop {
        let next = search.next();
        match next {
            Next::Step(step) => {
                in_flight.push_back(step.clone());
                steps.push(step);
            }
            Next::Wait => {
                let step = in_flight.pop_front().expect("a search waits for steps in flight only");
                let observation = driver.perform(&step, in_flight.front());
                observe(&mut search, &observation);
            }
            Next::Done(_) | Next::Failed(_) => {
                let (seconds, unforeseen_s) = (driver.seconds(), driver.unforeseen_s);
                return Finished { end: next, seconds, unforeseen_s, steps };
            }
        }
    }
}
