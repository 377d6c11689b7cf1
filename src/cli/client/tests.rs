//! The client commands against a running admin side.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;

use super::{AdminArgs, CliError, Target};
use crate::admin::fixture::{OPS, Running, VIEWER, settings, stable};
use crate::admin::native::wire::{EjectedWire, IncidentWire, StatusWire, SuspicionWire, WarmupWire};
use crate::cli::act::{On, TermsArgs};
use crate::cli::{drain, maintain, ready, reload, status, weight};
use crate::model::AdminSettings;
use crate::model::settings::AdminTls;
use crate::store::NoJournal;

fn admin(running: &Running, token: &str) -> AdminArgs {
    let scheme = if running.fingerprint.is_some() { "https" } else { "http" };
    let admin = format!("{scheme}://{}", running.addr);
    AdminArgs { admin, token: Some(token.to_owned()), ca: None, fingerprint: None }
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

fn said(run: impl FnOnce(&mut Vec<u8>) -> Result<(), CliError>) -> String {
    let mut out = Vec::new();
    match run(&mut out) {
        Ok(()) => String::from_utf8(out).unwrap(),
        Err(error) => format!("error {}: {error}", error.exit_code()),
    }
}

fn on(what: &str, reason: Option<&str>, admin: AdminArgs) -> On {
    On { target: target(what), reason: reason.map(str::to_owned), admin }
}

fn drained(admin: AdminArgs, what: &str) -> String {
    let on = on(what, Some("disk swap"), admin);
    let args = drain::Args { on, terms: TermsArgs::default(), wait: None };
    said(|out| drain::run(&args, out))
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    drain: drain::Args,
}

#[test]
fn commands_change_a_server_and_say_how_it_is() {
    let running = Running::start();
    let admin = || admin(&running, OPS);
    assert_eq!(drained(admin(), "web/s1"), "web/s1: DRAIN, weight 5, effective 0, 0 in flight\n");
    let args = maintain::Args { on: on("web/s1", None, admin()), terms: TermsArgs::default() };
    assert_eq!(said(|out| maintain::run(&args, out)), "web/s1: MAINT, weight 5, effective 0, 0 in flight\n");
    let args = ready::Args { on: on("web/s1", None, admin()) };
    assert_eq!(said(|out| ready::run(&args, out)), "web/s1: UP, weight 5, effective 5, 0 in flight\n");
    let args = weight::Args { on: on("web/s1", None, admin()), weight: 9, force: false };
    assert_eq!(said(|out| weight::run(&args, out)), "web/s1: UP, weight 9, effective 9, 0 in flight\n");
}

#[test]
fn status_is_a_table_of_one_instant() {
    let running = Running::start();
    running.store.first_round_done();
    drained(admin(&running, OPS), "web/s1");
    let args = status::Args { json: true, admin: admin(&running, VIEWER) };
    let json = said(|out| status::run(&args, out));
    let mut status: StatusWire = serde_json::from_str(&json).unwrap();
    status.at = "1970-01-01T00:01:40.000Z".to_owned();
    let s1 = &mut status.farms[0].servers[0];
    s1.since = "1970-01-01T00:01:30.500Z".to_owned();
    s1.overrides[0].at.clone_from(&s1.since);
    s1.overrides[0].reason = Some("disk\u{1b}[2J swap".to_owned());
    insta::assert_snapshot!(stable(&said(|out| status::render(&status, out))));
    let args = status::Args { json: false, ..args };
    assert!(said(|out| status::run(&args, out)).starts_with("lb-test  ready  generation "));
}

#[test]
fn status_says_why_servers_are_out_that_their_checks_find_good_and_what_incident_is_under_way() {
    let running = Running::start();
    let args = status::Args { json: true, admin: admin(&running, VIEWER) };
    let json = said(|out| status::run(&args, out));
    let mut status: StatusWire = serde_json::from_str(&json).unwrap();
    status.at = "1970-01-01T00:01:40.000Z".to_owned();
    let (since, until) = ("1970-01-01T00:01:20.000Z".to_owned(), "1970-01-01T00:04:40.000Z".to_owned());
    let at = || (since.clone(), until.clone());
    let (farms, (since, until)) = (vec!["web".to_owned(), "d\u{1b}b".to_owned()], at());
    status.incident = Some(IncidentWire { id: 17, since, until, farms, servers: 3 });
    let servers = &mut status.farms[0].servers;
    let (since, until) = at();
    (servers[0].standing.held_since, servers[0].standing.held_until) = (Some(since), Some(until));
    servers[0].standing.flap_score = 5;
    let (since, until) = at();
    servers[0].standing.ejected = Some(EjectedWire { since, until, errors: 5, kind: "connect".to_owned(), times: 2 });
    let (since, until) = at();
    servers[1].standing.warmup = Some(WarmupWire { since, until, percent: 35 });
    for (server, kind) in servers[1..].iter_mut().zip(["traffic_fails", "probes_fail"]) {
        let since = "1970-01-01T00:01:20.000Z".to_owned();
        server.standing.suspicion = Some(SuspicionWire { kind: kind.to_owned(), since, good: 8, bad: 22 });
    }
    servers[2].held_by_incident = true;
    for (server, word) in servers.iter_mut().zip(["SOCKERR", "L7OKC", "L7TOUT"]) {
        let check = server.last_check.as_mut().unwrap();
        (check.status, check.passed, check.content) = (word.to_owned(), false, "what came".to_owned());
    }
    status.farms.truncate(1);
    status.frontends.clear();
    insta::assert_snapshot!(stable(&said(|out| status::render(&status, out))));
}

#[test]
fn reload_says_the_generation_or_every_reason() {
    let running = Running::start();
    let args = reload::Args { reason: None, admin: admin(&running, OPS) };
    assert_eq!(said(|out| reload::run(&args, out)), "reloaded: generation 5 is live\n");
    *running.reloader.refusal.lock().unwrap() = Some("a.yaml:1:1 one\na.yaml:2:1 two".to_owned());
    assert_eq!(
        said(|out| reload::run(&args, out)),
        "error 1: refused: the reload was refused and nothing was changed: 2 errors; see details\n  \
         a.yaml:1:1 one\n  a.yaml:2:1 two"
    );
}

#[test]
fn failures_are_told_in_plain_words() {
    let running = Running::start();
    assert_eq!(drained(admin(&running, OPS), "web/s9"), "error 1: refused: server \"s9\" does not exist");
    assert_eq!(
        drained(admin(&running, VIEWER), "web/s1"),
        "error 1: refused: credential \"viewer\" has role read; this needs role operate"
    );
    assert_eq!(
        drained(AdminArgs { token: None, ..admin(&running, OPS) }, "web/s1"),
        "error 1: not let in: no token, or more than one; send \"Authorization: Bearer TOKEN\" with a token of \
         admin.tokens; give a token with --token or FARMGATE_TOKEN"
    );
    assert_eq!(
        drained(AdminArgs { admin: "127.0.0.1:9090".to_owned(), ..admin(&running, OPS) }, "web/s1"),
        "error 64: --admin: \"127.0.0.1:9090\" is not a URL; write http://HOST:PORT or https://HOST:PORT"
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let nobody = drained(AdminArgs { admin: url.clone(), ..admin(&running, OPS) }, "web/s1");
    assert!(nobody.starts_with(&format!("error 1: cannot reach farmgate at {url}: ")), "{nobody}");
    assert!(nobody.contains("refused") && nobody.contains("check that it runs"), "{nobody}");
}

#[test]
fn token_is_not_sent_in_the_clear_where_a_certificate_was_asked_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let plain = AdminArgs { admin: url.clone(), token: Some(OPS.to_owned()), ca: None, fingerprint: None };
    let pinned = AdminArgs { fingerprint: Some("AB".repeat(32)), ..plain.clone() };
    let rooted = AdminArgs { ca: Some("/nowhere.pem".into()), ..plain };
    for (option, args) in [("--fingerprint", pinned), ("--ca", rooted)] {
        assert_eq!(
            drained(args, "web/s1"),
            format!("error 64: {option}: \"{url}\" has no certificate to trust; write https://, or leave {option} out")
        );
    }
    assert!(listener.accept().is_err(), "nobody may have connected");
}

#[test]
fn answer_of_something_else_is_not_taken_for_ours() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let running = Running::start();
    let admin = AdminArgs { admin: format!("http://{}", listener.local_addr().unwrap()), ..admin(&running, OPS) };
    let other = running.runtime.spawn_blocking(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello").unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    });
    let said = drained(admin, "web/s1");
    assert!(said.contains("answered 404 with something that is not farmgate's; check --admin"), "{said}");
    running.runtime.block_on(other).unwrap();
}

#[test]
fn tls_is_trusted_by_fingerprint_or_file_and_by_nothing_else() {
    let running = Running::start_with(&AdminSettings { tls: AdminTls::Auto, ..settings() }, None, Arc::new(NoJournal));
    let with = |fingerprint: Option<&str>, ca: Option<PathBuf>| {
        let fingerprint = fingerprint.map(str::to_owned);
        drained(AdminArgs { fingerprint, ca, ..admin(&running, OPS) }, "web/s1")
    };
    let ok = "web/s1: DRAIN, weight 5, effective 0, 0 in flight\n";
    let print = running.fingerprint.as_deref().unwrap();
    assert_eq!(with(Some(print), None), ok);
    assert_eq!(with(Some(&print.replace(':', "").to_lowercase()), None), ok);
    let wrong = with(Some(&"AB".repeat(32)), None);
    assert!(wrong.contains("is not trusted: ") && wrong.contains("--fingerprint"), "{wrong}");
    let unknown = with(None, None);
    assert!(unknown.contains("is not trusted: "), "{unknown}");
    assert!(with(Some("AB:CD"), None).starts_with("error 64: --fingerprint: \"AB:CD\" is not 64 hexadecimal digits"));

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let der = running.certificate.clone().unwrap();
    let mut pem = std::fs::File::create(&file).unwrap();
    let base64 = base64(&der);
    writeln!(pem, "-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----").unwrap();
    assert_eq!(with(None, Some(file)), ok);
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    assert!(with(None, Some(empty)).contains("holds no certificate"));
    assert!(with(None, Some("/nowhere.pem".into())).starts_with("error 64: --ca: cannot read \"/nowhere.pem\""));
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0_u32, |word, at| word << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        for digit in 0..4 {
            let is_pad = digit > chunk.len();
            let index = (word >> (18 - 6 * digit)) & 63;
            text.push(if is_pad { '=' } else { char::from(DIGITS[index as usize]) });
        }
    }
    text
}

#[test]
fn target_is_two_names() {
    assert_eq!(target("web/web-1").path("drain"), "/api/v1/farms/web/servers/web-1/drain");
    for bad in ["", "web", "web/", "/s1", "web/s1/x", "web/../s1", "Web/s1", "web/s 1"] {
        assert!(bad.parse::<Target>().is_err(), "{bad:?}");
    }
    let error = Line::try_parse_from(["drain", "web"]).err().unwrap().to_string();
    assert!(error.contains("is not FARM/SERVER; write names or ids"), "{error}");
    let line = Line::try_parse_from(["drain", "web/s1", "--token", "t", "--admin", "https://[::1]:1"]).unwrap();
    assert_eq!(
        (line.drain.on.admin.admin.as_str(), line.drain.on.admin.token.as_deref()),
        ("https://[::1]:1", Some("t"))
    );
    assert!(!format!("{:?}", line.drain).contains("\"t\""), "a token is never printed");
}

mod why;
