//! What is seen of each request: its id on the way and back, the access log's forms and its rotation, who ended it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    Behaviour, Client, Farmgate, Origin, Server, Setup, TcpBehaviour, TcpOrigin, place, refused_port, until,
};

const JSON_LOG: &str = "{level: info, format: json, access: {path: access.log, format: json}}";

fn log_path(farmgate: &Farmgate) -> PathBuf {
    farmgate.config_path().with_file_name("access.log")
}

/// The line of the request for `target`, once it is there.
#[track_caller]
fn line_of(farmgate: &Farmgate, target: &str) -> Value {
    until(&format!("the line of {target}"), || {
        let text = std::fs::read_to_string(log_path(farmgate)).ok()?;
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["target"] == target)
    })
}

/// The line of a raw connection of that client, once it is there.
#[track_caller]
fn tcp_line_of(farmgate: &Farmgate, client: SocketAddr) -> Value {
    until("the line of the connection", || {
        let text = std::fs::read_to_string(log_path(farmgate)).ok()?;
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["client"] == client.to_string())
    })
}

fn one(origin: &Origin) -> Setup {
    Setup::http(&[Server::new("a", origin.addr(), "probe: false")]).log(JSON_LOG)
}

#[test]
fn request_id_goes_to_the_server_comes_back_and_explains() {
    let origin = Origin::start("a");
    let farmgate = Farmgate::start(&one(&origin));
    let response = farmgate.client().request("GET", "/x", &[("X-Request-Id", "a-stranger's")], b"");
    let id = response.header("x-request-id").unwrap().to_owned();
    assert_ne!(id, "a-stranger's");
    assert_eq!(origin.requests()[0].header("x-request-id"), Some(id.as_str()));
    let line = line_of(&farmgate, "/x");
    assert_eq!((&line["request_id"], &line["own_id"]), (&id.as_str().into(), &Value::Null));
    let (status, told) = farmgate.admin_get(&format!("/api/v1/requests/{id}/explain"));
    assert_eq!((status, &told["termination"]), (200, &"--".into()), "{told}");
}

#[test]
fn request_id_of_a_trusted_proxy_is_kept_and_found_under_both() {
    let origin = Origin::start("a");
    let farmgate = Farmgate::start(&one(&origin).frontend("trust: [\"127.0.0.0/8\"]"));
    let mut client = farmgate.client();
    let response = client.request("GET", "/x", &[("X-Request-Id", "edge-7")], b"");
    assert_eq!(response.header("x-request-id"), Some("edge-7"));
    assert_eq!(origin.requests()[0].header("x-request-id"), Some("edge-7"));
    let line = line_of(&farmgate, "/x");
    assert_eq!(line["request_id"], "edge-7");
    let own = line["own_id"].as_str().unwrap();
    for id in ["edge-7", own] {
        let (status, told) = farmgate.admin_get(&format!("/api/v1/requests/{id}/explain"));
        assert_eq!((status, told["id"].as_str(), told["outside_id"].as_str()), (200, Some(own), Some("edge-7")));
    }
    // One that is no id is replaced.
    let longest = "x".repeat(129);
    let response = client.request("GET", "/y", &[("X-Request-Id", &longest)], b"");
    assert!(response.header("x-request-id").is_some_and(|id| id.len() < 40));
}

#[test]
fn trace_context_is_passed_on_from_anybody_if_it_can_be_read() {
    let context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0b1902b7-01";
    for trust in ["[\"127.0.0.0/8\"]", "[\"10.0.0.0/8\"]"] {
        let origin = Origin::start("a");
        let farmgate = Farmgate::start(&one(&origin).frontend(&format!("trust: {trust}")));
        let mut client = farmgate.client();
        client.request("GET", "/x", &[("traceparent", context), ("tracestate", "a=1")], b"");
        client.request("GET", "/y", &[("traceparent", &context.to_uppercase()), ("tracestate", "a=1")], b"");
        client.get("/z");
        let seen = origin.requests();
        let got = |n: usize| (seen[n].header("traceparent"), seen[n].header("tracestate"));
        assert_eq!(got(0), (Some(context), Some("a=1")), "{trust}");
        assert_eq!((got(1), got(2)), ((None, None), (None, None)), "{trust}: malformed, and none at all");
        assert_eq!(line_of(&farmgate, "/x")["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(line_of(&farmgate, "/y")["trace_id"], Value::Null);
    }
}

#[test]
fn time_that_a_request_waited_for_a_server_is_told() {
    let origin = Origin::doing("a", Behaviour::Silent);
    let setup = Setup::http(&[Server::new("a", origin.addr(), "probe: false, max_connections: 1")]).log(JSON_LOG);
    let farmgate = Farmgate::start(&setup.farm("queue: {timeout: 300ms}"));
    let mut first = farmgate.client();
    first.send("GET /first HTTP/1.1\r\nHost: t\r\n\r\n");
    until("the request at the origin", || (!origin.requests().is_empty()).then_some(()));
    assert_eq!(farmgate.client().get("/late").status, 503);
    let line = line_of(&farmgate, "/late");
    assert!(line["queue_us"].as_u64().is_some_and(|us| us >= 300_000), "{line}");
    let id = line["request_id"].as_str().unwrap();
    let sentence = farmgate.admin_get(&format!("/api/v1/requests/{id}/explain")).1["sentence"].to_string();
    assert!(sentence.contains(" ms for a server to have room; went to no server"), "{sentence}");
    origin.traffic(Behaviour::Ok);
    first.reset();
    until("the place to be free", || (farmgate.client().get("/free").status == 200).then_some(()));
    until("the place to be free again", || {
        (farmgate.metric("farmgate_server_in_flight", &["server=\"a\""]) == Some(0.0)).then_some(())
    });
    assert_eq!(farmgate.client().get("/straight").status, 200);
    assert_eq!(line_of(&farmgate, "/straight")["queue_us"], Value::Null);
}

#[test]
fn access_log_in_common_form_is_opened_again_when_told() {
    let origin = Origin::start("a");
    let log = "{level: info, format: json, access: {path: access.log, format: combined}}";
    let farmgate = Farmgate::start(&one(&origin).log(log));
    let mut client = farmgate.client();
    let get = |client: &mut Client, path: &str| {
        assert_eq!(client.request("GET", path, &[("User-Agent", "it/1")], b"").status, 200);
    };
    let (path, moved) = (log_path(&farmgate), log_path(&farmgate).with_extension("log.1"));
    let holds = |path: &PathBuf, what: &str| std::fs::read_to_string(path).is_ok_and(|text| text.contains(what));
    get(&mut client, "/first");
    until("the first line", || holds(&path, "\"GET /first HTTP/1.1\" 200 1 \"-\" \"it/1\"").then_some(()));
    std::fs::rename(&path, &moved).unwrap();
    get(&mut client, "/second");
    until("the second line", || holds(&moved, "/second").then_some(()));
    farmgate.signal("USR1");
    until("a new file", || path.exists().then_some(()));
    get(&mut client, "/third");
    until("the third line", || holds(&path, "/third").then_some(()));
    assert!(!holds(&moved, "/third") && !holds(&path, "/second"));
}

#[test]
fn access_log_on_a_full_disk_is_counted_and_said_once_and_traffic_goes_on() {
    let origin = Origin::start("a");
    let log = "{level: info, format: json, access: {path: /dev/full}}";
    let farmgate = Farmgate::start(&one(&origin).log(log));
    let mut client = farmgate.client();
    for n in 0..50 {
        assert_eq!(client.get(&format!("/{n}")).status, 200);
    }
    until("every line to be counted", || {
        (farmgate.metric("farmgate_access_log_lines_total", &["outcome=\"refused\""]) == Some(50.0)).then_some(())
    });
    assert_eq!(farmgate.log().matches("access log cannot be written").count(), 1);
    assert_eq!(farmgate.metric("farmgate_access_log_lines_total", &["outcome=\"written\""]), Some(0.0));
}

/// What a client does with its request.
enum Doing {
    /// Waits for its answer.
    Asks,
    /// Sends this much, and resets once the origin has the request.
    LeavesWaiting,
    /// Resets in the middle of the answer.
    LeavesInAnswer,
}

#[test]
fn end_of_every_request_is_told_by_who_and_when() {
    let (_held, nowhere) = refused_port();
    let origin = Origin::start("a");
    // Long enough that a starved machine ends no request that is to go well.
    let timeouts = "timeouts: {connect: 2s, response: 2s, idle: 5s}";
    let farmgate = Farmgate::start(
        &one(&origin)
            .farm(timeouts)
            .farm("retries: {attempts: 0}")
            .frontend("timeouts: {header: 5s, body: 500ms}")
            .frontend("limits: {body_bytes: 1KiB}")
            .another_frontend("gone: {protocol: http, listen: [\"127.0.0.1:0\"], farm: gone}")
            .another_farm(&format!(
                "gone: {{protocol: http, {timeouts}, servers: {{x: {{address: \"{nowhere}\", probe: false}}}}}}"
            ))
            .another_frontend("none: {protocol: http, listen: [\"127.0.0.1:0\"], farm: none}")
            .another_farm("none: {protocol: http, servers: {}}"),
    );
    let told = |path: &str, want: &str| {
        let line = line_of(&farmgate, path);
        assert_eq!(line["termination"], want, "{line}");
        let id = line["request_id"].as_str().unwrap();
        assert_eq!(farmgate.admin_get(&format!("/api/v1/requests/{id}/explain")).1["termination"], want);
    };
    let step = Duration::from_millis(20);
    let cases = [
        ("/well", Behaviour::Ok, Doing::Asks, "--"),
        ("/reset", Behaviour::Reset, Doing::Asks, "SH"),
        ("/nonsense", Behaviour::Raw(b"nonsense\r\n\r\n".to_vec()), Doing::Asks, "PH"),
        ("/silent", Behaviour::Silent, Doing::Asks, "sH"),
        ("/half", Behaviour::ResetMidBody, Doing::Asks, "SD"),
        ("/left", Behaviour::Slow(Duration::from_millis(1500)), Doing::LeavesWaiting, "CH"),
        ("/cut", Behaviour::DripBody(step), Doing::LeavesInAnswer, "CD"),
    ];
    for (path, behaviour, doing, want) in cases {
        origin.traffic(behaviour);
        let mut client = farmgate.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"));
        match doing {
            Doing::Asks => {
                let _ = client.try_response_to("GET");
            }
            Doing::LeavesWaiting => {
                until("the request at the origin", || {
                    origin.requests().iter().any(|request| request.target == path).then_some(())
                });
                client.reset();
            }
            Doing::LeavesInAnswer => {
                let _ = client.head();
                client.reset();
            }
        }
        told(path, want);
    }
    origin.traffic(Behaviour::Ok);
    let mut client = farmgate.client();
    client.send("POST /stalls HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nabc");
    assert_eq!(client.response().status, 408);
    told("/stalls", "cH");
    assert_eq!(Client::connect(farmgate.front("gone")).get("/refused").status, 502);
    told("/refused", "SC");
    assert_eq!(Client::connect(farmgate.front("none")).get("/nobody").status, 503);
    told("/nobody", "SC");
}

#[test]
fn end_of_what_never_became_a_request_is_told_too() {
    let origin = Origin::start("a");
    let farmgate = Farmgate::start(&one(&origin).frontend("timeouts: {header: 300ms}"));
    let of_status = |status: u16| {
        until(&format!("the line with {status}"), || {
            let text = std::fs::read_to_string(log_path(&farmgate)).ok()?;
            let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| line["status"] == status)
        })
    };
    let mut client = farmgate.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\nHost: u\r\n\r\n");
    assert_eq!(client.response().status, 400);
    assert_eq!(of_status(400)["termination"], "PR");
    let mut slow = farmgate.client();
    slow.send("GET / HT");
    assert_eq!(slow.response().status, 408);
    assert_eq!(of_status(408)["termination"], "cR");
}

#[test]
fn request_of_a_server_that_is_taken_out_says_so() {
    let origin = Origin::doing("a", Behaviour::Silent);
    let farmgate = Farmgate::start(&one(&origin).farm("retries: {attempts: 0}"));
    let mut client = farmgate.client();
    client.send("GET /held HTTP/1.1\r\nHost: t\r\n\r\n");
    until("the request at the origin", || (!origin.requests().is_empty()).then_some(()));
    farmgate.operate("POST", "/api/v1/farms/web/servers/a/drain", r#"{"deadline": "100ms", "at_deadline": "close"}"#);
    assert_eq!(client.response().status, 502);
    assert_eq!(line_of(&farmgate, "/held")["termination"], "DH");
}

#[test]
fn tcp_connection_says_who_ended_it() {
    let (_held, nowhere) = refused_port();
    let echo = TcpOrigin::start("a", TcpBehaviour::Echo);
    let setup = Setup::tcp(&[Server::new("a", echo.addr(), "probe: false")]).log(JSON_LOG);
    let setup = setup
        .farm("timeouts: {idle: 500ms}")
        .another_frontend("gone: {protocol: tcp, listen: [\"127.0.0.1:0\"], farm: gone}")
        .another_farm(&format!("gone: {{protocol: tcp, servers: {{x: {{address: \"{nowhere}\", probe: false}}}}}}"));
    let farmgate = Farmgate::start(&setup);
    let code = |client: SocketAddr| tcp_line_of(&farmgate, client)["termination"].clone();
    let mut client = Client::connect(farmgate.front("web"));
    let at = client.local_addr();
    client.send("x");
    assert_eq!(client.take(3).unwrap(), b"a\nx");
    client.finish_writes();
    let _ = client.rest();
    assert_eq!(code(at), "--");
    let mut client = Client::connect(farmgate.front("web"));
    let at = client.local_addr();
    client.send("x");
    assert_eq!(client.take(3).unwrap(), b"a\nx");
    client.reset();
    assert_eq!(code(at), "CD");
    let silent = Client::connect(farmgate.front("web"));
    assert_eq!(code(silent.local_addr()), "cD");
    let refused = Client::connect(farmgate.front("gone"));
    assert_eq!(code(refused.local_addr()), "SC");
}

#[test]
fn tcp_connection_tells_the_route_that_took_it() {
    let echo = TcpOrigin::start("a", TcpBehaviour::Echo);
    let setup = Setup::tcp(&[Server::new("a", echo.addr(), "probe: false")]).log(JSON_LOG);
    let rule = "rules: [{field: source, match: in, pattern: \"127.0.0.0/8\"}]";
    let farmgate =
        Farmgate::start(&setup.frontend(&format!("routes: [{{name: local, {rule}, action: {{farm: web}}}}]")));
    let mut client = Client::connect(farmgate.front("web"));
    assert_eq!(client.take(2).unwrap(), b"a\n");
    client.finish_writes();
    let _ = client.rest();
    let line = tcp_line_of(&farmgate, client.local_addr());
    assert_eq!((&line["route"], &line["queue_us"]), (&"local".into(), &Value::Null), "{line}");
    let id = line["request_id"].as_str().unwrap();
    let told = farmgate.admin_get(&format!("/api/v1/requests/{id}/explain")).1;
    assert!(told["sentence"].as_str().unwrap().starts_with("was taken by route local; went to a"), "{told}");
}

#[test]
fn tcp_connection_that_waited_for_a_server_says_how_long() {
    let echo = TcpOrigin::start("a", TcpBehaviour::Echo);
    let setup = Setup::tcp(&[Server::new("a", echo.addr(), "probe: false, max_connections: 1")]).log(JSON_LOG);
    let farmgate = Farmgate::start(&setup.farm("queue: {timeout: 300ms}"));
    let mut first = Client::connect(farmgate.front("web"));
    assert_eq!(first.take(2).unwrap(), b"a\n");
    let mut late = Client::connect(farmgate.front("web"));
    assert!(late.rest().unwrap_or_default().is_empty());
    let line = tcp_line_of(&farmgate, late.local_addr());
    assert_eq!(line["termination"], "sQ");
    assert!(line["queue_us"].as_u64().is_some_and(|us| us >= 300_000), "{line}");
}

#[test]
fn server_without_the_tls_that_it_should_have_is_counted_and_named_as_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, key) = (dir.path().join(format!("{name}.pem")), dir.path().join(format!("{name}.key")));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (cert, key)
    };
    let ((cert, key), (other, _)) = (write("own"), write("other"));
    let (echo, plain) = (TcpOrigin::start("a", TcpBehaviour::Echo), TcpOrigin::start("p", TcpBehaviour::Echo));
    let inner = place();
    let tls = format!("{{certificates: [{{cert: {}, key: {}}}]}}", cert.display(), key.display());
    let farm = |name: &str, at: SocketAddr, ca: &std::path::Path| {
        let tls = format!("{{ca: {}, sni: localhost}}", ca.display());
        format!("{name}: {{protocol: tcp, servers: {{s: {{address: \"{at}\", probe: false, tls: {tls}}}}}}}")
    };
    let front = |name: &str| format!("{name}: {{protocol: tcp, listen: [\"127.0.0.1:0\"], farm: {name}}}");
    let farmgate = Farmgate::start(
        &Setup::tcp(&[Server::new("a", echo.addr(), "probe: false")])
            .log(JSON_LOG)
            .another_frontend(&format!("inner: {{protocol: tcp, listen: [\"{inner}\"], tls: {tls}, farm: web}}"))
            .another_frontend(&front("trusted"))
            .another_frontend(&front("strange"))
            .another_frontend(&front("plain"))
            .another_farm(&farm("trusted", inner, &cert))
            .another_farm(&farm("strange", inner, &other))
            .another_farm(&farm("plain", plain.addr(), &cert)),
    );
    let mut client = Client::connect(farmgate.front("trusted"));
    assert_eq!(client.take(2).unwrap(), b"a\n");
    for (name, reason) in [
        ("strange", "the server's certificate is of an unknown authority"),
        ("plain", "the TLS handshake with the server failed"),
    ] {
        let mut client = Client::connect(farmgate.front(name));
        assert!(client.rest().unwrap_or_default().is_empty());
        let line = tcp_line_of(&farmgate, client.local_addr());
        assert_eq!((&line["termination"], &line["reason"]), (&"SC".into(), &reason.into()), "{line}");
        let id = line["request_id"].as_str().unwrap();
        let told = farmgate.admin_get(&format!("/api/v1/requests/{id}/explain")).1;
        assert_eq!((&told["attempts"][0]["outcome"], &told["termination"]), (&"not_connected".into(), &"SC".into()));
        let count = |metric: &str| farmgate.metric(metric, &[&format!("farm=\"{name}\"")]);
        assert_eq!(count("farmgate_server_tls_failures_total"), Some(1.0));
        assert_eq!(count("farmgate_connect_failures_total"), Some(1.0));
    }
    assert_eq!(farmgate.metric("farmgate_server_tls_failures_total", &["farm=\"trusted\""]), Some(0.0));
    assert_eq!(farmgate.metric("farmgate_server_tls_failures_total", &["farm=\"web\""]), None, "it has no TLS");
    assert!(farmgate.log().contains("no TLS to a server"), "{}", farmgate.log());
}
