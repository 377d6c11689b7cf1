//! YAML text as a tree in which every key and every value knows where it stood.
//!
//! Built from the parser's events, one at a time and without recursion, so depth is bounded before the stack is. What
//! YAML allows and a config file has no use for (anchors, aliases, tags, keys that are not text, a second document,
//! a key written twice) is reported with its place, and the rest of the file is still read; only a syntax error ends
//! the reading. Scalars stay text: what a text means is the business of whoever asks for it. Pure.

use std::collections::HashMap;
use std::fmt;

use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::scanner::{Marker, TScalarStyle};

use super::error::{Findings, path_segment};

/// The deepest nesting of lists and mappings.
pub(super) const DEPTH_MAX: usize = 64;

/// A place in the file; lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// The line.
    pub(super) line: usize,
    /// The column.
    pub(super) column: usize,
}

impl Position {
    /// The very beginning of a file.
    pub(super) const START: Self = Self { line: 1, column: 1 };

    fn of(mark: Marker) -> Self {
        Self { line: mark.line().max(1), column: mark.col() + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Whether a scalar stood in quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// As it is: may be a number, a bool or nothing.
    Plain,
    /// In quotes or as a block: always a text.
    Quoted,
}

/// A scalar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scalar {
    /// Its text, with environment variables filled in once `expand` has run.
    pub(super) text: String,
    /// How it was written.
    pub(super) style: Style,
    /// What stood in the file where the text came from the environment.
    pub(super) written: Option<Box<str>>,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    /// Where it begins.
    pub(super) at: Position,
    /// What it is.
    pub(super) content: Content,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Something already reported; whoever meets it says nothing more.
    Broken,
    /// A list.
    List(Vec<Tree>),
    /// A mapping, in the order written, each key once.
    Map(Vec<Entry>),
    /// A scalar.
    Scalar(Scalar),
}

/// A key of a mapping with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The key.
    pub(super) key: String,
    /// Where the key stands.
    pub(super) key_at: Position,
    /// Its value.
    pub(super) value: Tree,
}

/// Returns the tree of `text`, or nothing after a syntax error, which is then the only finding.
pub(super) fn parse(text: &str, findings: &mut Findings) -> Option<Tree> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some((at, found)) = first_control_character(text) {
        findings.only(at, format!("is not YAML: holds the control character {found:?}; remove it"));
        return None;
    }
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder { findings, frames: Vec::new(), root: None };
    loop {
        let (event, mark) = match parser.next_token() {
            Ok(next) => next,
            Err(error) => {
                let why = one_line(error.info());
                let remedy = "check indentation, quotes and colons here and just above";
                builder.findings.only(Position::of(*error.marker()), format!("is not YAML: {why}; {remedy}"));
                return None;
            }
        };
        match builder.take(event, Position::of(mark)) {
            Step::Next => {}
            Step::Finished => return builder.root,
            Step::TooDeep(at) => {
                let text =
                    format!("is nested deeper than {DEPTH_MAX} lists and mappings; no key of this file needs that");
                builder.findings.only(at, text);
                return None;
            }
        }
    }
}

enum Step {
    Finished,
    Next,
    TooDeep(Position),
}

enum Frame {
    List { at: Position, items: Vec<Tree> },
    Map { at: Position, entries: Vec<Entry>, seen: HashMap<String, Position>, key: Option<Key> },
}

/// A key whose value is awaited; without a text it is already reported.
struct Key {
    at: Position,
    text: Option<String>,
}

struct Builder<'f> {
    findings: &'f mut Findings,
    frames: Vec<Frame>,
    root: Option<Tree>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event, at: Position) -> Step {
        match event {
            Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
            Event::DocumentStart if self.root.is_some() => {
                self.findings.error(at, "", "begins a second document; keep one per file");
                return Step::Finished;
            }
            Event::DocumentStart => {}
            Event::StreamEnd => return Step::Finished,
            Event::Alias(_) => {
                let path = self.path();
                self.findings.error(at, &path, "is an alias (*), which is not supported; write the value out");
                self.place(Tree { at, content: Content::Broken });
            }
            Event::Scalar(text, style, anchor, tag) => {
                let style = if style == TScalarStyle::Plain { Style::Plain } else { Style::Quoted };
                let content = Content::Scalar(Scalar { text, style, written: None });
                self.refuse_extras(anchor, tag.is_some(), at);
                self.place(Tree { at, content });
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_extras(anchor, tag.is_some(), at);
                return self.open(Frame::List { at, items: Vec::new() }, at);
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_extras(anchor, tag.is_some(), at);
                let frame = Frame::Map { at, entries: Vec::new(), seen: HashMap::new(), key: None };
                return self.open(frame, at);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let tree = match self.frames.pop() {
                    Some(Frame::List { at, items }) => Tree { at, content: Content::List(items) },
                    Some(Frame::Map { at, entries, .. }) => Tree { at, content: Content::Map(entries) },
                    None => return Step::Finished,
                };
                self.place(tree);
            }
        }
        Step::Next
    }

    fn open(&mut self, frame: Frame, at: Position) -> Step {
        if self.frames.len() >= DEPTH_MAX {
            return Step::TooDeep(at);
        }
        self.frames.push(frame);
        Step::Next
    }

    /// Puts a whole value where it belongs: into the list, as the key or as the value of the mapping, or at the root.
    fn place(&mut self, mut tree: Tree) {
        match self.frames.last_mut() {
            None => self.root = Some(tree),
            Some(Frame::List { items, .. }) => items.push(tree),
            Some(Frame::Map { entries, key: pending, .. }) if pending.is_some() => {
                if let Some(Key { at, text: Some(key) }) = pending.take() {
                    if is_unwritten(&tree) {
                        tree.at = at;
                    }
                    entries.push(Entry { key, key_at: at, value: tree });
                }
            }
            Some(Frame::Map { .. }) => self.begin_entry(tree),
        }
    }

    fn begin_entry(&mut self, tree: Tree) {
        let at = tree.at;
        let oddity = match &tree.content {
            Content::Scalar(scalar) if scalar.text == "<<" && scalar.style == Style::Plain => {
                Some("holds a merge key (<<), which is not supported; write the keys out")
            }
            Content::List(_) | Content::Map(_) => Some("has a key that is a list or a mapping; write a text"),
            Content::Broken | Content::Scalar(_) => None,
        };
        let mut text = match tree.content {
            Content::Scalar(scalar) if oddity.is_none() => Some(scalar.text),
            Content::Broken | Content::List(_) | Content::Map(_) | Content::Scalar(_) => None,
        };
        if let Some(oddity) = oddity {
            let path = self.path();
            self.findings.error(at, &path, oddity);
        }
        let Some(Frame::Map { seen, .. }) = self.frames.last_mut() else { return };
        let first = text.as_ref().and_then(|text| seen.get(text).copied());
        match (first, text.take()) {
            (Some(first), Some(twice)) => {
                let path = join(&self.path(), &twice);
                self.findings.error(at, &path, format!("is written twice, first at {first}; remove one of the two"));
            }
            (None, Some(new)) => {
                seen.insert(new.clone(), at);
                text = Some(new);
            }
            (_, None) => {}
        }
        if let Some(Frame::Map { key, .. }) = self.frames.last_mut() {
            *key = Some(Key { at, text });
        }
    }

    fn refuse_extras(&mut self, anchor: usize, is_tagged: bool, at: Position) {
        if anchor == 0 && !is_tagged {
            return;
        }
        let path = self.path();
        if anchor != 0 {
            self.findings.error(at, &path, "has an anchor (&), which is not supported; write values out where needed");
        }
        if is_tagged {
            self.findings.error(at, &path, "has a tag (!), which is not supported; remove it");
        }
    }

    /// The key path of the value that is being read.
    fn path(&self) -> String {
        let mut path = String::new();
        for frame in &self.frames {
            match frame {
                Frame::List { items, .. } => path = format!("{path}[{}]", items.len()),
                Frame::Map { key: Some(Key { text: Some(key), .. }), .. } => path = join(&path, key),
                Frame::Map { .. } => {}
            }
        }
        path
    }
}

/// Returns the path of `key` below `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    let segment = path_segment(key);
    if path.is_empty() { segment } else { format!("{path}.{segment}") }
}

/// Returns the first character that ended a line in YAML 1.1 and does not in 1.2: tools differ, so it does not survive.
pub(super) fn old_line_break(text: &str) -> Option<char> {
    text.chars().find(|c| matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}'))
}

/// YAML has no such characters; the parser would take a NUL for the end of the file and drop the rest unseen.
fn first_control_character(text: &str) -> Option<(Position, char)> {
    let is_bad = |c: &char| *c < ' ' && !matches!(c, '\t' | '\n' | '\r');
    let bad = text.chars().position(|c| is_bad(&c))?;
    let before: String = text.chars().take(bad).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    text.chars().nth(bad).map(|found| (Position { line, column }, found))
}

/// A key without a value: the parser places it at whatever comes next.
fn is_unwritten(tree: &Tree) -> bool {
    matches!(&tree.content, Content::Scalar(scalar) if scalar.text.is_empty() && scalar.style == Style::Plain)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> (Option<Tree>, Vec<String>) {
        let mut findings = Findings::default();
        let tree = parse(text, &mut findings);
        let mut lines: Vec<_> = findings.errors.iter().map(ToString::to_string).collect();
        lines.sort();
        (tree, lines)
    }

    fn places(tree: &Tree, path: &str, out: &mut Vec<String>) {
        match &tree.content {
            Content::Broken => out.push(format!("{path}@{} broken", tree.at)),
            Content::Scalar(s) => out.push(format!("{path}@{} {:?} {:?}", tree.at, s.text, s.style)),
            Content::List(items) => {
                out.push(format!("{path}@{} list", tree.at));
                items.iter().enumerate().for_each(|(i, n)| places(n, &format!("{path}[{i}]"), out));
            }
            Content::Map(entries) => {
                out.push(format!("{path}@{} map", tree.at));
                entries.iter().for_each(|e| places(&e.value, &format!("{path}.{}@{}", e.key, e.key_at), out));
            }
        }
    }

    #[test]
    fn tree_knows_where_every_key_and_value_stands() {
        let text = "a: 1\nb:\n  - 'x'\n  - {c: \"d\", e: [f]}\ng: |\n  text\nempty:\nlast: é  # note\n";
        let (tree, errors) = tree(text);
        let mut out = Vec::new();
        places(&tree.unwrap(), "", &mut out);
        insta::assert_snapshot!(out.join("\n"));
        assert!(errors.is_empty(), "{errors:?}");
    }

    #[test]
    fn tree_reports_every_oddity_and_reads_on() {
        let text = "a: &x 1\nb: *x\nc: !!str d\n? [k]\n: v\n<<: {}\na: 2\nmap: {k: 1, k: 2}\nok: 3\n";
        let (tree, errors) = tree(text);
        insta::assert_snapshot!(errors.join("\n"));
        let Content::Map(entries) = tree.unwrap().content else { panic!("a map") };
        assert_eq!(entries.last().map(|e| e.key.as_str()), Some("ok"));
    }

    #[test]
    fn tree_syntax_error_is_the_only_finding() {
        for text in ["a: [1\n", "a: 1\na: 2\nb: 'open\n", "a:\n\t- b\n", "a: *nowhere\n", "a: 1\u{0}b: 2", "}"] {
            let (tree, errors) = tree(text);
            assert_eq!((tree, errors.len()), (None, 1), "{text:?} {errors:?}");
            assert!(errors[0].contains("is not YAML: "), "{errors:?}");
        }
        assert_eq!(tree("a: 1\nb\u{1}: 2").1, [r"2:2: is not YAML: holds the control character '\u{1}'; remove it"]);
    }

    #[test]
    fn tree_deeper_than_its_bound_is_refused_without_using_the_stack() {
        for text in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000), "? ".repeat(1000)] {
            let (tree, errors) = tree(&text);
            assert_eq!((tree, errors.len()), (None, 1), "{errors:?}");
        }
        let deep = format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
        assert!(tree(&deep).0.is_some());
        assert!(tree(&format!("[{deep}]")).0.is_none());
    }

    #[test]
    fn tree_second_document_is_refused() {
        assert_eq!(tree("a: 1\n---\nb: 2\n").1, ["2:1: begins a second document; keep one per file"]);
        assert!(tree("---\na: 1\n...\n").1.is_empty());
    }
}
