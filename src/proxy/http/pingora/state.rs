//! One request on its way, as the engine's callbacks hand it to each other, and where it goes. Does no IO; what may
//! become of a request is decided here and in [`super::super::exchange`].

use std::sync::Arc;
use std::time::Instant;

use ::http::StatusCode;

use crate::clock;
use crate::farm::FarmTable;
use crate::farm::choose::Tried;
use crate::metrics::EdgeCells;
use crate::store::{FrontendTable, Table};

use super::super::super::work::{InFlight, RequestId};
use super::super::control::Connection;

/// One request on its way.
pub struct Exchange {
    pub(super) id: RequestId,
    pub(super) started: Instant,
    pub(super) connection: Option<Arc<Connection>>,
    pub(super) route: Option<Route>,
    pub(super) tried: Tried,
    pub(super) attempt: Option<InFlight>,
    /// The server of the last attempt.
    pub(super) position: Option<usize>,
    pub(super) attempts: u32,
    /// Whether the server began its final response.
    pub(super) is_answered: bool,
    /// Whether the kept connection that the attempt was to use had been closed.
    pub(super) is_stale: bool,
    /// Whether only the end of the connection ends the answer.
    pub(super) is_ended_by_close: bool,
    /// Why Farmgate itself ended the request.
    pub(super) reason: Option<&'static str>,
}

/// Where a request goes, fixed for its life.
pub(super) struct Route {
    pub(super) table: Arc<Table>,
    pub(super) frontend: Arc<FrontendTable>,
}

impl Route {
    pub(super) fn farm(&self) -> &FarmTable {
        self.table.farm_of(&self.frontend)
    }
}

impl Exchange {
    pub(super) fn new(id: RequestId) -> Self {
        Self {
            id,
            started: clock::monotonic(),
            connection: None,
            route: None,
            tried: Tried::default(),
            attempt: None,
            position: None,
            attempts: 0,
            is_answered: false,
            is_stale: false,
            is_ended_by_close: false,
            reason: None,
        }
    }

    pub(super) fn edge(&self) -> Option<&EdgeCells> {
        let (route, position) = (self.route.as_ref()?, self.position?);
        let connection = self.connection.as_ref()?;
        Some(route.frontend.edges[position].of(connection.work.ix))
    }

    /// Notes that the server began its final answer.
    pub(super) fn answer_began(&mut self, status: StatusCode, is_upgrade_asked: bool) {
        self.is_answered = true;
        let (Some(connection), Some(route)) = (&self.connection, &self.route) else { return };
        if is_upgrade_asked && status != StatusCode::SWITCHING_PROTOCOLS {
            connection.expect_more_within(route.farm().farm.timeouts.response);
        } else {
            connection.answer_began();
        }
    }

    pub(super) fn retries(&self) -> u32 {
        self.attempts.saturating_sub(1)
    }
}
