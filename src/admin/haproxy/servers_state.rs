//! `show servers state`: version 1 of HAProxy's file, a line for each server. Pure.

use std::fmt::Write as _;

use crate::model::address::Host;
use crate::model::{AdminStatus, CheckStatus, Health, PeerAddr, Verdict};
use crate::store::Snapshot;
use crate::store::snapshot::{AdminCause, FarmRow, ServerRow};

use super::csv::{admin, health};

/// HAProxy's columns of version 1.
pub(super) const COLUMNS: &str = "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id \
srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port";

/// Bits of `srv_admin_state`.
const FORCED_MAINTENANCE: u8 = 0x01;
const CONFIGURED_MAINTENANCE: u8 = 0x04;
const FORCED_DRAIN: u8 = 0x08;
const UNRESOLVED: u8 = 0x20;
/// `srv_check_state` of a check that is configured and enabled, and `srv_agent_state` of no agent.
const CHECKED: u8 = 0x06;
/// What stands for nothing.
const NOTHING: &str = "-";

/// Returns everything.
pub(super) fn render(snapshot: &Snapshot) -> String {
    let mut text = format!("1\n# {COLUMNS}\n");
    for farm in &snapshot.farms {
        for row in &farm.servers {
            line(snapshot, farm, row, &mut text);
        }
    }
    text
}

fn line(snapshot: &Snapshot, farm: &FarmRow, row: &ServerRow, text: &mut String) {
    let server = &row.server;
    let (address, port) = match &row.addr {
        Some(PeerAddr::Ip(addr)) => (addr.ip().to_string(), addr.port().to_string()),
        Some(PeerAddr::Unix(path)) => (path.display().to_string(), "0".to_owned()),
        None => (NOTHING.to_owned(), "0".to_owned()),
    };
    let name = if let Host::Name(name) = &server.address.host { name } else { NOTHING };
    let last = row.last_check.as_deref();
    let is_probed = row.standing.health != Health::Off;
    let rise = farm.farm.main_probe().map_or(1, |probe| probe.rise);
    let check_port = server.aim.port.unwrap_or(0);
    let check_addr = server.aim.address.map_or_else(|| NOTHING.to_owned(), |ip| ip.to_string());
    // Writing to a text cannot fail.
    let _ = writeln!(
        text,
        "{} {} {} {} {address} {} {} {} {} {} {} {} {} {} 0 0 0 {name} {port} {NOTHING} {} {check_port} {check_addr} {NOTHING} 0",
        farm.farm.id,
        farm.farm.name,
        server.id,
        server.name,
        operational(row),
        administrative(row),
        row.effective_weight,
        server.weight.0,
        snapshot.at.since(row.state_since).as_secs(),
        last.map_or(0, |last| number(last.status)),
        last.map_or(0, |last| result(last.status)),
        health(row, rise),
        if is_probed { CHECKED } else { 0 },
        u8::from(server.tls.is_some()),
    );
}

/// `srv_op_state`: stopped, starting (warming up), running, or stopping.
fn operational(row: &ServerRow) -> u8 {
    if admin(row) == AdminStatus::Maintenance || row.addr.is_none() {
        return 0;
    }
    match row.standing.health {
        Health::Down => 0,
        Health::Off | Health::Unknown | Health::Up if row.standing.warmup.is_some() => 1,
        Health::Off | Health::Unknown | Health::Up => 2,
        Health::Stopping => 3,
    }
}

/// `srv_admin_state`.
fn administrative(row: &ServerRow) -> u8 {
    let by_file = row.causes.contains(&AdminCause::File) && !row.causes.contains(&AdminCause::Override);
    let wanted = match admin(row) {
        AdminStatus::Active => 0,
        AdminStatus::Drain => FORCED_DRAIN,
        AdminStatus::Maintenance if by_file => CONFIGURED_MAINTENANCE,
        AdminStatus::Maintenance => FORCED_MAINTENANCE,
    };
    wanted | if row.addr.is_none() { UNRESOLVED } else { 0 }
}

/// `srv_check_status`: HAProxy's number of a status.
fn number(status: CheckStatus) -> u8 {
    match status {
        CheckStatus::Checked => 3,
        CheckStatus::SockErr => 5,
        CheckStatus::L4Ok => 6,
        CheckStatus::L4Tout => 7,
        CheckStatus::L4Con => 8,
        CheckStatus::L6Ok => 9,
        CheckStatus::L6Tout => 10,
        CheckStatus::L6Rsp => 11,
        CheckStatus::L7Tout => 12,
        CheckStatus::L7Rsp => 13,
        CheckStatus::L7Ok => 15,
        CheckStatus::L7Okc => 16,
        CheckStatus::L7Sts => 17,
        CheckStatus::ProcErr => 18,
        CheckStatus::ProcTout => 19,
        CheckStatus::ProcOk => 20,
    }
}

/// `srv_check_result`: unknown, neutral, failed, passed, or passed on condition.
fn result(status: CheckStatus) -> u8 {
    match status.verdict() {
        Verdict::Neutral => 1,
        Verdict::Failed => 2,
        Verdict::Passed => 3,
        Verdict::Conditional => 4,
    }
}
