//! Checks that speak as the servers of a farm are spoken to, each in its own manner.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use super::{Shape, at, server, with};
use crate::harness::{Client, Origin, place, until};
use crate::to_servers::{Certified, answer_each, server as serve};

/// A server that wants a PROXY header first, or TLS, or both, and answers nothing else.
fn picky(wants_proxy: bool, tls: Option<&Arc<ServerConfig>>) -> SocketAddr {
    let tls = tls.cloned();
    let (addr, _) = serve(move |mut stream| {
        let mut line = Vec::new();
        while wants_proxy && !line.ends_with(b"\r\n") {
            let mut byte = [0];
            if std::io::Read::read(&mut stream, &mut byte).unwrap_or(0) == 0 || line.len() > 107 {
                return;
            }
            line.push(byte[0]);
        }
        if wants_proxy && !line.starts_with(b"PROXY TCP4 ") {
            return;
        }
        match &tls {
            None => answer_each(&mut stream, |_| {}),
            Some(config) => {
                let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                answer_each(&mut StreamOwned::new(connection, stream), |_| {});
            }
        }
    });
    addr
}

#[test]
fn farm_of_unlike_servers_is_checked_as_each_is_spoken_to() {
    let of_file = Origin::start("file");
    let shape = Shape::start(&of_file);
    let dir = tempfile::tempdir().unwrap();
    let (own, other) = (Certified::new(dir.path(), "own.example"), Certified::new(dir.path(), "other.example"));
    let [chain, others] = [&own.ca, &other.ca].map(|file| std::fs::read_to_string(file).unwrap());
    let tls = Some(&own.config);
    let probe = json!({"type": "http", "interval": 1, "match": "contains", "pattern": "served"});
    let farm = shape.make("/http/farm", "farmId", json!({"zone": "all", "probe": probe}));
    let servers = format!("/http/farm/{farm}/server");
    let unlike = [
        (picky(false, None), json!({}), "UP"),
        (picky(true, None), json!({"proxyProtocolVersion": "v1"}), "UP"),
        (picky(false, tls), json!({"ssl": true}), "UP"),
        (picky(false, tls), json!({"ssl": true, "chain": chain}), "UP"),
        (picky(true, tls), json!({"ssl": true, "chain": chain, "proxyProtocolVersion": "v1"}), "UP"),
        (picky(false, tls), json!({"ssl": true, "chain": others}), "DOWN"),
        (picky(false, tls), json!({}), "DOWN"),
        (picky(true, None), json!({}), "DOWN"),
    ];
    let made = unlike.map(|(addr, more, state)| {
        let id = shape.make(&servers, "serverId", with(server(addr, more.clone()), json!({"probe": true})));
        (format!("{servers}/{id}"), more, state)
    });
    let front = place();
    shape.make("/http/frontend", "frontendId", with(at(front), json!({"defaultFarmId": farm})));
    shape.refreshed();
    for (part, more, state) in made {
        let seen = shape.state(&part, state);
        assert_eq!(seen["checkCode"] == "200", state == "UP", "{more}: {seen}");
    }
    for _ in 0..10 {
        let response = Client::connect(front).get("/");
        assert_eq!((response.status, response.text().as_str()), (200, "served"));
    }
}

#[test]
fn server_in_tls_is_trusted_by_its_chain_whatever_the_name_in_its_certificate() {
    let of_file = Origin::start("file");
    let shape = Shape::start(&of_file);
    let dir = tempfile::tempdir().unwrap();
    let (own, other) = (Certified::new(dir.path(), "own.example"), Certified::new(dir.path(), "other.example"));
    let [chain, others] = [&own.ca, &other.ca].map(|file| std::fs::read_to_string(file).unwrap());
    let farm = shape.make("/http/farm", "farmId", json!({"zone": "all"}));
    let servers = format!("/http/farm/{farm}/server");
    let one = server(picky(false, Some(&own.config)), json!({"ssl": true, "chain": others}));
    let one = format!("{servers}/{}", shape.make(&servers, "serverId", one));
    let front = place();
    shape.make("/http/frontend", "frontendId", with(at(front), json!({"defaultFarmId": farm})));
    shape.refreshed();
    assert_eq!(Client::connect(front).get("/").status, 502, "it is of another authority");
    shape.ok("PUT", &one, json!({"chain": chain}));
    shape.refreshed();
    until("the server to be trusted", || (Client::connect(front).get("/").status == 200).then_some(()));
    assert_eq!(shape.get(&one)["chain"], chain);
}
