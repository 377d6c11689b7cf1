//! The corpus of `tests/smuggling`: bytes that two readers of HTTP may read in two ways, and what those behind and
//! before us may see of them.
//!
//! [`http1`] and [`http2`] send requests through every kind of listener ([`doors`]) to servers of either version;
//! [`answers`] and [`answers_of_http2`] send what servers may say to clients of either version. What arrives is read again by strict readers
//! ([`reader`], [`h2_origin`]), so that nothing here believes what our own says. After each case an innocent request must
//! get the answer to itself: nothing of the case may be left on a connection that others use.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde::Deserialize;
use serde::de::DeserializeOwned;

mod answers;
mod answers_of_http2;
mod doors;
mod h2_origin;
mod http1;
mod http2;
mod pieces;
mod reader;
mod relay;

/// Cases that are under way at once.
const AT_ONCE: usize = 6;

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum OneOf<T> {
    One(T),
    Any(Vec<T>),
}

impl<T: PartialEq> OneOf<T> {
    fn is(&self, got: &T) -> bool {
        match self {
            Self::One(want) => want == got,
            Self::Any(wants) => wants.contains(got),
        }
    }
}

/// The whole requests that a server sees of a case, as "METHOD target body-bytes".
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Seen {
    One(Vec<String>),
    Any(Vec<Vec<String>>),
}

impl Default for Seen {
    fn default() -> Self {
        Self::One(Vec::new())
    }
}

impl Seen {
    /// Returns whether that is what a server may have seen of the case of that name, in any order.
    fn may_be(&self, name: &str, seen: &[String]) -> bool {
        let mut seen = seen.to_vec();
        seen.sort_unstable();
        let is = |want: &Vec<String>| {
            let mut want: Vec<_> = want.iter().map(|line| line.replace("{case}", name)).collect();
            want.sort_unstable();
            want == seen
        };
        match self {
            Self::One(want) => is(want),
            Self::Any(wants) => wants.iter().any(is),
        }
    }
}

/// Returns the cases of the files whose names begin so or, if `prefix` is empty, as no others do; each with the name of
/// its file.
fn corpus<T: DeserializeOwned>(prefix: &str) -> Vec<(String, T)> {
    let stem = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    let is_of = |stem: &str| {
        let others = ["answer-", "from-h2-", "h2-"];
        if prefix.is_empty() { !others.iter().any(|other| stem.starts_with(other)) } else { stem.starts_with(prefix) }
    };
    let mut files: Vec<_> = std::fs::read_dir("tests/smuggling").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| is_of(&stem(file)));
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let of_file: Vec<T> = serde_yaml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        cases.extend(of_file.into_iter().map(|case| (stem(&file), case)));
    }
    cases
}

/// Returns the bytes of a text of the corpus, of which each character is one.
fn bytes_of(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

/// Runs all of it, some at once, and returns what went wrong.
fn at_once<T: Sync>(all: &[T], run: impl Fn(&T) -> Result<(), String> + Sync) -> Vec<String> {
    let (next, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, SeqCst)) {
                    if let Err(fault) = run(one) {
                        faults.lock().unwrap().push(fault);
                    }
                }
            });
        }
    });
    faults.into_inner().unwrap()
}

#[track_caller]
fn assert_none(faults: &[String], of: usize) {
    assert!(faults.is_empty(), "{} faults in {of} runs:\n{}", faults.len(), faults.join("\n"));
}
