//! What has no meaning on one's own machines, and what is said to who asks for it. One table; README's limits list it.

use http::StatusCode;

use super::Refusal;

/// Something of the vendor's that is not here.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::admin::ovh) struct Nothing {
    /// The paths below a service, `*` for any one segment.
    paths: &'static [&'static str],
    /// What is not here, and what there is instead.
    why: &'static str,
}

/// Zones that end.
pub(super) const ZONE: Nothing = Nothing {
    paths: &["zone/*/cancelTermination", "zone/*/terminate"],
    why: "the zone is the one that the key zone at the top of the config names; it is neither ordered nor terminated",
};

static ALL: [Nothing; 5] = [
    ZONE,
    Nothing {
        paths: &["changeContact", "confirmTermination", "terminate"],
        why: "nobody is billed for a balancer of one's own: there are no contacts, orders and terminations; stop the \
              process to end it",
    },
    Nothing {
        paths: &["log/kind", "log/kind/*", "log/subscription", "log/subscription/*", "log/url"],
        why: "logs are written where log.access of the config says, not to a log platform",
    },
    Nothing {
        paths: &["metricsToken"],
        why: "metrics are read at /metrics of this address, with a token of admin.tokens",
    },
    Nothing {
        paths: &[
            "vrack/network",
            "vrack/network/*",
            "vrack/network/*/updateFarmId",
            "vrack/networkCreationRules",
            "vrack/status",
            "vrack/transparent/gateways",
            "*/farm/*/server/*/transparent",
            "*/farm/*/server/*/transparent/*",
            "*/frontend/*/private",
        ],
        why: "there is no vRack: servers are reached over this machine's own networks",
    },
];

/// Returns what is not there, if a path is of that.
pub(super) fn at(part: &[&str]) -> Option<&'static Nothing> {
    let is_it = |path: &str| {
        let segments: Vec<&str> = path.split('/').collect();
        segments.len() == part.len() && segments.iter().zip(part).all(|(want, is)| *want == "*" || want == is)
    };
    ALL.iter().find(|nothing| nothing.paths.iter().any(|path| is_it(path)))
}

impl Nothing {
    /// Returns the refusal: a condition that no call changes.
    pub(super) fn refusal(&self) -> Refusal {
        Refusal::because(StatusCode::NOT_IMPLEMENTED, format!("This is not offered here: {}", self.why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_table_are_found_and_others_are_not() {
        for (path, is_there) in [
            ("vrack/status", true),
            ("vrack/network/7/updateFarmId", true),
            ("http/farm/1/server/2/transparent", true),
            ("zone/gra/terminate", true),
            ("zone/gra", false),
            ("vrack", false),
            ("log", false),
            ("http/farm/1/server/2", false),
        ] {
            let part: Vec<&str> = path.split('/').collect();
            assert_eq!(at(&part).is_some(), is_there, "{path}");
        }
    }
}
