//! The event loop of a known server: reads requests, hands them to the workers' books, answers on time.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    event::epoll::{self, Event, EventData, EventFlags},
    fd::OwnedFd,
    io::Errno,
};

use super::{
    Service,
    connection::{Connection, Seen},
    workers::Workers,
};
use crate::{
    clock::{Clock, thread_cpu_ns},
    load::pacing::Alarm,
};

const LISTENER: u64 = u64::MAX;
const ALARM: u64 = u64::MAX - 1;
const STOP: u64 = u64::MAX - 2;
const MOST_CONNECTIONS: usize = 4096;
/// Requests that may wait; one more is refused.
const LONGEST_QUEUE: usize = 65_536;
const EVENTS_AT_ONCE: usize = 128;
const READ_BUFFER: usize = 64 << 10;
/// So long before an answer is due the thread looks at the clock instead of sleeping.
const SPIN_NS: u64 = 20_000;
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

pub(super) struct Acceptor {
    listener: TcpListener,
    cpu_ns: Arc<AtomicU64>,
    epoll: OwnedFd,
    clock: Clock,
    alarm: Alarm,
    workers: Workers,
    connections: HashMap<u64, (TcpStream, Connection)>,
    next_connection: u64,
    /// When an answer is due, in which order of arrival, and on which connection.
    due: BinaryHeap<Reverse<(u64, u64, u64)>>,
    arrivals: u64,
}

impl Acceptor {
    /// `stop` ends the server once it can be read.
    pub(super) fn open(
        listener: TcpListener,
        service: Service,
        stop: &OwnedFd,
        cpu_ns: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        epoll::add(&epoll, stop, EventData::new_u64(STOP), EventFlags::IN)?;
        let clock = Clock::start();
        let alarm = Alarm::new(clock, &epoll, ALARM)?;
        Ok(Self {
            listener,
            cpu_ns,
            epoll,
            clock,
            alarm,
            workers: Workers::new(service),
            connections: HashMap::new(),
            next_connection: 0,
            due: BinaryHeap::new(),
            arrivals: 0,
        })
    }

    /// Serves until it is told to stop.
    pub(super) fn serve(mut self) -> Result<(), Errno> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_AT_ONCE);
        let mut buffer = vec![0; READ_BUFFER];
        loop {
            self.answer_what_is_due();
            if let Some(Reverse((due_ns, ..))) = self.due.peek() {
                if due_ns.saturating_sub(self.clock.now_ns()) <= SPIN_NS {
                    std::hint::spin_loop();
                    continue;
                }
                self.alarm.set(due_ns - SPIN_NS)?;
            }
            self.cpu_ns.store(thread_cpu_ns(), Ordering::Relaxed);
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            for event in events.drain(..) {
                match event.data.u64() {
                    STOP => return Ok(()),
                    ALARM => self.alarm.rang(),
                    LISTENER => self.accept(),
                    connection => self.read(connection, &mut buffer),
                }
            }
        }
    }

    fn answer_what_is_due(&mut self) {
        while let Some(Reverse((due_ns, _, id))) = self.due.peek().copied() {
            if due_ns > self.clock.now_ns() {
                return;
            }
            self.due.pop();
            self.answer(id);
        }
    }

    fn answer(&mut self, id: u64) {
        let Some((socket, connection)) = self.connections.get_mut(&id) else { return };
        // A peer that has not made room for so few bytes is not reading.
        if !matches!(socket.write(ANSWER), Ok(sent) if sent == ANSWER.len()) || !connection.stays()
        {
            self.connections.remove(&id);
            return;
        }
        let seen = connection.answered();
        self.arrived(id, seen);
    }

    fn accept(&mut self) {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!(%error, "a connection was not accepted");
                    return;
                }
            };
            if self.connections.len() >= MOST_CONNECTIONS {
                continue;
            }
            let id = self.next_connection;
            let ready = socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true));
            let watched = ready.and_then(|()| {
                Ok(epoll::add(&self.epoll, &socket, EventData::new_u64(id), EventFlags::IN)?)
            });
            if watched.is_ok() {
                self.next_connection += 1;
                self.connections.insert(id, (socket, Connection::new()));
            }
        }
    }

    fn read(&mut self, id: u64, buffer: &mut [u8]) {
        let Some((socket, connection)) = self.connections.get_mut(&id) else { return };
        match socket.read(buffer) {
            Ok(count) if count > 0 => {
                let seen = connection.read(&buffer[..count]);
                self.arrived(id, seen);
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Ok(_) | Err(_) => {
                self.connections.remove(&id);
            }
        }
    }

    fn arrived(&mut self, id: u64, seen: Seen) {
        match seen {
            Seen::Part => {}
            Seen::Whole if self.due.len() >= LONGEST_QUEUE => self.refuse(id, 503),
            Seen::Whole => {
                let over_ns = self.workers.take(self.clock.now_ns());
                self.due.push(Reverse((over_ns, self.arrivals, id)));
                self.arrivals += 1;
            }
            Seen::Refused(status) => self.refuse(id, status),
        }
    }

    fn refuse(&mut self, id: u64, status: u16) {
        if let Some((mut socket, _)) = self.connections.remove(&id) {
            let answer = format!(
                "HTTP/1.1 {status} Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            // It is closed either way.
            let _ = socket.write(answer.as_bytes());
        }
    }
}
