//! The immutable table that the data plane reads once per request.

use std::sync::Arc;

use crate::farm::FarmTable;
use crate::metrics::{EdgeCells, FrontendCells, PerWorker};
use crate::model::{FarmId, Frontend, FrontendId, Generation, Service};
use crate::routing::RouteTable;

/// Every frontend and farm at one instant.
#[derive(Debug)]
pub struct Table {
    /// Which table it is.
    pub generation: Generation,
    /// The service.
    pub service: Arc<Service>,
    /// Farms, in the order written.
    pub farms: Box<[Arc<FarmTable>]>,
    /// Frontends, in the order written.
    pub frontends: Box<[Arc<FrontendTable>]>,
}

/// A frontend at one instant.
#[derive(Debug)]
pub struct FrontendTable {
    /// The definition.
    pub frontend: Arc<Frontend>,
    /// The farms that it may feed, in the order of [`Frontend::farms`]: the default one first, where there is one.
    pub feeds: Box<[Feed]>,
    /// Which of them takes what; the same one in all tables while the frontend's routes stay as they are.
    pub routes: Arc<RouteTable>,
    /// What is counted of it.
    pub cells: Arc<PerWorker<FrontendCells>>,
}

/// A farm that a frontend may feed.
#[derive(Debug)]
pub struct Feed {
    /// The position of the farm in [`Table::farms`].
    pub farm: usize,
    /// What is counted of the frontend's work at each server of the farm, by the server's position.
    pub edges: Box<[Arc<PerWorker<EdgeCells>>]>,
}

impl FrontendTable {
    /// Returns the position among its feeds of the farm that takes what no route takes, where one does.
    #[must_use]
    pub fn default_feed(&self) -> Option<usize> {
        self.frontend.default_farm().map(|_| 0).filter(|first| self.feeds.len() > *first)
    }
}

impl Table {
    /// Returns the table of a process that serves nothing yet.
    #[must_use]
    pub fn empty(service: Arc<Service>) -> Self {
        Self { generation: Generation(0), service, farms: Box::default(), frontends: Box::default() }
    }

    /// Returns a frontend; a process has few, so they are looked through in order.
    #[must_use]
    pub fn frontend(&self, id: FrontendId) -> Option<&Arc<FrontendTable>> {
        self.frontends.iter().find(|f| f.frontend.id == id)
    }

    /// Returns the farm that a frontend of this table feeds there.
    #[must_use]
    pub fn farm_of(&self, feed: &Feed) -> &Arc<FarmTable> {
        &self.farms[feed.farm]
    }

    /// Returns a farm.
    #[must_use]
    pub fn farm(&self, id: FarmId) -> Option<&Arc<FarmTable>> {
        self.farms.iter().find(|f| f.farm.id == id)
    }
}
