//! The config as it is live: the file and what was made through APIs together, as YAML that loads.

use std::sync::Arc;

use crate::admin::call::AdminState;
use crate::config::to_yaml::live::live;
use crate::model::{Farm, Topology};
use crate::report::report;
use crate::store::Snapshot;
use crate::store::snapshot::FarmRow;

use super::Made;
use super::error::Failure;

/// Returns it, overrides applied.
pub(super) fn answer(state: &AdminState, snapshot: &Snapshot) -> Result<Made, Failure> {
    let view = state.objects.view();
    let topology = Topology {
        service: Arc::clone(&snapshot.service),
        frontends: snapshot.frontends.iter().map(|row| Arc::clone(&row.frontend)).collect(),
        farms: snapshot.farms.iter().map(farm).collect(),
        made: Arc::clone(&snapshot.made),
    };
    let written = live(view.live.file(), &topology).map_err(|error| {
        tracing::error!(error = %report(&error), "the live config cannot be written as a file");
        Failure::unwritable(&error.to_string())
    })?;
    let about = format!(
        "what is live at {}, generation {}: the config file and what was made through APIs",
        snapshot.at, snapshot.generation.0
    );
    Ok(Made { content_type: "application/yaml", body: written.text(&about).into() })
}

fn farm(row: &FarmRow) -> Arc<Farm> {
    let servers = row.servers.iter().map(|row| Arc::clone(&row.server)).collect();
    Arc::new(Farm { servers, ..Farm::clone(&row.farm) })
}
