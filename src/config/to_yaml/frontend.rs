//! A frontend and its routes as the file writes them.

use super::{duration, flag, protocol, size};
use crate::config::lower::NOTHING_HERE;
use crate::config::schema::{
    self, Fields, Filled, ListenText, NameText, Named, Number, Off, OneOrMany, PatternText, PercentText,
    RedirectStatus, RejectStatus, Switch,
};
use crate::config::units::show_percent;
use crate::model::{
    Action, Alpn, CertificateFiles, FarmId, Forward, Frontend, FrontendTls, HeaderRules, Hsts, MaintenancePage,
    Protocol, RateKey, RateLimit, Redirect, Route, Rule, Sources, Subject, Template, Test, TlsProfile,
};

/// Tells the name of a farm.
pub(super) type Names<'n> = &'n dyn Fn(FarmId) -> String;

/// Returns a frontend.
pub(super) fn frontend(frontend: &Frontend, names: Names<'_>) -> schema::Frontend {
    let networks = |networks: &[ipnet::IpNet]| networks.iter().map(ToString::to_string).collect();
    let (allow, deny) = match &frontend.sources {
        Sources::All => (None, None),
        Sources::AllBut(denied) => (None, Some(networks(denied))),
        Sources::Only(allowed) => (Some(networks(allowed)), None),
    };
    let is_http = frontend.protocol == Protocol::Http;
    let accept_proxy = &frontend.accept_proxy;
    let routes = &frontend.routes;
    schema::Frontend {
        protocol: protocol(frontend.protocol),
        listen: frontend.listen.iter().map(|addr| ListenText(addr.to_string())).collect(),
        tls: frontend.tls.as_ref().map(|it| tls(it, is_http)),
        h2c: flag(frontend.h2c).filter(|_| is_http && frontend.tls.is_none()),
        accept_proxy: (!accept_proxy.is_empty()).then(|| schema::AcceptProxy { from: networks(accept_proxy) }),
        allow,
        deny,
        trust: is_http.then(|| networks(&frontend.trust)),
        hsts: frontend.hsts.map(|it| Switch::Set(hsts(it))),
        maintenance: frontend
            .maintenance
            .as_ref()
            .map(|page| Switch::Set(maintenance(page)))
            .or_else(|| is_http.then_some(Switch::Off(Off::Off))),
        request_headers: heads(&frontend.request_headers),
        response_headers: heads(&frontend.response_headers),
        timeouts: Some(timeouts(frontend)),
        limits: Some(limits(frontend)),
        routes: (!routes.is_empty()).then(|| routes.iter().map(|it| route(it, frontend.protocol, names)).collect()),
        redirect: frontend.default_redirect().map(|redirect| {
            schema::Redirect::Full(schema::RedirectTo {
                to: redirect.target.to_string(),
                status: Some(RedirectStatus(redirect.status)),
            })
        }),
        reject: rejection(frontend),
        farm: frontend.default_farm().map(|farm| NameText(names(farm))),
    }
}

/// How clients are rejected whom no route takes; nothing where that is what routes alone come to.
fn rejection(frontend: &Frontend) -> Option<schema::Reject> {
    let Action::Reject(status) = frontend.otherwise else { return None };
    let is_http = frontend.protocol == Protocol::Http;
    let is_default = !frontend.routes.is_empty() && (!is_http || status == NOTHING_HERE);
    (!is_default).then(|| reject(status, frontend.protocol))
}

fn reject(status: u16, protocol: Protocol) -> schema::Reject {
    match protocol {
        Protocol::Http => schema::Reject::Status(RejectStatus(status)),
        Protocol::Tcp | Protocol::Udp => schema::Reject::Plain(true),
    }
}

fn tls(tls: &FrontendTls, is_http: bool) -> schema::FrontendTls {
    let file = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let client_auth = match &tls.client_auth {
        None => schema::ClientAuth::None,
        Some(auth) if auth.is_required => schema::ClientAuth::Required,
        Some(_) => schema::ClientAuth::Optional,
    };
    schema::FrontendTls {
        certificates: Some(tls.certificates.iter().map(certificate).collect()),
        acme: Some(tls.acme.iter().map(ToString::to_string).collect()),
        profile: Some(Filled::Value(match tls.profile {
            TlsProfile::Intermediate => schema::TlsProfile::Intermediate,
            TlsProfile::Modern => schema::TlsProfile::Modern,
        })),
        alpn: is_http.then(|| tls.alpn.iter().map(|protocol| Filled::Value(alpn(*protocol))).collect()),
        client_ca: tls.client_auth.as_ref().map(|auth| file(&auth.ca)),
        client_crl: tls.client_auth.as_ref().and_then(|auth| auth.crl.as_deref()).map(file),
        client_auth: Some(Filled::Value(client_auth)),
    }
}

fn certificate(files: &CertificateFiles) -> schema::Certificate {
    let file = |path: &std::path::Path| path.to_string_lossy().into_owned();
    schema::Certificate { cert: file(&files.cert), key: file(&files.key) }
}

fn alpn(alpn: Alpn) -> schema::Alpn {
    match alpn {
        Alpn::H2 => schema::Alpn::H2,
        Alpn::Http1 => schema::Alpn::Http1,
    }
}

fn hsts(hsts: Hsts) -> schema::Hsts {
    schema::Hsts { max_age: duration(hsts.max_age), include_subdomains: flag(hsts.includes_subdomains) }
}

fn maintenance(page: &MaintenancePage) -> schema::Maintenance {
    schema::Maintenance {
        status: Some(Number(page.status.into())),
        body: Some(page.body.to_string()),
        body_file: None,
        content_type: Some(page.content_type.to_string()),
        retry_after: page.retry_after.and_then(duration),
    }
}

/// What means nothing for a protocol is not written for it.
fn timeouts(frontend: &Frontend) -> schema::FrontendTimeouts {
    let timeouts = &frontend.timeouts;
    let of_requests = |it| duration(it).filter(|_| frontend.protocol == Protocol::Http);
    schema::FrontendTimeouts {
        handshake: duration(timeouts.handshake).filter(|_| frontend.protocol != Protocol::Udp),
        header: of_requests(timeouts.header),
        body: of_requests(timeouts.body),
        idle: of_requests(timeouts.idle),
        write: of_requests(timeouts.write),
        tunnel: of_requests(timeouts.tunnel),
        session: timeouts.session.and_then(duration),
    }
}

fn limits(frontend: &Frontend) -> schema::Limits {
    let limits = &frontend.limits;
    let (is_http, is_udp) = (frontend.protocol == Protocol::Http, frontend.protocol == Protocol::Udp);
    let of_requests = |bytes: u64| size(bytes).filter(|_| is_http);
    schema::Limits {
        connections: Some(Number(limits.connections.into())),
        connections_per_source: (!is_udp).then(|| Number(limits.connections_per_source.into())),
        handshakes: (!is_udp).then(|| Number(limits.handshakes.into())),
        header_bytes: of_requests(limits.header_bytes.into()),
        header_fields: is_http.then(|| Number(limits.header_fields.into())),
        uri_bytes: of_requests(limits.uri_bytes.into()),
        body_bytes: of_requests(limits.body_bytes),
        body_rate_min: of_requests(limits.body_rate_min.into()),
        streams: is_http.then(|| Number(limits.streams.into())),
        rate: limits.rate.as_ref().map(rate),
    }
}

fn rate(rate: &RateLimit) -> schema::Rate {
    schema::Rate {
        per: Some(match &rate.per {
            RateKey::Header(name) => schema::RateKey::Header(schema::ByHeader { header: name.to_string() }),
            RateKey::Source => schema::RateKey::Source(Filled::Value(schema::SourceWord::Source)),
        }),
        requests: Number(rate.requests.into()),
        window: duration(rate.window),
        burst: Some(Number(rate.burst.into())),
    }
}

fn route(route: &Route, protocol: Protocol, names: Names<'_>) -> schema::Route {
    schema::Route {
        name: NameText(route.name.to_string()),
        priority: Some(Number(route.priority.into())),
        rules: Some(route.rules.iter().map(rule).collect()),
        action: action(&route.action, protocol, names),
    }
}

fn rule(rule: &Rule) -> schema::Rule {
    let (field, name) = match &rule.subject {
        Subject::Cookie(name) => (schema::Field::Cookie, Some(name.to_string())),
        Subject::Header(name) => (schema::Field::Header, Some(name.to_string())),
        Subject::Host => (schema::Field::Host, None),
        Subject::Method => (schema::Field::Method, None),
        Subject::Param(name) => (schema::Field::Param, Some(name.to_string())),
        Subject::Protocol => (schema::Field::Protocol, None),
        Subject::Source => (schema::Field::Source, None),
        Subject::Uri => (schema::Field::Uri, None),
    };
    let one = |text: &str| Some(OneOrMany::One(PatternText(text.to_owned())));
    let (how, pattern) = match &rule.test {
        Test::Contains(text) => (schema::Match::Contains, one(text)),
        Test::EndsWith(text) => (schema::Match::EndsWith, one(text)),
        Test::Exists => (schema::Match::Exists, None),
        Test::In(texts) => (schema::Match::In, Some(many(texts.iter()))),
        Test::Is(text) => (schema::Match::Is, one(text)),
        Test::Matches(expression) => (schema::Match::Matches, one(expression.as_str())),
        Test::StartsWith(text) => (schema::Match::StartsWith, one(text)),
        Test::Within(networks) => (schema::Match::In, Some(many(networks.iter()))),
    };
    let how = Filled::Value(how);
    schema::Rule {
        field: Filled::Value(field),
        name,
        sub_field: None,
        r#match: how,
        pattern,
        negate: flag(rule.is_negated),
    }
}

fn many(texts: impl Iterator<Item = impl ToString>) -> OneOrMany<PatternText> {
    OneOrMany::Many(texts.map(|text| PatternText(text.to_string())).collect())
}

fn action(action: &Action, protocol: Protocol, names: Names<'_>) -> schema::Action {
    let nothing = schema::Action::default();
    match action {
        Action::Forward(to) => forward(to, names),
        Action::Redirect(Redirect { status, target }) => {
            schema::Action { redirect: Some(target.to_string()), status: Some(RedirectStatus(*status)), ..nothing }
        }
        Action::Reject(status) => schema::Action { reject: Some(reject(*status, protocol)), ..nothing },
    }
}

fn forward(forward: &Forward, names: Names<'_>) -> schema::Action {
    let (farm, farms) = match &*forward.shares {
        [one] if one.weight == 1 => (Some(NameText(names(one.farm))), None),
        several => {
            let named = several.iter().map(|share| (names(share.farm), Number(share.weight.into())));
            (None, Some(Named(named.collect())))
        }
    };
    schema::Action {
        farm,
        farms,
        rewrite: forward
            .rewrite
            .as_ref()
            .map(|rewrite| schema::Rewrite { prefix: rewrite.prefix.to_string(), with: rewrite.with.to_string() }),
        mirror: forward.mirror.map(|mirror| schema::Mirror {
            farm: NameText(names(mirror.farm)),
            share: Some(PercentText(show_percent(mirror.share))),
        }),
        request_headers: heads(&forward.request_headers),
        response_headers: heads(&forward.response_headers),
        ..schema::Action::default()
    }
}

fn heads(rules: &HeaderRules) -> Option<schema::HeaderRules> {
    if rules.is_empty() {
        return None;
    }
    let text = |value: &Template| PatternText(value.to_string());
    let set: Vec<_> = rules.set.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let mut add: Vec<(String, OneOrMany<PatternText>)> = Vec::new();
    for (name, value) in &rules.add {
        match add.last_mut().filter(|(last, _)| **last == **name) {
            Some((_, OneOrMany::Many(values))) => values.push(text(value)),
            Some(_) | None => add.push((name.to_string(), OneOrMany::Many(vec![text(value)]))),
        }
    }
    Some(schema::HeaderRules {
        set: (!set.is_empty()).then_some(Fields(set)),
        add: (!add.is_empty()).then_some(Fields(add)),
        remove: (!rules.remove.is_empty()).then(|| rules.remove.iter().map(ToString::to_string).collect()),
    })
}
