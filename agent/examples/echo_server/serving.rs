//! The loop: reads what arrived on any connection, lets the protocol answer, writes.

use std::{convert::Infallible, io, net::TcpListener};

use rustix::{
    event::epoll::{self, EventData, EventFlags},
    fd::OwnedFd,
    io::Errno,
    net::{RecvFlags, SendFlags, SocketFlags, accept_with, listen, recv, send, sockopt},
};

const LISTENER: u64 = u64::MAX;
const READ_BUFFER: usize = 64 << 10;
const EVENTS_AT_ONCE: usize = 256;
const BACKLOG: i32 = 1024;

/// One connection's side of the conversation.
pub(crate) trait Protocol {
    /// A new connection; what it says first goes to `out`.
    fn new(out: &mut Vec<u8>) -> Self;

    /// Takes bytes and appends answers to `out`; false when the peer makes no sense.
    fn read(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool;
}

struct Connection<P> {
    socket: OwnedFd,
    protocol: P,
    /// Answers that the socket did not take yet.
    out: Vec<u8>,
}

/// Serves until the process ends.
pub(crate) fn serve<P: Protocol>(listener: TcpListener) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    // Again, for a queue that holds every connection of a generator at once.
    listen(&listener, BACKLOG)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut connections: Vec<Option<Connection<P>>> = Vec::new();
    let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.drain(..) {
            let token = event.data.u64();
            if token == LISTENER {
                accept_all(&listener, &epoll, &mut connections)?;
                continue;
            }
            let Some(slot) =
                usize::try_from(token).ok().and_then(|token| connections.get_mut(token))
            else {
                continue;
            };
            if slot.as_mut().is_some_and(|connection| !connection.turn(&mut buffer)) {
                *slot = None;
            }
        }
    }
}

fn accept_all<P: Protocol>(
    listener: &TcpListener,
    epoll: &OwnedFd,
    connections: &mut Vec<Option<Connection<P>>>,
) -> io::Result<()> {
    loop {
        let socket = match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::INTR | Errno::CONNABORTED) => continue,
            Err(error) => return Err(error.into()),
        };
        sockopt::set_tcp_nodelay(&socket, true)?;
        let vacant = connections.iter().position(Option::is_none).unwrap_or(connections.len());
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(epoll, &socket, EventData::new_u64(vacant as u64), flags)?;
        let mut out = Vec::new();
        let protocol = P::new(&mut out);
        let connection = Some(Connection { socket, protocol, out });
        if vacant == connections.len() {
            connections.push(connection);
        } else {
            connections[vacant] = connection;
        }
    }
}

impl<P: Protocol> Connection<P> {
    /// Reads and answers; false when the connection is over.
    fn turn(&mut self, buffer: &mut [u8]) -> bool {
        loop {
            let count = match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => return false,
                Ok((count, _)) => count,
                Err(Errno::AGAIN) => return self.flush(),
                Err(Errno::INTR) => continue,
                Err(_) => return false,
            };
            if !self.protocol.read(&buffer[..count], &mut self.out) {
                return false;
            }
            // A short read means that nothing is left for now; more is another event.
            if count < buffer.len() {
                return self.flush();
            }
        }
    }

    fn flush(&mut self) -> bool {
        let mut written = 0;
        while written < self.out.len() {
            match send(&self.socket, &self.out[written..], SendFlags::NOSIGNAL) {
                Ok(count) => written += count,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        self.out.drain(..written);
        true
    }
}
