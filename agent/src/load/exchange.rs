//! What the event loop asks of a protocol: begin a request, write, read, say what ended.
//!
//! Two implementations: [`super::http1`] (one request at a time on a connection) and
//! [`super::http2`] (several). Neither knows time, steps or schedules.

use std::{io, sync::Arc};

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::Errno,
    net::{SendFlags, send},
};

use super::figures::ErrorKind;

/// A request in flight, as the event loop knows it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) run: u32,
    /// Which of the encoded requests is sent.
    pub(crate) request: u32,
    /// Sent by a user in closed loop.
    pub(crate) closed: bool,
    /// Every connection was busy at its intended time.
    pub(crate) waited: bool,
    /// When it was meant to be sent.
    pub(crate) intended_ns: u64,
    /// When it was handed to the socket.
    pub(crate) sent_ns: u64,
}

#[derive(Debug)]
pub(crate) enum Ending {
    Answered,
    Failed(Box<Fault>),
}

/// What went wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    /// HTTP status, or gRPC status.
    pub(crate) status: Option<u16>,
    /// The first bytes of the response's body.
    pub(crate) excerpt: Vec<u8>,
}

impl Fault {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), status: None, excerpt: Vec::new() }
    }
}

/// A request that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) ticket: Ticket,
    pub(crate) ending: Ending,
    pub(crate) at_ns: u64,
}

impl Ended {
    pub(crate) fn failed(ticket: Ticket, fault: Fault, at_ns: u64) -> Self {
        Self { ticket, ending: Ending::Failed(Box::new(fault)), at_ns }
    }
}

/// The peer broke the protocol or a limit; the connection is of no more use.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

pub(crate) trait Exchange: Sized {
    /// Every request, encoded once and shared by all connections.
    type Requests: Send + Sync + 'static;

    /// The state of a new connection.
    fn new(requests: &Arc<Self::Requests>) -> Self;

    /// Requests that one connection carries at once, as far as the peer lets it.
    fn streams(requests: &Self::Requests) -> u32;

    /// How many different requests there are.
    fn variety(requests: &Self::Requests) -> u32;

    /// How many more requests can begin now.
    fn free(&self) -> u32;

    /// Begins a request; bytes leave with the next [`Exchange::write`].
    fn begin(&mut self, ticket: Ticket);

    /// Writes what is to be written; false when the socket takes no more for now.
    fn write(&mut self, socket: &Socket) -> Result<bool, Errno>;

    /// There is something to write that the peer waits for, other than requests.
    fn has_output(&self) -> bool;

    /// Takes bytes that arrived. Responses that ended are appended to `ended`.
    fn read(&mut self, bytes: &[u8], at_ns: u64, ended: &mut Vec<Ended>) -> Result<(), Broken>;

    /// The peer closed its side. Requests that end with it are appended; others stay and have failed.
    fn closed(&mut self, at_ns: u64, ended: &mut Vec<Ended>) -> Result<(), Broken>;

    /// Nothing more can be sent on this connection; it is closed once nothing is in flight.
    fn spent(&self) -> bool;

    /// Takes back requests meant to be sent before `before_ns`; false when the connection cannot go on
    /// without their responses.
    fn expire(&mut self, before_ns: u64, expired: &mut Vec<Ticket>) -> bool;

    fn tickets(&self) -> impl Iterator<Item = Ticket>;
}

#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Sends as much as the socket takes; 0 when it takes nothing for now.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        loop {
            match send(&self.0, bytes, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(0),
                other => return other,
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The error's own words, without its number.
pub(crate) fn words(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string().to_lowercase();
    text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_owned())
}
