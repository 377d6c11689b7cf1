//! `FARM` or `FARM/SERVER`, for the commands that speak of either.

use std::str::FromStr;

use super::client::Target;

/// A farm, or a server of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The farm, by name or id.
    pub farm: String,
    /// The server, by name or id.
    pub server: Option<String>,
}

impl Scope {
    /// Returns the path of something of it.
    pub(super) fn path(&self, of: &str) -> String {
        match &self.server {
            Some(server) => format!("/api/v1/farms/{}/servers/{server}/{of}", self.farm),
            None => format!("/api/v1/farms/{}/{of}", self.farm),
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A farm alone is read as a server's would be.
        let (whole, has_server) =
            if text.contains('/') { (text.to_owned(), true) } else { (format!("{text}/x"), false) };
        let Ok(Target { farm, server }) = whole.parse() else {
            let why = "is not FARM or FARM/SERVER; write names or ids as `farmgate status` shows them, e.g. web/web-1";
            return Err(why.to_owned());
        };
        Ok(Self { farm, server: has_server.then_some(server) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_is_a_farm_or_a_server_of_one() {
        let path = |text: &str| text.parse::<Scope>().unwrap().path("explain");
        assert_eq!(path("web"), "/api/v1/farms/web/explain");
        assert_eq!(path("web/web-1"), "/api/v1/farms/web/servers/web-1/explain");
        for bad in ["", "/", "web/", "/x", "web/x/y", "Web", "web?x"] {
            assert!(bad.parse::<Scope>().unwrap_err().starts_with("is not FARM or FARM/SERVER"), "{bad:?}");
        }
    }
}
