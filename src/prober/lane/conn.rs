//! One check of the lane: connects, asks and reads as far as its socket goes without waiting.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::SockRef;

use crate::health::Ticket;
use crate::model::{CheckRecord, PeerAddr, Probe, ProbeKind, Verdict};

use super::super::check::{self, Finding};
use super::super::connect::{self, Opening};
use super::super::http::Exchange;
use super::super::sharing::Aimed;
use super::super::trace::Trace;
use super::spares::{Spares, reset};

/// Reads that one check makes before others have their turn.
const READS_AT_ONCE: usize = 16;

/// A check under way.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) ticket: Ticket,
    pub(super) addr: PeerAddr,
    pub(super) probe: Arc<Probe>,
    pub(super) began: Instant,
    /// The server has ended its side.
    pub(super) is_closed: bool,
    /// What comes is told of.
    pub(super) is_watched: bool,
    stream: TcpStream,
    phase: Phase,
    talk: Talk,
    trace: Trace,
}

/// What is asked.
#[derive(Debug)]
enum Talk {
    /// A connection, and no more.
    Connect,
    /// This question.
    Http { question: Arc<[u8]>, exchange: Exchange },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    /// So many bytes of the question are sent.
    Sending(usize),
    Reading,
}

/// How far a check got.
#[derive(Debug)]
pub(super) enum Step {
    /// To its end.
    Done(Finding),
    /// To where its socket must be waited for.
    Wait,
    /// As far as it may in one turn.
    Unread,
}

/// How much of the question is sent, or can be no more.
enum Sent {
    All,
    Part,
}

impl Conn {
    /// Begins to connect.
    pub(super) fn open(
        ticket: Ticket,
        aimed: &Aimed,
        began: Instant,
        spares: &mut Spares,
    ) -> Result<Box<Self>, CheckRecord> {
        let mut trace = Trace::new(began);
        let talk = match &aimed.probe.kind {
            ProbeKind::Http(asked) => {
                Talk::Http { question: aimed.question(asked), exchange: Exchange::new(asked.method) }
            }
            ProbeKind::Agent { .. }
            | ProbeKind::Command(_)
            | ProbeKind::Exchange(_)
            | ProbeKind::Grpc { .. }
            | ProbeKind::Mysql { .. }
            | ProbeKind::Oco
            | ProbeKind::Pgsql { .. }
            | ProbeKind::Ping
            | ProbeKind::Redis { .. }
            | ProbeKind::Smtp { .. }
            | ProbeKind::Tcp { .. }
            | ProbeKind::Tls => Talk::Connect,
        };
        let opening = match &talk {
            Talk::Connect => Opening::Any,
            Talk::Http { .. } => Opening::OneQuestion,
        };
        let stream = match connecting(aimed, opening, spares, &mut trace) {
            Ok(stream) => stream,
            Err(finding) => return Err(check::record(&aimed.probe.kind, finding, trace)),
        };
        let (addr, probe) = (aimed.addr.clone(), Arc::clone(&aimed.probe));
        let phase = Phase::Connecting;
        let (is_closed, is_watched) = (false, false);
        Ok(Box::new(Self { ticket, addr, probe, began, is_closed, is_watched, stream, phase, talk, trace }))
    }

    /// Asks, if the connection is there already. Whether the answer is too, nobody looks yet.
    pub(super) fn begin(&mut self) -> Step {
        match &self.talk {
            Talk::Connect => self.end_connect(),
            Talk::Http { .. } => self.send().map_or_else(Step::Done, |_| Step::Wait),
        }
    }

    /// Does what can be done now.
    pub(super) fn go_on(&mut self, buffer: &mut [u8]) -> Step {
        match &self.talk {
            Talk::Connect => self.end_connect(),
            Talk::Http { .. } => match self.send() {
                Ok(Sent::All) => self.read(buffer),
                Ok(Sent::Part) => Step::Wait,
                Err(finding) => Step::Done(finding),
            },
        }
    }

    /// Whether nothing is left to be said.
    pub(super) fn has_asked(&self) -> bool {
        self.phase == Phase::Reading
    }

    pub(super) fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// What it is worth if its socket cannot be waited for.
    pub(super) fn cannot_wait(&mut self, error: &io::Error) -> Finding {
        connect::failed(error, &mut self.trace)
    }

    /// What it is worth at its deadline.
    pub(super) fn timed_out(&self) -> Finding {
        match &self.talk {
            Talk::Http { exchange, .. } if self.phase != Phase::Connecting => exchange.timed_out(self.probe.timeout),
            Talk::Connect | Talk::Http { .. } => connect::timed_out(self.probe.timeout),
        }
    }

    /// Ends the connection and makes the record.
    pub(super) fn end(
        mut self: Box<Self>,
        mut finding: Finding,
        buffer: &mut [u8],
        spares: &mut Spares,
    ) -> CheckRecord {
        let mut is_left = false;
        if self.phase != Phase::Connecting {
            let is_answer = finding.status.verdict() == Verdict::Passed;
            if !is_answer && connect::has_met_itself(self.stream.local_addr(), &self.addr) {
                finding = connect::refused(&mut self.trace);
            } else {
                let is_quiet = self.trace.is_emptied;
                if !is_quiet || !self.is_watched {
                    self.is_closed |= connect::empty(buffer, |buffer| receive(&self.stream, buffer));
                }
                is_left = is_quiet && self.is_closed;
            }
        }
        let Self { addr, probe, is_watched, stream, trace, .. } = *self;
        let record = check::record(&probe.kind, finding, trace);
        match (is_left, is_watched) {
            (true, false) => spares.put(stream, &addr, &probe.aim),
            // A socket that is watched stays so while it is open.
            (true, true) => reset(stream),
            (false, _) => drop(stream),
        }
        record
    }

    /// Finds out whether the connection is there, where nothing else is asked.
    fn end_connect(&mut self) -> Step {
        let failed = match self.stream.take_error() {
            Ok(None) => match self.stream.peer_addr() {
                Ok(_) => None,
                Err(error) if error.kind() == ErrorKind::NotConnected => return Step::Wait,
                Err(error) => Some(error),
            },
            Ok(Some(error)) | Err(error) => Some(error),
        };
        if let Some(error) = failed {
            return Step::Done(connect::failed(&error, &mut self.trace));
        }
        if connect::has_met_itself(self.stream.local_addr(), &self.addr) {
            return Step::Done(connect::refused(&mut self.trace));
        }
        self.phase = Phase::Reading;
        self.trace.connect = Some(self.trace.elapsed());
        Step::Done(check::connected())
    }

    /// Sends what is left of the question. That the first bytes can be sent is how it is known that the connection is
    /// there, and an error in their place why it is not.
    fn send(&mut self) -> Result<Sent, Finding> {
        let Talk::Http { question, exchange } = &mut self.talk else { return Ok(Sent::All) };
        loop {
            let sent = match self.phase {
                Phase::Connecting => 0,
                Phase::Sending(sent) => sent,
                Phase::Reading => return Ok(Sent::All),
            };
            let so_far = self.trace.elapsed();
            let result =
                rustix::net::send(&self.stream, &question[sent..], SendFlags::NOSIGNAL).map_err(io::Error::from);
            match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Sent::Part),
                Err(error) if self.phase == Phase::Connecting => return Err(connect::failed(&error, &mut self.trace)),
                Ok(_) | Err(_) => {}
            }
            if self.phase == Phase::Connecting {
                self.trace.connect = Some(so_far);
            }
            self.phase = match result {
                Ok(count) => {
                    self.trace.asked(question, sent, count);
                    if sent + count < question.len() { Phase::Sending(sent + count) } else { Phase::Reading }
                }
                Err(error) => {
                    self.trace.failed(&error);
                    exchange.cannot_send(error);
                    Phase::Reading
                }
            };
        }
    }

    /// Reads what has arrived of the answer.
    fn read(&mut self, buffer: &mut [u8]) -> Step {
        let Talk::Http { exchange, .. } = &mut self.talk else { return Step::Wait };
        let ProbeKind::Http(asked) = &self.probe.kind else { return Step::Wait };
        for _ in 0..READS_AT_ONCE {
            let read = match receive(&self.stream, buffer) {
                Ok(count) => Ok(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Wait,
                Err(error) => Err(error),
            };
            match &read {
                Ok(bytes) => self.trace.read(bytes, buffer.len()),
                Err(error) => self.trace.failed(error),
            }
            if let Some(finding) = exchange.take(asked, read.as_ref().map(|bytes| *bytes)) {
                return Step::Done(finding);
            }
            if self.trace.is_emptied && !self.is_closed {
                // More of it is told of.
                return Step::Wait;
            }
        }
        Step::Unread
    }
}

/// Begins to connect, with a socket that has served before where there is one.
fn connecting(aimed: &Aimed, opening: Opening, spares: &mut Spares, trace: &mut Trace) -> Result<TcpStream, Finding> {
    let (addr, aim) = (&aimed.addr, &aimed.probe.aim);
    let (stream, to) = match (spares.take(addr, aim), addr) {
        (Some(spare), PeerAddr::Ip(addr)) => {
            connect::prepare(&SockRef::from(&spare), opening);
            (spare, (*addr).into())
        }
        (_, addr) => {
            let (socket, to) = connect::socket(addr, aim, opening, trace)?;
            (TcpStream::from(socket), to)
        }
    };
    let connected = SockRef::from(&stream).connect(&to);
    match connected {
        Err(error) if !is_under_way(&error) => Err(connect::failed(&error, trace)),
        Ok(()) | Err(_) => Ok(stream),
    }
}

/// Reads without the C library, which marks a point of cancellation around each call; so does sending.
fn receive(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(stream, buffer, RecvFlags::empty())?.0)
}

fn is_under_way(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EINPROGRESS as i32)
}
