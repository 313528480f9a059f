//! What happens to connections: they open, fail, deliver bytes, close, or stay silent for too long.

use rustix::{
    event::epoll::EventFlags,
    io::Errno,
    net::{RecvFlags, recv, sockopt},
};

use super::{
    Ended, Exchange, FIRST_BACK_OFF_NS, Fault, LONGEST_BACK_OFF_NS, Outage, Ticket, Waiting, Worker,
};
use crate::load::{exchange::words, figures::ErrorKind, pool::ConnectionId};

impl<E: Exchange> Worker<E> {
    pub(super) fn handle(&mut self, id: ConnectionId, flags: EventFlags) {
        let Some(connection) = self.pool.get(id) else { return };
        if connection.connecting_since_ns.is_some() {
            let ready = flags.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP);
            if ready {
                match sockopt::socket_error(&connection.socket) {
                    Ok(Ok(())) => self.opened(id),
                    Ok(Err(error)) | Err(error) => {
                        let now_ns = self.now_ns();
                        self.pool.remove(id);
                        self.cannot_connect(error, now_ns);
                    }
                }
            }
        } else {
            if flags
                .intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
            {
                let closing =
                    flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
                self.receive(id, closing);
            }
            if flags.contains(EventFlags::OUT)
                && self.pool.get(id).is_some_and(|connection| connection.blocked)
            {
                self.write(id);
            }
        }
        self.settle();
    }

    fn opened(&mut self, id: ConnectionId) {
        self.pool.connected(id);
        self.unreachable = None;
        // HTTP/2 speaks first.
        self.write(id);
    }

    /// Writes what the exchange has to say.
    pub(super) fn write(&mut self, id: ConnectionId) {
        let Some(connection) = self.pool.get(id) else { return };
        match connection.exchange.write(&connection.socket) {
            Ok(all) => connection.blocked = !all,
            Err(error) => {
                // The peer may have answered and closed before it read everything: look for that first,
                // unless this is the end of doing so (the buffer is lent out then).
                if !self.buffer.is_empty() {
                    self.receive(id, true);
                }
                if self.pool.get(id).is_some() {
                    self.lose(id, &Fault::new(ErrorKind::Reset, words(error)));
                }
            }
        }
    }

    /// Reads until nothing is left for now. A short read means that, unless the peer is closing.
    fn receive(&mut self, id: ConnectionId, closing: bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(connection) = self.pool.get(id) {
            let received = recv(&connection.socket, &mut buffer[..], RecvFlags::empty());
            match received {
                Ok((0, _)) => {
                    self.closed_by_peer(id);
                    break;
                }
                Ok((count, _)) => {
                    if !self.take_bytes(id, &buffer[..count]) || (count < buffer.len() && !closing)
                    {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    self.lose(id, &Fault::new(ErrorKind::Reset, words(error)));
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    /// Hands bytes to the exchange; false when the connection is gone.
    fn take_bytes(&mut self, id: ConnectionId, bytes: &[u8]) -> bool {
        let now_ns = self.settings.clock.now_ns();
        let Some(connection) = self.pool.get(id) else { return false };
        if let Err(broken) = connection.exchange.read(bytes, now_ns, &mut self.ended) {
            self.lose(id, &Fault::new(ErrorKind::Malformed, broken.0));
            return false;
        }
        if connection.exchange.spent() && connection.exchange.tickets().next().is_none() {
            self.pool.remove(id);
            return false;
        }
        if connection.exchange.has_output() {
            self.write(id);
        }
        self.pool.release(id);
        true
    }

    fn closed_by_peer(&mut self, id: ConnectionId) {
        let now_ns = self.now_ns();
        let Some(connection) = self.pool.get(id) else { return };
        let fault = match connection.exchange.closed(now_ns, &mut self.ended) {
            Ok(()) => Fault::new(ErrorKind::Reset, "the connection closed before an answer"),
            Err(broken) => Fault::new(ErrorKind::Reset, broken.0),
        };
        if connection.exchange.tickets().next().is_some() {
            self.lose(id, &fault);
        } else {
            self.pool.remove(id);
        }
    }

    /// Closes a connection; every request on it has failed.
    fn lose(&mut self, id: ConnectionId, fault: &Fault) {
        let now_ns = self.now_ns();
        let Some(connection) = self.pool.remove(id) else { return };
        self.ended.extend(
            connection
                .exchange
                .tickets()
                .map(|ticket| Ended::failed(ticket, fault.clone(), now_ns)),
        );
        self.back_off(now_ns);
    }

    /// The next connection waits a little, longer each time until a request is answered.
    fn back_off(&mut self, now_ns: u64) {
        self.connect_after_ns = now_ns + self.back_off_ns;
        self.back_off_ns = (self.back_off_ns * 2).min(LONGEST_BACK_OFF_NS);
    }

    /// A connection cannot be made. Whoever waits for it has failed: one request, or all of them when
    /// no other connection is open.
    pub(super) fn cannot_connect(&mut self, error: Errno, now_ns: u64) {
        let message = format!("cannot connect to {}: {}", self.settings.address, words(error));
        if self.pool.open() == 0 {
            let since_ns = self.unreachable.as_ref().map_or(now_ns, |outage| outage.since_ns);
            self.unreachable = Some(Outage { since_ns, until_ns: now_ns, reason: message.clone() });
        }
        self.back_off(now_ns);
        let fault = Fault::new(ErrorKind::Connect, message);
        let failing = if self.pool.open() == 0 && self.pool.connecting() == 0 {
            self.waiting.len()
        } else {
            1
        };
        for _ in 0..failing {
            let Some(ticket) = self.next_ticket(now_ns) else { return };
            self.in_flight += 1;
            self.ended.push(Ended::failed(ticket, fault.clone(), now_ns));
        }
    }

    /// Why the target is given up, if it is.
    pub(super) fn target_lost(&self) -> Option<String> {
        let outage = self.unreachable.as_ref()?;
        let limit_ns = u64::try_from(self.settings.give_up_after.as_nanos()).unwrap_or(u64::MAX);
        (outage.until_ns - outage.since_ns >= limit_ns).then(|| outage.reason.clone())
    }

    /// From time to time: requests and connections that have taken too long.
    pub(super) fn scan(&mut self, now_ns: u64) {
        if now_ns < self.next_scan_ns {
            return;
        }
        let timeout_ns =
            u64::try_from(self.settings.request_timeout.as_nanos()).unwrap_or(u64::MAX);
        self.next_scan_ns = now_ns + (timeout_ns / 20).clamp(FIRST_BACK_OFF_NS, 100_000_000);
        let before_ns = now_ns.saturating_sub(timeout_ns);
        let fault = Fault::new(
            ErrorKind::Timeout,
            format!("no answer within {:?}", self.settings.request_timeout),
        );
        self.expire_in_flight(before_ns, now_ns, &fault);
        self.expire_waiting(before_ns, now_ns, &fault);
    }

    fn expire_in_flight(&mut self, before_ns: u64, now_ns: u64, fault: &Fault) {
        let ids: Vec<ConnectionId> = self.pool.iter().map(|(id, _)| id).collect();
        let mut expired: Vec<Ticket> = Vec::new();
        for id in ids {
            let Some(connection) = self.pool.get(id) else { continue };
            if let Some(since_ns) = connection.connecting_since_ns {
                if since_ns < before_ns {
                    self.pool.remove(id);
                    self.cannot_connect(Errno::TIMEDOUT, now_ns);
                }
                continue;
            }
            let goes_on = connection.exchange.expire(before_ns, &mut expired);
            self.ended.extend(
                expired.drain(..).map(|ticket| Ended::failed(ticket, fault.clone(), now_ns)),
            );
            if goes_on {
                self.write(id);
                self.pool.release(id);
            } else {
                let fault =
                    Fault::new(ErrorKind::Reset, "closed after another request on it timed out");
                self.lose(id, &fault);
            }
        }
    }

    fn expire_waiting(&mut self, before_ns: u64, now_ns: u64, fault: &Fault) {
        while let Some(Waiting::Request(ticket)) = self.waiting.front() {
            if ticket.intended_ns >= before_ns {
                return;
            }
            let ticket = Ticket { sent_ns: now_ns, ..*ticket };
            self.waiting.pop_front();
            self.in_flight += 1;
            self.ended.push(Ended::failed(ticket, fault.clone(), now_ns));
        }
    }
}
