//! A frontend.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Look, frontend_key, overlaid};
use crate::admin::ovh::ahead::Item;
use crate::admin::ovh::wire;
use crate::model::{Frontend, HeaderRules, Sources, Template};

/// How variables of header rules are written, by us and by the vendor.
const VARIABLES: [(&str, &str); 2] = [("${client_ip}", "%ci"), ("${client_port}", "%cp")];

/// Returns a frontend. Addresses other than "any" are the dedicated ones of one that this shape did not make.
pub(in crate::admin::ovh) fn frontend(look: Look<'_>, item: &Item<Frontend>) -> wire::Frontend {
    let base = item.model.as_ref().map(|frontend| of_model(frontend)).unwrap_or_default();
    let face = overlaid(&base, item, frontend_key);
    wire::Frontend { frontend_id: item.id.0, zone: look.zone_of(item), ..face }
}

fn of_model(frontend: &Frontend) -> wire::Frontend {
    let mut dedicated: Vec<String> = Vec::new();
    for ip in ips(frontend).filter(|ip| !ip.is_unspecified()) {
        let block = IpNet::from(ip).to_string();
        if !dedicated.contains(&block) {
            dedicated.push(block);
        }
    }
    let texts = |networks: &[IpNet]| networks.iter().map(ToString::to_string).collect();
    let (allowed, denied) = match &frontend.sources {
        Sources::All => (Vec::new(), Vec::new()),
        Sources::AllBut(networks) => (Vec::new(), texts(networks)),
        Sources::Only(networks) => (texts(networks), Vec::new()),
    };
    wire::Frontend {
        port: port_text(frontend),
        display_name: Some(frontend.name.to_string()),
        default_farm_id: frontend.default_farm().map(|farm| farm.0),
        ssl: frontend.tls.is_some(),
        hsts: frontend.hsts.is_some(),
        http_header: headers(&frontend.request_headers),
        redirect_location: frontend.default_redirect().map(|redirect| redirect.target.to_string()),
        allowed_source: allowed,
        denied_source: denied,
        dedicated_ipfo: dedicated,
        ..wire::Frontend::default()
    }
}

/// The IP addresses that a frontend listens on.
fn ips(frontend: &Frontend) -> impl Iterator<Item = IpAddr> {
    frontend.listen.iter().filter_map(|addr| addr.ip()).map(|addr| addr.ip())
}

/// Returns the text of a frontend's `port`: each port once, in the order written.
fn port_text(frontend: &Frontend) -> String {
    let mut ports: Vec<String> = Vec::new();
    for port in frontend.listen.iter().filter_map(|addr| Some(addr.ip()?.port().to_string())) {
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports.join(",")
}

fn headers(rules: &HeaderRules) -> Vec<String> {
    let line = |(name, value): &(Box<str>, Template)| {
        let value = VARIABLES.iter().fold(value.to_string(), |text, (ours, theirs)| text.replace(ours, theirs));
        format!("{name} {value}")
    };
    rules.set.iter().chain(&rules.add).map(line).collect()
}
