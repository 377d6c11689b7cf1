//! What a write is of: its place in the API, its key path, and which object of a world it is. Pure.

use std::sync::Arc;

use crate::admin::guard::quoted;
use crate::admin::native::route::{Read, Route};
use crate::model::{Declaration, FarmId, FrontendId, Name, ObjectId, ObjectKind, RouteId, ServerId};
use crate::objects::{EditError, World, form};

/// What is written.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Certificate(Box<str>),
    Certificates,
    Farm(Box<str>),
    Farms,
    Frontend(Box<str>),
    Frontends,
    Route(Box<str>, Box<str>),
    Routes(Box<str>),
    Server(Box<str>, Box<str>),
    Servers(Box<str>),
}

impl Target {
    /// Returns what a path's object is, if it is one that can be written.
    pub(super) fn of(route: Route<'_>) -> Option<Self> {
        let Route::Read(read) = route else { return None };
        Some(match read {
            Read::Certificate { certificate } => Self::Certificate(certificate.into()),
            Read::Certificates => Self::Certificates,
            Read::Farm { farm } => Self::Farm(farm.into()),
            Read::Farms => Self::Farms,
            Read::Frontend { frontend } => Self::Frontend(frontend.into()),
            Read::Frontends => Self::Frontends,
            Read::Route { frontend, route } => Self::Route(frontend.into(), route.into()),
            Read::Routes { frontend } => Self::Routes(frontend.into()),
            Read::Server { farm, server } => Self::Server(farm.into(), server.into()),
            Read::Servers { farm } => Self::Servers(farm.into()),
            Read::Config
            | Read::Credential { .. }
            | Read::Credentials
            | Read::Events
            | Read::Evidence { .. }
            | Read::Explain(_)
            | Read::History { .. }
            | Read::Promote { .. }
            | Read::Shadow { .. }
            | Read::Staged
            | Read::Status
            | Read::Task { .. }
            | Read::Tasks
            | Read::Timeline { .. } => return None,
        })
    }

    /// Returns what is made in this list under that name; of what is no list, itself.
    pub(super) fn named(&self, name: &Name) -> Self {
        let name: Box<str> = name.as_str().into();
        match self {
            Self::Certificates => Self::Certificate(name),
            Self::Farms => Self::Farm(name),
            Self::Frontends => Self::Frontend(name),
            Self::Routes(frontend) => Self::Route(frontend.clone(), name),
            Self::Servers(farm) => Self::Server(farm.clone(), name),
            Self::Certificate(_) | Self::Farm(_) | Self::Frontend(_) | Self::Route(..) | Self::Server(..) => {
                self.clone()
            }
        }
    }

    /// Returns its key path.
    pub(super) fn path(&self) -> String {
        form::key_path(&self.keys())
    }

    /// Returns where the API has it.
    pub(super) fn place(&self) -> String {
        format!("/api/v1/{}", self.keys().join("/"))
    }

    fn keys(&self) -> Vec<&str> {
        match self {
            Self::Certificate(certificate) => vec!["certificates", certificate],
            Self::Certificates => vec!["certificates"],
            Self::Farm(farm) => vec!["farms", farm],
            Self::Farms => vec!["farms"],
            Self::Frontend(frontend) => vec!["frontends", frontend],
            Self::Frontends => vec!["frontends"],
            Self::Route(frontend, route) => vec!["frontends", frontend, "routes", route],
            Self::Routes(frontend) => vec!["frontends", frontend, "routes"],
            Self::Server(farm, server) => vec!["farms", farm, "servers", server],
            Self::Servers(farm) => vec!["farms", farm, "servers"],
        }
    }
}

/// Returns the farm of that name or id, be it right or not.
pub(super) fn farm_in(world: &World, farm: &str) -> Result<FarmId, EditError> {
    let is_farm = |id: FarmId| world.farm(id).is_some() || is_made(world, id.into(), ObjectKind::Farm);
    let by_id = || farm.parse().ok().map(FarmId).filter(|id| is_farm(*id));
    world.farm_named(farm).or_else(by_id).ok_or_else(|| unknown("farm", farm))
}

/// Returns the frontend of that name or id, be it right or not.
pub(super) fn frontend_in(world: &World, frontend: &str) -> Result<FrontendId, EditError> {
    let is_one = |id: FrontendId| world.frontend(id).is_some() || is_made(world, id.into(), ObjectKind::Frontend);
    let by_id = || frontend.parse().ok().map(FrontendId).filter(|id| is_one(*id));
    world.frontend_named(frontend).or_else(by_id).ok_or_else(|| unknown("frontend", frontend))
}

/// Returns the server of that name or id, and its farm.
pub(super) fn server_in(world: &World, farm: &str, server: &str) -> Result<(FarmId, ServerId), EditError> {
    let id = farm_in(world, farm)?;
    let is_it = |(name, id): &(Name, ServerId)| name.as_str() == server || id.to_string() == server;
    let found = world.servers_of(id).into_iter().find(is_it).ok_or_else(|| unknown("server", server))?;
    Ok((id, found.1))
}

/// Returns the route of that name or id, and its frontend.
pub(super) fn route_in(world: &World, frontend: &str, route: &str) -> Result<(FrontendId, RouteId), EditError> {
    let id = frontend_in(world, frontend)?;
    let lowered = world.frontend(id).into_iter().flat_map(|it| &it.routes).map(|it| (&it.name, it.id));
    let made = world.made().of(Some(id.into()), ObjectKind::Route).filter(|route| !route.is_inert);
    let made = made.map(|it| (&it.name, RouteId(it.id.0)));
    let is_it = |(name, id): &(&Name, RouteId)| name.as_str() == route || id.to_string() == route;
    let found = lowered.chain(made).find(is_it).ok_or_else(|| unknown("route", route))?;
    Ok((id, found.1))
}

fn is_made(world: &World, id: ObjectId, kind: ObjectKind) -> bool {
    world.made().get(id).is_some_and(|made| made.kind == kind)
}

/// Returns the certificate of that name or id.
pub(super) fn certificate_in<'w>(world: &'w World, certificate: &str) -> Result<&'w Arc<Declaration>, EditError> {
    let mut all = world.made().of(None, ObjectKind::Certificate);
    let is_it = |it: &&Arc<Declaration>| it.name.as_str() == certificate || it.id.to_string() == certificate;
    all.find(is_it).ok_or_else(|| unknown("certificate", certificate))
}

fn unknown(kind: &'static str, name: &str) -> EditError {
    EditError::UnknownName { kind, name: quoted(name) }
}
