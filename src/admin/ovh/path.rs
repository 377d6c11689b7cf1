//! Request paths → what they name. Knows which paths exist, not whether the objects do.
//!
//! The table is that of the published schema; what concerns the service itself is read by `service`. Ids and names are
//! taken as sent.

use super::service::{self, Place};
use crate::model::Protocol;

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
    /// Something that can only be written.
    WriteOnly,
    /// Every zone.
    Zones,
}

/// A part of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// Every farm, with its kind.
    DefinedFarms,
    /// Every frontend, with its kind.
    DefinedFrontends,
    /// A collection that holds nothing: what it would hold cannot be declared.
    EmptyList,
    /// One farm.
    Farm(Kind, &'a str),
    /// What probes can do.
    FarmProbes,
    /// Ids of farms.
    Farms(Kind),
    /// One frontend.
    Frontend(Kind, &'a str),
    /// Ids of frontends.
    Frontends(Kind),
    /// An object of a collection that holds nothing: its kind and id.
    NeverThere(&'static str, &'a str),
    /// Kinds of farms and frontends.
    Protocols,
    /// One server of a farm.
    Server(Kind, &'a str, &'a str),
    /// Ids of a farm's servers.
    Servers(Kind, &'a str),
    /// What concerns the service itself.
    Service(Place<'a>),
    /// The roll-up.
    Status,
}

/// The kind that a path speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `/http/`
    Http,
    /// `/tcp/`
    Tcp,
    /// `/udp/`: there is none yet.
    Udp,
}

impl Kind {
    fn parse(segment: &str) -> Option<Self> {
        match segment {
            "http" => Some(Self::Http),
            "tcp" => Some(Self::Tcp),
            "udp" => Some(Self::Udp),
            _ => None,
        }
    }

    /// Returns whether something of that protocol is of this kind.
    pub(super) fn speaks(self, protocol: Protocol) -> bool {
        match self {
            Self::Http => protocol == Protocol::Http,
            Self::Tcp => protocol == Protocol::Tcp,
            Self::Udp => false,
        }
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
        ["ipLoadbalancing", _, "refresh"] => Some(Target::WriteOnly),
        ["ipLoadbalancing", service, ref part @ ..] => parse_part(part).map(|part| Target::Of(service, part)),
        _ => None,
    }
}

fn parse_part<'a>(part: &[&'a str]) -> Option<Part<'a>> {
    match *part {
        ["availableFarmProbes"] => Some(Part::FarmProbes),
        ["availableFarmType" | "availableFrontendType"] => Some(Part::Protocols),
        ["definedFarms"] => Some(Part::DefinedFarms),
        ["definedFrontends"] => Some(Part::DefinedFrontends),
        ["status"] => Some(Part::Status),
        ["availableRouteActions" | "availableRouteRules" | "definedRoutes" | "pendingChanges" | "task"]
        | ["http" | "tcp", "route"] => Some(Part::EmptyList),
        ["task", id] => Some(Part::NeverThere("task", id)),
        ["http" | "tcp", "route", id]
        | ["http" | "tcp", "route", id, "rule"]
        | ["http" | "tcp", "route", id, "rule", _] => Some(Part::NeverThere("route", id)),
        [kind, "farm"] => Some(Part::Farms(Kind::parse(kind)?)),
        [kind, "farm", id] => Some(Part::Farm(Kind::parse(kind)?, id)),
        [kind, "farm", id, "server"] => Some(Part::Servers(Kind::parse(kind)?, id)),
        [kind, "farm", id, "server", server] => Some(Part::Server(Kind::parse(kind)?, id, server)),
        [kind, "frontend"] => Some(Part::Frontends(Kind::parse(kind)?)),
        [kind, "frontend", id] => Some(Part::Frontend(Kind::parse(kind)?, id)),
        _ => service::parse(part).map(Part::Service),
    }
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
            check(&of("/http/farm/1/server/2"), Some(&Target::Of("lb", Part::Server(Kind::Http, "1", "2"))));
            check(&of("/refresh"), Some(&Target::WriteOnly));
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
            "/1.0/ipLoadbalancing/lb/http/farm/1/servers",
            "/1.0/iploadbalancing",
        ] {
            check(path, None);
        }
    }
}
