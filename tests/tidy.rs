//! Holds the house's rules over `src/`: layers, purity, sizes, words. ARCHITECTURE.md and STYLE.md say why.
//!
//! A [`Rule`] looks at one file and returns what breaks it, with the line. Each rule carries snippets that must break
//! it and snippets that must not, so a rule that can never fail is itself a failure. To change a rule, change its
//! table here and the sentence in ARCHITECTURE.md together. Code under `#[cfg(test)]` is held to the layers, the edges
//! and the sizes alone; where a rule says nothing of tests, they are free.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test, read by people")]

#[path = "tidy/source.rs"]
mod source;

use source::{Breach, Source, house, mark_test_files, parts, split_words};

/// Code lines of a file: neither blank nor comment, tests left out.
const CODE_LINES_MAX: usize = 500;
/// The same, tests included.
const CODE_AND_TEST_LINES_MAX: usize = 700;
/// Half the files are no longer than this.
const CODE_LINES_MEDIAN_MAX: usize = 150;
/// Nine files in ten are no longer than this.
const CODE_LINES_P90_MAX: usize = 350;

/// What a room may import from the rest of the crate.
enum Imports {
    /// Every room of a lower layer.
    Lower,
    /// These: `room`, or `room::child` for one of its modules.
    These(&'static [&'static str]),
}
use Imports::{Lower, These};

/// The layer table: room, layer, imports. A room imports lower layers only, itself always; `lib.rs` declares them all.
const ROOMS: &[(&str, u8, Imports)] = &[
    ("lib", 9, Lower),
    ("main", 8, Lower),
    ("cli", 7, Lower),
    ("app", 6, Lower),
    ("lifecycle", 5, These(&["model", "store", "clock", "telemetry", "report"])),
    (
        "admin",
        5,
        These(&[
            "model",
            "routing",
            "health",
            "config::schema",
            "config::to_yaml",
            "farm",
            "feed",
            "metrics",
            "objects",
            "store",
            "journal",
            "clock",
            "telemetry",
            "files",
            "report",
        ]),
    ),
    ("prober", 4, These(&["model", "health", "farm", "metrics", "store", "clock", "telemetry", "trust", "report"])),
    (
        "proxy",
        4,
        These(&[
            "model",
            "routing",
            "farm",
            "metrics",
            "store",
            "alarm",
            "clock",
            "telemetry",
            "trust",
            "files",
            "report",
        ]),
    ),
    ("acme", 4, These(&["model", "clock", "trust"])),
    ("webhook", 4, These(&["model", "feed", "store", "clock", "trust", "report"])),
    ("journal", 4, These(&["model", "feed", "store", "alarm", "report"])),
    ("objects", 3, These(&["model", "config", "report"])),
    ("store", 3, These(&["model", "routing", "health", "farm", "metrics", "report"])),
    ("telemetry", 2, These(&["model", "metrics", "clock", "trust", "report"])),
    ("config", 2, These(&["model", "files", "report"])),
    ("farm", 2, These(&["model", "balance", "health", "metrics", "report"])),
    ("feed", 2, These(&["model", "report"])),
    ("metrics", 1, These(&["model", "report"])),
    ("health", 1, These(&["model", "report"])),
    ("balance", 1, These(&["model", "report"])),
    ("routing", 1, These(&["model", "report"])),
    ("clock", 1, These(&["model"])),
    ("trust", 1, These(&["files", "report"])),
    ("alarm", 0, These(&[])),
    ("files", 0, These(&[])),
    ("report", 0, These(&[])),
    ("model", 0, These(&[])),
];

/// Rooms that face the outside. None knows another.
const EDGES: &[&str] = &["prober", "proxy", "admin", "webhook", "acme"];

/// Places without IO, clock, chance and log.
const PURE: &[&str] =
    &["model", "routing", "balance", "health", "farm", "feed", "objects", "store/table", "proxy/http/exchange"];
const IMPURE_PATHS: &[&str] =
    &["tokio", "tracing", "log", "rand", "std::fs", "std::process", "std::env", "std::thread", "crate::clock"];
const IMPURE_WORDS: &[&str] = &[
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixDatagram",
    "UnixListener",
    "UnixStream",
    "elapsed",
    "eprintln",
    "println",
    "stderr",
    "stdout",
];

/// Places that may name an async runtime or what is built on one.
const RUNTIME: &[&str] = &["prober", "proxy", "admin", "webhook", "acme", "lifecycle", "telemetry", "app", "cli"];
const RUNTIME_PATHS: &[&str] =
    &["tokio", "tokio_rustls", "pingora", "pingora_load_balancing", "axum", "hyper", "hyper_util", "tower"];

/// Places that may read a clock, make a thread, name serde. The structs of the admin side that serde reads and writes
/// stand in a `wire` file or folder, in `request`, or in `native`.
const CLOCK: &[&str] = &["clock"];
const CLOCK_READS: &[&str] =
    &["Instant::now", "SystemTime::now", "OffsetDateTime::now_utc", "OffsetDateTime::now_local"];
const THREADS: &[&str] =
    &["admin/aside", "app", "cli/demo", "journal/writer", "lifecycle", "proxy/worker", "telemetry"];
const THREAD_STARTS: &[&str] = &["thread::spawn", "thread::Builder"];
const SERDE: &[&str] = &[
    "config/schema",
    "config/to_yaml",
    "config/declared",
    "objects",
    "feed/wire",
    "journal",
    "admin",
    "cli",
    "lifecycle/handover",
];
const SERDE_WORDS: &[&str] = &["serde", "serde_json", "serde_yaml", "Serialize", "Deserialize"];

const WIRE_FILES: &[&str] = &["wire", "request", "native"];

/// Vendors, and the places that may say their names.
const VENDORS: &[&str] = &["ovh", "zenlayer"];
const VENDOR_PLACES: &[&str] = &["admin", "app", "config", "cli", "model/settings"];

/// Words of other houses: never part of the name of a type, function, module, constant.
const FOREIGN_NAMES: &[&str] = &["member", "node", "endpoint", "cluster", "manager", "handler", "helper", "util"];
/// Words of other houses that are not even used.
const FOREIGN_WORDS: &[&str] = &["backend"];
/// Where such a word is somebody else's term: a vendor's, Pingora's, YAML's.
const FOREIGN_PLACES: &[(&str, &[&str])] =
    &[("backend", &["admin/zenlayer", "admin/ovh", "prober/pingora_adapter", "cli/demo"]), ("node", &["config/tree"])];
const DEFINING: &[&str] = &["struct", "enum", "trait", "union", "type", "fn", "mod", "const", "static"];

/// One rule, and the snippets that prove it.
struct Rule {
    find: fn(&Source) -> Vec<Breach>,
    /// Path, text, the line that breaks the rule.
    breaks: &'static [(&'static str, &'static str, usize)],
    /// Path, text.
    keeps: &'static [(&'static str, &'static str)],
}

impl Rule {
    fn hold(&self) {
        for (path, text, line) in self.breaks {
            let lines: Vec<usize> = (self.find)(&Source::parse(path, text)).into_iter().map(|(line, _)| line).collect();
            assert_eq!(lines, [*line], "the rule does not see what is wrong in {path}:\n{text}");
        }
        for (path, text) in self.keeps {
            assert_eq!(
                (self.find)(&Source::parse(path, text)),
                [],
                "the rule refuses what is right in {path}:\n{text}"
            );
        }
        let mut report = String::new();
        for source in house() {
            for (line, what) in (self.find)(source) {
                report += &format!("\nsrc/{}:{line}: {what}", source.path);
            }
        }
        assert!(report.is_empty(), "{report}");
    }
}

#[test]
fn layers_are_imported_downwards_only() {
    Rule {
        find: layers,
        breaks: &[
            ("health/machine.rs", "use crate::model::Verdict;\nuse crate::store::Store;", 2),
            ("balance.rs", "fn f() {\n    crate::{model::A, farm::B};\n}", 2),
            ("admin/page.rs", "use crate::config::lower;", 1),
            ("farm/live.rs", "use super::super::store::Store;", 1),
            ("farm.rs", "#[cfg(test)]\nmod tests {\n    use crate::app;\n}", 3),
            ("surprise.rs", "//! A room that the table does not know.", 1),
            ("main.rs", "use farmgate::nowhere::run;", 1),
        ],
        keeps: &[
            ("health/machine.rs", "use crate::model::{Verdict, id::Name as N};\nuse crate::health::X;"),
            ("farm/live.rs", "use super::table::T; // crate::store\nconst A: &str = \"crate::app\";"),
            ("farm/live.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use super::super::table::T;\n}"),
            ("admin/page.rs", "use crate::config::{schema::text, to_yaml};"),
            ("cli/run.rs", "use crate::{app, config::lower};"),
            ("main.rs", "use farmgate::cli;"),
        ],
    }
    .hold();
}

fn layers(source: &Source) -> Vec<Breach> {
    let own = source.room();
    let Some((_, layer, imports)) = ROOMS.iter().find(|(name, ..)| *name == own) else {
        return vec![(1, format!("the room `{own}` is not in the layer table"))];
    };
    let mut found = Vec::new();
    for (line, path) in source.crate_paths() {
        let room = path[0].as_str();
        let whole = path.join("::");
        match ROOMS.iter().find(|(name, ..)| *name == room) {
            _ if room == own => {}
            None => found.push((line, format!("`crate::{whole}` leads to no room of the layer table"))),
            Some((_, below, _)) if below >= layer => {
                found.push((line, format!("`{own}` (layer {layer}) imports `crate::{whole}` (layer {below})")));
            }
            Some(_) => {
                let may = match imports {
                    Lower => true,
                    These(list) => list.iter().any(|l| whole == *l || whole.starts_with(&format!("{l}::"))),
                };
                if !may {
                    found.push((line, format!("`{own}` may not import `crate::{whole}`")));
                }
            }
        }
    }
    found
}

#[test]
fn layer_table_allows_only_lower_layers() {
    let layer = |room: &str| ROOMS.iter().find(|(name, ..)| *name == room).map(|(_, layer, _)| *layer);
    for (name, own, imports) in ROOMS {
        let These(list) = imports else { continue };
        for import in *list {
            let room = import.split("::").next().unwrap_or_default();
            assert!(layer(room).is_some_and(|below| below < *own), "{name} may not be allowed {import}");
        }
    }
}

/// What ARCHITECTURE.md says of the layers is this table.
#[test]
fn architecture_shows_the_layer_table() {
    let row = |(room, layer, imports): &(&str, u8, Imports)| match imports {
        Lower => format!("| {layer} | {room} | every lower room |"),
        These([]) => format!("| {layer} | {room} | – |"),
        These(list) => format!("| {layer} | {room} | {} |", list.join(", ")),
    };
    let rows: Vec<String> = ROOMS.iter().map(row).collect();
    let text = std::fs::read_to_string("ARCHITECTURE.md").unwrap();
    let shown: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("| layer ")).skip(2).collect();
    let shown: Vec<&str> = shown.into_iter().take_while(|line| line.starts_with("| ")).collect();
    assert!(shown == rows, "the layers in ARCHITECTURE.md must be\n{}", rows.join("\n"));
}

#[test]
fn edges_never_import_one_another() {
    Rule {
        find: edges,
        breaks: &[
            ("prober/tcp.rs", "use crate::proxy::accept;", 1),
            ("proxy.rs", "use crate::{\n    admin::x,\n};", 2),
            ("admin.rs", "#[cfg(test)]\nmod tests { use crate::prober::x; }", 2),
        ],
        keeps: &[("prober.rs", "use crate::prober::tcp;"), ("app.rs", "use crate::{admin, prober, proxy};")],
    }
    .hold();
}

fn edges(source: &Source) -> Vec<Breach> {
    let own = source.room();
    let mut found = Vec::new();
    for (line, path) in source.crate_paths() {
        if EDGES.contains(&own) && path[0] != own && EDGES.contains(&path[0].as_str()) {
            found.push((line, format!("the edge `{own}` imports the edge `{}`", path[0])));
        }
    }
    found
}

#[test]
fn pure_rooms_do_no_io_and_read_no_clock() {
    Rule {
        find: pure,
        breaks: &[
            ("model/a.rs", "use std::net::{IpAddr, TcpStream};", 1),
            ("farm.rs", "use std::{\n    fs,\n    sync::Arc,\n};", 2),
            ("health/a.rs", "fn f() {\n    tracing::info!(\"x\");\n}", 2),
            ("balance/a.rs", "fn f() {\n    let took = began.elapsed();\n}", 2),
            ("store/table.rs", "use crate::clock;", 1),
            ("proxy/http/exchange.rs", "use tokio::time;", 1),
        ],
        keeps: &[
            ("model/a.rs", "use std::net::{IpAddr, SocketAddr};\nuse std::time::Duration; // tokio::time"),
            ("model/a.rs", "#[cfg(test)]\nmod tests {\n    use std::fs;\n}"),
            ("proxy/http/pingora.rs", "use tokio::net::TcpStream;"),
            ("store/reconcile.rs", "use std::fs;"),
        ],
    }
    .hold();
}

fn pure(source: &Source) -> Vec<Breach> {
    if !source.is_in(PURE) {
        return vec![];
    }
    let mut found = source.paths_below(IMPURE_PATHS, "is not pure");
    found.extend(source.words_in(IMPURE_WORDS, "is not pure"));
    found
}

#[test]
fn async_runtime_stays_at_the_edges() {
    Rule {
        find: |source| {
            if source.is_in(RUNTIME) { vec![] } else { source.paths_below(RUNTIME_PATHS, "belongs to the edges") }
        },
        breaks: &[("store.rs", "use tokio::sync::watch;", 1), ("config/lower.rs", "fn f() { pingora::x() }", 1)],
        keeps: &[("prober/tcp.rs", "use tokio::net;"), ("store.rs", "// tokio::net\nuse std::sync::Arc;")],
    }
    .hold();
}

#[test]
fn serde_stays_where_bytes_are_read_and_written() {
    Rule {
        find: |source| {
            if !source.is_in(SERDE) {
                return source.words_in(
                    SERDE_WORDS,
                    "stands only in admin, schema, export, declared, objects, feed/wire, journal, lifecycle/handover and cli",
                );
            }
            let is_wire = source.path.split('/').any(|part| WIRE_FILES.contains(&part.trim_end_matches(".rs")));
            let is_derive = |line: &str| {
                line.contains("derive(") && split_words(line).any(|w| ["Serialize", "Deserialize"].contains(&w))
            };
            if is_wire || source.room() != "admin" {
                return vec![];
            }
            source.text_lines(|line| is_derive(line).then(|| "wire structs stand in wire, request or native".into()))
        },
        breaks: &[
            ("model/a.rs", "#[derive(Clone, Serialize)]\nstruct A;", 1),
            ("store/table.rs", "fn f() {\n    serde_json::json!({})\n}", 2),
            ("admin/ovh/to_wire.rs", "#[derive(Debug, Deserialize)]\nstruct A;", 1),
        ],
        keeps: &[
            ("admin/ovh/wire.rs", "use serde::Serialize;"),
            ("admin/zenlayer/wire/health.rs", "use serde::Serialize;"),
            ("admin/zenlayer/request.rs", "#[derive(Deserialize)]\nstruct Request;"),
            ("admin/ovh.rs", "use serde::Serialize;"),
            ("config/schema.rs", "#[derive(Deserialize)]\nstruct A;"),
            ("model/a.rs", "/// serde\nconst A: &str = \"serde\";"),
        ],
    }
    .hold();
}

#[test]
fn clocks_are_read_in_one_file() {
    Rule {
        find: |source| {
            if source.is_in(CLOCK) { vec![] } else { source.spelled(CLOCK_READS, "stands in clock.rs alone") }
        },
        breaks: &[
            ("prober.rs", "fn f() {\n    let now = std::time::Instant::now();\n}", 2),
            ("admin.rs", "let now = SystemTime::now();", 1),
        ],
        keeps: &[("clock.rs", "Instant::now()"), ("prober.rs", "// Instant::now\nlet now = clock::monotonic();")],
    }
    .hold();
}

#[test]
fn threads_are_made_in_few_places() {
    Rule {
        find: |source| {
            if source.is_in(THREADS) { vec![] } else { source.spelled(THREAD_STARTS, "stands in few places") }
        },
        breaks: &[("store.rs", "thread::spawn(|| {});", 1), ("admin.rs", "\nstd::thread::Builder::new()", 2)],
        keeps: &[("app.rs", "thread::Builder::new()"), ("proxy/worker.rs", "thread::spawn(f)")],
    }
    .hold();
}

#[test]
fn vendor_words_stay_in_vendor_places() {
    Rule {
        find: |source| {
            if source.is_in(VENDOR_PLACES) {
                return vec![];
            }
            source.text_lines(|line| {
                let line = line.to_lowercase();
                let vendor = VENDORS.iter().find(|vendor| line.contains(**vendor))?;
                Some(format!("the vendor's name `{vendor}` stands outside its places"))
            })
        },
        breaks: &[("store.rs", "\nstruct OvhTask;", 2), ("farm/a.rs", "const A: &str = \"zenlayer\";", 1)],
        keeps: &[("admin/ovh.rs", "struct OvhTask;"), ("model/check.rs", "/// OVHcloud's `checkCode`.\nstruct A;")],
    }
    .hold();
}

#[test]
fn names_use_the_words_of_the_house() {
    Rule {
        find: names,
        breaks: &[
            ("store.rs", "struct TaskManager;", 1),
            ("farm.rs", "mod utils;", 1),
            ("admin/ovh.rs", "pub(crate) fn farm_members() {}", 1),
            ("config/lower.rs", "struct Node;", 1),
            ("farm/a.rs", "let chosen_backend = 1;", 1),
            ("model/a.rs", "enum A {\n    Backends,\n}", 2),
        ],
        keeps: &[
            ("store.rs", "/// A manager of nodes.\nstruct Utility;\nlet remember = \"backend\";"),
            ("admin/zenlayer/wire.rs", "struct ListenerBackendHealth { backend_ip: IpAddr }"),
            ("config/tree.rs", "struct Node;"),
            ("store.rs", "fn f(g: fn(Handler) -> axum::Handler) {}"),
        ],
    }
    .hold();
}

fn names(source: &Source) -> Vec<Breach> {
    let is_term = |word: &str| FOREIGN_PLACES.iter().any(|(term, places)| *term == word && source.is_in(places));
    let mut found = Vec::new();
    for (line, before, word) in source.identifiers() {
        let is_name = DEFINING.contains(&before.as_str());
        for part in parts(&word) {
            let part = part.strip_suffix('s').unwrap_or(&part);
            let is_foreign = FOREIGN_WORDS.contains(&part) || (is_name && FOREIGN_NAMES.contains(&part));
            if is_foreign && !is_term(part) {
                found.push((line, format!("`{word}`: `{part}` is no word of this house (see the glossary)")));
            }
        }
    }
    found
}

#[test]
fn nothing_is_left_for_later() {
    Rule {
        find: |source| {
            let raw = source.raw.iter().zip(1..);
            let notes = raw.filter(|(line, _)| split_words(line).any(|word| ["TODO", "FIXME"].contains(&word)));
            let mut found: Vec<Breach> = notes.map(|(_, n)| (n, "a note for later: do it or drop it".into())).collect();
            found.extend(source.words_in(&["todo", "unimplemented"], "is no code"));
            found
        },
        breaks: &[("a.rs", "\n// TODO later", 2), ("b.rs", "fn f() { todo!() }", 1), ("c.rs", "unimplemented!()", 1)],
        keeps: &[("a.rs", "// a todo list\nlet done = 1;")],
    }
    .hold();
}

#[test]
fn exceptions_are_expected_not_allowed() {
    Rule {
        find: |source| source.spelled(&["#[allow(", "#![allow("], "use #[expect(lint, reason = \"…\")]"),
        breaks: &[("a.rs", "\n#[allow(dead_code)]\nfn f() {}", 2), ("b.rs", "#![allow(dead_code)]", 1)],
        keeps: &[("a.rs", "// #[allow(dead_code)]\n#[expect(dead_code, reason = \"why\")]\nfn f() {}")],
    }
    .hold();
}

#[test]
fn modules_are_files_not_mod_rs() {
    Rule {
        find: |source| {
            let is_mod = source.path.ends_with("mod.rs") && source.path.split('/').next_back() == Some("mod.rs");
            if is_mod { vec![(1, "name the file after its folder instead".into())] } else { vec![] }
        },
        breaks: &[("farm/mod.rs", "//! A farm.", 1)],
        keeps: &[("farm.rs", "//! A farm."), ("model/demod.rs", "//! No matter.")],
    }
    .hold();
}

/// TLS has one crypto provider in the binary: `ring`, which is Pingora's too and builds with a C compiler alone.
#[test]
fn ring_is_the_one_crypto_provider() {
    assert_eq!(other_providers("[[package]]\nname = \"ring\"\nname = \"aws-lc-rs\""), ["aws-lc-rs"]);
    let lock = std::fs::read_to_string("Cargo.lock").unwrap();
    assert!(lock.contains("name = \"ring\""), "the lock file was not read");
    assert_eq!(other_providers(&lock), [] as [&str; 0]);
}

fn other_providers(lock: &str) -> Vec<&str> {
    let names = lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    names.filter(|name| ["aws-lc-rs", "aws-lc-sys", "openssl-sys", "boring-sys"].contains(name)).collect()
}

#[test]
fn files_begin_with_their_doc() {
    Rule {
        find: |source| {
            let first = source.raw.first().map_or("", String::as_str);
            if first.strip_prefix("//! ").is_some_and(|doc| !doc.trim().is_empty()) {
                return vec![];
            }
            vec![(1, "the file does not begin with a `//!` doc: what lives here, what it may not know".into())]
        },
        breaks: &[("a.rs", "use std::fs;", 1), ("b.rs", "//!\nuse std::fs;", 1), ("c.rs", "", 1)],
        keeps: &[("a.rs", "//! Knows one thing.\nuse std::fs;")],
    }
    .hold();
}

#[test]
fn files_are_short() {
    Rule { find: sizes, breaks: &[], keeps: &[("a.rs", "//! Short.\nfn f() {}")] }.hold();
    let long = "f();\n// why\n\n".repeat(CODE_LINES_MAX);
    assert_eq!(sizes(&Source::parse("a.rs", &long)), []);
    assert_eq!(sizes(&Source::parse("a.rs", &format!("{long}f();\n"))).len(), 1);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "f();\n".repeat(CODE_AND_TEST_LINES_MAX));
    assert_eq!(sizes(&Source::parse("a.rs", &tests)).len(), 1);

    let mut lengths: Vec<(usize, String)> = house().iter().map(|s| (s.code_lines(), s.path.clone())).collect();
    lengths.sort_unstable();
    let (median, p90) = (&lengths[lengths.len() / 2], &lengths[lengths.len() * 9 / 10]);
    println!("{} files, code lines: median {median:?}, p90 {p90:?}, longest {:?}", lengths.len(), lengths.last());
    assert!(median.0 <= CODE_LINES_MEDIAN_MAX, "the median file has {} code lines", median.0);
    assert!(p90.0 <= CODE_LINES_P90_MAX, "one file in ten is longer than {} ({} lines): {lengths:?}", p90.1, p90.0);
}

fn sizes(source: &Source) -> Vec<Breach> {
    let (code, all) = (source.code_lines(), source.code_and_test_lines());
    if code > CODE_LINES_MAX {
        return vec![(1, format!("{code} code lines are over {CODE_LINES_MAX}; split the file by idea"))];
    }
    if all > CODE_AND_TEST_LINES_MAX {
        return vec![(
            1,
            format!("{all} code and test lines are over {CODE_AND_TEST_LINES_MAX}; split the file by idea"),
        )];
    }
    vec![]
}

#[test]
fn test_files_are_those_declared_for_tests() {
    let parse = |(path, text): &(&str, &str)| Source::parse(path, text);
    let files = [
        ("admin.rs", "#[cfg(test)]\npub(crate) mod fixture;\nmod page;"),
        ("admin/fixture.rs", "use std::fs;"),
        ("admin/fixture/more.rs", "use std::fs;"),
        ("admin/page.rs", "use std::fs;"),
    ];
    let mut sources: Vec<Source> = files.iter().map(parse).collect();
    mark_test_files(&mut sources);
    let code_lines: Vec<usize> = sources.iter().map(Source::code_lines).collect();
    assert_eq!(code_lines, [1, 0, 0, 1]);
}
