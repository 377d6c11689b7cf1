//! How connections come in: who may, who they are from, whether they are encrypted, and what they speak.
//!
//! In this order: the frontend's count, its networks and its count of each source; a PROXY header from those who begin
//! with one, after which networks and sources are asked about whom it names; TLS; then what is spoken. Whoever fails is
//! closed and counted by reason. Each step has its deadline, and what is held for a client that has not come through is
//! a socket and a few kilobytes. [`door`] accepts, [`census`] counts, [`first`] reads what comes first.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ::pingora::proxy::HttpProxy;
use ipnet::IpNet;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::metrics::{HandshakeFailure, Refusal, WorkerIx};
use crate::model::{Alpn, Frontend, FrontendId, Protocol, Route, Sources, Subject};
use crate::routing::Conversation;
use crate::store::{FrontendTable, Table};

use super::client_hello::{Hello, Reading};
use super::command::ListenerId;
use super::http::conn::ConnIo;
use super::http::control::Connection;
use super::http::h2;
use super::http::pingora::{Engine, serve};
use super::memory::Entrant;
use super::owner::Owner;
use super::registry::{Entry, Registry};
use super::tcp;
use super::tls::{Certificates, Terminator, failure_of, peer_of};
use super::transport::{Client, Socket, Transport};
use super::turns::TurnOf;
use super::udp::Newcomers;
use super::upstream_tls::ClientConfigs;
use super::work::Work;

mod census;
mod door;
mod first;

use census::Gate;
pub(super) use census::{Census, Pass};
pub(super) use door::{Ceiling, Listener, accept_until};
use first::Fault;

/// How long, and how often, certificates of a frontend that is live are waited for.
const TERMINATOR_WAIT: Duration = Duration::from_millis(5);
const TERMINATOR_WAITS_MAX: usize = 20;

/// What the doors of all workers share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) census: Census,
    pub(super) certificates: Arc<Certificates>,
    pub(super) ceiling: Ceiling,
    pub(super) newcomers: Newcomers,
}

/// One listener of one worker.
pub(super) struct Door {
    pub(super) listener: ListenerId,
    pub(super) owner: Owner,
    pub(super) work: Arc<Work>,
    pub(super) engine: Arc<HttpProxy<Engine>>,
    pub(super) registry: Arc<Registry>,
    /// What raw connections to servers are encrypted with.
    pub(super) configs: Arc<ClientConfigs>,
    pub(super) common: Arc<Common>,
    pub(super) is_stopping: watch::Receiver<bool>,
}

/// Somebody who is in, and counted until dropped.
struct Visit {
    table: Arc<Table>,
    frontend: Arc<FrontendTable>,
    client: Client,
    worker: WorkerIx,
    gate: Arc<Gate>,
    entry: Entry,
    is_introduced: bool,
    source: Option<Pass>,
    _open: Pass,
    _entrant: Entrant,
}

impl Door {
    /// Counts and asks what can be asked at once; nothing, if the client is refused, as one is for whom there is no
    /// memory.
    fn admit(
        &self,
        table: Arc<Table>,
        frontend: Arc<FrontendTable>,
        client: Client,
        entrant: Option<Entrant>,
    ) -> Option<Visit> {
        let cells = frontend.cells.of(self.work.ix);
        cells.connections.add(1);
        let declared = &frontend.frontend;
        let Some(entrant) = entrant else {
            cells.refused[Refusal::Memory as usize].add(1);
            return None;
        };
        let gate = self.common.census.gate(declared.id);
        let Some(open) = gate.open(declared.limits.connections) else {
            cells.refused[Refusal::ConnectionLimit as usize].add(1);
            return None;
        };
        let is_introduced = contains(&declared.accept_proxy, client.peer.ip());
        cells.connections_open.add(1);
        let mut visit = Visit {
            table,
            client,
            worker: self.work.ix,
            gate,
            entry: self.registry.enter(self.listener),
            is_introduced,
            source: None,
            _open: open,
            _entrant: entrant,
            frontend,
        };
        if !is_introduced && let Err(refusal) = visit.let_in() {
            visit.refuse(refusal, &"at the door");
            return None;
        }
        Some(visit)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.frontend.cells.of(self.worker).connections_open.sub(1);
    }
}

impl Visit {
    /// Asks whether whoever this is from may come in, and counts its source.
    fn let_in(&mut self) -> Result<(), Refusal> {
        let declared = &self.frontend.frontend;
        if !may_connect(&declared.sources, self.client.address.ip()) {
            return Err(Refusal::SourceDenied);
        }
        let max = declared.limits.connections_per_source;
        // All who come through a Unix socket are one source, unless a PROXY header tells them apart.
        if max > 0 && self.client.is_told_apart() {
            let source = self.gate.source(self.client.address.ip(), max);
            self.source = Some(source.ok_or(Refusal::SourceLimit)?);
        }
        Ok(())
    }

    fn refuse(&self, refusal: Refusal, why: &dyn std::fmt::Display) {
        let frontend = &self.frontend;
        frontend.cells.of(self.worker).refused[refusal as usize].add(1);
        let (frontend, reason) = (&frontend.frontend.name, refusal.as_str());
        tracing::debug!(%frontend, client = %self.client.address, reason, %why, "client refused");
    }

    /// Serves the client to its end.
    async fn serve(mut self, door: Arc<Door>, socket: Socket) {
        // What few connections go through, or none for long, is boxed: the others do not keep room for it.
        if self.is_introduced
            && let Err(refusal) = Box::pin(self.introduce(&socket)).await
        {
            return self.refuse(refusal, &"a PROXY header was due");
        }
        match self.frontend.frontend.protocol {
            Protocol::Http => self.serve_http(&door, socket).await,
            Protocol::Tcp => Box::pin(self.serve_tcp(&door, socket)).await,
            // Its listeners accept no connections.
            Protocol::Udp => {}
        }
    }

    /// Reads the PROXY header and asks again, about whom it names.
    async fn introduce(&mut self, socket: &Socket) -> Result<(), Refusal> {
        let deadline = self.frontend.frontend.timeouts.handshake;
        match timeout(deadline, first::proxy_header(socket)).await {
            Err(_) => return Err(Refusal::ProxyHeaderTimeout),
            Ok(Err(Fault::Malformed(_) | Fault::Gone(_))) => return Err(Refusal::ProxyHeader),
            Ok(Ok(None)) => {}
            Ok(Ok(Some(addresses))) => self.client.introduced(addresses.source, addresses.destination),
        }
        self.let_in()
    }

    async fn serve_http(mut self, door: &Arc<Door>, socket: Socket) {
        let Some(mut transport) = self.transport(door, socket).await else { return };
        let frontend = Arc::clone(&self.frontend);
        let connection = Connection::new(Arc::clone(&door.work), frontend, door.owner.clone(), self.client.clone());
        self.entry.speaks_http(&connection);
        let is_http2 = match &self.client.tls {
            Some(peer) => peer.alpn == Some(Alpn::H2),
            None if self.frontend.frontend.h2c => match Box::pin(self.is_http2(&connection, &mut transport)).await {
                Ok(is_http2) => is_http2,
                Err(refusal) => return self.refuse(refusal, &"the client was to say what it speaks"),
            },
            None => false,
        };
        if is_http2 {
            return Box::pin(h2::serve(&door.engine, transport, connection, &door.is_stopping)).await;
        }
        match ConnIo::new(transport, connection) {
            Ok(io) => serve(&door.engine, io, &door.is_stopping).await,
            Err(error) => tracing::error!(%error, "connection dropped"),
        }
    }

    /// Returns what is spoken through, after the TLS handshake where the frontend has TLS; nothing, if that failed.
    async fn transport(&mut self, door: &Door, socket: Socket) -> Option<Transport> {
        if self.frontend.frontend.tls.is_none() {
            return Some(socket.into());
        }
        Box::pin(self.encrypted(door, socket)).await
    }

    /// Makes the TLS handshake; nothing, if that failed, which is counted, or was all that was wanted.
    async fn encrypted(&mut self, door: &Door, socket: Socket) -> Option<Transport> {
        let declared = &self.frontend.frontend;
        let cells = &self.frontend.cells.of(self.worker).handshakes;
        let failed = |failure: HandshakeFailure, why: &dyn std::fmt::Display| {
            cells.failed(failure);
            let (frontend, reason) = (&declared.name, failure.as_str());
            tracing::debug!(%frontend, client = %self.client.address, reason, %why, "handshake failed");
        };
        let handshake = async {
            // Handshakes are bounded for what they cost: who says nothing costs none, and takes nobody's place.
            first::is_anything_there(&socket).await;
            let _pass = self.gate.handshake(declared.limits.handshakes)?;
            let stream = async { door.terminator_of(declared.id).await?.shake_hands(socket).await };
            Some(stream.await)
        };
        match timeout(declared.timeouts.handshake, handshake).await {
            Err(elapsed) => failed(HandshakeFailure::Timeout, &elapsed),
            Ok(None) => failed(HandshakeFailure::Overload, &"too many handshakes at once"),
            Ok(Some(Err(error))) => failed(failure_of(&error), &error),
            Ok(Some(Ok(None))) => {}
            Ok(Some(Ok(Some(stream)))) => {
                let peer = peer_of(stream.get_ref().1);
                cells.done(peer.handshake);
                self.client.tls = Some(Arc::new(peer));
                return Some(Transport::tls(stream.into()));
            }
        }
        None
    }

    /// Returns whether HTTP/2 begins, by prior knowledge. A client that says nothing, or is retired meanwhile, is left
    /// to HTTP/1, which has deadlines for that.
    async fn is_http2(&self, connection: &Connection, transport: &mut Transport) -> Result<bool, Refusal> {
        let timeouts = &self.frontend.frontend.timeouts;
        let Some(socket) = transport.plain() else { return Ok(false) };
        let retired =
            poll_fn(|cx| if connection.wake_when_retired(cx.waker()) { Poll::Ready(()) } else { Poll::Pending });
        tokio::select! {
            biased;
            is_there = timeout(timeouts.idle, first::is_anything_there(socket)) => if is_there != Ok(true) {
                return Ok(false);
            },
            () = retired => return Ok(false),
        }
        match timeout(timeouts.header, first::preface(socket)).await {
            Err(_) => Err(Refusal::HeaderTimeout),
            Ok(Err(_)) => Ok(false),
            Ok(Ok((is_http2, ahead))) => {
                transport.put_back(ahead.to_vec());
                Ok(is_http2)
            }
        }
    }

    async fn serve_tcp(mut self, door: &Arc<Door>, socket: Socket) {
        let frontend = Arc::clone(&self.frontend);
        let is_encrypted = frontend.frontend.tls.is_some();
        let (mut said, mut ahead, mut is_http) = (None, Vec::new(), false);
        if !is_encrypted && looks_at_hello(&frontend.frontend) {
            match Box::pin(self.hello(&socket, &mut ahead)).await {
                Ok(hello) => said = hello,
                Err((refusal, why)) => return self.refuse(refusal, &why),
            }
            if said.is_none() && !ahead.is_empty() && asks_for_http(&frontend.frontend) {
                let told = timeout(frontend.frontend.timeouts.handshake, first::is_http(&socket, &mut ahead)).await;
                is_http = matches!(told, Ok(Ok(true)));
            }
        }
        let Some(mut transport) = self.transport(door, socket).await else { return };
        transport.put_back(ahead);
        if let Some(peer) = &self.client.tls {
            let alpn = peer.alpn.iter().map(|alpn| alpn.as_str().as_bytes().to_vec()).collect();
            said = Some(Hello { server_name: peer.sni.as_deref().map(str::to_owned), alpn });
        }
        let Some(course) = self.course(&door.work, said.as_ref(), is_http) else {
            return self.refuse(Refusal::Rejected, &"a route rejects it");
        };
        tcp::relay(&door.work, &self.table, &frontend, course, transport, &self.client, &door.configs).await;
    }

    /// Reads what the client says first, where it speaks TLS. One that says nothing waits for the server to begin.
    async fn hello(&self, socket: &Socket, ahead: &mut Vec<u8>) -> Result<Option<Hello>, (Refusal, &'static str)> {
        let deadline = self.frontend.frontend.timeouts.handshake;
        let said = timeout(deadline, first::client_hello(socket, ahead)).await;
        match said {
            Err(_) if ahead.is_empty() => Ok(None),
            Err(_) => Err((Refusal::ClientHelloTimeout, "the TLS client hello did not arrive in time")),
            Ok(Err(Fault::Gone(_))) => Err((Refusal::ClientHello, "the client left within its TLS client hello")),
            Ok(Err(Fault::Malformed(why))) => Err((Refusal::ClientHello, why)),
            Ok(Ok(Reading::Hello(hello))) => Ok(Some(hello)),
            Ok(Ok(Reading::Malformed(why))) => Err((Refusal::ClientHello, why)),
            Ok(Ok(Reading::Partial | Reading::Plain)) => Ok(None),
        }
    }

    /// Returns the farm that the connection goes to, and by which route; nothing where it is rejected.
    fn course(&self, work: &Work, said: Option<&Hello>, is_http: bool) -> Option<tcp::Course> {
        let FrontendTable { frontend, routes, .. } = &*self.frontend;
        let source = self.client.is_told_apart().then(|| self.client.address.ip());
        let turn = |route: Option<&Route>| work.turn(frontend.id, route, TurnOf::Split);
        let decision = if routes.is_empty() {
            routes.otherwise(turn)
        } else {
            let conversation = match said {
                Some(hello) => Conversation::tls(source, hello.server_name.as_deref(), &hello.alpn),
                None => Conversation::plain(source, is_http),
            };
            routes.decide(&conversation, turn)
        };
        Some(tcp::Course { feed: decision.feed?, route: decision.route.map(Arc::clone) })
    }
}

impl Door {
    /// Returns what makes the handshakes of a frontend. A table is live a moment before its certificates are.
    async fn terminator_of(&self, frontend: FrontendId) -> io::Result<Terminator> {
        for _ in 0..TERMINATOR_WAITS_MAX {
            if let Some(terminator) = self.common.certificates.terminator(frontend) {
                return Ok(terminator);
            }
            tokio::time::sleep(TERMINATOR_WAIT).await;
        }
        Err(io::Error::other("the frontend has no certificates any more"))
    }
}

/// Returns whether a route of a raw frontend asks what the client says first in TLS.
fn looks_at_hello(frontend: &Frontend) -> bool {
    let mut rules = frontend.routes.iter().flat_map(|route| &route.rules);
    rules.any(|rule| matches!(rule.subject, Subject::Host | Subject::Protocol))
}

/// Returns whether a route of a raw frontend asks whether HTTP is spoken in the clear.
fn asks_for_http(frontend: &Frontend) -> bool {
    let mut rules = frontend.routes.iter().flat_map(|route| &route.rules);
    rules.any(|rule| rule.subject == Subject::Protocol && rule.test.names("http"))
}

/// Returns whether whoever has that address may connect.
pub(super) fn may_connect(sources: &Sources, ip: IpAddr) -> bool {
    match sources {
        Sources::All => true,
        Sources::AllBut(networks) => !contains(networks, ip),
        Sources::Only(networks) => contains(networks, ip),
    }
}

fn contains(networks: &[IpNet], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&ip))
}
