//! Under a service manager: sockets that it opened (LISTEN_FDS), and what it is told when a process is replaced.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::harness::{BINARY, Client, Farmgate, Origin, PATIENCE, Server, Setup, until};
use crate::udp::{self, Echo};

use super::{Heirs, has_ended};

/// Makes standard input and output descriptors 3 and 4, as a service manager does, and says so to this very process.
const OPENED: &str = "exec 3<&0 4<&1 </dev/null >/dev/null; \
                      export LISTEN_PID=${OF:-$$} LISTEN_FDS=2 LISTEN_FDNAMES=some-name:another; exec \"$0\" \"$@\"";

/// Starts one that is handed two sockets, of which this process keeps none.
fn start(dir: &Arc<tempfile::TempDir>, setup: &Setup, first: OwnedFd, second: OwnedFd) -> Farmgate {
    let setup = setup.clone().top(&format!("upgrade_socket: \"{}\"", dir.path().join("u.sock").display()));
    let hand = |command: &mut Command| {
        command.stdin(Stdio::from(first)).stdout(Stdio::from(second));
    };
    Farmgate::start_by(dir, &setup, &["sh", "-c", OPENED, BINARY], hand)
}

#[test]
fn sockets_that_a_service_manager_opened_are_served_over_tcp_and_udp() {
    let (echo, origin) = (Echo::start("a"), Origin::start("a"));
    let (web, dns) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let (web_addr, dns_addr) = (web.local_addr().unwrap(), dns.local_addr().unwrap());
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")])
        .frontend(&format!("listen: [\"{web_addr}\"]"))
        .another_frontend(&format!("dns: {{protocol: udp, listen: [\"{dns_addr}\"], farm: dns}}"))
        .another_farm(&format!("dns: {{protocol: udp, timeouts: {{idle: 1s}}, servers: {{a: \"{}\"}}}}", echo.addr));
    // Who comes before anybody serves waits.
    let mut early = Client::connect(web_addr);
    early.send("GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    let mut farmgate = start(&dir, &setup, web.into(), dns.into());
    assert_eq!((farmgate.front("web"), farmgate.front("dns")), (web_addr, dns_addr));
    assert_eq!(early.response().status, 200);
    assert_eq!(udp::ask(&udp::client(), dns_addr, b"x"), "a:x");
    let mut heirs = Heirs::new();
    for _ in 0..2 {
        heirs.upgrade(&farmgate);
        assert_eq!(Client::connect(web_addr).get("/").status, 200);
        assert_eq!(udp::ask(&udp::client(), dns_addr, b"y"), "a:y");
    }
    assert_eq!(farmgate.wait().code(), Some(0));
    until("the second to end", || has_ended(&heirs.0[0]).then_some(()));
    heirs.end();
    assert!(Client::try_connect(web_addr).is_err(), "no process kept a socket that nobody accepts from");
}

#[test]
fn unix_and_admin_sockets_of_a_service_manager_are_served_and_its_file_stays() {
    let origin = Origin::start("a");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let path = dir.path().join("web.sock");
    let (web, admin) = (UnixListener::bind(&path).unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let admin_addr = admin.local_addr().unwrap();
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")])
        .frontend(&format!("listen: [\"unix:{}\"]", path.display()))
        .admin_listen(&admin_addr.to_string());
    let mut farmgate = start(&dir, &setup, web.into(), admin.into());
    assert_eq!(farmgate.admin_addr(), admin_addr);
    let mut heirs = Heirs::new();
    heirs.upgrade(&farmgate);
    assert_eq!(farmgate.wait().code(), Some(0));
    farmgate.wait_for_state("a", "UP");
    heirs.end();
    assert!(path.exists(), "the service manager listens there still");
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let origin = Origin::start("a");
    let (web, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = web.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]).frontend(&format!("listen: [\"{address}\"]"));
    std::fs::write(dir.path().join("f.yaml"), setup.yaml()).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", OPENED, BINARY, "run", "-c", "f.yaml"]).current_dir(dir.path()).env("OF", "1");
    command.stdin(Stdio::from(OwnedFd::from(web))).stdout(Stdio::from(OwnedFd::from(other))).stderr(Stdio::piped());
    let ended = command.spawn().unwrap().wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("cannot listen on {address}: the address is in use")), "{text}");
}

/// Everything that a service manager was told until `last` came, message by message.
fn notices(socket: &UnixDatagram, last: impl Fn(&str) -> bool) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        let mut bytes = [0; 4096];
        let n = socket.recv(&mut bytes).unwrap_or_else(|e| panic!("told {told:?} and then no more: {e}"));
        let text = String::from_utf8_lossy(&bytes[..n]).trim_end().replace('\n', " ");
        let is_last = last(&text);
        told.push(text);
        if is_last {
            return told;
        }
    }
}

#[test]
fn service_manager_is_told_who_serves_now_and_nothing_is_stopping() {
    let origin = Origin::start("a");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let path = dir.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")])
        .top(&format!("upgrade_socket: \"{}\"", dir.path().join("u.sock").display()));
    let mut farmgate = Farmgate::start_in(&dir, &setup, &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    assert_eq!(notices(&socket, |_| true), ["READY=1"]);
    let whole = std::fs::read_to_string(farmgate.config_path()).unwrap();

    std::fs::write(farmgate.config_path(), "service: it\nfrontends: nonsense\n").unwrap();
    farmgate.signal("USR2");
    let told = notices(&socket, |text| text == "READY=1");
    assert!(told.len() == 2 && told[0].starts_with("RELOADING=1 MONOTONIC_USEC="), "a failed upgrade: {told:?}");

    std::fs::write(farmgate.config_path(), whole).unwrap();
    let mut heirs = Heirs::new();
    heirs.upgrade(&farmgate);
    let main = format!("MAINPID={} READY=1", heirs.0[0]);
    let mut told = notices(&socket, |text| text == main);
    assert_eq!(farmgate.wait().code(), Some(0));
    if !told.contains(&"READY=1".to_owned()) {
        told.extend(notices(&socket, |text| text == "READY=1"));
    }
    assert!(told[0].starts_with("RELOADING=1 MONOTONIC_USEC="), "{told:?}");
    assert!(!told.iter().any(|text| text.contains("STOPPING")), "{told:?}");
    heirs.end();
    let told = notices(&socket, |text| text.contains("STOPPING=1"));
    assert_eq!(told.len(), 1, "{told:?}");
}
