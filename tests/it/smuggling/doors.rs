//! One Farmgate with a listener of every kind, before a server of HTTP/1.1 and one of HTTP/2, and what they have seen.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rcgen::{CertificateParams, KeyPair};

use crate::harness::{Behaviour, Client, Farmgate, Origin, Server, Setup};

use super::Seen;
use super::h2_origin::H2Origin;
use super::reader::read_requests;
use super::relay::{Relays, Way, tls};

/// What both farms and every listener have in common.
const PROBE: &str = "{type: tcp, interval: 10s, timeout: 10s}";
const TIMEOUTS: &str = "timeouts: {header: 10s, body: 10s}";

/// A way in.
#[derive(Clone, Debug)]
pub(super) struct Door {
    /// Its name, which begins those of its cases.
    pub(super) name: &'static str,
    /// Where its clients connect.
    pub(super) front: SocketAddr,
    /// Where a plain client of HTTP/1.1 does that is to get to the same server.
    pub(super) plain: SocketAddr,
    /// Whether the server is one of HTTP/2.
    pub(super) is_over_2: bool,
    /// The scheme that its clients speak.
    pub(super) scheme: &'static str,
}

/// See the module's doc.
pub(super) struct Doors {
    pub(super) http1: Vec<Door>,
    pub(super) http2: Vec<Door>,
    _farmgate: Farmgate,
    _relays: Relays,
    _dir: tempfile::TempDir,
    one: Origin,
    two: H2Origin,
}

impl Doors {
    pub(super) fn open() -> Self {
        let (one, two) = (Origin::doing("one", Behaviour::EchoHead), H2Origin::start());
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let (cert_file, key_file, socket) = (dir.path().join("a.pem"), dir.path().join("a.key"), dir.path().join("a"));
        std::fs::write(&cert_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        let in_tls = format!("tls: {{certificates: [{{cert: {cert_file:?}, key: {key_file:?}}}]}}");
        let frontend = |name: &str, listen: &str, more: &str, farm: &str| {
            format!("{name}: {{protocol: http, listen: [\"{listen}\"], {more}, {TIMEOUTS}, farm: {farm}}}")
        };
        let any = "127.0.0.1:0";
        let setup = Setup::http(&[Server::new("one", one.addr(), "")])
            .probe(PROBE)
            .top("workers: 1")
            .frontend(TIMEOUTS)
            .another_farm(&format!(
                "two: {{protocol: http, http2: true, probe: {PROBE}, servers: {{two: {{address: \"{}\"}}}}}}",
                two.addr()
            ))
            .another_frontend(&frontend("tls", any, &in_tls, "web"))
            .another_frontend(&frontend("unix", &format!("unix:{}", socket.display()), "h2c: false", "web"))
            .another_frontend(&frontend("introduced", any, "accept_proxy: {from: [\"127.0.0.0/8\"]}", "web"))
            .another_frontend(&frontend("h2c", any, "h2c: true", "web"))
            .another_frontend(&frontend("plain-two", any, "h2c: false", "two"))
            .another_frontend(&frontend("tls-two", any, &in_tls, "two"))
            .another_frontend(&frontend("h2c-two", any, "h2c: true", "two"));
        let farmgate = Farmgate::start(&setup);
        let relays = Relays::new();
        let root = certificate.der();
        let (plain, plain_two) = (farmgate.front("web"), farmgate.front("plain-two"));
        let to_one = |name, front, scheme| Door { name, front, plain, is_over_2: false, scheme };
        let to_two = |name, front, scheme| Door { name, front, plain: plain_two, is_over_2: true, scheme };
        let through_tls = |name, protocol| relays.through(Way::Tls(farmgate.front(name), tls(root, protocol)));
        let http1 = vec![
            to_one("plain", plain, "http"),
            to_one("tls", through_tls("tls", "http/1.1"), "https"),
            to_one("unix", relays.through(Way::Unix(socket)), "http"),
            to_one("introduced", relays.through(Way::Introduced(farmgate.front("introduced"))), "http"),
            to_one("h2c", farmgate.front("h2c"), "http"),
            to_two("two", plain_two, "http"),
        ];
        let http2 = vec![
            to_one("h2c", farmgate.front("h2c"), "http"),
            to_one("tls", through_tls("tls", "h2"), "https"),
            to_two("h2c-two", farmgate.front("h2c-two"), "http"),
            to_two("tls-two", through_tls("tls-two", "h2"), "https"),
        ];
        Self { http1, http2, _farmgate: farmgate, _relays: relays, _dir: dir, one, two }
    }

    /// Looks at everything that either server received; `want` is the name of every case and what a server may have
    /// seen of it.
    pub(super) fn judge<'a>(&self, want: impl Iterator<Item = (String, &'a Seen)>) -> Vec<String> {
        let mut faults = Vec::new();
        let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut saw = |target: &str, line: String| {
            if line.starts_with("OPTIONS * ") {
                // Whose it is cannot be told.
                return;
            }
            let path = target.trim_start_matches('/');
            let name = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches("-2");
            seen.entry(name.trim_end_matches("-3").to_owned()).or_default().push(line);
        };
        for connection in self.one.raw() {
            match read_requests(&connection) {
                Ok(requests) => {
                    for request in requests {
                        saw(&request.target, format!("{} {} {}", request.method, request.target, request.body));
                    }
                }
                Err(fault) => faults.push(fault),
            }
        }
        let record = self.two.record();
        record.requests.into_iter().for_each(|(target, line)| saw(&target, line));
        faults.extend(record.faults);
        for (name, want) in want {
            let got = seen.remove(&name).unwrap_or_default();
            if !want.may_be(&name, &got) {
                faults.push(format!("{name}: the server saw {got:?}"));
            }
            seen.remove(&format!("after-{name}"));
        }
        faults.extend(seen.into_iter().map(|(name, lines)| format!("{name}: nobody sent {lines:?}")));
        faults
    }
}

/// Sends an innocent request the way that a case of that name went.
pub(super) fn send_innocent(door: &Door, name: &str) -> Result<(), String> {
    let target = format!("/after-{name}");
    let after = Client::connect(door.plain).get(&target);
    if after.status != 200 || !after.text().starts_with(&format!("GET {target}\n")) {
        return Err(format!("{name}: the next request got {} {}", after.status, after.text()));
    }
    Ok(())
}
