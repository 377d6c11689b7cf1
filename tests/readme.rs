//! README.md and ARCHITECTURE.md tell the truth: every command of the README runs here and prints what is shown.
//!
//! A Farmgate with the demo's farm is started on ports that the system chooses; the README's two addresses are replaced
//! by those, and each `sh` block runs in bash, stopping at its first failure. The block after it, if it is `text` or
//! `json`, is what it prints: text line by line, JSON as far as it is shown. Numbers that differ from run to run (ports,
//! times, generations) are blotted out on both sides. A block that cannot run here is in [`LEFT_OUT`] with the reason.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "what the stage cannot do is a failed test; what was left out is told"
)]
#![expect(clippy::disallowed_methods, reason = "origins are threads; deadlines are of the clock that the test sees")]

#[path = "readme/markdown.rs"]
mod markdown;
#[path = "readme/stage.rs"]
mod stage;

use std::path::Path;

use farmgate::config;
use farmgate::metrics::names::{self, Kind, Metric};
use regex::Regex;

use markdown::{Block, blocks, blotted, is_shown, is_shown_json};
use stage::{Stage, has, run_in_bash};

/// Lines of `sh` blocks that do not run here, and why. A block is left out whole or not at all.
const LEFT_OUT: &[(&str, &str)] = &[
    ("make demo", "serves until stopped; `demo_prints_commands_that_work` runs the program behind it"),
    ("make test", "is what runs this test"),
    ("make release", "minutes of compiling; tests run the debug build"),
    ("sudo install -m 755 target/release/farmgate /usr/local/bin/", "changes the machine"),
    ("farmgate run -c /etc/farmgate/farmgate.yaml", "serves until stopped; the stage of this test is started so"),
    ("make bench-compare", "a quarter of an hour of measuring"),
];

fn readme() -> String {
    std::fs::read_to_string("README.md").unwrap()
}

fn architecture() -> String {
    std::fs::read_to_string("ARCHITECTURE.md").unwrap()
}

#[test]
fn readme_commands_work_and_print_what_is_shown() {
    let text = readme();
    let blocks = blocks(&text);
    let mut stage = Stage::start();
    for (name, block) in blocks.iter().filter_map(|block| Some((block.file()?, block))) {
        stage.write(name, &block.text);
    }
    // The README tells of a server that fails for the second time and one that is drained.
    stage.ill();
    let mut exports = String::new();
    let mut left_out: Vec<&str> = Vec::new();
    for (at, block) in blocks.iter().enumerate().filter(|(_, block)| block.language == "sh") {
        let lines: Vec<&str> = block.text.lines().collect();
        let is_left_out = |line: &&str| LEFT_OUT.iter().any(|(left_out, _)| left_out == line);
        if is_left_out(&lines[0]) {
            assert!(lines.iter().all(is_left_out), "line {}: left out in part", block.line);
            left_out.extend(lines);
            continue;
        }
        let lacks = |program: &&str| block.text.contains(&format!("{program} ")) && !has(program);
        if let Some(program) = ["curl", "openssl"].into_iter().find(lacks) {
            println!("no {program} here: left out the block at line {}", block.line);
            continue;
        }
        let script = format!("{exports}{}", block.text);
        let ended = stage.run(&script);
        assert!(ended.code == Some(0), "README.md:{}: exit {:?}\n{}", block.line, ended.code, ended.text);
        let shown = blocks.get(at + 1).filter(|next| next.follows && ["text", "json"].contains(&&*next.language));
        if let Some(shown) = shown {
            let told = format!("README.md:{}: shown is\n{}\nprinted was\n{}", shown.line, shown.text, ended.text);
            let is_true = if shown.language == "json" { is_shown_json } else { is_shown };
            assert!(is_true(&shown.text, &ended.text), "{told}");
        }
        exports.extend(lines.iter().filter(|line| line.starts_with("export ")).map(|line| format!("{line}\n")));
    }
    for (line, _) in LEFT_OUT {
        assert!(left_out.contains(line), "\"{line}\" is left out of the README's commands, and not in the README");
    }
    let log_lines = blocks.iter().filter(|block| block.language == "text" && block.text.contains(" farmgate::"));
    for block in log_lines {
        assert!(blotted(&stage.log()).contains(&blotted(&block.text)), "{}: no such line in the log", block.text);
    }
}

#[test]
fn readme_configs_load_without_a_warning() {
    let text = readme();
    let minimal = std::fs::read_to_string("conf/minimal.yaml").unwrap();
    let env = |name: &str| (name == "OPS_TOKEN").then(|| "0123456789abcdef0123456789abcdef".to_owned());
    let mut loaded = 0;
    for block in blocks(&text).iter().filter(|block| block.language == "yaml") {
        let is_fragment = block.file().is_none();
        let yaml = if is_fragment { format!("{minimal}{}", block.text) } else { block.text.clone() };
        let read = |path: &Path| std::fs::read_to_string(path);
        match config::parse("README.md", &yaml, &env, &read) {
            Ok(config) => assert_eq!(config.warnings, Vec::<String>::new(), "line {}", block.line),
            Err(errors) => assert!(block.file() == Some("broken.yaml"), "line {}: {errors}", block.line),
        }
        loaded += 1;
    }
    assert!(loaded >= 4, "the README was not read");
}

#[test]
fn readme_python_is_python() {
    if !has("python3") {
        println!("no python3 here: left out");
        return;
    }
    let text = readme();
    let dir = tempfile::tempdir().unwrap();
    for block in blocks(&text).iter().filter(|block| block.language == "python") {
        std::fs::write(dir.path().join("snippet.py"), &block.text).unwrap();
        let script = "python3 -c 'import ast; ast.parse(open(\"snippet.py\").read())'";
        let ended = run_in_bash(script, dir.path(), &[]);
        assert!(ended.code == Some(0), "README.md:{}: {}", block.line, ended.text);
    }
}

#[test]
fn documented_metrics_are_those_of_the_program() {
    let row = |metric: &Metric| {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels = if metric.labels.is_empty() { "–".to_owned() } else { metric.labels.join(", ") };
        format!("| `{}` | {kind} | {labels} | {} |\n", metric.name, metric.help)
    };
    let mut rows: Vec<String> = names::ALL.iter().map(row).collect();
    rows.sort_unstable();
    let text = std::fs::read_to_string("conf/METRICS.md").unwrap();
    let table = text.split("<!-- metrics: ").nth(1).unwrap().split("<!-- /metrics -->").next().unwrap();
    let shown: String = table.lines().filter(|line| line.starts_with("| `")).map(|line| format!("{line}\n")).collect();
    assert!(shown == rows.concat(), "the table of conf/METRICS.md must be\n{}", rows.concat());
}

#[test]
fn documents_link_to_files_that_exist() {
    let link = Regex::new(r"\]\(([^)#]+)(#[^)]*)?\)").unwrap();
    let mut seen = 0;
    for (document, text) in [("README.md", readme()), ("ARCHITECTURE.md", architecture())] {
        for found in link.captures_iter(&text).filter(|found| !found[1].starts_with("http")) {
            let path = &found[1];
            assert!(Path::new(path).exists(), "{document} links to {path}");
            seen += 1;
        }
    }
    assert!(seen > 5, "the documents were not read");
}

/// The architecture says which test holds what: each of them, and each file and constant, must be there.
#[test]
fn architecture_names_tests_and_files_that_exist() {
    let sources = markdown::rust_sources();
    let code = Regex::new(r"`([^`\n]+)`").unwrap();
    let test_name = Regex::new(r"^[a-z0-9]+(_[a-z0-9]+){3,}$").unwrap();
    let constant = Regex::new(r"^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$").unwrap();
    let file = Regex::new(r"^[a-z_./]+\.(rs|md|yaml)$").unwrap();
    let (mut tests, mut files) = (0, 0);
    for found in code.captures_iter(&architecture()) {
        let word = &found[1];
        if test_name.is_match(word) {
            assert!(sources.contains(&format!("fn {word}(")), "ARCHITECTURE.md names the test `{word}`");
            tests += 1;
        } else if constant.is_match(word) {
            assert!(sources.contains(&format!("const {word}: ")), "ARCHITECTURE.md names the constant `{word}`");
        } else if file.is_match(word) {
            let is_there = ["", "src/"].iter().any(|root| Path::new(&format!("{root}{word}")).exists());
            assert!(is_there, "ARCHITECTURE.md names the file `{word}`");
            files += 1;
        }
    }
    assert!(tests > 30 && files > 7, "ARCHITECTURE.md was not read: {tests} tests, {files} files");
}

#[test]
fn demo_prints_commands_that_work() {
    let demo = Stage::demo();
    let text = demo.log();
    let commands = text.split("Try, in another terminal:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    assert!(commands.lines().count() > 6, "{text}");
    if !has("curl") {
        println!("no curl here: left out");
        return;
    }
    let ended = demo.run(commands);
    assert!(ended.code == Some(0), "exit {:?}\n{}", ended.code, ended.text);
    for shown in ["hello from ", "3 of 3 servers in rotation", "\"serverState\":[", "\"healthStatus\":", "slow: DRAIN"]
    {
        assert!(ended.text.contains(shown), "no {shown:?} in\n{}", ended.text);
    }
    assert!(ended.text.contains("farmgate_requests_total{"), "no metrics in\n{}", ended.text);
}

#[test]
fn block_is_found_with_its_language_and_place() {
    let found = blocks("a\n```sh\nx\ny\n```\n\n```text\nz\n```\nb\n```yaml\n# f.yaml\n```\n");
    let found: Vec<_> = found.iter().map(|b| (&*b.language, &*b.text, b.line, b.follows)).collect();
    assert_eq!(found, [("sh", "x\ny\n", 2, false), ("text", "z\n", 7, true), ("yaml", "# f.yaml\n", 11, false)]);
    let file = Block { language: "yaml".into(), text: "# f.yaml\n".into(), line: 1, follows: false };
    assert_eq!(file.file(), Some("f.yaml"));
}

#[test]
fn output_that_differs_in_more_than_times_and_ports_is_not_what_is_shown() {
    let shown = "a  127.0.0.1:8080  UP  1 ms 0 s ago\n";
    assert!(is_shown(shown, "a   127.0.0.1:4711   UP   23 ms 7 s ago\n"));
    assert!(!is_shown(shown, "a  127.0.0.1:8080  DOWN  1 ms 0 s ago\n"));
    assert!(!is_shown(shown, ""));
    let shown = r#"{"a": {"port": 1}, "l": [{"b": "127.0.0.1:1"}]}"#;
    assert!(is_shown_json(shown, r#"{"a": {"port": 2, "more": 1}, "l": [{"b": "127.0.0.1:2"}]}"#));
    assert!(!is_shown_json(shown, r#"{"a": {"port": 1}, "l": []}"#));
    assert!(!is_shown_json(shown, r#"{"a": {}, "l": [{"b": "127.0.0.1:1"}]}"#));
    assert!(!is_shown_json(shown, "not JSON"));
}
