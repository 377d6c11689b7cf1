//! Operations on what can be made, changed and removed: farms, servers, frontends, routes and certificates.

use super::{Answer, Operation, Sent};
use crate::model::Access;

/// A kind of thing.
struct Thing {
    /// Its word.
    one: &'static str,
    many: &'static str,
    tag: &'static str,
    /// Where all are, and one is.
    list: &'static str,
    place: &'static str,
    /// What is answered for all, and for one.
    listed: &'static str,
    shown: &'static str,
    /// What is sent to make one, to put it whole, and to change it.
    sent: [&'static str; 3],
    /// Examples of these.
    examples: [&'static str; 3],
    about: &'static str,
}

const THINGS: [Thing; 5] = [
    Thing {
        one: "farm",
        many: "farms",
        tag: "farms",
        list: "/api/v1/farms",
        place: "/api/v1/farms/{farm}",
        listed: "FarmList",
        shown: "FarmWire",
        sent: ["FarmFormCreate", "FarmForm", "FarmFormPatch"],
        examples: [
            r#"{"name": "shop", "protocol": "http", "probe": {"type": "http", "url": "/healthz"}, "servers": {"a": {"address": "127.0.0.1:8080"}}}"#,
            r#"{"protocol": "http", "balance": "leastconn", "servers": {"a": {"address": "127.0.0.1:8080", "weight": 5}}}"#,
            r#"{"balance": "leastconn", "slow_start": null}"#,
        ],
        about: "What the config file would say of it, as JSON; a body without servers leaves those as they are.",
    },
    Thing {
        one: "server",
        many: "servers",
        tag: "servers",
        list: "/api/v1/farms/{farm}/servers",
        place: "/api/v1/farms/{farm}/servers/{server}",
        listed: "ServerList",
        shown: "ServerWire",
        sent: ["ServerFormCreate", "ServerForm", "ServerFormPatch"],
        examples: [
            r#"{"name": "b", "address": "127.0.0.1:8081", "weight": 5}"#,
            r#"{"address": "127.0.0.1:8081", "backup": true}"#,
            r#"{"weight": 9}"#,
        ],
        about: "What the config file would say of it, as JSON. Of a server of the file only status and weight can be changed.",
    },
    Thing {
        one: "frontend",
        many: "frontends",
        tag: "frontends",
        list: "/api/v1/frontends",
        place: "/api/v1/frontends/{frontend}",
        listed: "FrontendList",
        shown: "FrontendWire",
        sent: ["FrontendFormCreate", "FrontendForm", "FrontendFormPatch"],
        examples: [
            r#"{"name": "shop", "protocol": "http", "listen": ["127.0.0.1:8443"], "farm": "shop"}"#,
            r#"{"protocol": "http", "listen": ["127.0.0.1:8443"], "farm": "shop", "routes": []}"#,
            r#"{"farm": "shop"}"#,
        ],
        about: "What the config file would say of it, as JSON; its listeners are open when the answer comes. A body without \
                routes leaves those as they are.",
    },
    Thing {
        one: "route",
        many: "routes",
        tag: "frontends",
        list: "/api/v1/frontends/{frontend}/routes",
        place: "/api/v1/frontends/{frontend}/routes/{route}",
        listed: "RouteList",
        shown: "RouteWire",
        sent: ["RouteFormCreate", "RouteForm", "RouteFormPatch"],
        examples: [
            r#"{"name": "api", "priority": 10, "rules": [{"field": "uri", "match": "startswith", "pattern": "/api"}], "action": {"farm": "shop"}}"#,
            r#"{"rules": [], "action": {"redirect": "https://${host}${uri}", "status": 308}}"#,
            r#"{"priority": 20}"#,
        ],
        about: "What the config file would say of it, as JSON, with all of its rules.",
    },
    Thing {
        one: "certificate",
        many: "certificates",
        tag: "certificates",
        list: "/api/v1/certificates",
        place: "/api/v1/certificates/{certificate}",
        listed: "CertificateList",
        shown: "CertificateWire",
        sent: ["CertificateCreate", "CertificateOrder", "CertificatePatch"],
        examples: [
            r#"{"name": "shop", "cert": "-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n", "key": "-----BEGIN PRIVATE KEY-----\n…\n-----END PRIVATE KEY-----\n"}"#,
            r#"{"cert": "-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n", "key": "-----BEGIN PRIVATE KEY-----\n…\n-----END PRIVATE KEY-----\n"}"#,
            r#"{"cert": "-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n"}"#,
        ],
        about: "The chain and the key in PEM, which must belong together. A frontend shows it by the names of its files, and \
                within seconds what is put in its place. One that a frontend shows cannot be removed.",
    },
];

/// Returns all of them.
pub(super) fn all() -> Vec<Operation> {
    THINGS.iter().flat_map(of).collect()
}

fn of(thing: &Thing) -> [Operation; 6] {
    let Thing { one, many, shown, .. } = *thing;
    let operation = |path, method, verb: &str, summary: String| Operation {
        path,
        method,
        id: format!("{verb}{}", capital(if verb == "list" { many } else { one })),
        tag: thing.tag,
        summary,
        about: if matches!(method, "GET" | "DELETE") { "" } else { thing.about },
        role: if method == "GET" { Access::Read } else { Access::Operate },
        sent: Sent::Nothing,
        answers: Vec::new(),
        is_tagged: path == thing.place || method == "POST",
    };
    let body = |which: usize| Sent::Json {
        schema: thing.sent[which],
        is_required: true,
        example: Some(thing.examples[which].to_owned()),
    };
    let json = |status, schema, about| Answer::Json { status, schema, about };
    let staged = || json(202, "WrittenWire", "It is kept and waits for the refresh of its zone.");
    let written = || vec![json(200, shown, "It is live, and this is how it is now."), staged()];
    [
        Operation {
            answers: vec![json(200, thing.listed, "Those that the query asks for.")],
            is_tagged: false,
            ..operation(thing.list, "GET", "list", format!("Lists {many}"))
        },
        Operation {
            sent: body(0),
            answers: vec![json(201, shown, "It is live, and this is how it is now."), staged()],
            ..operation(thing.list, "POST", "create", format!("Makes a {one}"))
        },
        Operation {
            answers: vec![json(200, shown, "As it is now.")],
            ..operation(thing.place, "GET", "get", format!("Shows a {one}"))
        },
        Operation {
            sent: body(1),
            answers: written(),
            ..operation(thing.place, "PUT", "replace", format!("Puts a {one} whole"))
        },
        Operation {
            sent: body(2),
            answers: written(),
            ..operation(thing.place, "PATCH", "change", format!("Changes keys of a {one}"))
        },
        Operation {
            answers: vec![Answer::Nothing { status: 204, about: "It is gone." }, staged()],
            is_tagged: false,
            ..operation(thing.place, "DELETE", "delete", format!("Removes a {one} made through an API"))
        },
    ]
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}
