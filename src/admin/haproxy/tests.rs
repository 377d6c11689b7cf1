//! The two texts end to end, read as HAProxy's tools read them.

use std::collections::HashMap;
use std::time::Duration;

use super::csv::COLUMNS;
use super::*;
use crate::admin::fixture::{OPS, Running, VIEWER};

/// The columns that the Prometheus exporter, Datadog's and Telegraf's read, with their place.
const READ_BY_POSITION: [(usize, &str); 24] = [
    (0, "pxname"),
    (1, "svname"),
    (2, "qcur"),
    (4, "scur"),
    (6, "slim"),
    (7, "stot"),
    (8, "bin"),
    (9, "bout"),
    (13, "econ"),
    (15, "wretr"),
    (17, "status"),
    (18, "weight"),
    (21, "chkfail"),
    (22, "chkdown"),
    (24, "downtime"),
    (32, "type"),
    (33, "rate"),
    (36, "check_status"),
    (37, "check_code"),
    (38, "check_duration"),
    (39, "hrsp_1xx"),
    (44, "hrsp_other"),
    (48, "req_tot"),
    (61, "ttime"),
];

/// Splits a line as RFC 4180 has it.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    cells.push(cell);
    cells
}

/// The lines of the CSV, by proxy and name, each by column.
fn stats(running: &Running) -> HashMap<(String, String), HashMap<String, String>> {
    let reply = running.call("GET", "/haproxy/stats;csv", VIEWER, "");
    assert_eq!((reply.status, reply.field("content-type")), (200, Some("text/plain; charset=utf-8")));
    let mut lines = reply.body.lines();
    let columns = cells(lines.next().unwrap().strip_prefix("# ").unwrap());
    let of = |line: &str| {
        let values = cells(line);
        assert_eq!(values.len(), columns.len(), "{line}");
        columns.iter().cloned().zip(values).collect::<HashMap<_, _>>()
    };
    lines.map(of).map(|row| ((row["pxname"].clone(), row["svname"].clone()), row)).collect()
}

#[test]
fn columns_are_where_exporters_look_for_them() {
    let columns: Vec<_> = COLUMNS.split(',').collect();
    for (position, name) in READ_BY_POSITION {
        assert_eq!(columns[position], name, "{position}");
    }
}

#[test]
fn csv_tells_every_frontend_farm_and_server_with_the_one_text_of_its_state() {
    let running = Running::start();
    let stats = stats(&running);
    let status = running.call("GET", "/api/v1/status", VIEWER, "").json();
    for farm in status["farms"].as_array().unwrap() {
        for server in farm["servers"].as_array().unwrap() {
            let of = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let row = &stats[&(of(&farm["name"]), of(&server["name"]))];
            assert_eq!((row["status"].as_str(), row["type"].as_str()), (server["state"].as_str().unwrap(), "2"));
            assert_eq!(row["uweight"], server["weight"].to_string());
            assert_eq!(row["weight"], server["effective_weight"].to_string());
        }
    }
    let row = |farm: &str, name: &str| stats[&(farm.to_owned(), name.to_owned())].clone();
    let s3 = row("web", "s3");
    assert_eq!([&*s3["check_status"], &s3["check_code"], &s3["check_duration"]], ["L7STS", "503", "12"]);
    assert_eq!(
        [&*s3["last_chk"], &s3["act"], &s3["bck"], &s3["addr"]],
        ["Service Unavailable", "0", "1", "127.0.0.1:1003"]
    );
    assert_eq!([&*s3["chkfail"], &s3["check_rise"], &s3["mode"]], ["1", "2", "http"]);
    let d1 = row("db", "d1");
    assert_eq!([&*d1["status"], &d1["check_status"], &d1["check_rise"], &d1["hrsp_2xx"]], ["no check", "", "", ""]);
    let farm = row("web", "BACKEND");
    assert_eq!([&*farm["status"], &farm["type"], &farm["act"], &farm["algo"]], ["UP", "1", "2", "roundrobin"]);
    let frontend = row("web", "FRONTEND");
    assert_eq!(
        [&*frontend["status"], &frontend["type"], &frontend["slim"], &frontend["hrsp_5xx"]],
        ["OPEN", "0", "10", "0"]
    );
    assert_eq!(stats.len(), 2 + 2 + 4);
}

#[test]
fn csv_counts_what_the_cells_count() {
    let running = Running::start();
    let table = running.store.load();
    let feed = &table.frontends[0].feeds[0];
    for worker in [0, 1] {
        let cells = feed.edges[0].of(crate::metrics::WorkerIx(worker));
        cells.requests[1].add(5);
        cells.requests[4].add(1);
        cells.bytes_in.add(100);
        cells.connect_failures.add(3);
    }
    let stats = stats(&running);
    for name in ["s1", "BACKEND"] {
        let row = &stats[&("web".to_owned(), name.to_owned())];
        assert_eq!([&*row["stot"], &row["hrsp_2xx"], &row["hrsp_5xx"]], ["12", "10", "2"], "{name}");
        assert_eq!([&*row["bin"], &row["econ"], &row["req_tot"]], ["200", "6", "12"], "{name}");
    }
    assert_eq!(stats[&("web".to_owned(), "FRONTEND".to_owned())]["hrsp_2xx"], "10");
    assert_eq!(stats[&("web".to_owned(), "s2".to_owned())]["stot"], "0");
}

#[test]
fn state_file_has_the_two_axes_and_the_checks_in_haproxys_numbers() {
    let running = Running::start();
    running.call("POST", "/api/v1/farms/web/servers/s1/drain", OPS, "");
    running.call("POST", "/api/v1/farms/web/servers/s2/maintenance", OPS, "");
    let reply = running.call("GET", "/haproxy/servers-state", VIEWER, "");
    let mut lines = reply.body.lines();
    assert_eq!(lines.next(), Some("1"));
    let columns: Vec<_> = lines.next().unwrap().strip_prefix("# ").unwrap().split(' ').collect();
    let rows: Vec<HashMap<_, _>> = lines
        .map(|line| {
            let values: Vec<_> = line.split(' ').collect();
            assert_eq!(values.len(), columns.len(), "{line}");
            columns.iter().copied().zip(values).collect()
        })
        .collect();
    let told = |name: &str| {
        let row = rows.iter().find(|row| row["srv_name"] == name).unwrap();
        let keys = [
            "srv_op_state",
            "srv_admin_state",
            "srv_iweight",
            "srv_check_status",
            "srv_check_result",
            "srv_check_state",
        ];
        keys.map(|key| row[key].to_owned()).join(" ")
    };
    assert_eq!(told("s1"), "2 8 5 15 3 6");
    assert_eq!(told("s2"), "0 1 3 12 2 6");
    assert_eq!(told("s3"), "0 0 1 17 2 6");
    assert_eq!(told("d1"), "2 0 1 0 0 0");
    let port = rows.iter().find(|row| row["srv_name"] == "d1").map(|row| (row["srv_addr"], row["srv_port"]));
    assert_eq!(port, Some(("127.0.0.1", "2001")));
}

#[test]
fn texts_are_read_with_a_token_as_such_or_as_a_password_and_not_without() {
    let running = Running::start();
    for path in ["/haproxy/stats;csv", "/haproxy/stats/;csv;norefresh", "/haproxy/servers-state"] {
        let refused = running.send("GET", path, &[], b"");
        assert_eq!(refused.status, 401, "{path}");
        assert!(refused.head.contains("www-authenticate: basic"), "{}", refused.head);
        // any:token-of-viewer
        let basic = ("Authorization", "Basic YW55OnRva2VuLW9mLXZpZXdlcg==");
        assert_eq!(running.send("GET", path, &[basic], b"").status, 200, "{path}");
        assert_eq!(running.send("GET", path, &[("Authorization", "Basic YW55Ong=")], b"").status, 401, "{path}");
        assert_eq!(running.send("HEAD", path, &[basic], b"").body, "");
        let wrong = running.call("POST", path, OPS, "");
        assert_eq!((wrong.status, wrong.field("allow")), (405, Some("get, head")));
    }
    assert_eq!(running.call("GET", "/haproxy/stats", VIEWER, "").status, 404);
    let mut open = crate::admin::fixture::settings();
    open.metrics = MetricsAccess::Open;
    let open = Running::start_with(&open, Some(Duration::from_secs(20)), std::sync::Arc::new(crate::store::NoJournal));
    assert_eq!(open.send("GET", "/haproxy/stats;csv", &[], b"").status, 200);
}
