//! Paths of the native shape. Pure. Names and ids need no percent-encoding, so none is undone.

use http::Method;

use crate::model::AdminStatus;

/// What a path of `/api/v1` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Read(Read<'a>),
    Write(Write<'a>),
}

/// What can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read<'a> {
    /// `GET /farms/{farm}`
    Farm { farm: &'a str },
    /// `GET /farms`
    Farms,
    /// `GET /frontends/{frontend}`
    Frontend { frontend: &'a str },
    /// `GET /frontends`
    Frontends,
    /// `GET …/servers/{server}`
    Server { farm: &'a str, server: &'a str },
    /// `GET /farms/{farm}/servers`
    Servers { farm: &'a str },
    /// `GET /status`
    Status,
}

/// What can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write<'a> {
    /// `POST …/servers/{server}/{drain|maintenance|ready}`
    Act { farm: &'a str, server: &'a str, act: ServerAct },
    /// `POST /reload`
    Reload,
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
        let act = |farm, server, act| Self::Write(Write::Act { farm, server, act });
        Some(match segments[..] {
            ["farms"] => Self::Read(Read::Farms),
            ["farms", farm] => Self::Read(Read::Farm { farm }),
            ["farms", farm, "servers"] => Self::Read(Read::Servers { farm }),
            ["farms", farm, "servers", server] => Self::Read(Read::Server { farm, server }),
            ["farms", farm, "servers", server, "drain"] => act(farm, server, ServerAct::Drain),
            ["farms", farm, "servers", server, "maintenance"] => act(farm, server, ServerAct::Maintenance),
            ["farms", farm, "servers", server, "ready"] => act(farm, server, ServerAct::Ready),
            ["farms", farm, "servers", server, "weight"] => Self::Write(Write::Weight { farm, server }),
            ["frontends"] => Self::Read(Read::Frontends),
            ["frontends", frontend] => Self::Read(Read::Frontend { frontend }),
            ["reload"] => Self::Write(Write::Reload),
            ["status"] => Self::Read(Read::Status),
            _ => return None,
        })
    }

    /// Returns the methods that it takes, as `Allow` lists them.
    pub(super) fn allow(&self) -> &'static str {
        match self {
            Self::Read(_) => "GET, HEAD",
            Self::Write(Write::Act { .. } | Write::Reload) => "POST",
            Self::Write(Write::Weight { .. }) => "PUT",
        }
    }

    /// Returns whether it takes that method.
    pub(super) fn allows(&self, method: &Method) -> bool {
        match self {
            Self::Read(_) => matches!(*method, Method::GET | Method::HEAD),
            Self::Write(_) => method.as_str() == self.allow(),
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
        for path in ["/", "/api/v1", "/api/v1/", "/api/v1/farms/", "/api/v2/farms", "/api/v1/farms/web/servers/s1/x/y"]
        {
            let route = Route::of(path);
            assert!(matches!(route, None | Some(Route::Read(Read::Farm { farm: "" }))), "{path}: {route:?}");
        }
    }

    #[test]
    fn route_allows_what_it_lists_and_nothing_else() {
        let reload = Route::of("/api/v1/reload").unwrap();
        assert!(reload.allows(&Method::POST) && !reload.allows(&Method::GET) && !reload.allows(&Method::PUT));
        let farms = Route::of("/api/v1/farms").unwrap();
        assert!(farms.allows(&Method::HEAD) && !farms.allows(&Method::POST) && !farms.allows(&Method::DELETE));
    }
}
