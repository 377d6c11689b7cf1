//! Config files for tests: one frontend and one farm, unless a test says more.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// The token with role admin.
pub(crate) const OPS_TOKEN: &str = "ops-token-0123456789abcdef";
/// The token with role operate.
pub(crate) const CREW_TOKEN: &str = "crew-token-0123456789abcdef";
/// The token with role read.
pub(crate) const EYE_TOKEN: &str = "eye-token-0123456789abcdef";

/// A probe for tests that are not about health: one check at start, then out of the way.
pub(crate) const CALM: &str = "{type: http, url: /healthz, interval: 10s, timeout: 10s, rise: 2, fall: 3}";
/// A probe for tests of health.
pub(crate) const FAST: &str = "{type: http, url: /healthz, interval: 200ms, timeout: 200ms, rise: 2, fall: 3}";

/// A server of the farm.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    name: String,
    addr: String,
    keys: String,
}

impl Server {
    /// A server with further keys, written as in a YAML flow map, e.g. `weight: 5, backup: true`.
    pub(crate) fn new(name: &str, addr: SocketAddr, keys: &str) -> Self {
        Self::at(name, &addr.to_string(), keys)
    }

    /// A server at an address as written, a host name perhaps.
    pub(crate) fn at(name: &str, addr: &str, keys: &str) -> Self {
        Self { name: name.to_owned(), addr: addr.to_owned(), keys: keys.to_owned() }
    }
}

/// A config file in the making.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    protocol: &'static str,
    otherwise: String,
    frontend_keys: Vec<String>,
    farm_keys: Vec<String>,
    probe: String,
    servers: Vec<Server>,
    more_frontends: Vec<String>,
    more_farms: Vec<String>,
    top: Vec<String>,
    admin_listen: String,
    admin_keys: Vec<String>,
    more_tokens: Vec<String>,
    log: String,
}

impl Setup {
    /// An HTTP frontend `web` and a farm `web` of these servers, with a calm probe.
    pub(crate) fn http(servers: &[Server]) -> Self {
        Self {
            protocol: "http",
            otherwise: "farm: web".to_owned(),
            frontend_keys: Vec::new(),
            farm_keys: Vec::new(),
            probe: CALM.to_owned(),
            servers: servers.to_vec(),
            more_frontends: Vec::new(),
            more_farms: Vec::new(),
            top: Vec::new(),
            admin_listen: "127.0.0.1:0".to_owned(),
            admin_keys: Vec::new(),
            more_tokens: Vec::new(),
            log: "{level: info, format: json}".to_owned(),
        }
    }

    /// A TCP frontend `web` and a farm `web` of these servers.
    pub(crate) fn tcp(servers: &[Server]) -> Self {
        let probe = "{type: tcp, interval: 10s, timeout: 10s}".to_owned();
        Self { protocol: "tcp", probe, ..Self::http(servers) }
    }

    /// Replaces the probe.
    pub(crate) fn probe(mut self, probe: &str) -> Self {
        self.probe = probe.to_owned();
        self
    }

    /// Replaces the servers.
    pub(crate) fn servers(mut self, servers: &[Server]) -> Self {
        self.servers = servers.to_vec();
        self
    }

    /// Adds a key of the frontend, e.g. `timeouts: {header: 500ms}`.
    pub(crate) fn frontend(mut self, key: &str) -> Self {
        self.frontend_keys.push(key.to_owned());
        self
    }

    /// Replaces what the frontend does with what no route takes; with nothing at all, if this is empty.
    pub(crate) fn without_farm(mut self, key: &str) -> Self {
        self.otherwise = key.to_owned();
        self
    }

    /// Adds a key of the farm, e.g. `balance: leastconn`.
    pub(crate) fn farm(mut self, key: &str) -> Self {
        self.farm_keys.push(key.to_owned());
        self
    }

    /// Adds a frontend, whole, e.g. `extra: {protocol: http, listen: ["127.0.0.1:0"], farm: web}`.
    pub(crate) fn another_frontend(mut self, line: &str) -> Self {
        self.more_frontends.push(line.to_owned());
        self
    }

    /// Adds a farm, whole, in one line.
    pub(crate) fn another_farm(mut self, line: &str) -> Self {
        self.more_farms.push(line.to_owned());
        self
    }

    /// Adds a key of the top level, e.g. `grace: 1s`.
    pub(crate) fn top(mut self, line: &str) -> Self {
        self.top.push(line.to_owned());
        self
    }

    /// Replaces the address of the admin side.
    pub(crate) fn admin_listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.admin_listen);
        self
    }

    /// Adds a key of the admin side, e.g. `tls: auto`.
    pub(crate) fn admin(mut self, key: &str) -> Self {
        self.admin_keys.push(key.to_owned());
        self
    }

    /// Adds a token of the admin side, whole, e.g. `{name: shop, role: admin, farms: [shop], token: …}`.
    pub(crate) fn token(mut self, line: &str) -> Self {
        self.more_tokens.push(line.to_owned());
        self
    }

    /// Replaces the value of `log`.
    pub(crate) fn log(mut self, value: &str) -> Self {
        self.log = value.to_owned();
        self
    }

    /// The file.
    pub(crate) fn yaml(&self) -> String {
        let Self { protocol, probe, .. } = self;
        let mut yaml = String::new();
        if !self.top.iter().any(|line| line.starts_with("service:")) {
            yaml.push_str("service: it\n");
        }
        if !self.top.iter().any(|line| line.starts_with("workers:")) {
            yaml.push_str("workers: 2\n");
        }
        for line in &self.top {
            writeln!(yaml, "{line}").unwrap();
        }
        writeln!(yaml, "frontends:\n  web:\n    protocol: {protocol}\n    {}", self.otherwise).unwrap();
        if !self.frontend_keys.iter().any(|key| key.starts_with("listen:")) {
            writeln!(yaml, "    listen: [\"127.0.0.1:0\"]").unwrap();
        }
        for key in &self.frontend_keys {
            writeln!(yaml, "    {key}").unwrap();
        }
        for line in &self.more_frontends {
            writeln!(yaml, "  {line}").unwrap();
        }
        writeln!(yaml, "farms:\n  web:\n    protocol: {protocol}\n    probe: {probe}").unwrap();
        for key in &self.farm_keys {
            writeln!(yaml, "    {key}").unwrap();
        }
        writeln!(yaml, "    servers:").unwrap();
        for Server { name, addr, keys } in &self.servers {
            let comma = if keys.is_empty() { "" } else { ", " };
            writeln!(yaml, "      {name}: {{address: \"{addr}\"{comma}{keys}}}").unwrap();
        }
        for line in &self.more_farms {
            writeln!(yaml, "  {line}").unwrap();
        }
        writeln!(yaml, "admin:\n  listen: \"{}\"", self.admin_listen).unwrap();
        for key in &self.admin_keys {
            writeln!(yaml, "  {key}").unwrap();
        }
        writeln!(yaml, "  tokens:").unwrap();
        for (name, role, token) in
            [("ops", "admin", OPS_TOKEN), ("crew", "operate", CREW_TOKEN), ("eye", "read", EYE_TOKEN)]
        {
            writeln!(yaml, "    - {{name: {name}, role: {role}, token: {token}}}").unwrap();
        }
        for token in &self.more_tokens {
            writeln!(yaml, "    - {token}").unwrap();
        }
        writeln!(yaml, "log: {}", self.log).unwrap();
        yaml
    }
}
