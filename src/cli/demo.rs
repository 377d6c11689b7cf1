//! `farmgate demo`: a balancer in front of three embedded origins, one of them flapping, one slow, and what to try.
//!
//! `--once` plays the same by itself, checks what it sees and ends. What the journal keeps is in a directory of its own
//! among the system's temporary files, removed at the end.

mod origins;
mod scenario;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::app::App;
use crate::config;
use crate::lifecycle::Command;
use crate::telemetry;

use origins::Origins;

/// The arguments of `farmgate demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Play a scenario by itself, check it, exit 0 if all of it held
    #[arg(long)]
    pub once: bool,
    /// Where the frontend listens
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    pub front: SocketAddr,
    /// Where the admin side listens
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9090")]
    pub admin: SocketAddr,
}

/// The demo's bearer token: the demo listens on loopback and guards nothing.
const TOKEN: &str = "demo";

/// Runs the demo and returns the exit code.
pub fn run(args: &DemoArgs, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match try_run(args, out) {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(err, "farmgate demo: {}", crate::report::report(error.as_ref()));
            1
        }
    }
}

fn try_run(args: &DemoArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let origins = Origins::start()?;
    let state = State::make()?;
    let text = config_text(args, &origins, &state.0);
    let load = move || {
        let mut loaded = config::parse("demo.yaml", &text, &|_| None, &|path| std::fs::read_to_string(path))?;
        // That the demo's token is short is meant.
        loaded.warnings.clear();
        Ok(loaded)
    };
    let loaded: config::Loaded = load()?;
    let _log = telemetry::start(&loaded.settings.log).map_err(anyhow::Error::msg)?;
    let app = App::start(loaded, Box::new(load))?;
    let front = app.bound().first().map_or(args.front, |(_, address)| *address);
    let admin = app.admin_addr().unwrap_or(args.admin);
    if !args.once {
        print_what_to_try(out, front, admin)?;
        origins.flap();
        return app.serve();
    }
    let commands = app.commands();
    let played = scenario::play_on_own_thread(front, admin, origins.flapping(), move || {
        // The app may have stopped by a signal already.
        let _ = commands.send(Command::Stop);
    })?;
    app.serve()?;
    let story = played.join().map_err(|_| anyhow::anyhow!("the scenario panicked"))?;
    for line in &story.lines {
        writeln!(out, "{line}")?;
    }
    match story.failure {
        None => Ok(writeln!(out, "demo: {} passed, 0 failed", story.lines.len())?),
        Some(failure) => Err(failure),
    }
}

/// A directory for what the journal keeps; removed with this.
struct State(PathBuf);

impl State {
    fn make() -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("farmgate-demo-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&dir).with_context(|| format!("cannot make {dir:?} for what the journal keeps"))?;
        Ok(Self(dir))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config_text(args: &DemoArgs, origins: &Origins, state: &Path) -> String {
    let [steady, flapping, slow] = origins.addresses();
    format!(
        "service: lb-demo
state_dir: {state:?}
frontends:
  web: {{protocol: http, listen: [\"{front}\"], farm: web}}
farms:
  web:
    protocol: http
    balance: roundrobin
    probe: {{type: http, url: /healthz, interval: 1s, timeout: 500ms, rise: 2, fall: 2}}
    shadow: {{type: tcp, interval: 1s, timeout: 500ms}}
    reserve: \"30%\"
    servers:
      steady:   {{address: \"{steady}\", weight: 3}}
      flapping: {{address: \"{flapping}\", weight: 2}}
      slow:     {{address: \"{slow}\", weight: 1}}
admin:
  listen: \"{admin}\"
  metrics: open
  tokens: [{{name: demo, role: operate, token: {TOKEN}}}]
log: {{level: {level}}}
",
        front = args.front,
        admin = args.admin,
        level = if args.once { "error" } else { "info" },
    )
}

fn print_what_to_try(out: &mut dyn Write, front: SocketAddr, admin: SocketAddr) -> std::io::Result<()> {
    let program = std::env::current_exe().map_or_else(|_| "farmgate".into(), |path| path.display().to_string());
    writeln!(
        out,
        "Farmgate demo
  page   http://{admin}/  sign in with the token: {TOKEN}
  front  http://{front}/  → farm web: steady (weight 3), flapping (weight 2), slow (weight 1, 300 ms)

  The flapping origin fails its checks for 8 of every 20 seconds; after five rounds it is held down for that.

Try, in another terminal:
  curl http://{front}/
  export FARMGATE_ADMIN=http://{admin} FARMGATE_TOKEN={TOKEN}
  {program} status
  {program} explain web/flapping
  {program} timeline web
  {program} replay web/flapping --fall 10
  {program} drain web/slow --deadline 1m --wait && {program} explain web && {program} ready web/slow
  curl -H 'Authorization: Bearer {TOKEN}' http://{admin}/api/v1/farms/web/servers/flapping/explain
  curl -H 'Authorization: Bearer {TOKEN}' http://{admin}/1.0/ipLoadbalancing/lb-demo/http/farm/{farm}/server/{server}
  curl -H 'Authorization: Bearer {TOKEN}' -H 'X-ZC-Action: DescribeBackendHealth' \\
    -d '{{\"loadBalancerId\":\"lb-demo\"}}' http://{admin}/api/v2/zlb
  curl http://{admin}/metrics

Ctrl-C stops it.
",
        farm = scenario::farm_id(),
        server = scenario::server_id("flapping"),
    )?;
    out.flush()
}
