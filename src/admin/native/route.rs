//! Paths of the native shape. Pure. Names and ids need no percent-encoding, so none is undone.

use http::Method;

use crate::model::AdminStatus;

use super::credentials::CredentialAct;

/// What a path of `/api/v1` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// `…/servers/{server}/drain`: read it or order it.
    Drain {
        farm: &'a str,
        server: &'a str,
    },
    Read(Read<'a>),
    /// `POST /farms/{farm}[/servers/{server}]/probe/replay`: asks only, with a body.
    Replay {
        farm: &'a str,
        server: Option<&'a str>,
    },
    Write(Write<'a>),
}

/// What can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read<'a> {
    /// `GET /certificates/{certificate}`
    Certificate { certificate: &'a str },
    /// `GET /certificates`
    Certificates,
    /// `GET /config`
    Config,
    /// `GET /credentials/{id}`
    Credential { id: &'a str },
    /// `GET /credentials`
    Credentials,
    /// `GET /events`
    Events,
    /// `GET …/servers/{server}/evidence`
    Evidence { farm: &'a str, server: &'a str },
    /// `GET …/explain` of what.
    Explain(Explained<'a>),
    /// `GET /farms/{farm}`
    Farm { farm: &'a str },
    /// `GET /farms`
    Farms,
    /// `GET /frontends/{frontend}`
    Frontend { frontend: &'a str },
    /// `GET /frontends`
    Frontends,
    /// `GET …/servers/{server}/history`
    History { farm: &'a str, server: &'a str },
    /// `GET /farms/{farm}/shadow/promote`
    Promote { farm: &'a str },
    /// `GET /frontends/{frontend}/routes/{route}`
    Route { frontend: &'a str, route: &'a str },
    /// `GET /frontends/{frontend}/routes`
    Routes { frontend: &'a str },
    /// `GET …/servers/{server}`
    Server { farm: &'a str, server: &'a str },
    /// `GET /farms/{farm}/servers`
    Servers { farm: &'a str },
    /// `GET /farms/{farm}/shadow`
    Shadow { farm: &'a str },
    /// `GET /staged`
    Staged,
    /// `GET /status`
    Status,
    /// `GET /tasks/{task}`
    Task { task: &'a str },
    /// `GET /tasks`
    Tasks,
    /// `GET …/timeline` of everything, a farm or a server.
    Timeline { farm: Option<&'a str>, server: Option<&'a str> },
}

/// What can be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Explained<'a> {
    /// `GET /farms/{farm}/explain`
    Farm { farm: &'a str },
    /// `GET /requests/{id}/explain`
    Request { id: &'a str },
    /// `GET …/servers/{server}/explain`
    Server { farm: &'a str, server: &'a str },
}

/// What can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write<'a> {
    /// `POST …/servers/{server}/{drain|maintenance|ready}`
    Act { farm: &'a str, server: &'a str, act: ServerAct },
    /// `POST /credentials/{id}/{grant|refuse|revoke}`
    Credential { id: &'a str, act: CredentialAct },
    /// `POST /refresh`
    Refresh,
    /// `POST /reload`
    Reload,
    /// `POST /upgrade`
    Upgrade,
    /// `PUT …/servers/{server}/weight`
    Weight { farm: &'a str, server: &'a str },
}

/// What can be done to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerAct {
    Drain,
    Maintenance,
    Ready,
}

impl ServerAct {
    /// Returns the admin status that it asks for.
    pub(super) fn wanted(self) -> AdminStatus {
        match self {
            Self::Drain => AdminStatus::Drain,
            Self::Maintenance => AdminStatus::Maintenance,
            Self::Ready => AdminStatus::Active,
        }
    }
}

impl<'a> Route<'a> {
    /// Returns what a path is; none if nothing.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let segments: Vec<_> = path.strip_prefix("/api/v1/")?.split('/').collect();
        Some(match segments[..] {
            ["certificates"] => Self::Read(Read::Certificates),
            ["certificates", certificate] => Self::Read(Read::Certificate { certificate }),
            ["config"] => Self::Read(Read::Config),
            ["credentials"] => Self::Read(Read::Credentials),
            ["credentials", id] => Self::Read(Read::Credential { id }),
            ["credentials", id, "grant"] => Self::Write(Write::Credential { id, act: CredentialAct::Grant }),
            ["credentials", id, "refuse"] => Self::Write(Write::Credential { id, act: CredentialAct::Refuse }),
            ["credentials", id, "revoke"] => Self::Write(Write::Credential { id, act: CredentialAct::Revoke }),
            ["events"] => Self::Read(Read::Events),
            ["farms"] => Self::Read(Read::Farms),
            ["farms", farm, ref rest @ ..] => Self::of_farm(farm, rest)?,
            ["frontends"] => Self::Read(Read::Frontends),
            ["frontends", frontend] => Self::Read(Read::Frontend { frontend }),
            ["frontends", frontend, "routes"] => Self::Read(Read::Routes { frontend }),
            ["frontends", frontend, "routes", route] => Self::Read(Read::Route { frontend, route }),
            ["refresh"] => Self::Write(Write::Refresh),
            ["reload"] => Self::Write(Write::Reload),
            ["requests", id, "explain"] => Self::Read(Read::Explain(Explained::Request { id })),
            ["staged"] => Self::Read(Read::Staged),
            ["status"] => Self::Read(Read::Status),
            ["tasks"] => Self::Read(Read::Tasks),
            ["tasks", task] => Self::Read(Read::Task { task }),
            ["timeline"] => Self::Read(Read::Timeline { farm: None, server: None }),
            ["upgrade"] => Self::Write(Write::Upgrade),
            _ => return None,
        })
    }

    fn of_farm(farm: &'a str, rest: &[&'a str]) -> Option<Self> {
        Some(match *rest {
            [] => Self::Read(Read::Farm { farm }),
            ["explain"] => Self::Read(Read::Explain(Explained::Farm { farm })),
            ["probe", "replay"] => Self::Replay { farm, server: None },
            ["servers"] => Self::Read(Read::Servers { farm }),
            ["servers", server, ref rest @ ..] => Self::of_server(farm, server, rest)?,
            ["shadow"] => Self::Read(Read::Shadow { farm }),
            ["shadow", "promote"] => Self::Read(Read::Promote { farm }),
            ["timeline"] => Self::Read(Read::Timeline { farm: Some(farm), server: None }),
            _ => return None,
        })
    }

    fn of_server(farm: &'a str, server: &'a str, rest: &[&'a str]) -> Option<Self> {
        let act = |act| Self::Write(Write::Act { farm, server, act });
        Some(match *rest {
            [] => Self::Read(Read::Server { farm, server }),
            ["drain"] => Self::Drain { farm, server },
            ["evidence"] => Self::Read(Read::Evidence { farm, server }),
            ["explain"] => Self::Read(Read::Explain(Explained::Server { farm, server })),
            ["history"] => Self::Read(Read::History { farm, server }),
            ["maintenance"] => act(ServerAct::Maintenance),
            ["probe", "replay"] => Self::Replay { farm, server: Some(server) },
            ["ready"] => act(ServerAct::Ready),
            ["timeline"] => Self::Read(Read::Timeline { farm: Some(farm), server: Some(server) }),
            ["weight"] => Self::Write(Write::Weight { farm, server }),
            _ => return None,
        })
    }

    /// Returns its path, what stands for names in braces, as `/openapi.json` has it.
    #[cfg(test)]
    pub(super) fn template(&self) -> &'static str {
        match self {
            Self::Drain { .. } => "/api/v1/farms/{farm}/servers/{server}/drain",
            Self::Read(read) => read.template(),
            Self::Replay { server: None, .. } => "/api/v1/farms/{farm}/probe/replay",
            Self::Replay { server: Some(_), .. } => "/api/v1/farms/{farm}/servers/{server}/probe/replay",
            Self::Write(write) => match write {
                Write::Act { act: ServerAct::Drain, .. } => "/api/v1/farms/{farm}/servers/{server}/drain",
                Write::Act { act: ServerAct::Maintenance, .. } => "/api/v1/farms/{farm}/servers/{server}/maintenance",
                Write::Act { act: ServerAct::Ready, .. } => "/api/v1/farms/{farm}/servers/{server}/ready",
                Write::Credential { act: CredentialAct::Grant, .. } => "/api/v1/credentials/{id}/grant",
                Write::Credential { act: CredentialAct::Refuse, .. } => "/api/v1/credentials/{id}/refuse",
                Write::Credential { act: CredentialAct::Revoke, .. } => "/api/v1/credentials/{id}/revoke",
                Write::Refresh => "/api/v1/refresh",
                Write::Reload => "/api/v1/reload",
                Write::Upgrade => "/api/v1/upgrade",
                Write::Weight { .. } => "/api/v1/farms/{farm}/servers/{server}/weight",
            },
        }
    }

    /// Returns the methods that it takes, as `Allow` lists them.
    pub(super) fn allow(&self) -> &'static str {
        match self {
            Self::Drain { .. } => "GET, HEAD, POST",
            Self::Read(
                Read::Certificates | Read::Farms | Read::Frontends | Read::Routes { .. } | Read::Servers { .. },
            ) => "GET, HEAD, POST",
            Self::Read(
                Read::Certificate { .. }
                | Read::Farm { .. }
                | Read::Frontend { .. }
                | Read::Route { .. }
                | Read::Server { .. },
            ) => "DELETE, GET, HEAD, PATCH, PUT",
            Self::Read(_) => "GET, HEAD",
            Self::Replay { .. }
            | Self::Write(
                Write::Act { .. } | Write::Credential { .. } | Write::Refresh | Write::Reload | Write::Upgrade,
            ) => "POST",
            Self::Write(Write::Weight { .. }) => "PUT",
        }
    }

    /// Returns whether that method writes an object that it reads.
    pub(super) fn writes(&self, method: &Method) -> bool {
        matches!(self, Self::Read(_)) && !matches!(*method, Method::GET | Method::HEAD)
    }

    /// Returns whether it takes that method.
    pub(super) fn allows(&self, method: &Method) -> bool {
        self.allow().split(", ").any(|allowed| allowed == method.as_str())
    }

    /// Returns the keys that its query may have; `None`: it is not looked at.
    pub(super) fn query_keys(&self) -> Option<&'static [&'static str]> {
        const TIMELINE: &[&str] = &["limit", "order", "since", "until"];
        Some(match self {
            Self::Drain { .. } => &["wait"],
            Self::Read(read) => match read {
                Read::Events => &["after", "farm", "limit", "server"],
                Read::Evidence { .. } => &["limit"],
                Read::Explain(_) | Read::Promote { .. } | Read::Shadow { .. } => &[],
                Read::History { .. } => &["probe", "since", "until"],
                Read::Timeline { .. } => TIMELINE,
                Read::Certificates => &["limit", "name", "offset"],
                Read::Farms | Read::Frontends => &["limit", "name", "offset", "origin", "protocol"],
                Read::Servers { .. } => &["admin", "health", "limit", "name", "offset", "origin"],
                Read::Tasks => &["limit", "offset", "status"],
                Read::Certificate { .. }
                | Read::Config
                | Read::Credential { .. }
                | Read::Credentials
                | Read::Farm { .. }
                | Read::Frontend { .. }
                | Read::Route { .. }
                | Read::Routes { .. }
                | Read::Server { .. }
                | Read::Staged
                | Read::Status
                | Read::Task { .. } => return None,
            },
            Self::Replay { .. } => &[],
            Self::Write(_) => return None,
        })
    }
}

#[cfg(test)]
impl Read<'_> {
    fn template(&self) -> &'static str {
        match self {
            Self::Certificate { .. } => "/api/v1/certificates/{certificate}",
            Self::Certificates => "/api/v1/certificates",
            Self::Config => "/api/v1/config",
            Self::Credential { .. } => "/api/v1/credentials/{id}",
            Self::Credentials => "/api/v1/credentials",
            Self::Events => "/api/v1/events",
            Self::Evidence { .. } => "/api/v1/farms/{farm}/servers/{server}/evidence",
            Self::Explain(Explained::Farm { .. }) => "/api/v1/farms/{farm}/explain",
            Self::Explain(Explained::Request { .. }) => "/api/v1/requests/{id}/explain",
            Self::Explain(Explained::Server { .. }) => "/api/v1/farms/{farm}/servers/{server}/explain",
            Self::Farm { .. } => "/api/v1/farms/{farm}",
            Self::Farms => "/api/v1/farms",
            Self::Frontend { .. } => "/api/v1/frontends/{frontend}",
            Self::Frontends => "/api/v1/frontends",
            Self::History { .. } => "/api/v1/farms/{farm}/servers/{server}/history",
            Self::Promote { .. } => "/api/v1/farms/{farm}/shadow/promote",
            Self::Route { .. } => "/api/v1/frontends/{frontend}/routes/{route}",
            Self::Routes { .. } => "/api/v1/frontends/{frontend}/routes",
            Self::Server { .. } => "/api/v1/farms/{farm}/servers/{server}",
            Self::Servers { .. } => "/api/v1/farms/{farm}/servers",
            Self::Shadow { .. } => "/api/v1/farms/{farm}/shadow",
            Self::Staged => "/api/v1/staged",
            Self::Status => "/api/v1/status",
            Self::Task { .. } => "/api/v1/tasks/{task}",
            Self::Tasks => "/api/v1/tasks",
            Self::Timeline { farm: None, .. } => "/api/v1/timeline",
            Self::Timeline { farm: Some(_), server: None } => "/api/v1/farms/{farm}/timeline",
            Self::Timeline { farm: Some(_), server: Some(_) } => "/api/v1/farms/{farm}/servers/{server}/timeline",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn route_of_a_path_is_exact() {
        let (farm, server) = ("web", "s1");
        assert_eq!(Route::of("/api/v1/farms/web/servers/s1"), Some(Route::Read(Read::Server { farm, server })));
        let act = ServerAct::Ready;
        assert_eq!(
            Route::of("/api/v1/farms/web/servers/s1/ready"),
            Some(Route::Write(Write::Act { farm, server, act }))
        );
        for path in [
            "/",
            "/api/v1",
            "/api/v1/",
            "/api/v1/farms/",
            "/api/v2/farms",
            "/api/v1/farms/web/servers/s1/x/y",
            "/api/v1/farms/web/probe",
            "/api/v1/farms/web/servers/s1/explain/x",
            "/api/v1/requests/7",
            "/api/v1/timeline/x",
        ] {
            let route = Route::of(path);
            assert!(matches!(route, None | Some(Route::Read(Read::Farm { farm: "" }))), "{path}: {route:?}");
        }
    }

    #[test]
    fn route_knows_what_tells_why() {
        let (farm, server) = ("web", "s1");
        let both = |read| Some(Route::Read(read));
        for (path, want) in [
            ("events", both(Read::Events)),
            ("timeline", both(Read::Timeline { farm: None, server: None })),
            ("requests/x-1/explain", both(Read::Explain(Explained::Request { id: "x-1" }))),
            ("farms/web/explain", both(Read::Explain(Explained::Farm { farm }))),
            ("farms/web/timeline", both(Read::Timeline { farm: Some(farm), server: None })),
            ("farms/web/shadow", both(Read::Shadow { farm })),
            ("farms/web/shadow/promote", both(Read::Promote { farm })),
            ("farms/web/probe/replay", Some(Route::Replay { farm, server: None })),
            ("farms/web/servers/s1/explain", both(Read::Explain(Explained::Server { farm, server }))),
            ("farms/web/servers/s1/timeline", both(Read::Timeline { farm: Some(farm), server: Some(server) })),
            ("farms/web/servers/s1/evidence", both(Read::Evidence { farm, server })),
            ("farms/web/servers/s1/history", both(Read::History { farm, server })),
            ("farms/web/servers/s1/drain", Some(Route::Drain { farm, server })),
            ("farms/web/servers/s1/probe/replay", Some(Route::Replay { farm, server: Some(server) })),
        ] {
            assert_eq!(Route::of(&format!("/api/v1/{path}")), want, "{path}");
        }
    }

    #[test]
    fn route_allows_what_it_lists_and_nothing_else() {
        let reload = Route::of("/api/v1/reload").unwrap();
        assert!(reload.allows(&Method::POST) && !reload.allows(&Method::GET) && !reload.allows(&Method::PUT));
        let farms = Route::of("/api/v1/farms").unwrap();
        assert!(farms.allows(&Method::HEAD) && farms.allows(&Method::POST) && !farms.allows(&Method::DELETE));
        assert!(farms.writes(&Method::POST) && !farms.writes(&Method::HEAD) && !reload.writes(&Method::POST));
        let farm = Route::of("/api/v1/farms/web").unwrap();
        assert!(farm.allows(&Method::PATCH) && farm.allows(&Method::DELETE) && !farm.allows(&Method::POST));
        let drain = Route::of("/api/v1/farms/web/servers/s1/drain").unwrap();
        assert!(drain.allows(&Method::GET) && drain.allows(&Method::POST) && !drain.allows(&Method::PUT));
    }
}
