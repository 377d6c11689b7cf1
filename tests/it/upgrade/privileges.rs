//! Ports that only root may bind: by root, who becomes another user, and by a user with that one capability. As root
//! only; elsewhere each test says that it asks nothing.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::harness::{BINARY, Client, Farmgate, Origin, Server, Setup, run_to_end, until};

use super::{Heirs, status_of};

const NOBODY: u32 = 65_534;

/// Why a test cannot ask anything here, if it cannot.
fn hindrance(needs: &[&str]) -> Option<String> {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        return Some("not root".to_owned());
    }
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if first.trim() != "1024" {
        return Some(format!("anybody may bind ports from {} on here", first.trim()));
    }
    let is_there =
        |program: &str| Command::new(program).arg("--version").output().is_ok_and(|done| done.status.success());
    needs.iter().find(|program| !is_there(program)).map(|program| format!("there is no {program}"))
}

#[expect(clippy::print_stderr, reason = "who reads the outcome must know what was not asked")]
fn is_hindered(needs: &[&str]) -> bool {
    let why = hindrance(needs);
    if let Some(why) = &why {
        eprintln!("asked nothing: {why}");
    }
    why.is_some()
}

/// An address of this machine with a free port below 1024.
fn low() -> SocketAddr {
    let from = std::process::id() % 300;
    let mut ports = (600..1024).map(|n| 600 + (n + from) % 424).map(|port| u16::try_from(port).unwrap());
    ports.find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()?.local_addr().ok()).expect("a free port")
}

/// A directory that nobody in particular may use, with the program in it.
fn open_dir() -> (Arc<tempfile::TempDir>, String) {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let program = dir.path().join("farmgate");
    if std::fs::hard_link(BINARY, &program).is_err() {
        std::fs::copy(BINARY, &program).unwrap();
    }
    let program = program.to_str().unwrap().to_owned();
    (dir, program)
}

fn setup(origin: &Origin, address: SocketAddr, dir: &Path) -> Setup {
    Setup::http(&[Server::new("a", origin.addr(), "")])
        .frontend(&format!("listen: [\"{address}\"]"))
        .top(&format!("upgrade_socket: \"{}\"", dir.join("u.sock").display()))
}

#[test]
fn root_becomes_the_user_of_the_config_for_good_and_keeps_its_low_port() {
    if is_hindered(&[]) {
        return;
    }
    let (origin, address) = (Origin::start("a"), low());
    let (dir, program) = open_dir();
    let state = dir.path().join("state");
    let setup =
        setup(&origin, address, dir.path()).top("user: nobody").top(&format!("state_dir: \"{}\"", state.display()));
    let mut farmgate = Farmgate::start_by(&dir, &setup, &[&program], |_| {});
    let first = farmgate.pid().to_string();
    let is_nobody = |pid: &str| {
        for key in ["Uid", "Gid"] {
            assert_eq!(status_of(pid, key), format!("{NOBODY} {NOBODY} {NOBODY} {NOBODY}"), "{key}");
        }
        assert!(!status_of(pid, "Groups").split(' ').any(|group| group == "0"));
        for key in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            assert_eq!(status_of(pid, key), "0000000000000000", "{key}");
        }
    };
    is_nobody(&first);
    assert_eq!(Client::connect(address).get("/").status, 200);
    farmgate.wait_for_state("a", "UP");
    let mut heirs = Heirs::new();
    heirs.upgrade(&farmgate);
    is_nobody(&heirs.0[0]);
    assert_eq!(farmgate.wait().code(), Some(0));
    assert_eq!(Client::connect(address).get("/").status, 200);
    let other = low();
    let more = setup.another_frontend(&format!("more: {{protocol: http, listen: [\"{other}\"], farm: web}}"));
    let refused = farmgate.reload(&more.yaml());
    assert_eq!(refused.status, 422, "{}", refused.text());
    let why = format!(
        "cannot listen on {other}: permission denied; run with CAP_NET_BIND_SERVICE or choose a port above 1023"
    );
    assert!(refused.text().contains(&why), "{}", refused.text());
}

#[test]
fn user_without_privileges_binds_low_ports_with_that_one_capability_only() {
    if is_hindered(&["setpriv"]) {
        return;
    }
    let (origin, address) = (Origin::start("a"), low());
    let (dir, program) = open_dir();
    let setup = setup(&origin, address, dir.path());
    let (reuid, regid) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
    let as_nobody = ["setpriv", &reuid, &regid, "--clear-groups"];
    let with = ["--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service", &program];
    let farmgate = Farmgate::start_by(&dir, &setup, &[&as_nobody[..], &with[..]].concat(), |_| {});
    let pid = farmgate.pid().to_string();
    assert_eq!(status_of(&pid, "Uid"), format!("{NOBODY} {NOBODY} {NOBODY} {NOBODY}"));
    assert_eq!(status_of(&pid, "CapEff"), "0000000000000400");
    until("an answer", || (Client::connect(address).get("/").status == 200).then_some(()));
    let mut heirs = Heirs::new();
    heirs.upgrade(&farmgate);
    assert_eq!(Client::connect(address).get("/").status, 200);
    let other = low();
    let more = setup.another_frontend(&format!("more: {{protocol: http, listen: [\"{other}\"], farm: web}}"));
    assert_eq!(farmgate.reload(&more.yaml()).status, 200, "the capability is kept");
    let without = [&as_nobody[..], &[&program, "run", "-c", "farmgate.yaml"]].concat();
    heirs.end();
    let ended = Command::new(without[0]).args(&without[1..]).current_dir(dir.path()).output().unwrap();
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{text}");
    assert!(text.contains("permission denied; run with CAP_NET_BIND_SERVICE or choose a port above 1023"), "{text}");
}

#[test]
fn user_that_does_not_exist_or_cannot_be_become_is_named() {
    let origin = Origin::start("a");
    let dir = tempfile::tempdir().unwrap();
    let config = |user: &str| {
        let setup = Setup::http(&[Server::new("a", origin.addr(), "")]).top(&format!("user: {user}"));
        std::fs::write(dir.path().join("f.yaml"), setup.yaml()).unwrap();
    };
    config("no-such-user-here");
    let ended = run_to_end(dir.path(), &["run", "-c", "f.yaml"], &[]);
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    assert!(
        ended.text.contains("user: there is no user \"no-such-user-here\"; make it, or name another"),
        "{}",
        ended.text
    );
}
