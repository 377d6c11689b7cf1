//! Reads what a document shows, and compares it with what really is.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// One fenced block.
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) text: String,
    /// Of the opening fence, from 1.
    pub(crate) line: usize,
    /// Whether only blank lines stand between it and the block before it.
    pub(crate) follows: bool,
}

impl Block {
    /// The file that it is to be saved as: `# NAME` in its first line, if it is YAML.
    pub(crate) fn file(&self) -> Option<&str> {
        let name = self.text.lines().next()?.strip_prefix("# ")?;
        (self.language == "yaml" && name.ends_with(".yaml")).then_some(name)
    }
}

/// Returns the fenced blocks of a document, in order.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut is_open = false;
    let mut is_blank_since = false;
    for (line, number) in text.lines().zip(1..) {
        match (line.strip_prefix("```"), is_open) {
            (Some(_), true) => {
                is_open = false;
                is_blank_since = true;
            }
            (Some(language), false) => {
                let follows = is_blank_since && !found.is_empty();
                found.push(Block { language: language.to_owned(), text: String::new(), line: number, follows });
                is_open = true;
            }
            (None, true) => {
                if let Some(block) = found.last_mut() {
                    block.text += line;
                    block.text.push('\n');
                }
            }
            (None, false) => is_blank_since &= line.trim().is_empty(),
        }
    }
    assert!(!is_open, "a block is not closed");
    found
}

/// Returns a text without what differs from run to run: ports, times, durations, generations, how many checks there
/// were, widths of columns.
pub(crate) fn blotted(text: &str) -> String {
    static BLOTS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let blots = [
            (r"127\.0\.0\.1:\d+", "ADDRESS"),
            (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+Z| UTC)", "TIME"),
            (r"(generation[ =]|by table )\d+", "${1}N"),
            (r"( event=)\d+", "${1}N"),
            (r"(duration_ms=)\d+", "${1}N"),
            (r"(<1|\b\d+(\.\d+)?) (ms|s|m)\b", "N s"),
            (r"\b(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\b", "CLOCK"),
            (r"next check now\b", "next check in N s"),
            (r"(?m)^\d+( checks from)", "N$1"),
            (r"\d+( passed| failed)", "N$1"),
            (r"\x1b\[[0-9;]*m", ""),
            (r" {2,}", "  "),
            (r"(?m) +$", ""),
        ];
        blots.map(|(pattern, with)| (Regex::new(pattern).unwrap(), with)).into()
    });
    BLOTS.iter().fold(text.to_owned(), |text, (blot, with)| blot.replace_all(&text, *with).into_owned())
}

/// Whether a text is what was printed.
pub(crate) fn is_shown(shown: &str, printed: &str) -> bool {
    blotted(shown) == blotted(printed)
}

/// Whether everything that a JSON text shows is in the JSON that was printed. Lists are shown whole.
pub(crate) fn is_shown_json(shown: &str, printed: &str) -> bool {
    let shown: Value = serde_json::from_str(shown).unwrap();
    serde_json::from_str(printed).is_ok_and(|printed: Value| is_in(&shown, &printed))
}

fn is_in(shown: &Value, printed: &Value) -> bool {
    match (shown, printed) {
        (Value::Object(shown), Value::Object(printed)) => shown.iter().all(|(key, value)| {
            let differs =
                key.ends_with("_ms") || ["backendPort", "generation", "id", "latest", "port"].contains(&key.as_str());
            printed.get(key).is_some_and(|found| differs || is_in(value, found))
        }),
        (Value::Array(shown), Value::Array(printed)) => {
            shown.len() == printed.len() && shown.iter().zip(printed).all(|(shown, printed)| is_in(shown, printed))
        }
        (Value::String(shown), Value::String(printed)) => blotted(shown) == blotted(printed),
        (shown, printed) => shown == printed,
    }
}

/// Returns every Rust file of the repository, one after the other.
pub(crate) fn rust_sources() -> String {
    let mut all = String::new();
    for root in ["src", "tests", "bench"] {
        walk(Path::new(root), &mut all);
    }
    all
}

fn walk(dir: &Path, all: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *all += &fs::read_to_string(&path).unwrap();
        }
    }
}
