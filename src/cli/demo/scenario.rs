//! What `demo --once` plays: shares, a server that fails its checks and why, its return, a drain, the timeline of it all,
//! each seen from outside.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::clock;
use crate::model::{FarmId, Name, ServerId};

use super::TOKEN;

/// How long any one thing may take to show.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it is looked for.
const GLANCE: Duration = Duration::from_millis(50);

/// What was seen.
pub(super) struct Story {
    pub(super) lines: Vec<String>,
    pub(super) failure: Option<anyhow::Error>,
}

/// Plays the scenario and calls `ended` whatever came of it.
pub(super) fn play_on_own_thread(
    front: SocketAddr,
    admin: SocketAddr,
    flapping: Arc<AtomicBool>,
    ended: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<Story>> {
    std::thread::Builder::new().name("scenario".to_owned()).spawn(move || {
        let agent = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build();
        let mut stage = Stage { agent: agent.into(), front, admin, lines: Vec::new() };
        let failure = stage.play(&flapping).err();
        ended();
        Story { lines: stage.lines, failure }
    })
}

/// Returns the demo farm's id.
pub(super) fn farm_id() -> String {
    Name::parse("web").map_or_else(|_| String::new(), |farm| FarmId::derive(&farm).to_string())
}

/// Returns the id of one of its servers.
pub(super) fn server_id(server: &str) -> String {
    let names = Name::parse("web").and_then(|farm| Ok((farm, Name::parse(server)?)));
    names.map_or_else(|_| String::new(), |(farm, server)| ServerId::derive(&farm, &server).to_string())
}

struct Stage {
    agent: ureq::Agent,
    front: SocketAddr,
    admin: SocketAddr,
    lines: Vec<String>,
}

impl Stage {
    fn play(&mut self, flapping: &AtomicBool) -> anyhow::Result<()> {
        self.wait_until("every server checked once", |stage| Ok(stage.admin_get("/readyz")?.0 == 200))?;
        self.expect_shares("weights 3/2/1", 60, &[("steady", 30), ("flapping", 20), ("slow", 10)])?;

        flapping.store(true, Relaxed);
        let path = format!("/1.0/ipLoadbalancing/lb-demo/http/farm/{}/server/{}", farm_id(), server_id("flapping"));
        self.wait_until("flapping is DOWN in OVHcloud's serverState", |stage| {
            Ok(stage.admin_get(&path)?.1["serverState"][0]["status"] == "DOWN")
        })?;
        let state = self.admin_get(&path)?.1["serverState"][0].clone();
        ensure!(state["checkStatus"] == "L7STS" && state["checkCode"] == "503", "serverState is {state}");
        self.told(&format!(
            "serverState tells why: {} {} {}",
            state["checkStatus"], state["checkCode"], state["lastCheckContent"]
        ));
        ensure!(self.zenlayer_health("flapping")? == "Dead", "DescribeBackendHealth does not say Dead");
        self.told("Zenlayer's DescribeBackendHealth says Dead");
        self.expect_explanation()?;
        self.expect_shares("without flapping", 40, &[("steady", 30), ("slow", 10)])?;

        flapping.store(false, Relaxed);
        self.wait_until("flapping is back after two passes", |stage| {
            Ok(stage.admin_get("/api/v1/farms/web/servers/flapping")?.1["state"] == "UP")
        })?;
        self.admin_post("/api/v1/farms/web/servers/slow/drain")?;
        self.expect_shares("slow drained", 50, &[("steady", 30), ("flapping", 20)])?;
        self.admin_post("/api/v1/farms/web/servers/slow/ready")?;
        self.expect_shares("slow back", 60, &[("steady", 30), ("flapping", 20), ("slow", 10)])?;
        self.expect_timeline("flapping", "transition", &["down", "up"])?;
        self.expect_timeline("slow", "changed", &["drain", "active"])?;
        let page = self.agent.get(format!("http://{}/", self.admin)).call().context("page")?;
        ensure!(page.status() == 200, "the page answered {}", page.status());
        self.told("the page is served");
        Ok(())
    }

    /// Asks why `flapping` is down: the sentence names the checks, the evidence what the server said.
    fn expect_explanation(&mut self) -> anyhow::Result<()> {
        let (status, told) = self.admin_get("/api/v1/farms/web/servers/flapping/explain")?;
        let sentence = told["sentence"].as_str().unwrap_or_default();
        let is_why = sentence.starts_with("DOWN since ") && sentence.contains("2 of 2 checks failed, L7STS 503");
        ensure!(status == 200 && is_why, "explain answered {status}: {told}");
        let received = told["evidence"][0]["received"].as_str().unwrap_or_default();
        ensure!(received.contains("HTTP/1.1 503"), "the newest evidence is {}", told["evidence"][0]);
        self.told(&format!("explain: {sentence}"));
        Ok(())
    }

    /// Reads a server's timeline, the oldest first: the last events of the kind went to `want`.
    fn expect_timeline(&mut self, server: &str, kind: &str, want: &[&str]) -> anyhow::Result<()> {
        let (_, told) = self.admin_get(&format!("/api/v1/farms/web/servers/{server}/timeline?order=oldest"))?;
        let events = told["events"].as_array().cloned().unwrap_or_default();
        let went: Vec<_> = events.iter().filter(|e| e["type"] == kind).filter_map(|e| e["to"].as_str()).collect();
        ensure!(went.ends_with(want), "the timeline of {server} is {told}");
        self.told(&format!("timeline of {server}: {}", want.join(", then ")));
        Ok(())
    }

    fn told(&mut self, what: &str) {
        self.lines.push(format!("ok: {what}"));
    }

    fn wait_until(&mut self, what: &str, is_so: impl Fn(&Self) -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let began = clock::monotonic();
        while !is_so(self)? {
            if began.elapsed() > PATIENCE {
                bail!("not seen within {} s: {what}", PATIENCE.as_secs());
            }
            std::thread::sleep(GLANCE);
        }
        self.told(&format!("{what}, after {} ms", since_ms(began)));
        Ok(())
    }

    /// Sends `n` requests, one after the other over one connection, and compares who answered.
    fn expect_shares(&mut self, what: &str, n: usize, want: &[(&str, usize)]) -> anyhow::Result<()> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..n {
            let mut answer = self.agent.get(format!("http://{}/", self.front)).call().context("front")?;
            ensure!(answer.status() == 200, "front answered {}", answer.status());
            let body = answer.body_mut().read_to_string().context("front")?;
            *seen.entry(body.trim_start_matches("hello from ").trim_end().to_owned()).or_default() += 1;
        }
        let want: BTreeMap<String, usize> = want.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        ensure!(seen == want, "{what}: {n} requests were shared {seen:?}, expected {want:?}");
        self.told(&format!("{what}: {n} requests shared {seen:?}"));
        Ok(())
    }

    fn admin_get(&self, path: &str) -> anyhow::Result<(u16, Value)> {
        let request = self.agent.get(format!("http://{}{path}", self.admin));
        let mut answer = request.header("Authorization", format!("Bearer {TOKEN}")).call().context("admin")?;
        let status = answer.status().as_u16();
        Ok((status, answer.body_mut().read_json().unwrap_or(Value::Null)))
    }

    fn admin_post(&self, path: &str) -> anyhow::Result<()> {
        let request = self.agent.post(format!("http://{}{path}", self.admin));
        let answer = request.header("Authorization", format!("Bearer {TOKEN}")).send_empty().context("admin")?;
        ensure!(answer.status() == 200, "{path} answered {}", answer.status());
        Ok(())
    }

    fn zenlayer_health(&self, server: &str) -> anyhow::Result<String> {
        let request = self.agent.post(format!("http://{}/api/v2/zlb", self.admin));
        let request = request.header("Authorization", format!("Bearer {TOKEN}"));
        let request = request.header("X-ZC-Action", "DescribeBackendHealth");
        let mut answer = request.send_json(json!({"loadBalancerId": "lb-demo"})).context("admin")?;
        let answer: Value = answer.body_mut().read_json().context("admin")?;
        let row = self.admin_get(&format!("/api/v1/farms/web/servers/{server}"))?.1;
        let address = row["address"].as_str().unwrap_or_default().to_owned();
        let port = address.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        let backends = answer["response"]["backends"].as_array().cloned().unwrap_or_default();
        let found = backends.iter().find(|row| row["backendPort"].as_u64() == port.map(u64::from));
        Ok(found.and_then(|row| row["healthStatus"].as_str()).unwrap_or("nothing").to_owned())
    }
}

fn since_ms(began: Instant) -> u128 {
    began.elapsed().as_millis()
}
