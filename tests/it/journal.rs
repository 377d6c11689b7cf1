//! What is remembered, and where: in memory without a `state_dir`; with one, across restarts, `kill -9`, damage and a
//! full disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Behaviour, Farmgate, Load, OPS_TOKEN, Origin, Server, Setup, TcpBehaviour, TcpOrigin, until};

/// A probe that decides soon.
const QUICK: &str = "{type: http, url: /healthz, interval: 150ms, timeout: 150ms, rise: 2, fall: 2}";
/// In what time an event is on disk, with what a busy machine may add to the 100 ms that are promised.
const DURABLE: Duration = Duration::from_millis(400);
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const UNWELL: Behaviour = Behaviour::Status(503);

fn farm(n: usize) -> (Vec<Origin>, Setup) {
    let origins: Vec<_> = NAMES[..n].iter().map(|name| Origin::start(name)).collect();
    let servers: Vec<_> = NAMES.iter().zip(&origins).map(|(name, o)| Server::new(name, o.addr(), "")).collect();
    (origins, Setup::http(&servers).probe(QUICK))
}

fn act(farmgate: &Farmgate, name: &str, act: &str, body: &str) {
    farmgate.operate("POST", &format!("/api/v1/farms/web/servers/{name}/{act}"), body);
}

fn timeline(farmgate: &Farmgate, path: &str) -> Vec<Value> {
    let (status, told) = farmgate.admin_get(&format!("/api/v1/{path}timeline?limit=1000&order=oldest"));
    assert_eq!(status, 200, "{told}");
    told["events"].as_array().unwrap().clone()
}

/// Kills the process and starts another one in its place.
fn again(mut farmgate: Farmgate, dir: &Arc<tempfile::TempDir>, setup: &Setup) -> Farmgate {
    farmgate.kill();
    drop(farmgate);
    Farmgate::start_in(dir, setup, &[])
}

#[test]
fn without_a_state_dir_timelines_and_explanations_are_of_this_process() {
    let (origins, setup) = farm(2);
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let farmgate = Farmgate::start_in(&dir, &setup, &[]);
    assert!(farmgate.log().contains("no state_dir"), "{}", farmgate.log());
    farmgate.wait_for_state("b", "UP");
    origins[1].health(UNWELL);
    farmgate.wait_for_state("b", "DOWN");
    act(&farmgate, "a", "drain", r#"{"reason": "disk swap"}"#);
    let of_b = timeline(&farmgate, "farms/web/servers/b/");
    assert_eq!((&of_b.last().unwrap()["type"], &of_b.last().unwrap()["to"]), (&"transition".into(), &"down".into()));
    assert!(of_b.iter().all(|event| event["server"] == "b"), "{of_b:#?}");
    let all = timeline(&farmgate, "");
    let (_, events) = farmgate.admin_get("/api/v1/events?after=0&limit=1000");
    assert_eq!(events["events"].as_array().unwrap(), &all);
    assert_eq!(events["latest"], all.last().unwrap()["id"]);
    let explained = farmgate.cli(&["explain", "web/b"]);
    assert!(explained.text.starts_with("DOWN since ") && explained.text.contains("L7STS 503"), "{}", explained.text);
    let replay = farmgate.admin("POST", "/api/v1/farms/web/servers/b/probe/replay", Some(OPS_TOKEN), b"{\"fall\": 9}");
    assert_eq!((replay.status, &replay.json()["error"]["code"]), (409, &"no_history".into()), "{}", replay.text());
    let second = again(farmgate, &dir, &setup);
    assert_eq!(second.server("a")["admin"], "active");
    assert!(!timeline(&second, "").iter().any(|event| event["type"] == "changed"));
}

#[test]
fn restart_after_a_kill_keeps_orders_weights_verdicts_and_the_timeline() {
    let (origins, setup) = farm(4);
    let setup = setup.top("state_dir: state");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let first = Farmgate::start_in(&dir, &setup, &[]);
    NAMES.iter().for_each(|name| drop(first.wait_for_state(name, "UP")));
    origins[3].health(UNWELL);
    first.wait_for_state("d", "DOWN");
    act(&first, "a", "drain", r#"{"reason": "kernel", "deadline": "1h"}"#);
    act(&first, "b", "maintenance", r#"{"until": "1h"}"#);
    first.operate("PUT", "/api/v1/farms/web/servers/c/weight", r#"{"weight": 9}"#);
    act(&first, "c", "maintenance", r#"{"until": "700ms"}"#);
    let due = Instant::now() + Duration::from_millis(700);
    let kept = ["a", "b", "d"].map(|name| (name, first.server(name)));
    let before = timeline(&first, "");
    let mut first = first;
    first.kill();
    drop(first);
    std::thread::sleep(due.saturating_duration_since(Instant::now()));

    let second = Farmgate::start_in(&dir, &setup, &[]);
    assert_eq!(second.server("d")["state"], "DOWN", "from the first table on");
    for (name, was) in kept {
        let is = second.server(name);
        for field in ["state", "admin", "weight", "since", "overrides"] {
            assert_eq!(is[field], was[field], "{field} of {name}");
        }
        for field in ["reason", "actor", "since", "until", "deadline"] {
            assert_eq!(is["order"][field], was["order"][field], "{field} of {name}'s order");
        }
    }
    let c = second.wait_for_state("c", "UP");
    assert_eq!((&c["weight"], &c["effective_weight"], &c["order"]), (&9.into(), &9.into(), &Value::Null), "{c}");
    let now = timeline(&second, "");
    assert_eq!(now[..before.len()], before);
    let ended = now[before.len()..].iter().find(|event| event["type"] == "order_ended").unwrap();
    assert_eq!((&ended["server"], &ended["ending"]), (&"c".into(), &"until".into()), "it came due meanwhile");
    assert!(second.cli(&["explain", "web/d"]).text.starts_with("DOWN since "));
    origins[3].health(Behaviour::Ok);
    second.wait_for_state("d", "UP");
}

#[test]
fn hold_down_ejection_and_warm_up_survive_a_kill() {
    let (origins, setup) = farm(3);
    let servers = [("a", ""), ("b", "probe: false"), ("c", "")];
    let servers = servers.map(|(name, keys)| {
        let origin = &origins[NAMES.iter().position(|known| *known == name).unwrap()];
        Server::new(name, origin.addr(), keys)
    });
    let setup = setup.servers(&servers).top("state_dir: state").farm("flap: {transitions: 2, within: 1h, hold: 1h}");
    let setup = setup.farm("observe: {errors: 3, eject: 1h, eject_max: 1h}").farm("slow_start: 1h");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let first = Farmgate::start_in(&dir, &setup, &[]);
    first.wait_for_state("a", "UP");
    origins[0].health(UNWELL);
    first.wait_for_state("a", "DOWN");
    origins[0].health(Behaviour::Ok);
    origins[1].traffic(Behaviour::Status(500));
    let mut client = first.client();
    let is_out = |farmgate: &Farmgate| {
        let (a, b) = (farmgate.server("a"), farmgate.server("b"));
        a["standing"]["held_until"].is_string() && !b["standing"]["ejected"].is_null()
    };
    until("a to be held and b to be ejected", || {
        client.get("/");
        is_out(&first).then_some(())
    });
    first.wait_for_state("c", "UP");
    ["drain", "ready"].iter().for_each(|what| act(&first, "c", what, ""));
    assert!(first.server("c")["standing"]["warmup"].is_object());
    std::thread::sleep(DURABLE);
    let before = ["a", "b", "c"].map(|name| first.server(name)["standing"].clone());
    let second = again(first, &dir, &setup);
    assert_eq!(["a", "b", "c"].map(|name| second.server(name)["standing"].clone()), before);
    origins[1].traffic(Behaviour::Ok);
    second.wait_for_state("c", "UP");
    let mut client = second.client();
    (0..12).for_each(|_| assert_eq!(client.get("/").origin(), "c"));
}

/// Its agents are silent when the next process starts.
#[test]
fn what_agents_said_survives_a_kill() {
    let lines = ["down#disk full", "drain maxconn:7", "50%", "maint"];
    let agents = lines.map(|line| TcpOrigin::start(line, TcpBehaviour::CloseFirst));
    let (origins, setup) = farm(1);
    let mut setup = setup.top("state_dir: state");
    for (name, agent) in NAMES.iter().zip(&agents) {
        let (address, port) = (origins[0].addr(), agent.addr().port());
        setup = setup.another_farm(&format!(
            "{name}: {{protocol: http, probes: {{web: {QUICK}, agent: {{type: agent, port: {port}, interval: 250ms, \
             timeout: 250ms}}}}, servers: {{it: {{address: \"{address}\", weight: 10}}}}}}"
        ));
    }
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let first = Farmgate::start_in(&dir, &setup, &[]);
    let shown = |farmgate: &Farmgate, farm: &str| {
        let (status, server) = farmgate.admin_get(&format!("/api/v1/farms/{farm}/servers/it"));
        assert_eq!(status, 200, "{server}");
        server
    };
    let wants = ["DOWN (agent)", "DRAIN (agent)", "UP", "MAINT"];
    for (farm, state) in NAMES.iter().zip(wants) {
        until(&format!("{farm} to be {state}"), || {
            let server = shown(&first, farm);
            (server["state"] == state && !server["standing"]["agent"].is_null()).then_some(())
        });
    }
    drop(agents);
    std::thread::sleep(DURABLE);
    let said = |farmgate: &Farmgate| {
        NAMES.map(|farm| {
            let server = shown(farmgate, farm);
            [&server["state"], &server["effective_weight"], &server["standing"]["agent"]].map(Value::clone)
        })
    };
    let before = said(&first);
    let second = again(first, &dir, &setup);
    assert_eq!(said(&second), before, "from the first table on");
    let explained = second.cli(&["explain", "a/it"]).text;
    assert!(explained.contains("its agent says down (\"disk full\")"), "{explained}");
}

#[test]
fn event_is_on_disk_soon_after_it_happened() {
    let (origins, setup) = farm(2);
    let setup = setup.top("state_dir: state");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let first = Farmgate::start_in(&dir, &setup, &[]);
    first.wait_for_state("b", "UP");
    origins[1].health(UNWELL);
    first.wait_for_state("b", "DOWN");
    // Nothing is read meanwhile: a reader would hurry the journal.
    std::thread::sleep(DURABLE);
    origins[1].health(Behaviour::Silent);
    let second = again(first, &dir, &setup);
    assert_eq!(second.server("b")["state"], "DOWN");
    let of_b = timeline(&second, "farms/web/servers/b/");
    assert!(of_b.iter().any(|event| event["to"] == "down" && event["check"]["code"] == 503), "{of_b:#?}");
}

/// Where a process in `dir` with `state_dir: state` keeps its journal.
fn journal_of(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("state/farmgate.sqlite")
}

type Damage = fn(&mut Vec<u8>);
/// Of the file and its log.
type LogDamage = fn(&Path, &Path);

#[test]
fn damaged_journal_is_set_aside_and_the_balancer_serves() {
    let damages: [(&str, Damage); 3] = [
        ("not a database", |bytes| *bytes = b"once upon a time ".repeat(500)),
        ("a page of garbage", |bytes| bytes[4096..8192].fill(0x5a)),
        ("cut short", |bytes| bytes.truncate(bytes.len() / 2 + 100)),
    ];
    let (_origins, setup) = farm(2);
    let setup = setup.top("state_dir: state");
    for (what, damage) in damages {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let mut first = Farmgate::start_in(&dir, &setup, &[]);
        act(&first, "a", "drain", "");
        first.signal("TERM");
        first.wait();
        drop(first);
        // SQLite keeps the newest pages beside the file, and looks there first.
        rusqlite::Connection::open(journal_of(&dir)).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        let mut bytes = std::fs::read(journal_of(&dir)).unwrap();
        damage(&mut bytes);
        std::fs::write(journal_of(&dir), &bytes).unwrap();
        let second = Farmgate::start_in(&dir, &setup, &[]);
        let log = second.log();
        let line = log.lines().find(|line| line.contains("journal was damaged: set aside")).unwrap_or_default();
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{what}: nothing is said of it"));
        let aside = line["fields"]["aside"].as_str().or_else(|| line["aside"].as_str()).unwrap();
        assert_eq!(
            (&line["level"], std::fs::read(dir.path().join(aside)).unwrap()),
            (&"ERROR".into(), bytes),
            "{what}"
        );
        assert_eq!(second.server("a")["admin"], "active", "{what}");
        second.wait_for_state("a", "UP");
        assert_eq!(second.client().get("/").status, 200, "{what}");
        act(&second, "b", "drain", "");
        let third = again(second, &dir, &setup);
        assert_eq!(third.server("b")["admin"], "drain", "{what}: the new one keeps");
        assert!(!third.log().contains("damaged"), "{what}");
    }
}

/// SQLite takes such a log for none, and begins anew without a word.
#[test]
fn damaged_log_beside_the_journal_is_set_aside_and_said() {
    let (_origins, setup) = farm(2);
    let setup = setup.top("state_dir: state");
    let log_of = |dir: &tempfile::TempDir| journal_of(dir).with_extension("sqlite-wal");
    let damages: [(&str, LogDamage); 3] = [
        ("garbage at the head", |_, log| {
            let mut bytes = std::fs::read(log).unwrap();
            bytes[..4096].fill(0x5a);
            std::fs::write(log, bytes).unwrap();
        }),
        ("the file was emptied", |file, _| std::fs::write(file, b"").unwrap()),
        ("the file is gone", |file, _| std::fs::remove_file(file).unwrap()),
    ];
    for (what, damage) in damages {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let mut first = Farmgate::start_in(&dir, &setup, &[]);
        act(&first, "a", "drain", "");
        first.kill();
        drop(first);
        let log = std::fs::read(log_of(&dir)).unwrap();
        damage(&journal_of(&dir), &log_of(&dir));
        let second = Farmgate::start_in(&dir, &setup, &[]);
        assert!(second.log().contains("journal was damaged: set aside"), "{what}: {}", second.log());
        let aside = std::fs::read(dir.path().join("state/farmgate.damaged-1-wal")).unwrap();
        assert_eq!(aside.len(), log.len(), "{what}");
        second.wait_for_state("b", "UP");
        act(&second, "b", "drain", "");
        let third = again(second, &dir, &setup);
        assert_eq!(third.server("b")["admin"], "drain", "{what}: the new one keeps");
        assert!(!third.log().contains("damaged"), "{what}");
    }
}

#[test]
fn journal_that_was_closed_in_order_is_whole_in_its_file_alone() {
    let (_origins, setup) = farm(1);
    let (setup, dir) = (setup.top("state_dir: state"), Arc::new(tempfile::tempdir().unwrap()));
    let mut first = Farmgate::start_in(&dir, &setup, &[]);
    act(&first, "a", "drain", "");
    first.signal("TERM");
    first.wait();
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("state")).unwrap();
    std::fs::copy(journal_of(&dir), journal_of(&copy)).unwrap();
    let second = Farmgate::start_in(&Arc::new(copy), &setup, &[]);
    assert_eq!(second.server("a")["admin"], "drain");
    assert!(!second.log().contains("damaged"), "{}", second.log());
}

/// A file system of a megabyte, unmounted when dropped.
struct TinyDisk(PathBuf);

impl TinyDisk {
    fn mount(at: &Path) -> Result<Self, String> {
        std::fs::create_dir(at).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(at).output();
        match mount {
            Ok(done) if done.status.success() => Ok(Self(at.to_owned())),
            Ok(done) => Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Leaves no byte.
    fn fill(&self) {
        let mut bytes = std::fs::read(self.filler()).unwrap_or_default().len();
        for step in [4096, 512, 1] {
            while std::fs::write(self.filler(), vec![0; bytes + step]).is_ok() {
                bytes += step;
            }
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "who reads that it passed must know that it was skipped")]
fn full_disk_stops_no_traffic_and_refuses_orders_until_there_is_space() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let disk = match TinyDisk::mount(&dir.path().join("state")) {
        Ok(disk) => disk,
        Err(why) => return eprintln!("skipped: a file system of its own cannot be mounted here: {why}"),
    };
    let (origins, setup) = farm(2);
    let farmgate = Farmgate::start_in(&dir, &setup.top("state_dir: state"), &[]);
    farmgate.wait_for_state("b", "UP");
    act(&farmgate, "a", "drain", "");
    act(&farmgate, "a", "ready", "");
    let load = Load::start(farmgate.front("web"), &["GET"]);
    disk.fill();
    let refused = until("an order to be refused", || {
        disk.fill();
        let answer = farmgate.admin("POST", "/api/v1/farms/web/servers/a/drain", Some(OPS_TOKEN), b"{}");
        if answer.status == 200 {
            act(&farmgate, "a", "ready", "");
        }
        Some(answer).filter(|answer| answer.status != 200)
    });
    let error = &refused.json()["error"];
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(error["message"].as_str().unwrap().contains("the change could not be kept"), "{error}");
    let id = error["request_id"].as_str().unwrap();
    until("the log to say why", || {
        let log = farmgate.log();
        let line = log.lines().find(|line| line.contains(id) && line.contains("full"))?;
        line.contains("check the space and the permissions of state_dir").then_some(())
    });
    assert_eq!(farmgate.server("a")["admin"], "active", "it was not made either");
    let cli = farmgate.cli(&["drain", "web/a"]);
    assert!(cli.code == Some(1) && cli.text.contains("the change could not be kept"), "{}", cli.text);
    origins[1].health(UNWELL);
    farmgate.wait_for_state("b", "DOWN");
    load.wait_for_more(50);
    disk.make_room();
    until("orders to be taken again", || {
        let answer = farmgate.admin("POST", "/api/v1/farms/web/servers/b/drain", Some(OPS_TOKEN), b"{}");
        (answer.status == 200).then_some(())
    });
    load.finish_without_failure();
    let downs = until("the journal to have what happened meanwhile", || {
        let of_b = timeline(&farmgate, "farms/web/servers/b/");
        Some(of_b.iter().filter(|event| event["to"] == "down").count()).filter(|downs| *downs > 0)
    });
    assert_eq!(downs, 1);
}
