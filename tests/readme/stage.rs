//! The demo's farm without its clockwork: a Farmgate of its own, three origins, and a bash that finds both.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use regex::Regex;

/// The binary under test.
const BINARY: &str = env!("CARGO_BIN_EXE_farmgate");
/// How long anything may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);
/// From one look to the next.
const GLANCE: Duration = Duration::from_millis(10);
/// More checks than any test waits for.
const FOR_GOOD: usize = 1_000_000;
/// The addresses that the README writes.
const FRONT: &str = "127.0.0.1:8080";
const ADMIN: &str = "127.0.0.1:9090";

/// A running Farmgate; it ends with this.
pub(crate) struct Stage {
    dir: tempfile::TempDir,
    child: Child,
    front: SocketAddr,
    admin: SocketAddr,
    ill_for: Arc<AtomicUsize>,
}

/// How a script ended and all it printed.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Stage {
    /// Starts the farm of the demo and waits until every server was checked once.
    pub(crate) fn start() -> Self {
        let ill_for = Arc::new(AtomicUsize::new(0));
        let well = Arc::new(AtomicUsize::new(0));
        let [steady, flapping, slow] =
            [("steady", &well), ("flapping", &ill_for), ("slow", &well)].map(|(name, ill)| origin(name, ill));
        let config = format!(
            "service: lb-demo
state_dir: state
frontends:
  web: {{protocol: http, listen: [\"127.0.0.1:0\"], farm: web}}
farms:
  web:
    protocol: http
    probe: {{type: http, url: /healthz, interval: 500ms, timeout: 500ms, rise: 2, fall: 2}}
    shadow: {{type: tcp, interval: 500ms, timeout: 500ms}}
    reserve: \"30%\"
    servers:
      steady:   {{address: \"{steady}\", weight: 3}}
      flapping: {{address: \"{flapping}\", weight: 2}}
      slow:     {{address: \"{slow}\", weight: 1}}
admin:
  listen: \"127.0.0.1:0\"
  tokens: [{{name: demo, role: operate, token: demo}}]
log: {{access: {{path: access.log}}}}
"
        );
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("stage.yaml"), config).unwrap();
        Self::begin(dir, &["run", "-c", "stage.yaml"], ill_for)
    }

    /// Starts the demo itself.
    pub(crate) fn demo() -> Self {
        let args = ["demo", "--front", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        Self::begin(tempfile::tempdir().unwrap(), &args, Arc::default())
    }

    fn begin(dir: tempfile::TempDir, args: &[&str], ill_for: Arc<AtomicUsize>) -> Self {
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        symlink(BINARY, dir.path().join("bin/farmgate")).unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let mut command = clean(Command::new(BINARY), dir.path());
        command.args(args).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut stage = Self { dir, child: command.spawn().unwrap(), front: nobody, admin: nobody, ill_for };
        stage.front = stage.until(|log| address(log, "listener open.* address="));
        stage.admin = stage.until(|log| address(log, "admin open.* address="));
        stage.until(|log| log.contains("first round of checks done").then_some(()));
        stage
    }

    /// Makes `flapping` fail two checks and come back, drains `slow`, then makes `flapping` fail for good; returns when
    /// it is out and more than three checks have failed.
    pub(crate) fn ill(&mut self) {
        self.ill_for.store(2, Relaxed);
        // Three joined at the start.
        self.until(|log| (log.matches("server joined rotation").count() == 4).then_some(()));
        let script = format!(
            "export FARMGATE_ADMIN=http://{ADMIN} FARMGATE_TOKEN=demo\n\
             farmgate drain web/slow --reason \"kernel update\""
        );
        assert_eq!(self.run(&script).code, Some(0));
        self.ill_for.store(FOR_GOOD, Relaxed);
        let ill_for = Arc::clone(&self.ill_for);
        self.until(|log| {
            let is_out = log.matches("server left rotation").count() == 2;
            (is_out && FOR_GOOD - ill_for.load(Relaxed) > 4).then_some(())
        });
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

/// Starts an origin that says its name, and fails as many checks as it is told to; it ends with the test.
fn origin(name: &'static str, ill_for: &Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let ill_for = Arc::clone(ill_for);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let ill_for = Arc::clone(&ill_for);
            std::thread::spawn(move || answer(stream, name, &ill_for));
        }
    });
    address
}

fn answer(mut stream: TcpStream, name: &str, ill_for: &AtomicUsize) {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(n) => head.extend_from_slice(&piece[..n]),
        }
    }
    let is_check = head.starts_with(b"GET /healthz ");
    let is_ill = is_check && ill_for.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
    let (status, body) = match (is_check, is_ill) {
        (true, true) => ("503 Service Unavailable", "database connection lost\n".to_owned()),
        (true, false) => ("200 OK", "fine\n".to_owned()),
        (false, _) => ("200 OK", format!("hello from {name}\n")),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // A client that has left needs no answer.
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}
