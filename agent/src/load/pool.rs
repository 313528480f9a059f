//! The connections of one sending thread: opening them, finding a free one, telling stale events apart.

use std::{collections::VecDeque, os::unix::ffi::OsStrExt, sync::Arc};

use rustix::{
    event::epoll::{self, EventData, EventFlags},
    fd::OwnedFd,
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt},
};

use super::exchange::{Exchange, Socket};
use crate::target::Address;

#[derive(Debug)]
pub(crate) struct Connection<E> {
    pub(crate) socket: Socket,
    pub(crate) exchange: E,
    /// Being made since then; `None` once it is open.
    pub(crate) connecting_since_ns: Option<u64>,
    /// The socket took no more; the system says when it does.
    pub(crate) blocked: bool,
    generation: u32,
    listed: bool,
}

/// Names a connection, and not another one that took its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionId {
    slot: u32,
    generation: u32,
}

impl ConnectionId {
    pub(crate) fn from_token(token: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the token")]
        Self { slot: token as u32, generation: (token >> 32) as u32 }
    }

    fn token(self) -> u64 {
        u64::from(self.slot) | u64::from(self.generation) << 32
    }
}

/// All connections of a thread.
#[derive(Debug)]
pub(crate) struct Pool<E: Exchange> {
    address: Address,
    requests: Arc<E::Requests>,
    slots: Vec<Option<Connection<E>>>,
    vacant: Vec<u32>,
    /// Connections that may take a request, least recently used first: callers spread over connections.
    free: VecDeque<ConnectionId>,
    generation: u32,
    connecting: usize,
    open: usize,
}

impl<E: Exchange> Pool<E> {
    pub(crate) fn new(address: Address, requests: Arc<E::Requests>) -> Self {
        Self {
            address,
            requests,
            slots: Vec::new(),
            vacant: Vec::new(),
            free: VecDeque::new(),
            generation: 0,
            connecting: 0,
            open: 0,
        }
    }

    pub(crate) fn requests(&self) -> &E::Requests {
        &self.requests
    }

    /// Connections, open or being made.
    pub(crate) fn len(&self) -> usize {
        self.connecting + self.open
    }

    pub(crate) fn open(&self) -> usize {
        self.open
    }

    pub(crate) fn connecting(&self) -> usize {
        self.connecting
    }

    pub(crate) fn get(&mut self, id: ConnectionId) -> Option<&mut Connection<E>> {
        let connection = self.slots.get_mut(id.slot as usize)?.as_mut()?;
        (connection.generation == id.generation).then_some(connection)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Connection<E>)> {
        self.slots.iter().enumerate().filter_map(|(slot, connection)| {
            let connection = connection.as_ref()?;
            let slot = u32::try_from(slot).ok()?;
            Some((ConnectionId { slot, generation: connection.generation }, connection))
        })
    }

    /// Starts a connection. Its outcome comes as an event, even when it is open at once.
    pub(crate) fn connect(&mut self, epoll: &OwnedFd, now_ns: u64) -> Result<(), Errno> {
        let fd = start_connecting(&self.address)?;
        let slot = match self.vacant.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1).map_err(|_| Errno::MFILE)?
            }
        };
        // The topmost value is kept free for tokens that are no connections.
        self.generation = (self.generation + 1) % (u32::MAX - 1);
        let id = ConnectionId { slot, generation: self.generation };
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        if let Err(error) = epoll::add(epoll, &fd, EventData::new_u64(id.token()), flags) {
            self.vacant.push(slot);
            return Err(error);
        }
        self.connecting += 1;
        self.slots[slot as usize] = Some(Connection {
            socket: Socket::new(fd),
            exchange: E::new(&self.requests),
            connecting_since_ns: Some(now_ns),
            blocked: false,
            generation: id.generation,
            listed: false,
        });
        Ok(())
    }

    pub(crate) fn connected(&mut self, id: ConnectionId) {
        let Some(connection) = self.get(id) else { return };
        if connection.connecting_since_ns.take().is_some() {
            self.connecting -= 1;
            self.open += 1;
        }
        self.release(id);
    }

    /// Lists the connection as free if it can take a request.
    pub(crate) fn release(&mut self, id: ConnectionId) {
        let Some(connection) = self.get(id) else { return };
        let usable = connection.connecting_since_ns.is_none() && connection.exchange.free() > 0;
        if usable && !connection.listed {
            connection.listed = true;
            self.free.push_back(id);
        }
    }

    /// A connection that can take a request now. Give it back with [`Pool::release`] when it can take more.
    pub(crate) fn take(&mut self) -> Option<ConnectionId> {
        while let Some(id) = self.free.pop_front() {
            let Some(connection) = self.get(id) else { continue };
            connection.listed = false;
            if connection.exchange.free() > 0 {
                return Some(id);
            }
        }
        None
    }

    /// Closes a connection and hands out what it was.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Connection<E>> {
        self.get(id)?;
        let connection = self.slots[id.slot as usize].take()?;
        self.vacant.push(id.slot);
        if connection.connecting_since_ns.is_some() {
            self.connecting -= 1;
        } else {
            self.open -= 1;
        }
        Some(connection)
    }
}

fn start_connecting(address: &Address) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (fd, result) = match address {
        Address::Tcp(address) => {
            let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let fd = socket_with(family, SocketType::STREAM, flags, None)?;
            sockopt::set_tcp_nodelay(&fd, true)?;
            let result = connect(&fd, address);
            (fd, result)
        }
        Address::Unix(path) => {
            let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            let result = connect(&fd, &SocketAddrUnix::new(path.as_os_str().as_bytes())?);
            (fd, result)
        }
    };
    match result {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(fd),
        Err(error) => Err(error),
    }
}
