//! A farm and its probe.

use super::{Look, farm_key, overlaid};
use crate::admin::ovh::ahead::{Item, kind_of_farm};
use crate::admin::ovh::path::Kind;
use crate::admin::ovh::wire;
use crate::model::{Balance, BodyMatch, Encryption, Farm, HttpProbe, Negate, Probe, ProbeKind, StatusSet, Stickiness};

/// Returns a farm. The port of one that this shape did not make is not set, as every server has its own; where the schema
/// wants one (udp), it is the first server's.
pub(in crate::admin::ovh) fn farm(look: Look<'_>, item: &Item<Farm>) -> wire::Farm {
    let base = item.model.as_ref().map(|farm| of_model(farm)).unwrap_or_default();
    let mut face = overlaid(&base, item, farm_key);
    if kind_of_farm(item) == Some(Kind::Udp) && face.port.is_none() {
        let first = item.model.as_ref().and_then(|farm| farm.servers.first());
        face.port = Some(first.map_or(0, |server| server.address.port));
    }
    wire::Farm { farm_id: item.id.0, zone: look.zone_of(item), ..face }
}

fn of_model(farm: &Farm) -> wire::Farm {
    let stickiness = match &farm.stickiness {
        Stickiness::Cookie(_) => Some("cookie"),
        Stickiness::Source { .. } => Some("sourceIp"),
        Stickiness::Header { .. } | Stickiness::None => None,
    };
    wire::Farm {
        display_name: Some(farm.name.to_string()),
        balance: Some(balance_word(farm.balance).to_owned()),
        probe: farm.main_probe().map(|main| probe(main)),
        stickiness: stickiness.map(str::to_owned),
        ..wire::Farm::default()
    }
}

/// Returns the schema's word: of what it has none for, that which is nearest, for typed clients take no other.
fn balance_word(balance: Balance) -> &'static str {
    match balance {
        Balance::Ewma => Balance::LeastConn.as_str(),
        Balance::Maglev => Balance::Source.as_str(),
        Balance::Random => Balance::RoundRobin.as_str(),
        other @ (Balance::First | Balance::LeastConn | Balance::RoundRobin | Balance::Source | Balance::Uri) => {
            other.as_str()
        }
    }
}

/// Returns a probe. The schema has one match: a body's stands before a status set's. Seconds are rounded up.
fn probe(probe: &Probe) -> wire::Probe {
    let (method, url, rule, pattern, negate) = match &probe.kind {
        ProbeKind::Http(http) => {
            let (rule, pattern) = http_match(http);
            let url = format!("{}{}", probe.aim.host.as_deref().unwrap_or_default(), http.path);
            (Some(http.method.as_str()), Some(url), rule, pattern, http.expect.negate)
        }
        ProbeKind::Tcp { banner: Some(banner), negate } => {
            let (rule, pattern) = body_match(banner);
            (None, None, rule, Some(pattern), *negate)
        }
        ProbeKind::Tcp { banner: None, negate } => (None, None, "default", None, *negate),
        ProbeKind::Agent { .. }
        | ProbeKind::Command(_)
        | ProbeKind::Exchange(_)
        | ProbeKind::Grpc { .. }
        | ProbeKind::Mysql { .. }
        | ProbeKind::Oco
        | ProbeKind::Pgsql { .. }
        | ProbeKind::Ping
        | ProbeKind::Redis { .. }
        | ProbeKind::Smtp { .. }
        | ProbeKind::Tls => (None, None, "default", None, Negate::AsWritten),
    };
    wire::Probe {
        kind: Some(kind(probe).to_owned()),
        interval: Some(probe.interval.as_secs() + u64::from(probe.interval.subsec_nanos() > 0)),
        port: probe.aim.port,
        method: method.map(str::to_owned),
        url,
        rule: Some(rule.to_owned()),
        pattern,
        negate: Some(negate == Negate::Inverted),
        force_ssl: Some(probe.encryption() == Encryption::Tls),
    }
}

/// Returns the schema's word: what it has none for is `internal`, its own word for what customers cannot set.
fn kind(probe: &Probe) -> &'static str {
    match &probe.kind {
        ProbeKind::Http(_) => "http",
        ProbeKind::Mysql { .. }
        | ProbeKind::Oco
        | ProbeKind::Pgsql { .. }
        | ProbeKind::Smtp { .. }
        | ProbeKind::Tcp { .. } => probe.kind.as_str(),
        ProbeKind::Tls => "tcp",
        ProbeKind::Agent { .. }
        | ProbeKind::Command(_)
        | ProbeKind::Exchange(_)
        | ProbeKind::Grpc { .. }
        | ProbeKind::Ping
        | ProbeKind::Redis { .. } => "internal",
    }
}

fn http_match(http: &HttpProbe) -> (&'static str, Option<String>) {
    let expect = &http.expect;
    if let Some(body) = &expect.body {
        let (rule, pattern) = body_match(body);
        return (rule, Some(pattern));
    }
    if expect.status == StatusSet::two_and_three_hundreds() && expect.negate == Negate::AsWritten {
        return ("default", None);
    }
    ("status", Some(expect.status.to_string()))
}

fn body_match(body: &BodyMatch) -> (&'static str, String) {
    match body {
        BodyMatch::Contains(text) => ("contains", text.to_string()),
        BodyMatch::Matches(regex) => ("matches", regex.as_str().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balance_is_always_a_word_of_the_schema() {
        use Balance::{Ewma, First, LeastConn, Maglev, Random, RoundRobin, Source, Uri};
        let words = [Ewma, First, LeastConn, Maglev, Random, RoundRobin, Source, Uri].map(balance_word);
        assert_eq!(words, ["leastconn", "first", "leastconn", "source", "roundrobin", "roundrobin", "source", "uri"]);
    }
}
