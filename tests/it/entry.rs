//! How clients come in: PROXY headers, networks that may connect, counts, Unix sockets, and what is spoken.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::harness::{Behaviour, Client, Farmgate, Fault, Origin, Server, Setup, run_to_end, until};

/// A proxy that begins every connection from this host with a PROXY header.
const INTRODUCED: &str = "accept_proxy: {from: [\"127.0.0.0/8\"]}";

fn echo() -> (Origin, Setup) {
    let origin = Origin::start("a");
    origin.traffic(Behaviour::EchoHead);
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]);
    (origin, setup)
}

/// How many clients were refused for that reason.
fn refused(farmgate: &Farmgate, reason: &str) -> f64 {
    let reason = format!("reason=\"{reason}\"");
    farmgate.metric("farmgate_frontend_refused_total", &["frontend=\"web\"", &reason]).unwrap_or(0.0)
}

#[track_caller]
fn wait_refused(farmgate: &Farmgate, reason: &str, want: f64) {
    until(&format!("{want} refused for {reason}"), || (refused(farmgate, reason) >= want).then_some(()));
    assert!((refused(farmgate, reason) - want).abs() < 0.1, "{reason}: {}", refused(farmgate, reason));
}

/// A connection that is closed without an answer, whether by a reset or not.
#[track_caller]
fn assert_closed(client: &mut Client) {
    match client.take(1) {
        Err(Fault::Closed(0) | Fault::Reset(0)) => {}
        other => panic!("the connection is open: {other:?}"),
    }
}

#[test]
fn proxy_header_says_who_the_client_is() {
    let (_origin, setup) = echo();
    let farmgate = Farmgate::start(&setup.frontend(INTRODUCED));
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x07\xc6\x33\x64\x01\x10\x00\x01\xbb\x04\0\0".to_vec();
    let v6 = b"PROXY TCP6 2001:db8::7 ::1 1 443\r\n".to_vec();
    for (header, want) in [
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n".to_vec(), "192.0.2.7"),
        (v6, "2001:db8::7"),
        (v2, "192.0.2.7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(), "127.0.0.1"),
    ] {
        let mut client = farmgate.client();
        client.send(&header);
        for _ in 0..2 {
            let head = client.get("/").text();
            assert!(head.to_lowercase().contains(&format!("x-forwarded-for: {want}\n")), "{header:?}: {head}");
        }
        // All at once, and byte by byte.
        let request = b"GET / HTTP/1.1\r\nHost: test.example\r\nConnection: close\r\n\r\n";
        for size in [1000, 1] {
            let mut client = farmgate.client();
            for piece in [&header[..], request].concat().chunks(size) {
                client.send(piece);
            }
            let head = client.try_response_to("GET").unwrap().text();
            assert!(head.to_lowercase().contains(&format!("x-forwarded-for: {want}\n")), "{header:?}: {head}");
        }
    }
}

#[test]
fn client_that_must_introduce_itself_and_does_not_is_refused() {
    let (_origin, setup) = echo();
    let farmgate = Farmgate::start(&setup.frontend(INTRODUCED).frontend("timeouts: {handshake: 1s}"));
    for bytes in
        ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PROXY TCP4 192.0.2.7\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n"]
    {
        let mut client = farmgate.client();
        client.send(bytes);
        assert_closed(&mut client);
    }
    wait_refused(&farmgate, "proxy_header", 3.0);
    let mut silent = farmgate.client();
    silent.send("PROXY TC");
    assert_closed(&mut silent);
    wait_refused(&farmgate, "proxy_header_timeout", 1.0);
}

#[test]
fn proxy_header_of_anybody_else_is_not_read() {
    let (_origin, setup) = echo();
    let farmgate = Farmgate::start(&setup.frontend("accept_proxy: {from: [\"127.0.0.2\"]}"));
    let mut client = farmgate.client();
    client.send("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.try_response_to("GET").unwrap().status, 400);
    assert_eq!(farmgate.client().get("/").status, 200, "nor is one asked for");
}

#[test]
fn networks_that_may_not_connect_are_refused_and_others_are_not() {
    for keys in ["allow: [\"127.0.0.1\", \"::1\"]", "deny: [\"127.0.0.2/31\"]"] {
        let (_origin, setup) = echo();
        let farmgate = Farmgate::start(&setup.frontend(keys));
        assert_eq!(farmgate.client().get("/").status, 200, "{keys}");
        assert_closed(&mut Client::connect_from([127, 0, 0, 3], farmgate.front("web")));
        wait_refused(&farmgate, "source_denied", 1.0);
    }
}

#[test]
fn networks_are_asked_about_whom_the_proxy_header_names() {
    let (_origin, setup) = echo();
    let farmgate = Farmgate::start(&setup.frontend(INTRODUCED).frontend("allow: [\"192.0.2.0/24\"]"));
    for (source, may) in [("192.0.2.7", true), ("198.51.100.7", false)] {
        let mut client = farmgate.client();
        client.send(format!("PROXY TCP4 {source} 198.51.100.1 56324 443\r\n"));
        if may {
            assert_eq!(client.get("/").status, 200);
        } else {
            assert_closed(&mut client);
        }
    }
    wait_refused(&farmgate, "source_denied", 1.0);
}

#[test]
fn connections_of_a_frontend_are_bounded_exactly() {
    let (_origin, setup) = echo();
    let farmgate = Farmgate::start(&setup.frontend("limits: {connections: 10}"));
    let mut open: Vec<_> = (0..10).map(|_| farmgate.client()).collect();
    for client in &mut open {
        assert_eq!(client.get("/").status, 200);
    }
    assert_closed(&mut farmgate.client());
    wait_refused(&farmgate, "connection_limit", 1.0);
    open.pop();
    until("a place to be free", || farmgate.client().try_request("GET", "/", &[], b"").ok());
}

#[test]
fn connections_of_one_source_are_bounded_and_others_are_not_kept_out() {
    let (_origin, setup) = echo();
    let farmgate = Farmgate::start(&setup.frontend("limits: {connections_per_source: 3}"));
    let front = farmgate.front("web");
    let mut open: Vec<_> = (0..3).map(|_| farmgate.client()).collect();
    for client in &mut open {
        assert_eq!(client.get("/").status, 200);
    }
    assert_closed(&mut farmgate.client());
    wait_refused(&farmgate, "source_limit", 1.0);
    assert_eq!(Client::connect_from([127, 0, 0, 2], front).get("/").status, 200);
    drop(open);
    until("the source to be let in again", || farmgate.client().try_request("GET", "/", &[], b"").ok());
}

#[test]
fn sources_are_counted_by_whom_the_proxy_header_names() {
    let (_origin, setup) = echo();
    let farmgate = Farmgate::start(&setup.frontend(INTRODUCED).frontend("limits: {connections_per_source: 1}"));
    let from = |source: &str| {
        let mut client = farmgate.client();
        client.send(format!("PROXY TCP4 {source} 198.51.100.1 56324 443\r\n"));
        client
    };
    let mut first = from("192.0.2.7");
    assert_eq!(first.get("/").status, 200);
    let mut other = from("192.0.2.8");
    assert_eq!(other.get("/").status, 200);
    assert_closed(&mut from("192.0.2.7"));
    wait_refused(&farmgate, "source_limit", 1.0);
}

fn unix_get(path: &std::path::Path, before: &str) -> Option<String> {
    let mut stream = UnixStream::connect(path).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "{before}GET / HTTP/1.1\r\nHost: test.example\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.to_lowercase())
}

#[test]
fn unix_socket_serves_survives_reloads_and_is_removed_with_its_listener() {
    let (_origin, setup) = echo();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.sock");
    let listen = format!("listen: [\"127.0.0.1:0\", \"unix:{}\"]", path.display());
    // One more, as processes leave them behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let with = setup.clone().frontend(&listen).frontend("limits: {connections_per_source: 1}");
    let mut farmgate = Farmgate::start(&with);
    let inode = |path: &std::path::Path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap());
    let before = inode(&path);
    let held = UnixStream::connect(&path).unwrap();
    for _ in 0..8 {
        let answer = unix_get(&path, "").unwrap();
        assert!(answer.starts_with("http/1.1 200") && answer.contains("x-forwarded-for: 127.0.0.1\n"), "{answer}");
    }
    assert_eq!(farmgate.reload(&with.clone().farm("balance: leastconn").yaml()).status, 200);
    assert_eq!(inode(&path), before);
    assert!(unix_get(&path, "").is_some());
    drop(held);
    assert_eq!(farmgate.reload(&setup.yaml()).status, 200);
    until("the socket to be gone", || (!path.exists()).then_some(()));
    assert_eq!(farmgate.reload(&with.yaml()).status, 200);
    until("the socket to be back", || unix_get(&path, ""));
    farmgate.signal("TERM");
    assert!(farmgate.wait().success());
    assert!(!path.exists(), "the process leaves no socket behind");
}

#[test]
fn path_that_cannot_be_listened_on_is_told_with_what_helps_against_that() {
    let (_origin, setup) = echo();
    let dir = tempfile::tempdir().unwrap();
    let (busy, file) = (dir.path().join("busy.sock"), dir.path().join("file"));
    let _listener = std::os::unix::net::UnixListener::bind(&busy).unwrap();
    std::fs::write(&file, "precious").unwrap();
    let in_use = "the address is in use; stop the process that listens there (`ss -lxp` names it), remove the file if it is no \
                  socket, or choose another path";
    for (path, why) in [
        (busy, in_use),
        (file.clone(), in_use),
        (dir.path().join("none/web.sock"), "its directory does not exist; make its directory or choose another path"),
    ] {
        let listen = format!("listen: [\"unix:{}\"]", path.display());
        std::fs::write(dir.path().join("f.yaml"), setup.clone().frontend(&listen).yaml()).unwrap();
        let ended = run_to_end(dir.path(), &["run", "-c", "f.yaml"], &[]);
        assert_eq!(ended.code, Some(1), "{}", ended.text);
        let want = format!("frontend \"web\": cannot listen on unix:{}: {why}", path.display());
        assert!(ended.text.contains(&want), "{want:?} is missing in:\n{}", ended.text);
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "precious");
}

#[test]
fn unix_socket_takes_proxy_headers_from_this_host() {
    let (_origin, setup) = echo();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.sock");
    let listen = format!("listen: [\"unix:{}\"]", path.display());
    let farmgate = Farmgate::start(&setup.frontend(&listen).frontend(INTRODUCED));
    let answer = unix_get(&path, "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n").unwrap();
    assert!(answer.contains("x-forwarded-for: 192.0.2.7\n"), "{answer}");
    assert_eq!(unix_get(&path, "").unwrap_or_default(), "");
    wait_refused(&farmgate, "proxy_header", 1.0);
}

#[test]
fn frontend_with_h2c_serves_http_1_however_it_arrives() {
    let (_origin, setup) = echo();
    let farmgate = Farmgate::start(&setup.frontend("h2c: true").frontend("timeouts: {header: 1s}"));
    for size in [1, 2, 1000] {
        let mut client = farmgate.client();
        for piece in b"PROPFIND /a HTTP/1.1\r\nHost: test.example\r\n\r\n".chunks(size) {
            client.send(piece);
        }
        assert!(client.try_response_to("PROPFIND").unwrap().text().starts_with("PROPFIND /a\n"));
        assert_eq!(client.get("/b").status, 200);
    }
    let mut dripping = farmgate.client();
    dripping.send("PRI * HT");
    assert_closed(&mut dripping);
    wait_refused(&farmgate, "header_timeout", 1.0);
}
