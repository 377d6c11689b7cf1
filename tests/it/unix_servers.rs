//! Servers that are reached through a Unix socket: HTTP and raw TCP, their probes, and why they are down without one.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use crate::harness::{Behaviour, FAST, Farmgate, Origin, Server, Setup, TcpBehaviour, TcpOrigin, until};

/// A Unix socket whose connections are carried on to an origin; nobody can connect any more once it is dropped.
struct Bridge {
    path: PathBuf,
}

impl Bridge {
    fn open(path: &Path, to: SocketAddr) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let Ok(origin) = TcpStream::connect(to) else { continue };
                carry(client, origin);
            }
        });
        Self { path: path.to_owned() }
    }

    fn server(&self, name: &str, keys: &str) -> Server {
        Server::at(name, &format!("unix:{}", self.path.display()), keys)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn carry(client: UnixStream, origin: TcpStream) {
    let (client, origin) = (Arc::new(client), Arc::new(origin));
    let (from, to) = (Arc::clone(&client), Arc::clone(&origin));
    thread::spawn(move || {
        let _ = std::io::copy(&mut &*from, &mut &*to);
        let _ = to.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let _ = std::io::copy(&mut &*origin, &mut &*client);
        let _ = client.shutdown(Shutdown::Write);
    });
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    (dir, path)
}

#[test]
fn http_goes_through_a_unix_socket_and_its_connection_is_used_again() {
    let (_dir, path) = place();
    let origin = Origin::start("a");
    let bridge = Bridge::open(&path, origin.addr());
    let farmgate = Farmgate::start(&Setup::http(&[bridge.server("a", "")]).top("workers: 1"));
    for _ in 0..20 {
        assert_eq!(farmgate.client().get("/").text(), "a");
    }
    assert_eq!(origin.traffic_connections(), 1);
    let mut client = farmgate.client();
    origin.traffic(Behaviour::EchoBody);
    let body = vec![b'x'; 300_000];
    assert_eq!(client.request("POST", "/", &[], &body).body, body);
    let server = farmgate.server("a");
    let address = format!("unix:{}", path.display());
    assert_eq!((&server["address"], &server["state"]), (&address.as_str().into(), &"UP".into()));
}

#[test]
fn raw_tcp_goes_through_a_unix_socket_with_a_proxy_header_first() {
    let (_dir, path) = place();
    let origin = TcpOrigin::start("a", TcpBehaviour::Echo);
    let bridge = Bridge::open(&path, origin.addr());
    let farmgate = Farmgate::start(&Setup::tcp(&[bridge.server("a", "")]));
    let mut client = farmgate.client();
    assert_eq!(client.take(2).unwrap(), b"a\n");
    client.send("hello");
    assert_eq!(client.take(5).unwrap(), b"hello");
    client.finish_writes();
    assert_eq!(client.rest(), Ok(Vec::new()));
    let (_dir, path) = place();
    let listener = UnixListener::bind(&path).unwrap();
    let server = Server::at("a", &format!("unix:{}", path.display()), "proxy_protocol: v1, probe: false");
    let farmgate = Farmgate::start(&Setup::tcp(&[server]));
    let mut client = farmgate.client();
    client.send("x");
    let (mut stream, _) = listener.accept().unwrap();
    let want = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} ", client.local_addr().port());
    let mut said = Vec::new();
    BufReader::new(stream.try_clone().unwrap()).read_until(b'x', &mut said).unwrap();
    assert!(String::from_utf8(said).unwrap().starts_with(&want));
    stream.write_all(b"bye").unwrap();
    drop(stream);
    assert!(client.take(3).is_ok_and(|bytes| bytes == b"bye"));
}

#[test]
fn server_without_its_socket_is_down_and_says_so_until_it_is_there_again() {
    for (probe, passes) in [(FAST, "L7OK"), ("{type: tcp, interval: 200ms, timeout: 200ms}", "L4OK")] {
        let (_dir, path) = place();
        let origin = Origin::start("a");
        let bridge = Bridge::open(&path, origin.addr());
        let farmgate = Farmgate::start(&Setup::http(&[bridge.server("a", "")]).probe(probe));
        assert_eq!(farmgate.server("a")["last_check"]["status"], passes);
        drop(bridge);
        farmgate.wait_for_state("a", "DOWN");
        let why = farmgate.server("a").to_string();
        let want = format!("No such file or directory: {}", path.display());
        assert!(why.contains("L4CON") && why.contains(&want), "{why}");
        assert_eq!(farmgate.client().get("/").status, 503);
        let _again = Bridge::open(&path, origin.addr());
        farmgate.wait_for_state("a", "UP");
        until("requests to be served again", || (farmgate.client().get("/").status == 200).then_some(()));
    }
}

#[test]
fn drained_unix_server_gets_no_new_work_and_comes_back() {
    let (_dir, path) = place();
    let (behind, beside) = (Origin::start("a"), Origin::start("b"));
    let bridge = Bridge::open(&path, behind.addr());
    let servers = [bridge.server("a", ""), Server::new("b", beside.addr(), "")];
    let farmgate = Farmgate::start(&Setup::http(&servers));
    let answers = |n: usize| (0..n).map(|_| farmgate.client().get("/").text()).collect::<Vec<_>>();
    assert!(answers(8).iter().any(|name| name == "a"));
    farmgate.operate("POST", "/api/v1/farms/web/servers/a/drain", "{}");
    assert!(answers(20).iter().all(|name| name == "b"));
    farmgate.operate("POST", "/api/v1/farms/web/servers/a/ready", "{}");
    assert!(answers(8).iter().any(|name| name == "a"));
}
