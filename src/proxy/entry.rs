//! How connections come in: who may, who they are from, whether they are encrypted, and what they speak.
//!
//! In this order: the frontend's count, its networks and its count of each source; a PROXY header from those who begin
//! with one, after which networks and sources are asked about whom it names; TLS; then what is spoken. Whoever fails is
//! closed and counted by reason. Each step has its deadline, and what is held for a client that has not come through is
//! a socket and a few kilobytes. [`door`] accepts, [`census`] counts, [`first`] reads what comes first.

use std::sync::Arc;

use ::pingora::proxy::HttpProxy;
use ipnet::IpNet;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::metrics::{Refusal, WorkerIx};
use crate::model::{Protocol, Sources, Subject};
use crate::routing::Conversation;
use crate::store::{FrontendTable, Table};

use super::client_hello::{Hello, Reading};
use super::command::ListenerId;
use super::http::conn::ConnIo;
use super::http::control::Connection;
use super::http::h2;
use super::http::pingora::{Engine, serve};
use super::owner::Owner;
use super::registry::{Entry, Registry};
use super::tcp;
use super::transport::{Client, Socket, Transport};
use super::turns::TurnOf;
use super::work::Work;

mod census;
mod door;
mod first;

pub(super) use census::Census;
use census::{Gate, Pass};
pub(super) use door::{Ceiling, Listener, accept_until};
use first::Fault;

/// One listener of one worker.
pub(super) struct Door {
    pub(super) listener: ListenerId,
    pub(super) owner: Owner,
    pub(super) work: Arc<Work>,
    pub(super) engine: Arc<HttpProxy<Engine>>,
    pub(super) registry: Arc<Registry>,
    pub(super) census: Arc<Census>,
    pub(super) ceiling: Ceiling,
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
}

impl Door {
    /// Counts and asks what can be asked at once; nothing, if the client is refused.
    fn admit(&self, table: Arc<Table>, frontend: Arc<FrontendTable>, client: Client) -> Option<Visit> {
        let cells = frontend.cells.of(self.work.ix);
        cells.connections.add(1);
        let declared = &frontend.frontend;
        let gate = self.census.gate(declared.id);
        let Some(open) = gate.open(declared.limits.connections) else {
            cells.refused[Refusal::ConnectionLimit as usize].add(1);
            return None;
        };
        let is_introduced = contains(&declared.accept_proxy, &client);
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
        let may = match &declared.sources {
            Sources::All => true,
            Sources::AllBut(networks) => !contains(networks, &self.client),
            Sources::Only(networks) => contains(networks, &self.client),
        };
        if !may {
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
        if self.is_introduced
            && let Err(refusal) = self.introduce(&socket).await
        {
            return self.refuse(refusal, &"a PROXY header was due");
        }
        match self.frontend.frontend.protocol {
            Protocol::Http => self.serve_http(&door, socket).await,
            Protocol::Tcp => self.serve_tcp(&door, socket).await,
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

    async fn serve_http(self, door: &Arc<Door>, socket: Socket) {
        let frontend = Arc::clone(&self.frontend);
        let connection = Connection::new(Arc::clone(&door.work), frontend, door.owner.clone(), self.client.clone());
        self.entry.speaks_http(&connection);
        let mut transport = Transport::from(Socket::from(socket));
        let _ = &mut transport;
        self.speak_http1(door, transport, connection).await;
    }

    async fn speak_http1(&self, door: &Door, transport: Transport, connection: Arc<Connection>) {
        match ConnIo::new(transport, connection) {
            Ok(io) => serve(&door.engine, io, &door.is_stopping).await,
            Err(error) => tracing::error!(%error, "connection dropped"),
        }
    }
}

fn contains(networks: &[IpNet], client: &Client) -> bool {
    let ip = client.address.ip();
    networks.iter().any(|network| network.contains(&ip))
}
