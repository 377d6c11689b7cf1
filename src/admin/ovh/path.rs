//! Request paths → what they name. Knows which paths exist, not whether the objects do.
//!
//! The table is that of the published schema; what concerns the service itself is read by `service`. Ids and names are
//! taken as sent.

use super::service::{self, Place};

/// What a path names, before anything is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// A credential is asked for.
    Ask,
    /// The caller's credential.
    Credential,
    /// Who the caller is.
    Details,
    /// The document that describes a part of this API, by its name.
    Document(&'a str),
    /// The end of the caller's credential.
    LogOut,
    /// A part of the service of that name.
    Of(&'a str, Part<'a>),
    /// Every service.
    Services,
    /// The clock, for clients that sign.
    Time,
    /// What a person who is to grant a credential sees.
    Validate,
    /// Every zone.
    Zones,
}

/// A part of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// What probes can do.
    FarmProbes,
    /// Farms, servers, frontends, routes and rules.
    Object(Object<'a>),
    /// Zones for which something is staged.
    Pending,
    /// Kinds of farms and frontends.
    Protocols,
    /// What makes live what is staged.
    Refresh,
    /// What routes can do.
    RouteActions,
    /// What routes can look at.
    RouteRules,
    /// What concerns the service itself.
    Service(Place<'a>),
    /// The roll-up.
    Status,
    /// One task.
    Task(&'a str),
    /// Ids of tasks.
    Tasks,
}

/// An object that balances, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object<'a> {
    /// Every farm, with its kind.
    DefinedFarms,
    /// Every frontend, with its kind.
    DefinedFrontends,
    /// Every route, with its kind.
    DefinedRoutes,
    /// One farm.
    Farm(Kind, &'a str),
    /// Ids of farms.
    Farms(Kind),
    /// One frontend.
    Frontend(Kind, &'a str),
    /// Ids of frontends.
    Frontends(Kind),
    /// One route.
    Route(Kind, &'a str),
    /// Ids of routes.
    Routes(Kind),
    /// One rule of a route.
    Rule(Kind, &'a str, &'a str),
    /// Ids of the rules of a route.
    Rules(Kind, &'a str),
    /// One server of a farm.
    Server(Kind, &'a str, &'a str),
    /// Ids of a farm's servers.
    Servers(Kind, &'a str),
}

/// The kind that a path speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `/http/`
    Http,
    /// `/tcp/`
    Tcp,
    /// `/udp/`
    Udp,
}

impl Kind {
    /// Every kind.
    pub(super) const ALL: [Self; 3] = [Self::Http, Self::Tcp, Self::Udp];

    /// Returns the kind of that word.
    pub(super) fn parse(segment: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == segment)
    }

    /// Returns its word.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// Returns the kind that has routes of that word.
    fn with_routes(segment: &str) -> Option<Self> {
        Self::parse(segment).filter(|kind| *kind != Self::Udp)
    }
}

/// Returns what follows `/1.0` or `/v1`, which are the same API; nothing for another path.
pub(super) fn without_prefix(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/1.0").or_else(|| path.strip_prefix("/v1"))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// Returns what a path names, the prefix taken off.
pub(super) fn parse(rest: &str) -> Option<Target<'_>> {
    let segments: Vec<&str> = rest.strip_prefix('/')?.split('/').collect();
    if segments.iter().any(|s| s.is_empty()) {
        return None;
    }
    match *segments {
        ["auth", "time"] => Some(Target::Time),
        ["auth", "details"] => Some(Target::Details),
        ["auth", "currentCredential"] => Some(Target::Credential),
        ["auth", "credential"] => Some(Target::Ask),
        ["auth", "logout"] => Some(Target::LogOut),
        ["auth", "validate"] => Some(Target::Validate),
        ["auth.json"] => Some(Target::Document("auth")),
        ["ipLoadbalancing.json"] => Some(Target::Document("ipLoadbalancing")),
        ["ipLoadbalancing"] => Some(Target::Services),
        ["ipLoadbalancing", "availableZones"] => Some(Target::Zones),
        ["ipLoadbalancing", service, ref part @ ..] => parse_part(part).map(|part| Target::Of(service, part)),
        _ => None,
    }
}

fn parse_part<'a>(part: &[&'a str]) -> Option<Part<'a>> {
    match *part {
        ["availableFarmProbes"] => Some(Part::FarmProbes),
        ["availableFarmType" | "availableFrontendType"] => Some(Part::Protocols),
        ["status"] => Some(Part::Status),
        ["availableRouteActions"] => Some(Part::RouteActions),
        ["availableRouteRules"] => Some(Part::RouteRules),
        ["pendingChanges"] => Some(Part::Pending),
        ["refresh"] => Some(Part::Refresh),
        ["task"] => Some(Part::Tasks),
        ["task", id] => Some(Part::Task(id)),
        _ => parse_object(part).map(Part::Object).or_else(|| service::parse(part).map(Part::Service)),
    }
}

fn parse_object<'a>(part: &[&'a str]) -> Option<Object<'a>> {
    Some(match *part {
        ["definedFarms"] => Object::DefinedFarms,
        ["definedFrontends"] => Object::DefinedFrontends,
        ["definedRoutes"] => Object::DefinedRoutes,
        [kind, "route"] => Object::Routes(Kind::with_routes(kind)?),
        [kind, "route", id] => Object::Route(Kind::with_routes(kind)?, id),
        [kind, "route", id, "rule"] => Object::Rules(Kind::with_routes(kind)?, id),
        [kind, "route", id, "rule", rule] => Object::Rule(Kind::with_routes(kind)?, id, rule),
        [kind, "farm"] => Object::Farms(Kind::parse(kind)?),
        [kind, "farm", id] => Object::Farm(Kind::parse(kind)?, id),
        [kind, "farm", id, "server"] => Object::Servers(Kind::parse(kind)?, id),
        [kind, "farm", id, "server", server] => Object::Server(Kind::parse(kind)?, id, server),
        [kind, "frontend"] => Object::Frontends(Kind::parse(kind)?),
        [kind, "frontend", id] => Object::Frontend(Kind::parse(kind)?, id),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, want: Option<&Target<'_>>) {
        assert_eq!(without_prefix(path).and_then(parse).as_ref(), want, "{path}");
    }

    #[test]
    fn path_is_the_same_under_both_prefixes() {
        for prefix in ["/1.0", "/v1"] {
            let of = |part: &str| format!("{prefix}/ipLoadbalancing/lb{part}");
            check(&format!("{prefix}/auth/time"), Some(&Target::Time));
            check(&of(""), Some(&Target::Of("lb", Part::Service(Place::Itself))));
            check(
                &of("/http/farm/1/server/2"),
                Some(&Target::Of("lb", Part::Object(Object::Server(Kind::Http, "1", "2")))),
            );
            check(&of("/refresh"), Some(&Target::Of("lb", Part::Refresh)));
            check(&of("/tcp/route/1/rule/2"), Some(&Target::Of("lb", Part::Object(Object::Rule(Kind::Tcp, "1", "2")))));
        }
    }

    #[test]
    fn path_that_is_not_in_the_table_names_nothing() {
        for path in [
            "/",
            "/1.0",
            "/1.0/",
            "/1.0x/auth/time",
            "/v10/auth/time",
            "/v2/auth/time",
            "/1.0//auth/time",
            "/1.0/auth/time/",
            "/1.0/ipLoadbalancing//status",
            "/1.0/ipLoadbalancing/lb/sctp/farm",
            "/1.0/ipLoadbalancing/lb/udp/route",
            "/1.0/ipLoadbalancing/lb/http/farm/1/servers",
            "/1.0/iploadbalancing",
        ] {
            check(path, None);
        }
    }
}
