//! `service`, `instance_id` and `zone`: who this balancer is.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Component, PathBuf};

use crate::config::bounds::{API_PORTS, INSTANCE_ID, LIST_MAX, ZONE};
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::lower::path;
use crate::config::read::{Section, Value};
use crate::model::{InstanceId, Name, Service};

/// Lowers the service; nothing without a name.
pub(super) fn lower(file: &Section<'_>, findings: &mut Findings) -> Option<Service> {
    let instance_id = InstanceId(file.number(findings, "instance_id", &INSTANCE_ID, "write a number within"));
    let zone = file.get("zone").map_or_else(|| Name::parse(ZONE).ok(), |value| value.name(findings));
    let value = file.need(findings, "service", "write service: NAME")?;
    if value.is_scalar() {
        let name = value.name(findings)?;
        let (api_files, api_sockets) = (Vec::new(), Vec::new());
        let (addresses, api_ports) = (Vec::new(), API_PORTS);
        return Some(Service { name, addresses, api_ports, api_files, api_sockets, instance_id, zone: zone? });
    }
    let section = value.section(findings, keys::SERVICE)?;
    let addresses = section.or(findings, "addresses", Vec::new(), |value, findings| {
        let items = value.list(findings, "IP addresses", LIST_MAX);
        Some(items.iter().filter_map(|item| address(item, findings)).collect())
    });
    let api_ports = section.or(findings, "api_ports", API_PORTS, |value, findings| {
        let remedy = "is not LOW-HIGH with 1 <= LOW <= HIGH <= 65535; write for example \"1024-49151\"";
        value.parsed(findings, "a range of ports", |text| parse_ports(text).ok_or(remedy))
    });
    let api_files = section.or(findings, "api_files", Vec::new(), directories);
    let api_sockets = section.or(findings, "api_sockets", Vec::new(), directories);
    let name = section.need(findings, "name", "write name: NAME").and_then(|value| value.name(findings))?;
    Some(Service { name, addresses, api_ports, api_files, api_sockets, instance_id, zone: zone? })
}

/// Reads directories that are opened to APIs: each said whole, so that it is the same wherever the process starts.
fn directories(value: &Value<'_>, findings: &mut Findings) -> Option<Vec<PathBuf>> {
    let items = value.list(findings, "directories", LIST_MAX);
    let one = |item: &Value<'_>| {
        let dir = path(item, findings)?;
        let is_plain = dir.is_absolute() && !dir.components().any(|part| part == Component::ParentDir);
        if !is_plain || dir.parent().is_none() {
            item.refuse(findings, "is no directory to open to APIs; write an absolute path below /, without ..");
            return None;
        }
        Some(dir)
    };
    Some(items.iter().filter_map(one).collect())
}

fn address(value: &Value<'_>, findings: &mut Findings) -> Option<IpAddr> {
    value.parsed(findings, "an IP address", |text| {
        text.parse().map_err(|_| "is not an IP address; write no name, no port")
    })
}

fn parse_ports(text: &str) -> Option<RangeInclusive<u16>> {
    let port = |s: &str| s.parse::<u16>().ok().filter(|p| *p > 0 && !s.starts_with('+'));
    let (low, high) = match text.split_once('-') {
        Some((low, high)) => (port(low)?, port(high)?),
        None => (port(text)?, port(text)?),
    };
    (low <= high).then_some(low..=high)
}
