//! Start, stop and what is left after a crash.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::{Behaviour, Client, Farmgate, Origin, PATIENCE, Server, Setup, run_to_end, until};

fn one(grace: &str, behaviour: Behaviour) -> (Origin, Farmgate) {
    let origin = Origin::doing("a", behaviour);
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]).top(&format!("grace: {grace}"));
    let farmgate = Farmgate::start(&setup);
    (origin, farmgate)
}

fn slow_request(origin: &Origin, farmgate: &Farmgate) -> Client {
    let mut client = farmgate.client();
    client.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n");
    until("the request at the origin", || (!origin.requests().is_empty()).then_some(()));
    client
}

#[test]
fn sigterm_finishes_what_is_under_way_and_exits_0_at_once_after() {
    let (origin, mut farmgate) = one("10s", Behaviour::Slow(Duration::from_millis(1000)));
    let front = farmgate.front("web");
    let mut slow = slow_request(&origin, &farmgate);
    let mut idle = Client::connect(front);
    farmgate.signal("TERM");
    let began = Instant::now();
    until("new connections to be refused", || Client::try_connect(front).is_err().then_some(()));
    let response = slow.response();
    assert_eq!((response.status, response.origin()), (200, "a"));
    assert_eq!(farmgate.wait().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(6), "took {:?}", began.elapsed());
    assert!(idle.is_closed_within(Duration::from_secs(1)));
}

#[test]
fn sigterm_without_work_exits_0_soon_even_with_idle_clients() {
    let (_origin, mut farmgate) = one("10s", Behaviour::Ok);
    let mut idle = farmgate.client();
    assert_eq!(idle.get("/").status, 200);
    farmgate.signal("TERM");
    let began = Instant::now();
    assert_eq!(farmgate.wait().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(4), "took {:?}", began.elapsed());
}

#[test]
fn sigint_is_as_good_as_sigterm() {
    let (_origin, mut farmgate) = one("10s", Behaviour::Ok);
    farmgate.signal("INT");
    assert_eq!(farmgate.wait().code(), Some(0));
}

#[test]
fn grace_over_ends_what_is_still_under_way() {
    let (origin, mut farmgate) = one("700ms", Behaviour::Silent);
    let mut stuck = slow_request(&origin, &farmgate);
    farmgate.signal("TERM");
    let began = Instant::now();
    farmgate.wait();
    let took = began.elapsed();
    assert!(took > Duration::from_millis(500) && took < Duration::from_secs(5), "took {took:?}");
    assert!(stuck.is_closed_within(Duration::from_secs(1)));
}

#[test]
fn second_sigterm_exits_at_once() {
    let (origin, mut farmgate) = one("60s", Behaviour::Silent);
    let _stuck = slow_request(&origin, &farmgate);
    let front = farmgate.front("web");
    farmgate.signal("TERM");
    until("the shutdown to begin", || Client::try_connect(front).is_err().then_some(()));
    assert!(farmgate.is_running(), "it waits for the request under way");
    let began = Instant::now();
    farmgate.signal("TERM");
    farmgate.wait();
    assert!(began.elapsed() < Duration::from_secs(3), "took {:?}", began.elapsed());
}

#[test]
fn answers_during_shutdown_say_close() {
    let (origin, mut farmgate) = one("10s", Behaviour::Slow(Duration::from_millis(600)));
    let front = farmgate.front("web");
    let mut slow = slow_request(&origin, &farmgate);
    farmgate.signal("TERM");
    until("the shutdown to begin", || Client::try_connect(front).is_err().then_some(()));
    let response = slow.response();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert!(slow.is_closed_within(Duration::from_secs(3)));
    assert_eq!(farmgate.wait().code(), Some(0));
}

#[test]
fn port_in_use_exits_1_with_one_line_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let origin = Origin::start("a");
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]).frontend(&format!("listen: [\"{address}\"]"));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f.yaml"), setup.yaml()).unwrap();
    let ended = run_to_end(dir.path(), &["run", "-c", "f.yaml"], &[]);
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    let naming = ended.text.lines().filter(|line| {
        line.contains("web") && line.contains(&address.to_string()) && line.to_lowercase().contains("in use")
    });
    assert_eq!(naming.count(), 1, "{}", ended.text);
}

#[test]
fn config_with_errors_exits_78_and_tells_them_all() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = "service: it\nfrontends:\n  web: {protocol: http, listen: [\"127.0.0.1:99999\"], farm: none}\n\
                farms:\n  web:\n    protocol: http\n    balance: fastest\n    servers:\n\
                \x20     a: {address: \"127.0.0.1\", weight: 70000}\n    colour: blue\n";
    std::fs::write(dir.path().join("bad.yaml"), yaml).unwrap();
    for command in ["check", "run"] {
        let ended = run_to_end(dir.path(), &[command, "-c", "bad.yaml"], &[]);
        assert_eq!(ended.code, Some(78), "{command}: {}", ended.text);
        for what in ["99999", "none", "fastest", "70000", "0..=65535", "colour", "bad.yaml:7:", "bad.yaml:9:"] {
            assert!(ended.text.contains(what), "{command} does not tell {what}:\n{}", ended.text);
        }
    }
}

#[test]
fn check_of_a_good_file_exits_0_and_of_a_missing_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::start("a");
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]);
    std::fs::write(dir.path().join("good.yaml"), setup.yaml()).unwrap();
    let ended = run_to_end(dir.path(), &["check", "-c", "good.yaml"], &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let ended = run_to_end(dir.path(), &["check", "-c", "missing.yaml"], &[]);
    assert!(ended.code.is_some_and(|c| c != 0) && ended.text.contains("missing.yaml"), "{ended:?}");
}

#[test]
fn wrong_arguments_exit_64() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["nonsense"][..], &["run", "--nonsense"], &[]] {
        let ended = run_to_end(dir.path(), args, &[]);
        assert_eq!(ended.code, Some(64), "{args:?}: {}", ended.text);
    }
    assert_eq!(run_to_end(dir.path(), &["--help"], &[]).code, Some(0));
    assert_eq!(run_to_end(dir.path(), &["--version"], &[]).code, Some(0));
}

#[test]
fn schema_is_a_json_schema_that_takes_this_suites_config() {
    let dir = tempfile::tempdir().unwrap();
    let ended = run_to_end(dir.path(), &["schema"], &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let schema: serde_json::Value = serde_json::from_str(&ended.text).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let origin = Origin::start("a");
    let yaml = Setup::http(&[Server::new("a", origin.addr(), "weight: 3")]).yaml();
    let mut instance: serde_json::Value = serde_yaml::from_str(&yaml).unwrap();
    assert!(
        validator.is_valid(&instance),
        "{:?}",
        validator.iter_errors(&instance).map(|e| e.to_string()).collect::<Vec<_>>()
    );
    instance["surprise"] = true.into();
    assert!(!validator.is_valid(&instance));
}

#[test]
fn maintenance_survives_a_crash_with_a_state_dir() {
    let origin = Origin::start("a");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let state = dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let setup = Setup::http(&[Server::new("a", origin.addr(), "weight: 5")])
        .top(&format!("state_dir: \"{}\"", state.display()));
    let mut first = Farmgate::start_in(&dir, &setup, &[]);
    first.operate("POST", "/api/v1/farms/web/servers/a/maintenance", "");
    first.operate("PUT", "/api/v1/farms/web/servers/a/weight", r#"{"weight": 2}"#);
    let id = first.server("a")["id"].clone();
    first.kill();
    drop(first);
    let second = Farmgate::start_in(&dir, &setup, &[]);
    let server = second.server("a");
    assert_eq!((&server["state"], &server["weight"]), (&"MAINT".into(), &2.into()), "{server}");
    assert_eq!(server["id"], id);
    second.operate("POST", "/api/v1/farms/web/servers/a/ready", "");
    until("the server to serve", || (second.client().get("/").status == 200).then_some(()));
}

#[test]
fn second_process_on_a_state_dir_is_refused() {
    let origin = Origin::start("a");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]).top("state_dir: state");
    let first = Farmgate::start_in(&dir, &setup, &[]);
    std::fs::write(dir.path().join("second.yaml"), setup.yaml()).unwrap();
    let second = run_to_end(dir.path(), &["run", "-c", "second.yaml"], &[]);
    assert_eq!(second.code, Some(1), "{}", second.text);
    assert!(second.text.contains("state_dir \"state\" is in use by another farmgate"), "{}", second.text);
    first.operate("POST", "/api/v1/farms/web/servers/a/drain", "");
    assert_eq!(first.server("a")["admin"], "drain");
}

#[test]
fn service_supervisor_is_told_ready_and_stopping() {
    let origin = Origin::start("a");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let path = dir.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]);
    let mut farmgate = Farmgate::start_in(&dir, &setup, &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    wait_for_notice(&socket, "READY=1");
    farmgate.signal("TERM");
    wait_for_notice(&socket, "STOPPING=1");
    assert_eq!(farmgate.wait().code(), Some(0));
}

fn wait_for_notice(socket: &UnixDatagram, want: &str) {
    let mut bytes = [0; 4096];
    loop {
        let n = socket.recv(&mut bytes).unwrap_or_else(|e| panic!("{want} was never told: {e}"));
        if String::from_utf8_lossy(&bytes[..n]).lines().any(|line| line == want) {
            return;
        }
    }
}

#[test]
fn access_log_has_one_line_a_request() {
    let origin = Origin::start("a");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let path = dir.path().join("access.log");
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]);
    let farmgate = Farmgate::start_in(
        &dir,
        &setup.log(&format!("{{level: info, format: text, access: {{path: \"{}\", format: json}}}}", path.display())),
        &[],
    );
    let mut client = farmgate.client();
    for n in 0..5 {
        assert_eq!(client.get(&format!("/page/{n}")).status, 200);
    }
    let lines = until("five lines", || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<serde_json::Value> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
        (lines.len() >= 5).then_some(lines)
    });
    assert_eq!(lines.len(), 5);
    for (n, line) in lines.iter().enumerate() {
        let text = line.to_string();
        for what in [
            client.local_addr().to_string(),
            format!("/page/{n}"),
            "200".to_owned(),
            "web".to_owned(),
            "\"a\"".to_owned(),
        ] {
            assert!(text.contains(&what), "{what} is missing in {text}");
        }
    }
}

/// Pingora reads the system's certificate authorities for every engine, and panics where there are none.
#[test]
fn machine_without_certificate_authorities_serves() {
    let origin = Origin::start("a");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let nowhere = [("SSL_CERT_FILE", "/nonexistent"), ("SSL_CERT_DIR", "/nonexistent")];
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]);
    let farmgate = Farmgate::start_in(&dir, &setup, &nowhere);
    farmgate.wait_for_state("a", "UP");
    assert_eq!(farmgate.client().get("/").text(), "a");
}
