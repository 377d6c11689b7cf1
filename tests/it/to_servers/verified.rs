//! What of a server's certificate is verified, of traffic and of checks alike.

use rustls::{ServerConnection, StreamOwned};

use super::{Certified, answer_each, server};
use crate::harness::{Farmgate, Server, Setup};

/// The server is reached by its address, and its certificate names a host alone.
#[test]
fn chain_alone_is_verified_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (own, other) = (Certified::new(dir.path(), "own.example"), Certified::new(dir.path(), "other.example"));
    let config = own.config;
    let (addr, _) = server(move |stream| {
        let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
        answer_each(&mut tls, |_| {});
    });
    for (ca, verify, status, state) in
        [(&own.ca, "chain", 200, "UP"), (&other.ca, "chain", 502, "DOWN"), (&own.ca, "true", 502, "DOWN")]
    {
        let tls = format!("ca: {}, verify: {verify}", ca.display());
        let checked_farm =
            format!("checked: {{protocol: http, probe: {{type: https, {tls}}}, servers: {{a: \"{addr}\"}}}}");
        let servers = [Server::new("a", addr, &format!("probe: false, tls: {{{tls}}}"))];
        let farmgate = Farmgate::start(&Setup::http(&servers).another_farm(&checked_farm));
        assert_eq!(farmgate.client().get("/").status, status, "{tls}");
        let (_, checked) = farmgate.admin_get("/api/v1/farms/checked/servers/a");
        assert_eq!(checked["state"], state, "{tls}: {checked}");
    }
}
