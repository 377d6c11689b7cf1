//! A running Farmgate: the real binary as a child process in a directory of its own.
//!
//! Where it listens is read from its log, which is captured whole. The process is killed when the value is dropped,
//! and a log that tells of a panic fails the test.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Client, Response};
use super::config::{OPS_TOKEN, Setup};
use super::wait::{PATIENCE, until, until_within};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_farmgate");

type Log = Arc<Mutex<Vec<String>>>;

/// A running Farmgate.
pub(crate) struct Farmgate {
    child: Child,
    log: Log,
    dir: Arc<tempfile::TempDir>,
    admin: SocketAddr,
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Standard output and standard error, in this order.
    pub(crate) text: String,
}

impl Farmgate {
    /// Starts one with this config and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(setup: &Setup) -> Self {
        let farmgate = Self::start_unready(setup);
        until("/readyz to be 200", || (farmgate.open_get("/readyz").status == 200).then_some(()));
        farmgate
    }

    /// Starts one and waits until its admin side answers; the first checks may be under way.
    #[track_caller]
    pub(crate) fn start_unready(setup: &Setup) -> Self {
        Self::start_in(&Arc::new(tempfile::tempdir().unwrap()), setup, &[])
    }

    /// Starts one in a directory that may hold an earlier one's state, with these variables in its environment.
    #[track_caller]
    pub(crate) fn start_in(dir: &Arc<tempfile::TempDir>, setup: &Setup, env: &[(&str, &str)]) -> Self {
        let tune = |command: &mut Command| {
            command.envs(env.iter().copied());
        };
        Self::start_by(dir, setup, &[BINARY], tune)
    }

    /// Starts one by a program that is given these arguments, then `run`, `-c` and the file; `tune` may change more of how.
    #[track_caller]
    pub(crate) fn start_by(
        dir: &Arc<tempfile::TempDir>,
        setup: &Setup,
        argv: &[&str],
        tune: impl FnOnce(&mut Command),
    ) -> Self {
        let path = dir.path().join("farmgate.yaml");
        std::fs::write(&path, setup.yaml()).unwrap();
        let mut command = command(argv[0], dir.path());
        command.args(&argv[1..]).args(["run", "-c"]).arg(&path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        tune(&mut command);
        let mut child = command.spawn().unwrap();
        // What was handed to the child is its own.
        drop(command);
        let log = capture(child.stderr.take().unwrap());
        let admin = until_within(PATIENCE, || {
            opened(&log, "admin open", None).map(Some).or_else(|| child.try_wait().unwrap().map(|_| None))
        });
        let Some(Some(admin)) = admin else {
            let _ = child.kill();
            let code = child.wait().unwrap().code();
            panic!("farmgate did not start (exit code {code:?}):\n{}\n{}", text_of(&log), setup.yaml());
        };
        Self { child, log, dir: Arc::clone(dir), admin }
    }

    /// Where a frontend listens; waits for it.
    #[track_caller]
    pub(crate) fn front(&self, name: &str) -> SocketAddr {
        until(&format!("listener of {name:?}"), || opened(&self.log, "listener open", Some(name)))
    }

    /// A connection to the frontend `web`.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.front("web"))
    }

    /// Where the admin side listens.
    pub(crate) fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// Its config file.
    pub(crate) fn config_path(&self) -> PathBuf {
        self.dir.path().join("farmgate.yaml")
    }

    /// GETs an admin path without credentials.
    #[track_caller]
    pub(crate) fn open_get(&self, path: &str) -> Response {
        self.admin("GET", path, None, b"")
    }

    /// GETs an admin path as `ops`.
    #[track_caller]
    pub(crate) fn admin_get(&self, path: &str) -> (u16, Value) {
        let response = self.admin("GET", path, Some(OPS_TOKEN), b"");
        (response.status, response.json())
    }

    /// Sends an admin request as `ops` and requires a 2xx.
    #[track_caller]
    pub(crate) fn operate(&self, method: &str, path: &str, body: &str) -> Response {
        let response = self.admin(method, path, Some(OPS_TOKEN), body.as_bytes());
        assert!((200..300).contains(&response.status), "{method} {path}: {} {}", response.status, response.text());
        response
    }

    /// Sends an admin request on a connection of its own.
    #[track_caller]
    pub(crate) fn admin(&self, method: &str, path: &str, token: Option<&str>, body: &[u8]) -> Response {
        self.admin_with(method, path, token, &[], body)
    }

    /// Sends an admin request with further fields.
    #[track_caller]
    pub(crate) fn admin_with(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let bearer = token.map(|t| format!("Bearer {t}"));
        let mut headers = fields.to_vec();
        headers.extend(bearer.as_deref().map(|b| ("Authorization", b)));
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        Client::connect(self.admin).request(method, path, &headers, body)
    }

    /// A server of the farm `web` as the native API tells it.
    #[track_caller]
    pub(crate) fn server(&self, name: &str) -> Value {
        let (status, body) = self.admin_get(&format!("/api/v1/farms/web/servers/{name}"));
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Waits until the native API words the state of a server of the farm `web` so.
    #[track_caller]
    pub(crate) fn wait_for_state(&self, name: &str, state: &str) -> Value {
        until_within(PATIENCE, || Some(self.server(name)).filter(|server| server["state"] == state))
            .unwrap_or_else(|| panic!("waited {PATIENCE:?} for {name} to be {state}; it is {}", self.server(name)))
    }

    /// Returns the sum of all series of a metric whose labels hold every one of `labels`, e.g. `server="a"`.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let response = self.admin("GET", "/metrics", Some(OPS_TOKEN), b"");
        assert_eq!(response.status, 200, "{}", response.text());
        let text = response.text();
        let series = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (metric, rest) = series.split_once('{').unwrap_or((series, ""));
            (metric == name && labels.iter().all(|label| rest.contains(label))).then(|| value.parse::<f64>().unwrap())
        });
        series.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    /// Writes a new config and reloads it through the API; returns the answer.
    #[track_caller]
    pub(crate) fn reload(&self, yaml: &str) -> Response {
        std::fs::write(self.config_path(), yaml).unwrap();
        self.admin("POST", "/api/v1/reload", Some(OPS_TOKEN), b"")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, e.g. `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until_within(PATIENCE, || child.try_wait().unwrap())
            .unwrap_or_else(|| panic!("farmgate did not end within {PATIENCE:?}:\n{}", text_of(&self.log)))
    }

    /// Returns whether the process is running.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Returns how much time of processors it has used.
    #[track_caller]
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // Fields 14 and 15, in ticks of 10 ms; the second field may hold spaces and ends with the last parenthesis.
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Kills the process the hard way.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Everything logged so far.
    pub(crate) fn log(&self) -> String {
        text_of(&self.log)
    }

    /// Runs a command of the CLI against it as `ops`.
    #[track_caller]
    pub(crate) fn cli(&self, args: &[&str]) -> Ended {
        let admin = format!("http://{}", self.admin);
        run_to_end(self.dir.path(), args, &[("FARMGATE_ADMIN", &admin), ("FARMGATE_TOKEN", OPS_TOKEN)])
    }
}

impl Drop for Farmgate {
    fn drop(&mut self) {
        self.kill();
        let log = text_of(&self.log);
        if std::thread::panicking() {
            eprint_log(&log);
            return;
        }
        assert!(!log.contains("panicked"), "farmgate panicked:\n{log}");
    }
}

/// Runs the binary in a directory to its end.
#[track_caller]
pub(crate) fn run_to_end(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Ended {
    let mut child = command(BINARY, dir)
        .args(args)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (out, err) = (drain(child.stdout.take().unwrap()), drain(child.stderr.take().unwrap()));
    let end = Instant::now() + PATIENCE;
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            panic!("farmgate {args:?} did not end within {PATIENCE:?}: {}", out.join().unwrap() + &err.join().unwrap());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Ended { code, text: out.join().unwrap() + &err.join().unwrap() }
}

fn command(program: &str, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).env_remove("FARMGATE_ADMIN").env_remove("FARMGATE_TOKEN").env_remove("RUST_LOG");
    command.env_remove("NOTIFY_SOCKET").env("NO_COLOR", "1");
    command
}

fn drain(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn capture(from: impl Read + Send + 'static) -> Log {
    let log = Log::default();
    let lines = Arc::clone(&log);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            lines.lock().unwrap().push(line);
        }
    });
    log
}

fn text_of(log: &Log) -> String {
    log.lock().unwrap().join("\n")
}

#[expect(clippy::print_stderr, reason = "the log of a failed test is what its reader looks for")]
fn eprint_log(log: &str) {
    eprintln!("--- farmgate's log\n{log}\n---");
}

/// The address of the last line with that message, and of that frontend where one is named.
fn opened(log: &Log, message: &str, frontend: Option<&str>) -> Option<SocketAddr> {
    let lines = log.lock().unwrap();
    lines.iter().rev().find_map(|line| {
        let of_this_frontend = |name: Option<&str>| frontend.is_none() || frontend == name;
        if let Ok(json) = serde_json::from_str::<Value>(line) {
            let fields = if json["fields"].is_object() { &json["fields"] } else { &json };
            let is_it = fields["message"] == message && of_this_frontend(fields["frontend"].as_str());
            return is_it.then(|| fields["address"].as_str().and_then(|a| a.parse().ok())).flatten();
        }
        let field = |name: &str| {
            let value = line.split_whitespace().find_map(|word| word.strip_prefix(&format!("{name}=")))?;
            Some(value.trim_matches('"'))
        };
        let is_it = line.contains(message) && of_this_frontend(field("frontend"));
        is_it.then(|| field("address").and_then(|a| a.parse().ok())).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_of_both_forms_tell_where_it_listens() {
        let log = Log::default();
        log.lock().unwrap().extend([
            r#"{"timestamp":"t","level":"INFO","fields":{"message":"listener open","frontend":"web","address":"127.0.0.1:4"},"target":"x"}"#.to_owned(),
            "2026-11-21T13:34:20Z  INFO farmgate: listener open frontend=db address=127.0.0.1:5".to_owned(),
            r#"{"level":"INFO","message":"admin open","address":"127.0.0.1:6"}"#.to_owned(),
        ]);
        let port = |message, frontend| opened(&log, message, frontend).map(|a: SocketAddr| a.port());
        assert_eq!(port("listener open", Some("web")), Some(4));
        assert_eq!(port("listener open", Some("db")), Some(5));
        assert_eq!(port("admin open", None), Some(6));
        assert_eq!(port("listener open", Some("other")), None);
    }
}
