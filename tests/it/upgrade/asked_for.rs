//! `farmgate upgrade`: who took over, or why nobody did.

use std::path::Path;
use std::sync::Arc;

use regex::Regex;

use crate::harness::{BINARY, Client, EYE_TOKEN, Farmgate, Origin, Server, Setup, run_to_end, until};

use super::Heirs;

fn one(more: impl FnOnce(Setup) -> Setup) -> (Origin, Arc<tempfile::TempDir>, Farmgate) {
    let origin = Origin::start("a");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let state = dir.path().join("state");
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]).top(&format!("state_dir: \"{}\"", state.display()));
    let farmgate = Farmgate::start_in(&dir, &more(setup), &[]);
    farmgate.wait_for_state("a", "UP");
    (origin, dir, farmgate)
}

/// A program at another path, which is this one.
fn copy(dir: &Path) -> String {
    let path = dir.join("farmgate-next");
    if std::fs::hard_link(BINARY, &path).is_err() {
        std::fs::copy(BINARY, &path).unwrap();
    }
    path.to_str().unwrap().to_owned()
}

/// What was answered is what the process itself says: it went on.
#[track_caller]
fn goes_on(farmgate: &mut Farmgate) {
    assert!(farmgate.is_running());
    assert_eq!(farmgate.client().get("/").status, 200);
    farmgate.operate("PUT", "/api/v1/farms/web/servers/a/weight", r#"{"weight": 3}"#);
    assert_eq!(farmgate.server("a")["weight"], 3);
}

#[test]
fn command_returns_once_another_process_serves_and_says_which() {
    let (_origin, _dir, mut farmgate) = one(|setup| setup);
    let mut heirs = Heirs::new();
    let first = farmgate.pid();
    let said = farmgate.cli(&["upgrade", "--reason", "0.3"]);
    heirs.expect(&farmgate);
    assert_eq!(said.code, Some(0), "{}", said.text);
    let want = format!("upgraded: process {} serves, process {first} finishes what is open\n", heirs.0[0]);
    assert_eq!(said.text, want);
    assert_eq!(farmgate.wait().code(), Some(0));
    assert_eq!(farmgate.client().get("/").status, 200);
    let again = farmgate.cli(&["upgrade"]);
    let number = Regex::new(r"process (\d+) serves, process (\d+) ").unwrap();
    let found = number.captures(&again.text).unwrap_or_else(|| panic!("{}", again.text));
    assert_eq!(&found[2], heirs.0[0]);
    heirs.0.push(found[1].to_owned());
    assert_eq!(farmgate.client().get("/").status, 200);
}

#[test]
fn command_tells_every_reason_why_nobody_took_over() {
    let (_origin, _dir, mut farmgate) = one(|setup| setup);
    let whole = std::fs::read_to_string(farmgate.config_path()).unwrap();
    std::fs::write(farmgate.config_path(), "service: it\nfrontends: nonsense\ncolour: blue\n").unwrap();
    let said = farmgate.cli(&["upgrade"]);
    assert_eq!(said.code, Some(1), "{}", said.text);
    for what in [
        "refused: no new process took over and the running one goes on; see details",
        "farmgate.yaml:2:12 frontends: ",
        "farmgate.yaml:3:1 colour: ",
        "the new process ended: exit status: 78",
    ] {
        assert!(said.text.contains(what), "{what:?} is missing in:\n{}", said.text);
    }
    goes_on(&mut farmgate);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let extra = format!("frontends:\n  more: {{protocol: http, listen: [\"{address}\"], farm: web}}\n");
    std::fs::write(farmgate.config_path(), whole.replacen("frontends:\n", &extra, 1)).unwrap();
    let said = farmgate.cli(&["upgrade"]);
    assert_eq!(said.code, Some(1), "{}", said.text);
    let why = format!("frontend \"more\": cannot listen on {address}: the address is in use");
    assert!(said.text.contains(&why) && said.text.contains("exit status: 1"), "{}", said.text);
    goes_on(&mut farmgate);
    let admin = format!("http://{}", farmgate.admin_addr());
    let env = [("FARMGATE_ADMIN", admin.as_str()), ("FARMGATE_TOKEN", EYE_TOKEN)];
    let refused = run_to_end(farmgate.config_path().parent().unwrap(), &["upgrade"], &env);
    assert!(refused.code == Some(1) && refused.text.contains("refused"), "{}", refused.text);
    assert!(!farmgate.log().contains("the new process serves"));
}

#[test]
fn other_program_is_started_only_where_that_was_allowed_at_the_start() {
    let (_origin, dir, mut farmgate) = one(|setup| setup);
    let next = copy(dir.path());
    let refused = farmgate.cli(&["upgrade", "--binary", &next]);
    assert_eq!(refused.code, Some(1), "{}", refused.text);
    assert!(refused.text.contains("is not started unless admin.allow_commands is true"), "{}", refused.text);
    let relative = farmgate.admin("POST", "/api/v1/upgrade", Some(crate::harness::OPS_TOKEN), br#"{"binary": "sh"}"#);
    assert_eq!(relative.status, 422);
    assert!(relative.text().contains("is not an absolute path"), "{}", relative.text());
    goes_on(&mut farmgate);
}

#[test]
fn other_program_takes_over_and_is_the_one_that_is_started_next() {
    let (_origin, dir, mut farmgate) = one(|setup| setup.admin("allow_commands: true"));
    let mut heirs = Heirs::new();
    let next = copy(dir.path());
    for (program, why) in [
        ("/nonexistent/farmgate", "cannot start \"/nonexistent/farmgate\": no such file"),
        ("/bin/true", "exit status: 0"),
    ] {
        let refused = farmgate.cli(&["upgrade", "--binary", program]);
        assert!(refused.code == Some(1) && refused.text.contains(why), "{}", refused.text);
        goes_on(&mut farmgate);
    }
    let said = farmgate.cli(&["upgrade", "--binary", &next]);
    assert_eq!(said.code, Some(0), "{}", said.text);
    heirs.expect(&farmgate);
    assert_eq!(farmgate.wait().code(), Some(0));
    heirs.upgrade(&farmgate);
    for pid in &heirs.0 {
        if let Ok(exe) = std::fs::read_link(format!("/proc/{pid}/exe")) {
            assert_eq!(exe, Path::new(&next));
        }
    }
    assert_eq!(Client::connect(farmgate.front("web")).get("/").status, 200);
}

#[test]
fn stop_within_an_upgrade_is_not_put_off_by_it() {
    let (_origin, dir, mut farmgate) = one(|setup| setup.admin("allow_commands: true"));
    // A program that never asks for anything.
    let (program, pid_file) = (dir.path().join("hangs"), dir.path().join("hangs.pid"));
    let script = format!("#!/bin/sh\necho $$ > {0}.new && mv {0}.new {0}\nexec sleep 60\n", pid_file.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let admin = format!("http://{}", farmgate.admin_addr());
    let asking = std::thread::spawn({
        let (dir, program) = (Arc::clone(&dir), program.to_str().unwrap().to_owned());
        let env = [("FARMGATE_ADMIN", admin), ("FARMGATE_TOKEN", crate::harness::OPS_TOKEN.to_owned())];
        move || {
            let env = env.each_ref().map(|(key, value)| (*key, value.as_str()));
            run_to_end(dir.path(), &["upgrade", "--binary", &program], &env)
        }
    });
    let pid = until("the program to run", || std::fs::read_to_string(&pid_file).ok());
    let _hangs = Heirs(vec![pid.trim().to_owned()]);
    assert_eq!(farmgate.client().get("/").status, 200, "an upgrade holds up nobody");
    let began = std::time::Instant::now();
    farmgate.signal("TERM");
    assert_eq!(farmgate.wait().code(), Some(0));
    assert!(began.elapsed() < std::time::Duration::from_secs(15), "took {:?}", began.elapsed());
    assert_eq!(asking.join().unwrap().code, Some(1));
}
