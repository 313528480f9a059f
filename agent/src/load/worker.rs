//! The event loop of one sending thread: sends when it is time, reads what comes, keeps the books.
//!
//! Everything happens on this thread; the only things shared with others are the channel of
//! assignments, the channel of parts, and a flag that cancels. Nothing here decides what to send next.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, TryRecvError},
    },
    time::Duration,
};

use rustix::{
    event::{
        EventfdFlags,
        epoll::{self, Event, EventData, EventFlags},
        eventfd,
    },
    fd::OwnedFd,
    io::Errno,
};

use super::{
    exchange::{Ended, Ending, Exchange, Fault, Ticket},
    figures::{ErrorKind, StepEnd},
    pacing::Alarm,
    pool::{ConnectionId, Pool},
    run::{Assignment, Keep, Part, Run},
};
use crate::{clock::Clock, target::Address};

mod events;
mod waiting;

const ALARM: u64 = u64::MAX;
const DOORBELL: u64 = u64::MAX - 1;
const EVENTS_AT_ONCE: usize = 256;
const READ_BUFFER: usize = 128 << 10;
/// A step that was asked for this much after its predecessor's end begins late instead of catching up.
const LATE_NS: u64 = 2_000_000;
const FIRST_BACK_OFF_NS: u64 = 1_000_000;
const LONGEST_BACK_OFF_NS: u64 = 250_000_000;

/// What a worker is told once.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) clock: Clock,
    pub(crate) address: Address,
    /// This thread's number and how many there are.
    pub(crate) thread: u32,
    pub(crate) threads: u32,
    /// The most connections in open loop.
    pub(crate) connections: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) give_up_after: Duration,
    /// How long before a send time the thread stops sleeping.
    pub(crate) spin: Duration,
    pub(crate) keep: Keep,
}

/// The ends of a worker's channels.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) assignments: Receiver<Assignment>,
    pub(crate) parts: Sender<Part>,
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) doorbell: Arc<OwnedFd>,
}

/// A descriptor that wakes a worker when something is written to it.
pub(crate) fn doorbell() -> Result<OwnedFd, Errno> {
    eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
}

/// What waits for a connection.
#[derive(Debug)]
enum Waiting {
    /// A user about to send; the time is taken when it does.
    User,
    /// A request with its intended time.
    Request(Ticket),
}

/// Nothing has accepted a connection for a while.
#[derive(Debug)]
struct Outage {
    since_ns: u64,
    until_ns: u64,
    reason: String,
}

pub(crate) struct Worker<E: Exchange> {
    settings: Settings,
    lines: Lines,
    epoll: OwnedFd,
    alarm: Alarm,
    pool: Pool<E>,
    planned: VecDeque<Assignment>,
    /// Steps whose books are open, oldest first; only the last may still be offering.
    runs: Vec<Run>,
    runs_begun: u32,
    last_end_ns: u64,
    arrived_at_gate: bool,
    waiting: VecDeque<Waiting>,
    /// Users with a request in flight or waiting for a connection.
    users: u32,
    in_flight: u64,
    next_request: u64,
    ended: Vec<Ended>,
    buffer: Vec<u8>,
    back_off_ns: u64,
    connect_after_ns: u64,
    unreachable: Option<Outage>,
    next_scan_ns: u64,
    hung_up: bool,
}

impl<E: Exchange> Worker<E> {
    pub(crate) fn new(
        settings: Settings,
        requests: Arc<E::Requests>,
        lines: Lines,
    ) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let alarm = Alarm::new(settings.clock, &epoll, ALARM)?;
        epoll::add(
            &epoll,
            &*lines.doorbell,
            EventData::new_u64(DOORBELL),
            EventFlags::IN | EventFlags::ET,
        )?;
        Ok(Self {
            pool: Pool::new(settings.address.clone(), requests),
            next_request: u64::from(settings.thread),
            settings,
            lines,
            epoll,
            alarm,
            planned: VecDeque::new(),
            runs: Vec::new(),
            runs_begun: 0,
            last_end_ns: 0,
            arrived_at_gate: false,
            waiting: VecDeque::new(),
            users: 0,
            in_flight: 0,
            ended: Vec::new(),
            buffer: vec![0; READ_BUFFER],
            back_off_ns: FIRST_BACK_OFF_NS,
            connect_after_ns: 0,
            unreachable: None,
            next_scan_ns: 0,
            hung_up: false,
        })
    }

    /// Works until it is cancelled, loses the target, or nobody wants anything any more.
    pub(crate) fn run(mut self) -> Result<(), Errno> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_AT_ONCE);
        self.take_assignments();
        loop {
            let now_ns = self.now_ns();
            if self.lines.cancelled.load(Ordering::Relaxed) {
                self.finish_all(now_ns, &StepEnd::Cancelled);
                return Ok(());
            }
            self.advance(now_ns);
            self.scan(now_ns);
            self.settle();
            if let Some(reason) = self.target_lost() {
                self.finish_all(now_ns, &StepEnd::TargetLost { reason });
                return Ok(());
            }
            if self.hung_up && self.runs.is_empty() && self.planned.is_empty() {
                return Ok(());
            }
            self.wait(&mut events)?;
            for event in events.drain(..) {
                let data = event.data.u64();
                match data {
                    ALARM => self.alarm.rang(),
                    DOORBELL => self.take_assignments(),
                    token => self.handle(ConnectionId::from_token(token), event.flags),
                }
            }
        }
    }

    fn now_ns(&self) -> u64 {
        self.settings.clock.now_ns()
    }

    fn take_assignments(&mut self) {
        let mut count = [0; 8];
        // Only to reset the counter: an edge-triggered eventfd reports every write anyway.
        let _ = rustix::io::read(&*self.lines.doorbell, &mut count);
        loop {
            match self.lines.assignments.try_recv() {
                Ok(assignment) => self.planned.push_back(assignment),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.hung_up = true;
                    return;
                }
            }
        }
    }

    /// Brings the steps up to `now_ns`: sends what is due, ends and begins steps, closes books.
    fn advance(&mut self, now_ns: u64) {
        loop {
            self.dispatch(now_ns);
            let offering = self.runs.last_mut().filter(|run| run.is_offering());
            if let Some(run) = offering {
                if now_ns < run.end_ns {
                    // The step before may come to its last verdict while this one goes on.
                    self.close_books(now_ns);
                    break;
                }
                run.stop_offering(now_ns);
                self.last_end_ns = run.end_ns;
                self.dismiss_waiting_users();
            }
            self.close_books(now_ns);
            if !self.begin_next(now_ns) {
                break;
            }
        }
    }

    /// Handles every arrival that is due.
    fn dispatch(&mut self, now_ns: u64) {
        let Some(run) = self.runs.last_mut().filter(|run| run.is_offering()) else { return };
        while let Some(intended_ns) = run.next_intended_ns().filter(|&at| at <= now_ns) {
            run.dispatched(intended_ns, now_ns);
            let request = next_request(
                &mut self.next_request,
                &self.settings,
                E::variety(self.pool.requests()),
            );
            let ticket = Ticket {
                run: run.id,
                request,
                closed: false,
                waited: false,
                intended_ns,
                sent_ns: 0,
            };
            self.waiting.push_back(Waiting::Request(ticket));
        }
    }

    fn close_books(&mut self, now_ns: u64) {
        let mut at = 0;
        while at < self.runs.len() {
            if self.runs[at].final_at_ns().is_some_and(|final_at| now_ns >= final_at) {
                let run = self.runs.remove(at);
                self.finish(run, now_ns, StepEnd::Complete);
            } else {
                at += 1;
            }
        }
    }

    fn finish(&self, run: Run, now_ns: u64, end: StepEnd) {
        let part = if run.users().is_some() {
            run.finish_users(self.users_in_flight(), now_ns, end)
        } else {
            let waiting = self.waiting.iter().filter_map(|waiting| match waiting {
                Waiting::Request(ticket) => Some(*ticket),
                Waiting::User => None,
            });
            let sent = self.pool.iter().flat_map(|(_, connection)| connection.exchange.tickets());
            let belongs = |ticket: &Ticket| !ticket.closed && ticket.run == run.id;
            let open: Vec<Ticket> = waiting.chain(sent).filter(belongs).collect();
            run.finish_arrivals(&open, now_ns, end)
        };
        // The receiver is gone only when nobody wants the figures any more.
        let _ = self.lines.parts.send(part);
    }

    /// Users whose request is with the target.
    fn users_in_flight(&self) -> u64 {
        let waiting =
            self.waiting.iter().filter(|waiting| matches!(waiting, Waiting::User)).count();
        u64::from(self.users) - waiting as u64
    }

    fn finish_all(&mut self, now_ns: u64, end: &StepEnd) {
        for run in std::mem::take(&mut self.runs) {
            self.finish(run, now_ns, end.clone());
        }
    }

    /// Begins the next step if its time has come.
    fn begin_next(&mut self, now_ns: u64) -> bool {
        let Some(next) = self.planned.front() else { return false };
        let gate = Arc::clone(&next.gate);
        let follows = next.continues && self.runs_begun > 0;
        if follows {
            let on_time = next.submitted_ns <= self.last_end_ns.saturating_add(LATE_NS);
            gate.propose(if on_time { self.last_end_ns } else { now_ns });
        } else if !self.arrived_at_gate {
            if self.in_flight > 0 || !self.runs.is_empty() {
                return false;
            }
            self.arrived_at_gate = true;
            gate.arrive(now_ns);
        }
        let Some(start_ns) = gate.start_ns().filter(|&start| start <= now_ns) else { return false };
        let Some(assignment) = self.planned.pop_front() else { return false };
        self.arrived_at_gate = false;
        self.runs_begun += 1;
        let carried_in = u64::from(self.users);
        let mut run = Run::begin(self.runs_begun, assignment, start_ns, self.settings.keep);
        if run.users().is_some() {
            run.figures.carried_in = carried_in;
        }
        self.runs.push(run);
        self.add_users();
        true
    }

    /// Users who wait for a connection have sent nothing; the next step brings its own.
    fn dismiss_waiting_users(&mut self) {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| matches!(waiting, Waiting::Request(_)));
        self.users -= u32::try_from(before - self.waiting.len()).unwrap_or(self.users);
    }

    /// Lets users wait for a connection until there are as many as the step wants.
    fn add_users(&mut self) {
        let wanted =
            self.runs.last().filter(|run| run.is_offering()).and_then(Run::users).unwrap_or(0);
        while self.users < wanted {
            self.users += 1;
            self.waiting.push_back(Waiting::User);
        }
    }

    /// Books what has ended and sends what waits, until neither leads to the other any more.
    fn settle(&mut self) {
        loop {
            let mut ended = std::mem::take(&mut self.ended);
            // Open loop first: a user's answer may be what shows that a step is over, and every answer
            // that came before must be in its books by then.
            ended.sort_by_key(|one| one.ticket.closed);
            for one in ended.drain(..) {
                self.book(&one);
            }
            // Keeps the allocation for the next round.
            if self.ended.is_empty() {
                self.ended = ended;
            }
            self.supply();
            if self.ended.is_empty() {
                return;
            }
        }
    }

    fn book(&mut self, ended: &Ended) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let connection_held = match &ended.ending {
            Ending::Answered => true,
            Ending::Failed(fault) => fault.kind == ErrorKind::Status,
        };
        if connection_held {
            self.back_off_ns = FIRST_BACK_OFF_NS;
        }
        if ended.ticket.closed {
            // A user's request counts in the step in which it ends, which may be the next one.
            self.advance(ended.at_ns);
            if let Some(run) =
                self.runs.last_mut().filter(|run| run.is_offering() && run.users().is_some())
            {
                run.ended(ended);
            }
            self.users -= 1;
            self.add_users();
        } else if let Some(run) = self.runs.iter_mut().find(|run| run.id == ended.ticket.run) {
            run.ended(ended);
        } else if let (Ending::Answered, Some(run)) = (&ended.ending, self.runs.last_mut()) {
            run.figures.late_answers += 1;
        }
    }

    /// Gives waiting requests to free connections, and opens more where that helps.
    fn supply(&mut self) {
        while !self.waiting.is_empty() {
            let Some(id) = self.pool.take() else {
                self.grow();
                return;
            };
            // One write for all that the connection takes at once.
            while self.pool.get(id).is_some_and(|connection| connection.exchange.free() > 0) {
                let now_ns = self.now_ns();
                let Some(ticket) = self.next_ticket(now_ns) else { break };
                self.in_flight += 1;
                if let Some(connection) = self.pool.get(id) {
                    connection.exchange.begin(ticket);
                }
            }
            self.write(id);
            self.pool.release(id);
        }
    }

    fn next_ticket(&mut self, now_ns: u64) -> Option<Ticket> {
        match self.waiting.pop_front()? {
            Waiting::Request(ticket) => Some(Ticket { sent_ns: now_ns, ..ticket }),
            Waiting::User => {
                let run = self.runs.last_mut()?;
                run.figures.sent += 1;
                let request = next_request(
                    &mut self.next_request,
                    &self.settings,
                    E::variety(self.pool.requests()),
                );
                Some(Ticket {
                    run: run.id,
                    request,
                    closed: true,
                    waited: false,
                    intended_ns: now_ns,
                    sent_ns: now_ns,
                })
            }
        }
    }

    /// Opens connections for those who wait, as far as the limit and the back-off allow.
    fn grow(&mut self) {
        let streams = E::streams(self.pool.requests()).max(1) as usize;
        let users = self.users as usize;
        let limit = self.settings.connections.max(users.div_ceil(streams)).max(1);
        if self.pool.len() >= limit && self.pool.connecting() == 0 {
            self.note_waiting();
        }
        while self.pool.connecting() * streams < self.waiting.len() && self.pool.len() < limit {
            let now_ns = self.now_ns();
            if now_ns < self.connect_after_ns {
                return;
            }
            match self.pool.connect(&self.epoll, now_ns) {
                Ok(()) => {
                    if let Some(run) = self.runs.last_mut() {
                        run.figures.connections_opened += 1;
                    }
                }
                // A Unix socket whose queue is full: the server is alive, ask again soon.
                Err(Errno::AGAIN) => self.connect_after_ns = now_ns + FIRST_BACK_OFF_NS,
                Err(error) => {
                    self.cannot_connect(error, now_ns);
                    return;
                }
            }
        }
    }

    /// Counts those who wait because every connection is busy, each once.
    fn note_waiting(&mut self) {
        for waiting in self.waiting.iter_mut().rev() {
            let Waiting::Request(ticket) = waiting else { return };
            if std::mem::replace(&mut ticket.waited, true) {
                return;
            }
            if let Some(run) = self.runs.iter_mut().find(|run| run.id == ticket.run) {
                run.figures.waited += 1;
            }
        }
    }
}

/// Requests take turns over all threads.
fn next_request(next: &mut u64, settings: &Settings, variety: u32) -> u32 {
    let request = *next % u64::from(variety.max(1));
    *next += u64::from(settings.threads);
    u32::try_from(request).unwrap_or(0)
}
