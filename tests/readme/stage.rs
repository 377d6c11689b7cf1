//! The demo's farm without its clockwork: a Farmgate of its own, three origins, and a bash that finds both.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use regex::Regex;

/// The binary under test.
const BINARY: &str = env!("CARGO_BIN_EXE_farmgate");
/// How long anything may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);
/// From one look to the next.
const GLANCE: Duration = Duration::from_millis(10);
/// The addresses that the README writes.
const FRONT: &str = "127.0.0.1:8080";
const ADMIN: &str = "127.0.0.1:9090";

/// A running Farmgate; it ends with this.
pub(crate) struct Stage {
    dir: tempfile::TempDir,
    child: Child,
    front: SocketAddr,
    admin: SocketAddr,
    is_ill: Arc<AtomicBool>,
}

/// How a script ended and all it printed.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Stage {
    /// Starts the farm of the demo and waits until every server was checked once.
    pub(crate) fn start() -> Self {
        let is_ill = Arc::new(AtomicBool::new(false));
        let well = Arc::new(AtomicBool::new(false));
        let [steady, flapping, slow] =
            [("steady", &well), ("flapping", &is_ill), ("slow", &well)].map(|(name, ill)| origin(name, ill));
        let config = format!(
            "service: lb-demo
frontends:
  web: {{protocol: http, listen: [\"127.0.0.1:0\"], farm: web}}
farms:
  web:
    protocol: http
    probe: {{type: http, url: /healthz, interval: 500ms, timeout: 500ms, rise: 2, fall: 2}}
    servers:
      steady:   {{address: \"{steady}\", weight: 3}}
      flapping: {{address: \"{flapping}\", weight: 2}}
      slow:     {{address: \"{slow}\", weight: 1}}
admin:
  listen: \"127.0.0.1:0\"
  tokens: [{{name: demo, role: operate, token: demo}}]
"
        );
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("stage.yaml"), config).unwrap();
        Self::begin(dir, &["run", "-c", "stage.yaml"], is_ill)
    }

    /// Starts the demo itself.
    pub(crate) fn demo() -> Self {
        let args = ["demo", "--front", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        Self::begin(tempfile::tempdir().unwrap(), &args, Arc::default())
    }

    fn begin(dir: tempfile::TempDir, args: &[&str], is_ill: Arc<AtomicBool>) -> Self {
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        symlink(BINARY, dir.path().join("bin/farmgate")).unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let mut command = clean(Command::new(BINARY), dir.path());
        command.args(args).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut stage = Self { dir, child: command.spawn().unwrap(), front: nobody, admin: nobody, is_ill };
        stage.front = stage.until(|log| address(log, "listener open.* address="));
        stage.admin = stage.until(|log| address(log, "admin open.* address="));
        stage.until(|log| log.contains("first round of checks done").then_some(()));
        stage
    }

    /// Drains `slow`, makes `flapping` fail its checks and waits until it is out.
    pub(crate) fn ill(&mut self) {
        let script = format!(
            "export FARMGATE_ADMIN=http://{ADMIN} FARMGATE_TOKEN=demo\n\
             farmgate drain web/slow --reason \"kernel update\""
        );
        assert_eq!(self.run(&script).code, Some(0));
        self.is_ill.store(true, Relaxed);
        self.until(|log| log.contains("server left rotation").then_some(()));
    }

    /// Saves a file where scripts run.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// Everything that the process said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Runs a script that speaks of the README's addresses; it stops at its first failure.
    pub(crate) fn run(&self, script: &str) -> Ended {
        let script = script.replace(FRONT, &self.front.to_string()).replace(ADMIN, &self.admin.to_string());
        let token = [("FARMGATE_TOKEN", "demo".to_owned()), ("FARMGATE_ADMIN", format!("http://{}", self.admin))];
        run_in_bash(&script, self.dir.path(), &token)
    }

    fn until<T>(&mut self, look: impl Fn(&str) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            if let Some(found) = look(&log) {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "waited in vain ({ended:?}):\n{log}");
            std::thread::sleep(GLANCE);
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a script in `dir`, where `bin/` comes first on the path.
pub(crate) fn run_in_bash(script: &str, dir: &Path, env: &[(&str, String)]) -> Ended {
    let path = dir.join("output");
    let output = File::create(&path).unwrap();
    let mut command = clean(Command::new("bash"), dir);
    command.args(["-euo", "pipefail", "-c", script]).envs(env.iter().map(|(name, value)| (name, value)));
    // A file: whatever a script leaves running cannot hold this back.
    let mut child = command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            break child.wait().unwrap();
        }
        std::thread::sleep(GLANCE);
    };
    Ended { code: status.code(), text: String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned() }
}

/// Whether a program is on the path.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn clean(mut command: Command, dir: &Path) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([dir.join("bin")].into_iter().chain(std::env::split_paths(&path))).unwrap();
    for name in ["FARMGATE_ADMIN", "FARMGATE_CONFIG", "FARMGATE_TOKEN", "NOTIFY_SOCKET", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.current_dir(dir).env("PATH", path).env("NO_COLOR", "1");
    command
}

fn address(log: &str, before: &str) -> Option<SocketAddr> {
    let found = Regex::new(&format!("{before}([0-9.:]+)")).unwrap();
    found.captures(log)?[1].parse().ok()
}

/// Starts an origin that says its name, and is ill when told so; it ends with the test.
fn origin(name: &'static str, is_ill: &Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let is_ill = Arc::clone(is_ill);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let is_ill = is_ill.load(Relaxed);
            std::thread::spawn(move || answer(stream, name, is_ill));
        }
    });
    address
}

fn answer(mut stream: TcpStream, name: &str, is_ill: bool) {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(n) => head.extend_from_slice(&piece[..n]),
        }
    }
    let is_check = head.starts_with(b"GET /healthz ");
    let (status, body) = match (is_check, is_ill) {
        (true, true) => ("503 Service Unavailable", "database connection lost\n".to_owned()),
        (true, false) => ("200 OK", "fine\n".to_owned()),
        (false, _) => ("200 OK", format!("hello from {name}\n")),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // A client that has left needs no answer.
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}
