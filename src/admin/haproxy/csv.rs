//! `show stat`: a line for each frontend, server and farm, in HAProxy's columns. Pure.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::farm::{FarmTable, Serving};
use crate::metrics::{EdgeCells, PerWorker, StatusClass};
use crate::model::{AdminStatus, Health, ProbeKind, Role, ServerKey, Verdict};
use crate::store::snapshot::{FarmRow, FrontendRow, ServerRow};
use crate::store::{FrontendTable, Snapshot, Table};

/// HAProxy's columns in HAProxy's order; readers go by name or by position.
pub(super) const COLUMNS: &str = "pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,\
act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,\
check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,req_tot,cli_abrt,srv_abrt,comp_in,\
comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,ctime,rtime,ttime,agent_status,agent_code,agent_duration,check_desc,agent_desc,\
check_rise,check_fall,check_health,agent_rise,agent_fall,agent_health,addr,cookie,mode,algo,conn_rate,conn_rate_max,conn_tot,intercepted,\
dcon,dses,wrew,connect,reuse,cache_lookups,cache_hits,srv_icur,src_ilim,qtime_max,ctime_max,rtime_max,ttime_max,eint,idle_conn_cur,\
safe_conn_cur,used_conn_cur,need_conn_est,uweight,agg_server_status,agg_server_check_status,agg_check_status,srid,sess_other,h1sess,h2sess,\
h3sess,req_other,h1req,h2req,h3req,proto,";

/// The values of `type`.
const FRONTEND: &str = "0";
const FARM: &str = "1";
const SERVER: &str = "2";

/// Returns everything.
pub(super) fn render(snapshot: &Snapshot, table: &Table) -> String {
    let given = Given::of(table);
    let mut text = format!("# {COLUMNS}\n");
    for row in &snapshot.frontends {
        frontend(row, table.frontend(row.frontend.id), table).write(&mut text);
    }
    for row in &snapshot.farms {
        let counted = table.farm(row.farm.id);
        for server in &row.servers {
            self::server(snapshot, row, server, counted, &given).write(&mut text);
        }
        farm(snapshot, row, counted, &given).write(&mut text);
    }
    text
}

/// One line: values by column. What has none is empty.
#[derive(Default)]
struct Line<'l>(HashMap<&'static str, Cow<'l, str>>);

impl<'l> Line<'l> {
    #[expect(clippy::needless_pass_by_value, reason = "numbers and ids, made for it")]
    fn set(&mut self, column: &'static str, value: impl ToString) {
        self.0.insert(column, Cow::Owned(value.to_string()));
    }

    fn text(&mut self, column: &'static str, value: impl Into<Cow<'l, str>>) {
        self.0.insert(column, value.into());
    }

    fn write(&self, text: &mut String) {
        for column in COLUMNS.split_terminator(',') {
            if let Some(value) = self.0.get(column) {
                quote(value, text);
            }
            text.push(',');
        }
        text.push('\n');
    }
}

/// A value of several words or with a comma is quoted (RFC 4180); of control characters, which HAProxy has none of, a
/// blank is left.
fn quote(value: &str, text: &mut String) {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    if !value.contains([',', '"']) && !value.chars().any(char::is_control) {
        text.push_str(value);
        return;
    }
    text.push('"');
    for c in value.chars().map(plain) {
        if c == '"' {
            text.push('"');
        }
        text.push(c);
    }
    text.push('"');
}

/// What was given to servers, by whom all together.
#[derive(Clone, Copy, Default)]
struct Counts {
    by_class: [u64; 6],
    bytes_in: u64,
    bytes_out: u64,
    connect_failures: u64,
    retries: u64,
}

impl Counts {
    fn add(&mut self, edge: &PerWorker<EdgeCells>) {
        for (position, count) in self.by_class.iter_mut().enumerate() {
            *count += edge.sum(|c| c.requests[position].value());
        }
        self.bytes_in += edge.sum(|c| c.bytes_in.value());
        self.bytes_out += edge.sum(|c| c.bytes_out.value());
        self.connect_failures += edge.sum(|c| c.connect_failures.value());
        self.retries += edge.sum(|c| c.retries.value());
    }

    fn total(&self) -> u64 {
        self.by_class.iter().sum()
    }

    fn write(&self, is_http: bool, line: &mut Line<'_>) {
        line.set("stot", self.total());
        line.set("bin", self.bytes_in);
        line.set("bout", self.bytes_out);
        if !is_http {
            return;
        }
        const COLUMNS: [&str; 6] = ["hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other"];
        for ((column, class), count) in COLUMNS.into_iter().zip(StatusClass::ALL).zip(self.by_class) {
            debug_assert!(column.ends_with(class.as_str()) || class == StatusClass::None);
            line.set(column, count);
        }
        line.set("req_tot", self.total());
    }

    fn write_tries(&self, line: &mut Line<'_>) {
        line.set("econ", self.connect_failures);
        line.set("wretr", self.retries);
        line.set("lbtot", self.total());
    }
}

/// What every server was given.
struct Given(HashMap<ServerKey, Counts>);

impl Given {
    fn of(table: &Table) -> Self {
        let mut by_server: HashMap<ServerKey, Counts> = HashMap::new();
        for feed in table.frontends.iter().flat_map(|frontend| &frontend.feeds) {
            let farm = table.farm_of(feed);
            for (entry, edge) in farm.servers.iter().zip(&feed.edges) {
                by_server.entry(ServerKey { farm: farm.farm.id, server: entry.server.id }).or_default().add(edge);
            }
        }
        Self(by_server)
    }

    fn to(&self, farm: &FarmRow, server: &ServerRow) -> Counts {
        let key = ServerKey { farm: farm.farm.id, server: server.server.id };
        self.0.get(&key).copied().unwrap_or_default()
    }
}

fn frontend<'l>(row: &'l FrontendRow, counted: Option<&std::sync::Arc<FrontendTable>>, table: &Table) -> Line<'l> {
    let (frontend, mut line) = (&row.frontend, Line::default());
    line.text("pxname", frontend.name.as_str());
    line.text("svname", "FRONTEND");
    line.set("scur", row.connections_open);
    line.set("slim", frontend.limits.connections);
    if let Some(counted) = counted {
        let mut counts = Counts::default();
        for feed in &counted.feeds {
            feed.edges.iter().for_each(|edge| counts.add(edge));
            debug_assert!(feed.farm < table.farms.len());
        }
        for (position, count) in counts.by_class.iter_mut().enumerate() {
            *count += counted.cells.sum(|c| c.own_answers[position].value());
        }
        counts.write(frontend.protocol == crate::model::Protocol::Http, &mut line);
        let connections = counted.cells.sum(|c| c.connections.value());
        line.set("stot", connections);
        line.set("conn_tot", connections);
        line.set("dreq", counted.cells.sum(|c| c.refused.iter().map(crate::metrics::Cell::value).sum()));
    }
    line.text("status", "OPEN");
    line.set("pid", 1);
    line.set("iid", frontend.id);
    line.set("sid", 0);
    line.text("type", FRONTEND);
    line.text("mode", frontend.protocol.as_str());
    line
}

fn farm<'l>(
    snapshot: &Snapshot,
    row: &'l FarmRow,
    counted: Option<&std::sync::Arc<FarmTable>>,
    given: &Given,
) -> Line<'l> {
    let (farm, mut line) = (&row.farm, Line::default());
    line.text("pxname", farm.name.as_str());
    line.text("svname", "BACKEND");
    line.set("qcur", counted.map_or(0, |table| table.live.queue.length()));
    line.set("scur", row.servers.iter().map(|row| row.in_flight).sum::<u64>());
    let mut counts = Counts::default();
    for server in &row.servers {
        let more = given.to(row, server);
        counts.by_class.iter_mut().zip(more.by_class).for_each(|(sum, count)| *sum += count);
        counts.bytes_in += more.bytes_in;
        counts.bytes_out += more.bytes_out;
        counts.connect_failures += more.connect_failures;
        counts.retries += more.retries;
    }
    counts.write(farm.protocol == crate::model::Protocol::Http, &mut line);
    counts.write_tries(&mut line);
    line.text("status", if row.serving == Serving::Nobody { "DOWN" } else { "UP" });
    line.set("weight", row.servers.iter().map(|row| u64::from(row.effective_weight)).sum::<u64>());
    let of_role = |role| row.servers.iter().filter(|row| row.effective_weight > 0 && row.server.role == role).count();
    line.set("act", of_role(Role::Primary));
    line.set("bck", of_role(Role::Backup));
    if let Some(table) = counted {
        line.set("chkdown", table.servers.iter().map(|entry| entry.live.checks.to_down.value()).sum::<u64>());
    }
    let changed = row.servers.iter().map(|row| row.state_since).max().unwrap_or(snapshot.at);
    line.set("lastchg", snapshot.at.since(changed).as_secs());
    line.set("pid", 1);
    line.set("iid", farm.id);
    line.set("sid", 0);
    line.text("type", FARM);
    line.text("mode", farm.protocol.as_str());
    line.text("algo", farm.balance.as_str());
    line.set("uweight", row.servers.iter().map(|row| u64::from(row.server.weight.0)).sum::<u64>());
    line
}

fn server<'l>(
    snapshot: &Snapshot,
    farm: &'l FarmRow,
    row: &'l ServerRow,
    counted: Option<&std::sync::Arc<FarmTable>>,
    given: &Given,
) -> Line<'l> {
    let (server, mut line) = (&row.server, Line::default());
    line.text("pxname", farm.farm.name.as_str());
    line.text("svname", server.name.as_str());
    line.set("qcur", row.queued);
    line.set("scur", row.in_flight);
    if let Some(most) = row.standing.max_connections(server) {
        line.set("slim", most);
    }
    let counts = given.to(farm, row);
    counts.write(farm.farm.protocol == crate::model::Protocol::Http, &mut line);
    counts.write_tries(&mut line);
    line.text("status", row.state.as_str());
    line.set("weight", row.effective_weight);
    line.set("uweight", server.weight.0);
    line.set("act", u8::from(server.role == Role::Primary));
    line.set("bck", u8::from(server.role == Role::Backup));
    line.set("lastchg", snapshot.at.since(row.state_since).as_secs());
    line.set("pid", 1);
    line.set("iid", farm.farm.id);
    line.set("sid", server.id);
    line.text("type", SERVER);
    line.text("mode", farm.farm.protocol.as_str());
    if let Some(warmup) = row.standing.warmup {
        line.set("throttle", warmup.percent);
    }
    if let Some(addr) = &row.addr {
        line.set("addr", addr);
    }
    if let Some(cookie) = &server.cookie {
        line.text("cookie", &**cookie);
    }
    if row.standing.health != Health::Off {
        checks(farm, row, counted, &mut line);
    }
    line
}

fn checks<'l>(farm: &FarmRow, row: &'l ServerRow, counted: Option<&std::sync::Arc<FarmTable>>, line: &mut Line<'l>) {
    if let Some(last) = &row.last_check {
        line.text("check_status", last.status.as_str());
        line.set("check_duration", last.duration.as_millis());
        line.text("last_chk", last.content.as_str());
        if let Some(code) = last.code {
            line.set("check_code", code);
        }
    }
    let entry = counted.and_then(|table| table.servers.iter().find(|entry| entry.server.id == row.server.id));
    if let Some(entry) = entry {
        let failed = crate::model::CheckStatus::ALL.iter().zip(&entry.live.checks.by_status);
        let failed = failed.filter(|(status, _)| status.verdict() == Verdict::Failed);
        line.set("chkfail", failed.map(|(_, count)| count.value()).sum::<u64>());
        line.set("chkdown", entry.live.checks.to_down.value());
    }
    if let Some(probe) = farm.farm.main_probe() {
        line.set("check_rise", probe.rise);
        line.set("check_fall", probe.fall);
        line.set("check_health", health(row, probe.rise));
    }
    if let Some(agent) = farm.farm.probes.iter().find(|probe| matches!(probe.kind, ProbeKind::Agent { .. })) {
        line.set("agent_rise", agent.rise);
        line.set("agent_fall", agent.fall);
    }
}

/// HAProxy's counter: below `rise` while a server is down, from there on while it is up.
pub(super) fn health(row: &ServerRow, rise: u16) -> u32 {
    let (have, rise) = (u32::from(row.standing.progress.have), u32::from(rise));
    match row.standing.health {
        Health::Down | Health::Unknown => have,
        Health::Off => 0,
        Health::Stopping | Health::Up => (rise + have).saturating_sub(1),
    }
}

/// Whether an operator, or an agent, keeps a server from new work.
pub(super) fn admin(row: &ServerRow) -> AdminStatus {
    row.standing.admin_with_agent(row.server.admin)
}
