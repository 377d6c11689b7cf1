//! The command against a running admin side: what it prints, and its exit codes.

use clap::Parser as _;

use super::*;
use crate::admin::fixture::{OPS, Running, VIEWER};

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn diff(running: &Running, text: &str, more: &[&str]) -> (u8, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.yaml");
    std::fs::write(&path, text).unwrap();
    let (admin, file) = (format!("http://{}", running.addr), path.display().to_string());
    let mut line = vec!["diff", "--token", VIEWER, "-c", &file];
    line.extend(more);
    if !more.contains(&"--admin") {
        line.extend(["--admin", &admin]);
    }
    let args = Line::parse_from(line).args;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&args, &mut out, &mut err);
    let clean = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&file, "f.yaml");
    (code, clean(out), clean(err))
}

fn live(running: &Running) -> String {
    running.call("GET", "/api/v1/config", VIEWER, "").body
}

#[test]
fn file_that_says_what_is_live_is_the_same() {
    let running = Running::start();
    let (code, out, err) = diff(&running, &live(&running), &[]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "f.yaml: nothing differs from what is live\n", ""));
}

#[test]
fn every_difference_is_told_with_its_key_path_and_who_set_it() {
    let running = Running::start();
    let file = live(&running);
    running.call("PUT", "/api/v1/farms/web/servers/s1/weight", OPS, "{\"weight\": 9}");
    let file = file
        .replace("balance: leastconn", "balance: first")
        .replace("  db:\n    protocol: tcp\n    listen", "  old:\n    protocol: tcp\n    listen");
    let (code, out, err) = diff(&running, &file, &[]);
    let want = "~ farms.db.balance: \"leastconn\" live, \"first\" in the file\n\
        ~ farms.web.servers.s1.weight: 9 live, 5 in the file; set by ops and kept by a reload of the same file\n\
        - frontends.db: live only; a reload removes it\n\
        + frontends.old: in the file only; a reload adds it\n\
        f.yaml: 4 differences from what is live\n";
    assert_eq!((code, out.as_str(), err.as_str()), (1, want, ""));
    let (code, out, _) = diff(&running, &file, &["--json"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["same"]), (1, &Value::Bool(false)));
    assert_eq!(told["differences"][1]["path"], "farms.web.servers.s1.weight");
    assert_eq!(told["differences"][1]["set_by"], "ops");
    assert_eq!(told["differences"][0]["kind"], "changed");
}

#[test]
fn file_that_would_not_load_and_a_process_that_is_not_there_are_told_apart() {
    let running = Running::start();
    let (code, out, err) = diff(&running, "service: lb\n", &[]);
    assert_eq!((code, out.as_str()), (78, ""));
    assert!(err.contains("f.yaml: "), "{err}");
    let file = live(&running);
    let (code, out, err) = diff(&running, &file, &["--admin", "http://127.0.0.1:1"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.starts_with("farmgate: cannot reach farmgate at http://127.0.0.1:1"), "{err}");
    let (code, _, err) = diff(&running, &file, &["--admin", "nowhere"]);
    assert_eq!(code, 64, "{err}");
}
