//! Waiting with microsecond precision, and making the sending thread one that is woken on time.

use std::num::NonZeroU64;

use rustix::{
    event::epoll,
    fd::OwnedFd,
    io::Errno,
    thread::CpuSet,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};

use crate::clock::Clock;

/// Wakes an epoll instance at an absolute time.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: OwnedFd,
    clock: Clock,
    armed_ns: u64,
}

impl Alarm {
    /// Registers the alarm; it reports as `token`.
    pub(crate) fn new(clock: Clock, epoll: &OwnedFd, token: u64) -> Result<Self, Errno> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        // Edge-triggered: arming it again is all it takes, the expiry need not be read.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(epoll, &timer, epoll::EventData::new_u64(token), flags)?;
        Ok(Self { timer, clock, armed_ns: u64::MAX })
    }

    /// Sets the time; it may lie in the past.
    pub(crate) fn set(&mut self, at_ns: u64) -> Result<(), Errno> {
        if at_ns != self.armed_ns {
            let time = Itimerspec {
                it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                it_value: self.clock.absolute(at_ns),
            };
            timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &time)?;
            self.armed_ns = at_ns;
        }
        Ok(())
    }

    pub(crate) fn rang(&mut self) {
        self.armed_ns = u64::MAX;
    }
}

/// How the sending threads ask to be scheduled.
#[derive(Clone, Debug, Default)]
pub struct Scheduling {
    /// `SCHED_FIFO`, where the system permits it.
    pub realtime: bool,
    /// Processors to stay on; empty leaves it to the system.
    pub cpus: Vec<usize>,
}

/// Applies the scheduling to the calling thread: timer slack of 1 ns always, the rest as asked.
/// What the system refuses is left out: the lag histogram shows what it costs.
pub(crate) fn prepare_thread(scheduling: &Scheduling) {
    if let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1)) {
        tracing::debug!(%error, "timer slack stays as it is");
    }
    if !scheduling.cpus.is_empty() {
        let mut set = CpuSet::new();
        scheduling.cpus.iter().filter(|&&cpu| cpu < CpuSet::MAX_CPU).for_each(|&cpu| set.set(cpu));
        if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
            tracing::warn!(%error, cpus = ?scheduling.cpus, "cannot keep the load generator on its processors");
        }
    }
    if scheduling.realtime && !become_realtime() {
        tracing::debug!("SCHED_FIFO is not permitted");
    }
}

/// Lets as many connections be open as the system allows.
pub(crate) fn raise_file_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

fn become_realtime() -> bool {
    let parameters = libc::sched_param { sched_priority: 1 };
    #[expect(
        unsafe_code,
        reason = "no safe wrapper of sched_setscheduler is among the dependencies"
    )]
    // SAFETY: 0 is the calling thread; the parameters outlive the call, which only reads them.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    result == 0
}
