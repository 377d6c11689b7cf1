//! What objects made through the API may name on this machine, and that no pipe in the place of a file holds anybody up.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::{FAST, Farmgate, OPS_TOKEN, Origin, Response, Server, Setup, place, run_to_end};

const SERVERS: &str = "/api/v1/farms/web/servers";
const FRONTENDS: &str = "/api/v1/frontends";

/// Whoever reads it waits for whoever writes into it, for ever.
fn pipe(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

struct Running {
    farmgate: Farmgate,
    origin: Origin,
}

impl Running {
    fn start(dir: &Arc<tempfile::TempDir>, keys: &str) -> Self {
        let origin = Origin::start("a");
        let setup = Setup::http(&[Server::new("a", origin.addr(), "")])
            .top(&format!("service: {{name: it, addresses: [\"0.0.0.0\"], api_ports: \"1024-65535\"{keys}}}"))
            .top("state_dir: state")
            .probe(FAST);
        let farmgate = Farmgate::start_in(dir, &setup, &[]);
        // A server that is not probed would carry the farm alone until then.
        farmgate.wait_for_state("a", "UP");
        Self { farmgate, origin }
    }

    fn post(&self, path: &str, body: &Value) -> Response {
        self.farmgate.admin("POST", path, Some(OPS_TOKEN), body.to_string().as_bytes())
    }

    #[track_caller]
    fn refused(&self, path: &str, body: &Value) -> String {
        let response = self.post(path, body);
        assert_eq!(response.status / 100, 4, "{}", response.text());
        let error = &response.json()["error"];
        let one = |why: &Value| why.as_str().map_or_else(|| why.to_string(), str::to_owned);
        let details = error["details"].as_array().into_iter().flatten().map(one);
        std::iter::once(one(&error["message"])).chain(details).collect::<Vec<_>>().join("\n")
    }

    /// Traffic, health and the admin side go on.
    #[track_caller]
    fn goes_on(&self) {
        for _ in 0..10 {
            assert_eq!(self.farmgate.client().get("/").text(), "a");
        }
        let checks = || self.farmgate.metric("farmgate_checks_total", &["server=\"a\"", "status=\"L7OK\""]);
        let before = checks();
        crate::harness::until("another check", || (checks() > before).then_some(()));
        assert_eq!(self.farmgate.open_get("/healthz").status, 200);
    }
}

fn over_tls(origin: &Origin, name: &str, ca: &Path) -> Value {
    json!({"name": name, "address": origin.addr(), "tls": {"ca": ca, "sni": "a.test"}, "probe": false})
}

fn front(name: &str, file: &Path) -> Value {
    let tls = json!({"certificates": [{"cert": file, "key": file}]});
    json!({"name": name, "protocol": "http", "listen": [place()], "farm": "web", "tls": tls})
}

#[test]
fn file_that_the_config_does_not_open_is_named_by_no_object_and_is_not_looked_at() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let running = Running::start(&dir, "");
    let file = dir.path().join("pipe");
    pipe(&file);
    for path in [&*file, Path::new("/dev/ptmx"), Path::new("/etc/hostname"), Path::new("/nowhere")] {
        for stage in ["", "?stage=local"] {
            let why = running.refused(&format!("{SERVERS}{stage}"), &over_tls(&running.origin, "x", path));
            assert_eq!(
                why.lines().next().unwrap(),
                format!(
                    "farms.web.servers.x.tls.ca: \"{}\" is a file that no API may name; bring it with POST \
                     /api/v1/certificates and name its files, or name its directory in service.api_files",
                    path.display()
                )
            );
            let why = running.refused(&format!("{FRONTENDS}{stage}"), &front("z", path));
            for key in ["cert", "key"] {
                let want =
                    format!("frontends.z.tls.certificates[0].{key}: \"{}\" is a file that no API", path.display());
                assert!(why.contains(&want), "{why}");
            }
        }
    }
    let socket = json!({"name": "x", "address": "unix:/var/run/docker.sock", "probe": false});
    let why = running.refused(SERVERS, &socket);
    assert!(
        why.starts_with("farms.web.servers.x.address: \"/var/run/docker.sock\" is a Unix socket that no API"),
        "{why}"
    );
    running.goes_on();
}

#[test]
fn pipe_in_an_opened_directory_holds_up_neither_workers_nor_health() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let file = dir.path().join("tls/pipe.pem");
    pipe(&file);
    let running = Running::start(&dir, &format!(", api_files: [\"{}\"]", dir.path().join("tls").display()));
    let why = running.refused(FRONTENDS, &front("z", &file));
    assert!(why.contains("is not a regular file"), "{why}");
    let response = running.post(SERVERS, &over_tls(&running.origin, "x", &file));
    assert_eq!(response.status, 201, "{}", response.text());
    // Those that come to the new server find that there is nothing to speak TLS with, and go to the other one.
    running.goes_on();
    running.farmgate.operate("POST", &format!("{SERVERS}/a/drain"), "{\"force\": true}");
    let answer = running.farmgate.client().get("/");
    assert_eq!(answer.status, 502, "{}", answer.text());
}

#[test]
fn pipe_in_the_config_file_is_told_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pipe");
    pipe(&file);
    let origin = Origin::start("a");
    let key = format!("tls: {{certificates: [{{cert: {0}, key: {0}}}]}}", file.display());
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]).frontend(&key);
    std::fs::write(dir.path().join("farmgate.yaml"), setup.yaml()).unwrap();
    let ended = run_to_end(dir.path(), &["run", "-c", "farmgate.yaml"], &[]);
    assert!(
        ended.code != Some(0) && ended.text.contains("it is not a regular file"),
        "{:?} {}",
        ended.code,
        ended.text
    );
}
