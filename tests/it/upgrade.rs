//! A new process takes over while clients ask: none of them notices, and what operators said holds.

mod asked_for;
mod every_listener;
mod privileges;
mod supervised;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use regex::Regex;

use crate::harness::{Behaviour, Client, Farmgate, OPS_TOKEN, Origin, Server, Setup, place, until};

/// How often a process is replaced under load.
const UPGRADES: usize = 4;

/// The processes that took over, the one that serves last; killed when dropped, for nobody else has them as children.
struct Heirs(Vec<String>);

impl Drop for Heirs {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = Command::new("kill").args(["-s", "KILL", pid]).stderr(std::process::Stdio::null()).status();
        }
    }
}

impl Heirs {
    fn new() -> Self {
        Self(Vec::new())
    }

    /// Has the process that serves replaced, and waits until it is.
    #[track_caller]
    fn upgrade(&mut self, farmgate: &Farmgate) {
        match self.0.last() {
            None => farmgate.signal("USR2"),
            Some(pid) => assert!(Command::new("kill").args(["-s", "USR2", pid]).status().unwrap().success()),
        }
        self.expect(farmgate);
    }

    /// Waits until one more process serves, as the log tells, and keeps its id.
    #[track_caller]
    fn expect(&mut self, farmgate: &Farmgate) {
        let number = Regex::new(r#""pid":(\d+)|pid=(\d+)"#).unwrap();
        let pid = until("the new process to serve", || {
            let log = farmgate.log();
            let line = log.lines().filter(|line| line.contains("the new process serves")).nth(self.0.len())?;
            let found = number.captures(line)?;
            found.get(1).or_else(|| found.get(2)).map(|pid| pid.as_str().to_owned())
        });
        self.0.push(pid);
    }

    /// Ends the one that serves, in peace, and waits until it is gone.
    #[track_caller]
    fn end(&mut self) {
        let pid = self.0.pop().unwrap();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        until("the process to end", || has_ended(&pid).then_some(()));
    }
}

/// Whether a process is gone, or waits for nothing but its parent.
fn has_ended(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('Z')))
}

/// A line of what the system says of a process.
fn status_of(pid: &str, key: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn started(origin: &Origin, dir: &Arc<tempfile::TempDir>) -> Farmgate {
    let state = dir.path().join("state");
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]).top(&format!("state_dir: \"{}\"", state.display()));
    Farmgate::start_in(dir, &setup, &[])
}

#[test]
fn upgrades_under_load_fail_no_request() {
    let origin = Origin::start("a");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let mut heirs = Heirs::new();
    let mut farmgate = started(&origin, &dir);
    farmgate.wait_for_state("a", "UP");
    let front = farmgate.front("web");
    let is_over = AtomicBool::new(false);
    let asked = [const { AtomicUsize::new(0) }; 4];
    let ask = |n: usize, is_kept: bool| {
        let mut client = Client::connect(front);
        while !is_over.load(SeqCst) {
            if !is_kept {
                client = Client::connect(front);
            }
            let response = client.try_request("GET", "/", &[], b"").unwrap_or_else(|fault| panic!("{fault:?}"));
            assert_eq!(response.status, 200, "{}", response.text());
            asked[n].fetch_add(1, SeqCst);
            if response.header("connection") == Some("close") {
                client = Client::connect(front);
            }
        }
    };
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..asked.len()).map(|n| scope.spawn(move || ask(n, n % 2 == 0))).collect();
        for _ in 0..UPGRADES {
            let before = asked.each_ref().map(|count| count.load(SeqCst));
            until("requests before an upgrade", || {
                asked.iter().zip(before).all(|(count, before)| count.load(SeqCst) > before + 20).then_some(())
            });
            if asking.iter().any(std::thread::ScopedJoinHandle::is_finished) {
                break;
            }
            heirs.upgrade(&farmgate);
        }
        is_over.store(true, SeqCst);
    });
    assert_eq!(heirs.0.len(), UPGRADES);
    assert_eq!(farmgate.wait().code(), Some(0), "who was replaced ends by itself");
    assert_eq!(Client::connect(front).get("/").status, 200);
}

#[test]
fn upgrade_keeps_tunnels_orders_and_the_admin_sides_address() {
    let origin = Origin::doing("a", Behaviour::Upgrade);
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let mut heirs = Heirs::new();
    let mut farmgate = started(&origin, &dir);
    farmgate.wait_for_state("a", "UP");
    farmgate.operate("PUT", "/api/v1/farms/web/servers/a/weight", r#"{"weight": 2}"#);
    let mut tunnel = farmgate.client();
    tunnel.send("GET / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(tunnel.head().status, 101);
    heirs.upgrade(&farmgate);
    tunnel.send("still there?");
    assert_eq!(tunnel.take(12).unwrap(), b"still there?");
    let server = until("the new process to answer", || {
        let response = Client::connect(farmgate.admin_addr())
            .try_request(
                "GET",
                "/api/v1/farms/web/servers/a",
                &[("Authorization", &format!("Bearer {OPS_TOKEN}"))],
                b"",
            )
            .ok()?;
        (response.status == 200).then(|| response.json())
    });
    assert_eq!(server["weight"], 2, "{server}");
    assert!(farmgate.is_running(), "the tunnel is kept");
    drop(tunnel);
    assert_eq!(farmgate.wait().code(), Some(0));
    farmgate.operate("POST", "/api/v1/farms/web/servers/a/maintenance", "");
    assert_eq!(farmgate.server("a")["state"], "MAINT");
}

#[test]
fn upgrade_that_fails_leaves_the_old_process_as_it_was() {
    let origin = Origin::start("a");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let mut farmgate = started(&origin, &dir);
    farmgate.wait_for_state("a", "UP");
    std::fs::write(farmgate.config_path(), "service: it\nfrontends: nonsense\n").unwrap();
    farmgate.signal("USR2");
    until("the refusal", || farmgate.log().contains("upgrade refused: this process goes on").then_some(()));
    assert!(farmgate.log().contains("farmgate.yaml:2:12 frontends: "), "{}", farmgate.log());
    assert!(farmgate.is_running());
    assert_eq!(farmgate.client().get("/").status, 200);
    farmgate.operate("PUT", "/api/v1/farms/web/servers/a/weight", r#"{"weight": 3}"#);
    assert_eq!(farmgate.server("a")["weight"], 3);
    assert!(!dir.path().join("state/farmgate-upgrade.sock").exists());
}

#[test]
fn upgrade_keeps_what_was_made_through_the_api() {
    let origin = Origin::start("a");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let mut heirs = Heirs::new();
    let state = dir.path().join("state");
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")])
        .top("service: {name: it, addresses: [\"0.0.0.0\"], api_ports: \"1024-65535\"}")
        .top(&format!("state_dir: \"{}\"", state.display()));
    let farmgate = Farmgate::start_in(&dir, &setup, &[]);
    let front = place();
    let farm = format!(r#"{{"name": "shop", "protocol": "http", "servers": {{"x": "{}"}}}}"#, origin.addr());
    farmgate.operate("POST", "/api/v1/farms", &farm);
    let frontend = format!(r#"{{"name": "shop", "protocol": "http", "listen": ["{front}"], "farm": "shop"}}"#);
    farmgate.operate("POST", "/api/v1/frontends", &frontend);
    farmgate.operate("PATCH", "/api/v1/farms/shop?stage=local", r#"{"balance": "first"}"#);
    assert_eq!(Client::connect(front).get("/").status, 200);
    heirs.upgrade(&farmgate);
    assert_eq!(Client::connect(front).get("/").status, 200);
    let (status, staged) = farmgate.admin_get("/api/v1/staged");
    assert_eq!((status, &staged["pending"][0]["zone"]), (200, &"local".into()), "{staged}");
    farmgate.operate("PATCH", "/api/v1/farms/shop", r#"{"balance": "random"}"#);
    farmgate.operate("DELETE", "/api/v1/frontends/shop", "");
    until("the listener to close", || Client::try_connect(front).is_err().then_some(()));
}

#[test]
fn upgrade_refused_once_sockets_were_taken_leaves_the_file_of_a_unix_socket() {
    let origin = Origin::start("a");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let path = dir.path().join("web.sock");
    let (file, state) = (path.display(), dir.path().join("state"));
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")])
        .frontend(&format!("listen: [\"127.0.0.1:0\", \"unix:{file}\"]"))
        .top(&format!("state_dir: {}", state.display()));
    let mut farmgate = Farmgate::start_in(&dir, &setup, &[]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let also = format!("other: {{protocol: http, listen: [\"{}\"], farm: web}}", taken.local_addr().unwrap());
    std::fs::write(farmgate.config_path(), setup.clone().another_frontend(&also).yaml()).unwrap();
    farmgate.signal("USR2");
    until("the refusal", || farmgate.log().contains("upgrade refused: this process goes on").then_some(()));
    assert!(farmgate.is_running());
    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok(), "{}", farmgate.log());
    std::fs::write(farmgate.config_path(), setup.yaml()).unwrap();
    let mut heirs = Heirs::new();
    heirs.upgrade(&farmgate);
    assert_eq!(farmgate.wait().code(), Some(0));
    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    heirs.end();
    assert!(!path.exists(), "whoever took the sockets over removes the file");
}
