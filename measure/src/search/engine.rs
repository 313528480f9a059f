//! The course of a search: which stage follows which, and what each one asks for.
//!
//! ```text
//! warm-up ─► staircase ─┬─ constraints ──► [burn-in] ─► probes, main run ─► confirmation ─► [soak] ─► [thermal check] ─► answer
//!                       └─ none ─────────► [burn-in] ─► run at the plateau ──────────────────────────────────────► answer
//! ```
//! Full mode burns in; quick mode checks for throttling instead, once it has its answer, unless its plan leaves
//! that to a full search.
//!
//! From every stage a target that fails leads to a [`SearchFailure`], and a lack of time to the next
//! stage that can do with less.

use std::{collections::VecDeque, time::Duration};

use super::{
    Answer, Confirmation, Drift, Estimate, Mode, Next, Purpose, SearchFailure, SearchPlan,
    StepObservation, StepPlan, UnexpectedObservation,
    burn_in::{burnt_in, throttled},
    clock::Clock,
    confirmation::Confirming,
    limit::Limit,
    main_run::{MainRun, verdict_after},
    observed::{Calls, Pace},
    order::{Order, Room, open_loop},
    plateau_run::PlateauRun,
    staircase::{Plateau, Staircase},
};
use crate::{schedule::Load, units::Rate};

/// Lengths of the tries to get answers at all: a model may take long over its first ones.
const QUICK_WARM_UPS: &[Duration] = &[
    Duration::from_millis(1500),
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(60),
];
const FULL_WARM_UPS: &[Duration] = &[
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];
/// Answers that show that the target works.
const FEWEST_WARM_ANSWERS: u64 = 3;
/// The burn-in: long enough to heat a machine and fill its caches.
const BURN_IN: Duration = Duration::from_secs(45);
/// The share of the time left that it may take.
const BURN_IN_SHARE: f64 = 0.2;
/// Quick mode's thermal check ends about then, but takes no less and no more than this.
const HEAT_CHECK_ENDS: Duration = Duration::from_secs(76);
const SHORTEST_HEAT_CHECK: Duration = Duration::from_secs(10);
const LONGEST_HEAT_CHECK: Duration = Duration::from_secs(20);
/// Enough to keep every server busy with something waiting.
const SATURATING_USERS_PER_PLATEAU_USER: u32 = 2;
/// Fresh load at the answer.
const QUICK_CONFIRMATION: Duration = Duration::from_secs(10);
const FULL_CONFIRMATION: Duration = Duration::from_secs(12);
/// The share of the whole search kept for it when time is short.
const CONFIRMATION_SHARE: f64 = 0.2;
/// The largest share of the whole search that is kept for confirmation and soak.
const LARGEST_RESERVE: f64 = 0.35;
/// Parts of a soak, so that drift shows.
const SOAK_SEGMENT: Duration = Duration::from_secs(30);
/// The share of the whole search that the staircase may take. It usually takes less: a staircase that has not come to
/// its end has found nothing.
const STAIRCASE_SHARE: f64 = 0.5;
/// A step shorter than this sees nothing.
const SHORTEST_STEP: Duration = Duration::from_millis(400);

#[derive(Debug)]
enum Stage {
    WarmUp { tries: usize, failed: u64 },
    Staircase(Staircase),
    BurnIn { plateau: Plateau },
    AtPlateau { plateau: Plateau, run: PlateauRun },
    MainRun { plateau: Plateau, run: Box<MainRun> },
    Confirming { answer: Box<Answer>, seen: Confirming, pace: Pace },
    Soaking { answer: Box<Answer>, seen: Confirming, pace: Pace, left: Duration, planned: u64 },
    ThermalCheck { answer: Box<Answer>, is_done: bool },
    Over(Next),
}

/// The search behind its public face.
#[derive(Debug)]
pub(super) struct Engine {
    plan: SearchPlan,
    limits: Vec<Limit>,
    verdict_after: Duration,
    clock: Clock,
    in_flight: VecDeque<StepPlan>,
    next_index: u32,
    stage: Stage,
    single_user_throughput: f64,
    throttled_by: Option<f64>,
    out_of_time: bool,
}

impl Engine {
    pub(super) fn new(plan: SearchPlan) -> Self {
        let limits: Vec<Limit> = plan.constraints.iter().map(Limit::of).collect();
        Self {
            verdict_after: verdict_after(&limits),
            limits,
            clock: Clock::new(plan.max_duration),
            plan,
            in_flight: VecDeque::new(),
            next_index: 0,
            stage: Stage::WarmUp { tries: 0, failed: 0 },
            single_user_throughput: 0.0,
            throttled_by: None,
            out_of_time: false,
        }
    }

    pub(super) fn next(&mut self) -> Next {
        loop {
            if let Stage::Over(end) = &self.stage {
                return end.clone();
            }
            let continues = match self.in_flight.len() {
                0 => false,
                1 if self.may_continue() => true,
                _ => return Next::Wait,
            };
            match self.order(continues) {
                Some(order) => return Next::Step(self.plan_step(order)),
                None if self.in_flight.is_empty() => self.move_on(),
                None => return Next::Wait,
            }
        }
    }

    pub(super) fn observe(
        &mut self,
        observation: &StepObservation,
    ) -> Result<(), UnexpectedObservation> {
        let Some(at) = self.in_flight.iter().position(|step| step.index == observation.index)
        else {
            return Err(UnexpectedObservation::NotInFlight(observation.index));
        };
        if at > 0 {
            let expected = self.in_flight[0].index;
            return Err(UnexpectedObservation::OutOfOrder { index: observation.index, expected });
        }
        let Some(step) = self.in_flight.pop_front() else { return Ok(()) };
        self.clock.step_observed(&step, observation, self.in_flight.front());
        if let Err(failure) = self.take_in(&step, observation) {
            self.stage = Stage::Over(Next::Failed(failure));
        }
        Ok(())
    }

    fn plan_step(&mut self, order: Order) -> StepPlan {
        let is_open = matches!(order.load, Load::Open { .. } | Load::Replay { .. });
        let step = StepPlan {
            index: self.next_index,
            purpose: order.purpose,
            load: order.load,
            duration: order.duration,
            continues: order.continues,
            verdict_after: if is_open { self.verdict_after } else { Duration::ZERO },
        };
        self.next_index += 1;
        self.clock.step_planned(&step);
        self.in_flight.push_back(step.clone());
        step
    }

    fn may_continue(&self) -> bool {
        match &self.stage {
            Stage::MainRun { run, .. } => run.may_continue(),
            Stage::Soaking { planned, .. } => *planned > 0,
            Stage::WarmUp { .. }
            | Stage::Staircase(_)
            | Stage::BurnIn { .. }
            | Stage::AtPlateau { .. }
            | Stage::Confirming { .. }
            | Stage::ThermalCheck { .. }
            | Stage::Over(_) => false,
        }
    }

    /// As much of the wanted time as fits before the deadline less `reserve`.
    fn fitted(&mut self, wanted: Duration, continues: bool, reserve: Duration) -> Option<Duration> {
        let room = self.clock.left(continues).saturating_sub(reserve);
        self.out_of_time |= room < wanted;
        let fitted = wanted.min(room);
        (fitted >= SHORTEST_STEP.min(wanted)).then_some(fitted)
    }

    fn order(&mut self, continues: bool) -> Option<Order> {
        let closed = |purpose, users, duration| Order {
            purpose,
            load: Load::Closed { users },
            duration,
            continues: false,
        };
        match &mut self.stage {
            Stage::WarmUp { tries, .. } => {
                let lengths = match self.plan.mode {
                    Mode::Quick => QUICK_WARM_UPS,
                    Mode::Full => FULL_WARM_UPS,
                };
                let wanted = *lengths.get(*tries)?;
                *tries += 1;
                let duration = self.fitted(wanted, false, Duration::ZERO)?;
                Some(closed(Purpose::WarmUp, 1, duration))
            }
            Stage::Staircase(staircase) => {
                let (users, wanted) = staircase.next_level(self.single_user_throughput)?;
                let reserve = if staircase.has_levels() {
                    self.plan.max_duration.mul_f64(1.0 - STAIRCASE_SHARE)
                } else {
                    Duration::ZERO
                };
                let duration = self.fitted(wanted, false, reserve)?;
                Some(closed(Purpose::Staircase, users, duration))
            }
            Stage::BurnIn { plateau } => {
                let users = plateau.users.saturating_mul(SATURATING_USERS_PER_PLATEAU_USER);
                let wanted = BURN_IN.min(self.clock.left(false).mul_f64(BURN_IN_SHARE));
                (wanted >= SHORTEST_STEP).then(|| closed(Purpose::BurnIn, users, wanted))
            }
            Stage::AtPlateau { plateau, run } => {
                let (users, wanted) = run.next_segment(plateau)?;
                let duration = self.fitted(wanted, false, Duration::ZERO)?;
                Some(closed(Purpose::Main, users, duration))
            }
            Stage::MainRun { .. } => self.order_main(continues),
            Stage::Confirming { answer, seen, .. } => {
                let (rate, wanted) =
                    (answer.capacity.value.as_per_second(), confirmation_length(&self.plan));
                if !seen.steps.is_empty() || rate <= 0.0 {
                    return None;
                }
                let duration = self.fitted(wanted, false, self.verdict_after)?;
                let load = open_loop(rate, self.plan.seed, Purpose::Confirm, 0);
                Some(Order { purpose: Purpose::Confirm, load, duration, continues: false })
            }
            Stage::Soaking { .. } => self.order_soak(continues),
            Stage::ThermalCheck { answer, is_done } => {
                let wanted = HEAT_CHECK_ENDS
                    .saturating_sub(self.clock.spent())
                    .clamp(SHORTEST_HEAT_CHECK, LONGEST_HEAT_CHECK);
                // The answer stands already: without time for the check it is none the worse.
                if std::mem::replace(is_done, true) || self.clock.left(false) < wanted {
                    return None;
                }
                let users = answer.plateau_users.saturating_mul(SATURATING_USERS_PER_PLATEAU_USER);
                Some(closed(Purpose::BurnIn, users, wanted))
            }
            Stage::Over(_) => None,
        }
    }

    fn order_main(&mut self, continues: bool) -> Option<Order> {
        // What comes after the run: verdicts of its last segment, confirmation, soak, and theirs.
        let after_run = confirmation_length(&self.plan)
            + self.verdict_after * 3
            + self.plan.soak.unwrap_or_default();
        let reserve = after_run.min(self.plan.max_duration.mul_f64(LARGEST_RESERVE));
        let room = Room(self.clock.left(continues).saturating_sub(reserve));
        let Stage::MainRun { run, .. } = &mut self.stage else { return None };
        let order = run.order(continues, self.verdict_after, room);
        self.out_of_time |= run.was_cut_short();
        order
    }

    fn order_soak(&mut self, continues: bool) -> Option<Order> {
        let Stage::Soaking { left, .. } = &self.stage else { return None };
        if left.is_zero() {
            return None;
        }
        let wanted = (*left).min(SOAK_SEGMENT.max(self.verdict_after * 2));
        let duration = self.fitted(wanted, continues, self.verdict_after)?;
        let Stage::Soaking { answer, left, planned, .. } = &mut self.stage else { return None };
        *left = left.saturating_sub(duration);
        let load = open_loop(
            answer.capacity.value.as_per_second(),
            self.plan.seed,
            Purpose::Soak,
            *planned,
        );
        *planned += 1;
        Some(Order { purpose: Purpose::Soak, load, duration, continues })
    }

    fn take_in(
        &mut self,
        step: &StepPlan,
        observation: &StepObservation,
    ) -> Result<(), SearchFailure> {
        let users = match step.load {
            Load::Closed { users } => users,
            Load::Open { .. } | Load::Replay { .. } => 0,
        };
        match &mut self.stage {
            Stage::WarmUp { failed, .. } => {
                let calls = Calls::of(&observation.samples);
                *failed += calls.failed;
                let is_warm = calls.answered >= FEWEST_WARM_ANSWERS
                    || (calls.answered > 0 && step.duration > FULL_WARM_UPS[0]);
                if is_warm {
                    self.single_user_throughput =
                        calls.answered as f64 * 1e6 / observation.elapsed_us.max(1) as f64;
                    self.stage =
                        Stage::Staircase(Staircase::new(self.plan.mode, self.plan.max_duration));
                }
            }
            Stage::Staircase(staircase) => {
                staircase.observe(
                    users,
                    observation,
                    &self.plan.constraints,
                    self.plan.max_error_share,
                )?;
            }
            Stage::BurnIn { plateau } => {
                self.throttled_by = burnt_in(plateau, users, observation);
                let plateau = plateau.clone();
                self.enter_run(plateau);
            }
            Stage::AtPlateau { run, .. } => run.observe(users, observation),
            Stage::MainRun { run, .. } => {
                let rate = match &step.load {
                    Load::Open { rate, .. } => rate.as_per_second(),
                    Load::Closed { .. } | Load::Replay { .. } => 0.0,
                };
                run.observe(step, rate, observation, self.plan.max_error_share);
            }
            Stage::Confirming { seen, pace, .. } | Stage::Soaking { seen, pace, .. } => {
                seen.observe(observation, *pace);
            }
            Stage::ThermalCheck { answer, .. } => {
                if let Some(relative_change) = throttled(users, observation) {
                    answer.drift = Some(Drift { relative_change });
                }
            }
            Stage::Over(_) => {}
        }
        Ok(())
    }

    /// The stage asks for nothing more and nothing is in flight.
    fn move_on(&mut self) {
        let out_of_time = Stage::Over(Next::Failed(self.plan.ran_out()));
        match std::mem::replace(&mut self.stage, out_of_time) {
            Stage::WarmUp { tries, failed } => {
                let failure = match (tries, failed) {
                    (_, 0) if self.out_of_time => self.plan.ran_out(),
                    (_, 0) => SearchFailure::NoAnswer,
                    (_, calls) => SearchFailure::AllCallsFailed { calls },
                };
                self.stage = Stage::Over(Next::Failed(failure));
            }
            Stage::Staircase(staircase) => {
                if let Some((users, throughput)) = staircase.still_grows() {
                    let failure = SearchFailure::StillGrowing {
                        users,
                        per_minute: throughput * 60.0,
                        allowed_s: self.plan.max_duration.as_secs_f64(),
                    };
                    self.stage = Stage::Over(Next::Failed(failure));
                } else if let Some(plateau) = staircase.plateau() {
                    match self.plan.mode {
                        Mode::Quick => self.enter_run(plateau),
                        Mode::Full => self.stage = Stage::BurnIn { plateau },
                    }
                }
            }
            Stage::BurnIn { plateau } => self.enter_run(plateau),
            Stage::AtPlateau { plateau, run } => {
                self.end_with(self.answer_at_plateau(&plateau, &run))
            }
            Stage::MainRun { plateau, run } => match self.answer_of(&plateau, &run) {
                Ok(answer) => {
                    let seen = Confirming::new(&self.limits, self.plan.max_error_share);
                    self.stage = Stage::Confirming {
                        answer: Box::new(answer),
                        seen,
                        pace: Pace::by(&run.model),
                    };
                }
                Err(failure) => self.stage = Stage::Over(Next::Failed(failure)),
            },
            Stage::Confirming { mut answer, seen, pace } => {
                seen.settle(&mut answer);
                match self.plan.soak {
                    Some(left) => {
                        let seen = Confirming::new(&self.limits, self.plan.max_error_share);
                        self.stage = Stage::Soaking { answer, seen, pace, left, planned: 0 };
                    }
                    None => self.check_for_throttling(answer),
                }
            }
            Stage::Soaking { mut answer, seen, .. } => {
                if seen.requests() > 0 {
                    seen.settle_after_soak(&mut answer);
                }
                self.check_for_throttling(answer);
            }
            Stage::ThermalCheck { answer, .. } => self.end_with(*answer),
            Stage::Over(end) => self.stage = Stage::Over(end),
        }
    }

    fn enter_run(&mut self, plateau: Plateau) {
        self.stage = if self.limits.is_empty() {
            let run = PlateauRun::new(self.plan.mode, self.throttled_by.is_some());
            Stage::AtPlateau { plateau, run }
        } else {
            let throttled = self.throttled_by.is_some();
            let run = MainRun::new(&self.plan, self.limits.clone(), &plateau, throttled);
            Stage::MainRun { plateau, run: Box::new(run) }
        };
    }

    fn check_for_throttling(&mut self, answer: Box<Answer>) {
        match self.plan.mode {
            Mode::Quick if !self.plan.skip_thermal_check => {
                self.stage = Stage::ThermalCheck { answer, is_done: false };
            }
            Mode::Quick | Mode::Full => self.end_with(*answer),
        }
    }

    fn end_with(&mut self, mut answer: Answer) {
        answer.out_of_time = self.out_of_time;
        self.stage = Stage::Over(Next::Done(Box::new(answer)));
    }

    fn answer_at_plateau(&self, plateau: &Plateau, run: &PlateauRun) -> Answer {
        let held = run.estimate();
        let capacity = held.unwrap_or(plateau.throughput);
        Answer {
            capacity,
            plateau: capacity,
            plateau_users: plateau.users,
            limited_by: plateau.limited_by,
            confirmation: Confirmation::NotNeeded,
            answer_steps: if held.is_some() { run.steps(plateau) } else { plateau.steps.clone() },
            drift: self.throttled_by.or(run.drift).map(|relative_change| Drift { relative_change }),
            precise: run.is_precise(),
            samples: run.requests(),
            out_of_time: false,
        }
    }

    fn answer_of(&self, plateau: &Plateau, run: &MainRun) -> Result<Answer, SearchFailure> {
        if let Some(failure) = run.ceiling.failure() {
            return Err(failure);
        }
        let found = run.estimate.ok_or_else(|| self.plan.ran_out())?;
        let rate = |per_second: f64| Rate::per_second(per_second.max(0.0)).unwrap_or(Rate::ZERO);
        let value = rate(found.value);
        let capacity = Estimate {
            value,
            low: rate(found.low.min(found.value)),
            high: rate(found.high.max(found.value)),
        };
        Ok(Answer {
            capacity,
            plateau: plateau.throughput,
            plateau_users: plateau.users,
            limited_by: found.limited_by,
            confirmation: Confirmation::NotRun,
            answer_steps: run.steps_near(found.value),
            drift: self.throttled_by.or(run.drift).map(|relative_change| Drift { relative_change }),
            precise: run.is_precise(),
            samples: run.requests(),
            out_of_time: false,
        })
    }
}

fn confirmation_length(plan: &SearchPlan) -> Duration {
    let usual = match plan.mode {
        Mode::Quick => QUICK_CONFIRMATION,
        Mode::Full => FULL_CONFIRMATION,
    };
    usual.min(plan.max_duration.mul_f64(CONFIRMATION_SHARE))
}
