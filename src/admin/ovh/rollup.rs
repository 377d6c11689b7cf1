//! The roll-up of `GET /status`: each server, farm and frontend as ok, warn, error or unknown. Pure.
//!
//! How the vendor fills its buckets is not published. Ours: a server is *error* when Down or without address, *warn* when
//! in maintenance, draining, of weight 0 or on the way down, *unknown* without a verdict, else *ok*. A farm is *error*
//! when it serves nobody or fails open, *unknown* when all its servers are, *warn* when any is warn or error, else *ok*.
//! A frontend is as its farm, and *ok* where it answers by itself. What is kept out of force, such as a disabled frontend
//! or a server without a port, is *unknown*. The service is the worst of its frontends, save that some of several in error
//! are a warn.

use super::wire;
use super::write::SHAPE;
use crate::farm::Serving;
use crate::model::{AdminStatus, Health, Made, ObjectKind};
use crate::store::Snapshot;
use crate::store::snapshot::{FarmRow, ServerRow};

/// Returns the roll-up of a snapshot and of what this shape keeps out of force.
pub(super) fn status(snapshot: &Snapshot) -> wire::Status {
    let farms: Vec<Light> = snapshot.farms.iter().map(Light::of_farm).collect();
    let servers = snapshot.farms.iter().flat_map(|farm| &farm.servers).map(Light::of_server);
    let frontends = snapshot.frontends.iter().map(|row| row.farms.first().map_or(Light::Ok, |farm| farms[*farm]));
    let servers: Vec<Light> = servers.chain(kept(&snapshot.made, ObjectKind::Server)).collect();
    let frontends: Vec<Light> = frontends.chain(kept(&snapshot.made, ObjectKind::Frontend)).collect();
    wire::Status {
        service: wire::StatusService { status: Light::of_parts(&frontends).as_str() },
        frontends: component(&frontends),
        farms: component(&farms),
        servers: component(&servers),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Light {
    Error,
    Ok,
    Unknown,
    Warn,
}

impl Light {
    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
        }
    }

    fn of_server(row: &ServerRow) -> Self {
        if row.server.admin == AdminStatus::Maintenance {
            return Self::Warn;
        }
        if row.addr.is_none() {
            return Self::Error;
        }
        let takes_work = row.server.admin == AdminStatus::Active && row.server.weight.0 > 0;
        match row.standing.health {
            Health::Down => Self::Error,
            Health::Stopping => Self::Warn,
            Health::Off | Health::Unknown | Health::Up if !takes_work => Self::Warn,
            Health::Off | Health::Unknown => Self::Unknown,
            Health::Up if row.standing.progress.have < row.standing.progress.need => Self::Warn,
            Health::Up => Self::Ok,
        }
    }

    fn of_farm(row: &FarmRow) -> Self {
        match row.serving {
            Serving::Nobody | Serving::FailOpen => Self::Error,
            Serving::Backups | Serving::Held => Self::Warn,
            Serving::Primaries | Serving::Unproven => {
                let servers: Vec<Self> = row.servers.iter().map(Self::of_server).collect();
                Self::of_parts(&servers)
            }
        }
    }

    fn of_parts(parts: &[Self]) -> Self {
        let are_all = |light| parts.iter().all(|part| *part == light);
        if are_all(Self::Unknown) {
            return Self::Unknown;
        }
        if are_all(Self::Error) {
            return Self::Error;
        }
        if parts.iter().any(|part| matches!(part, Self::Warn | Self::Error)) { Self::Warn } else { Self::Ok }
    }
}

/// What is made through this shape and out of force.
fn kept(made: &Made, kind: ObjectKind) -> impl Iterator<Item = Light> {
    let is_kept =
        move |it: &&std::sync::Arc<crate::model::Declaration>| it.kind == kind && it.is_inert && &*it.shape == SHAPE;
    made.iter().filter(is_kept).map(|_| Light::Unknown)
}

fn component(lights: &[Light]) -> wire::Component {
    let mut status = wire::ComponentStatus::default();
    for light in lights {
        match light {
            Light::Error => status.error += 1,
            Light::Ok => status.ok += 1,
            Light::Unknown => status.unknown += 1,
            Light::Warn => status.warn += 1,
        }
    }
    wire::Component { total: lights.len(), status }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn light_of_several_parts_is_error_only_when_all_are() {
        use Light::{Error, Ok, Unknown, Warn};
        for (parts, want) in [
            (vec![], Unknown),
            (vec![Ok, Ok], Ok),
            (vec![Ok, Unknown], Ok),
            (vec![Unknown, Unknown], Unknown),
            (vec![Ok, Error], Warn),
            (vec![Unknown, Error], Warn),
            (vec![Warn, Ok], Warn),
            (vec![Error, Error], Error),
        ] {
            assert_eq!(Light::of_parts(&parts), want, "{parts:?}");
        }
    }
}
