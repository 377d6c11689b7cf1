//! Asks a tree for what it should hold and reports, in one form, whatever it holds instead.
//!
//! A [`Value`] knows its tree, its key and its path; a [`Section`] is a mapping whose keys are known beforehand. Every
//! reader returns nothing after it has reported, so lowering goes on with the default and finds the next error: a
//! result is used only when nothing was reported. Pure.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::bounds::Bounded;
use super::error::{Findings, did_you_mean, quoted};
use super::tree::{Content, Entry, Position, Scalar, Style, Tree, join};
use super::units::{parse_duration, parse_percent, parse_size, show_duration, show_size};
use crate::model::Name;

/// A value of the file with its key and its key path.
#[derive(Clone, Debug)]
pub(super) struct Value<'t> {
    /// The value.
    pub(super) tree: &'t Tree,
    /// Its key; of a list's item, the list's.
    pub(super) key: &'t str,
    /// Where the key stands.
    pub(super) key_at: Position,
    /// The key path.
    pub(super) path: String,
}

impl<'t> Value<'t> {
    /// Returns the whole file as a value.
    pub(super) fn root(tree: &'t Tree) -> Self {
        Self { tree, key: "", key_at: Position::START, path: String::new() }
    }

    /// Reports `why`, a predicate that follows the value as given: `"x" is too large`.
    pub(super) fn refuse(&self, findings: &mut Findings, why: impl Display) {
        if let Some(given) = given(self.tree) {
            findings.error(self.tree.at, &self.path, format!("{given} {why}"));
        }
    }

    /// Reports `what`, which says it all: for secrets, and for what two values do together.
    pub(super) fn complain(&self, findings: &mut Findings, what: impl Display) {
        findings.error(self.tree.at, &self.path, what.to_string());
    }

    /// Warns of `what`.
    pub(super) fn warn(&self, findings: &mut Findings, what: impl Display) {
        findings.warn(self.tree.at, &self.path, what.to_string());
    }

    /// Returns whether the value was reported before.
    pub(super) fn is_broken(&self) -> bool {
        self.tree.content == Content::Broken
    }

    /// Returns whether the value is a scalar.
    pub(super) fn is_scalar(&self) -> bool {
        matches!(self.tree.content, Content::Scalar(_))
    }

    /// Returns whether the value is a list or a mapping that holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        match &self.tree.content {
            Content::List(items) => items.is_empty(),
            Content::Map(entries) => entries.is_empty(),
            Content::Broken | Content::Scalar(_) => false,
        }
    }

    /// Returns the scalar; `wanted` completes "is not …".
    fn scalar(&self, findings: &mut Findings, wanted: &str) -> Option<&'t Scalar> {
        match &self.tree.content {
            Content::Scalar(scalar) if !is_null(scalar) => Some(scalar),
            Content::Scalar(_) | Content::List(_) | Content::Map(_) => {
                self.refuse(findings, format!("is not {wanted}"));
                None
            }
            Content::Broken => None,
        }
    }

    /// Returns the text; `wanted` completes "is not …".
    pub(super) fn text(&self, findings: &mut Findings, wanted: &str) -> Option<&'t str> {
        self.scalar(findings, wanted).map(|scalar| scalar.text.as_str())
    }

    /// Returns what `parse` makes of the text; its error follows the value as given.
    pub(super) fn parsed<T, E: Display>(
        &self,
        findings: &mut Findings,
        wanted: &str,
        parse: impl FnOnce(&'t str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(self.text(findings, wanted)?) {
            Ok(value) => Some(value),
            Err(why) => {
                self.refuse(findings, why);
                None
            }
        }
    }

    fn integer(&self, findings: &mut Findings, range: &RangeInclusive<u64>, remedy: &str) -> Option<u64> {
        let wanted = format!("an integer in {}..={}; {remedy}", range.start(), range.end());
        let scalar = self.scalar(findings, &wanted)?;
        let digits = scalar.text.strip_prefix('-').unwrap_or(&scalar.text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            self.refuse(findings, format!("is not {wanted}"));
            return None;
        }
        if !is_untyped(scalar) {
            self.refuse(findings, "is a text, an integer is wanted; remove the quotes");
            return None;
        }
        let value = scalar.text.parse::<u64>().ok().filter(|n| range.contains(n));
        if value.is_none() {
            self.refuse(findings, format!("is outside {}..={}; {remedy}", range.start(), range.end()));
        }
        value
    }

    /// Returns the integer in its own type; `remedy` follows what is outside of `range`.
    pub(super) fn number<T>(&self, findings: &mut Findings, range: &RangeInclusive<T>, remedy: &str) -> Option<T>
    where
        T: Copy + Into<u64> + TryFrom<u64>,
    {
        let wide = (*range.start()).into()..=(*range.end()).into();
        self.integer(findings, &wide, remedy).and_then(|n| T::try_from(n).ok())
    }

    /// Returns whether the value is `true`.
    pub(super) fn flag(&self, findings: &mut Findings) -> Option<bool> {
        let scalar = self.scalar(findings, "true or false")?;
        match scalar.text.as_str() {
            "true" if is_untyped(scalar) => Some(true),
            "false" if is_untyped(scalar) => Some(false),
            "true" | "false" => {
                self.refuse(findings, "is a text, true or false is wanted; remove the quotes");
                None
            }
            _ => {
                self.refuse(findings, "is not true or false; write one of the two");
                None
            }
        }
    }

    /// Returns what true, false or the word stands for.
    pub(super) fn flag_or<T: Copy>(&self, findings: &mut Findings, [yes, no]: [T; 2], other: (&str, T)) -> Option<T> {
        let wanted = format!("true, false or {}", other.0);
        let scalar = self.scalar(findings, &wanted)?;
        match scalar.text.as_str() {
            "true" if is_untyped(scalar) => Some(yes),
            "false" if is_untyped(scalar) => Some(no),
            "true" | "false" => {
                self.refuse(findings, format!("is a text, {wanted} is wanted; remove the quotes"));
                None
            }
            text if text == other.0 => Some(other.1),
            _ => {
                self.refuse(findings, format!("is not {wanted}; write one of them"));
                None
            }
        }
    }

    /// Returns what the word stands for.
    pub(super) fn word<T: Copy>(&self, findings: &mut Findings, words: &[(&str, T)]) -> Option<T> {
        let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let text = self.text(findings, &format!("one of {}", all.join(", ")))?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            self.refuse(findings, format!("is not one of {}; write one of them", all.join(", ")));
        }
        found
    }

    /// Returns the duration.
    pub(super) fn duration(&self, findings: &mut Findings, range: &RangeInclusive<Duration>) -> Option<Duration> {
        let bounds = format!("{}..={}", show_duration(*range.start()), show_duration(*range.end()));
        let duration = self.parsed(findings, "a duration such as \"2s\"", parse_duration)?;
        if range.contains(&duration) {
            return Some(duration);
        }
        self.refuse(findings, format!("is outside {bounds}; write a duration within"));
        None
    }

    /// Returns the number of bytes.
    pub(super) fn size(&self, findings: &mut Findings, range: &RangeInclusive<u64>) -> Option<u64> {
        let bounds = format!("{}..={}", show_size(*range.start()), show_size(*range.end()));
        let size = self.parsed(findings, "a size such as \"64KiB\"", parse_size)?;
        if range.contains(&size) {
            return Some(size);
        }
        self.refuse(findings, format!("is outside {bounds}; write a size within"));
        None
    }

    /// Returns the per cent.
    pub(super) fn percent<T>(&self, findings: &mut Findings, range: &RangeInclusive<T>) -> Option<T>
    where
        T: PartialOrd + TryFrom<u64> + Display,
    {
        let percent = self.parsed(findings, "a share such as \"50%\"", parse_percent)?;
        let within = T::try_from(percent).ok().filter(|percent| range.contains(percent));
        if within.is_none() {
            self.refuse(findings, format!("is outside {}%..={}%; write a share within", range.start(), range.end()));
        }
        within
    }

    /// Returns whether something is off, on with its defaults, or on with these keys.
    pub(super) fn switch(&self, findings: &mut Findings, keys: &'static [&'static str]) -> Option<Switch<'t>> {
        let Content::Scalar(scalar) = &self.tree.content else { return self.section(findings, keys).map(Switch::Set) };
        match scalar.text.as_str() {
            "true" if is_untyped(scalar) => Some(Switch::On),
            "false" if is_untyped(scalar) => Some(Switch::Off),
            "off" => Some(Switch::Off),
            _ => {
                self.refuse(findings, format!("is not true, off or a mapping; its keys are {}", keys.join(", ")));
                None
            }
        }
    }

    /// Returns the name.
    pub(super) fn name(&self, findings: &mut Findings) -> Option<Name> {
        self.parsed(findings, "a name", Name::parse)
    }

    /// Returns the key as a name.
    pub(super) fn key_name(&self, findings: &mut Findings) -> Option<Name> {
        match Name::parse(self.key) {
            Ok(name) => Some(name),
            Err(why) => {
                findings.error(self.key_at, &self.path, format!("{} {why}", quoted(self.key)));
                None
            }
        }
    }

    /// Returns the items of a list of at most `max`; `wanted` completes "is not a list of …".
    pub(super) fn list(&self, findings: &mut Findings, wanted: &str, max: usize) -> Vec<Self> {
        let Content::List(items) = &self.tree.content else {
            self.refuse(findings, format!("is not a list of {wanted}"));
            return Vec::new();
        };
        if items.len() > max {
            self.complain(findings, format!("{} {wanted} are more than {max}; write fewer", items.len()));
        }
        let item = |(i, tree): (usize, &'t Tree)| Self {
            tree,
            key: self.key,
            key_at: tree.at,
            path: format!("{}[{i}]", self.path),
        };
        items.iter().take(max).enumerate().map(item).collect()
    }

    /// Returns the values of a mapping of at most `max` free keys; `wanted` completes "is not a mapping of …".
    pub(super) fn entries(&self, findings: &mut Findings, wanted: &str, max: usize) -> Vec<Self> {
        let Content::Map(entries) = &self.tree.content else {
            self.refuse(findings, format!("is not a mapping of {wanted}"));
            return Vec::new();
        };
        if entries.len() > max {
            self.complain(findings, format!("{} {wanted} are more than {max}; write fewer", entries.len()));
        }
        entries.iter().take(max).map(|entry| child(&self.path, entry)).collect()
    }

    /// Returns the mapping of known `keys` and reports all others.
    pub(super) fn section(&self, findings: &mut Findings, keys: &'static [&'static str]) -> Option<Section<'t>> {
        let Content::Map(entries) = &self.tree.content else {
            self.refuse(findings, format!("is not a mapping; its keys are {}", keys.join(", ")));
            return None;
        };
        for entry in entries.iter().filter(|entry| !keys.contains(&entry.key.as_str())) {
            if findings.is_full() {
                continue;
            }
            let remedy = did_you_mean(&entry.key, keys.iter().copied());
            let path = join(&self.path, &entry.key);
            findings.error(entry.key_at, &path, format!("there is no key {}; {remedy}", quoted(&entry.key)));
        }
        Some(Section { path: self.path.clone(), at: self.key_at, entries, keys })
    }
}

/// Something that may be off, or on, or written out.
pub(super) enum Switch<'t> {
    /// `off` or `false`.
    Off,
    /// `true`: as the defaults have it.
    On,
    /// Its keys.
    Set(Section<'t>),
}

/// A mapping whose keys are known.
#[derive(Clone, Debug)]
pub(super) struct Section<'t> {
    path: String,
    at: Position,
    entries: &'t [Entry],
    keys: &'static [&'static str],
}

impl<'t> Section<'t> {
    /// Returns the value of `key`, if written.
    pub(super) fn get(&self, key: &str) -> Option<Value<'t>> {
        debug_assert!(self.keys.contains(&key), "{key} is read and not allowed");
        self.entries.iter().find(|entry| entry.key == key).map(|entry| child(&self.path, entry))
    }

    /// Returns the value of `key`, or reports that it is missing; `remedy` says what to write.
    pub(super) fn need(&self, findings: &mut Findings, key: &str, remedy: &str) -> Option<Value<'t>> {
        let value = self.get(key);
        if value.is_none() {
            findings.error(self.at, &join(&self.path, key), format!("is missing; {remedy}"));
        }
        value
    }

    /// Returns what `read` makes of the value of `key`, or `default` where it is not written (or wrong and reported).
    pub(super) fn or<T>(
        &self,
        findings: &mut Findings,
        key: &str,
        default: T,
        read: impl FnOnce(&Value<'t>, &mut Findings) -> Option<T>,
    ) -> T {
        self.get(key).and_then(|value| read(&value, findings)).unwrap_or(default)
    }

    /// Returns the duration of `key`, or its default.
    pub(super) fn duration(&self, findings: &mut Findings, key: &str, bounds: &Bounded<Duration>) -> Duration {
        self.or(findings, key, bounds.default, |value, findings| value.duration(findings, &bounds.range))
    }

    /// Returns the number of bytes of `key`, or its default.
    pub(super) fn size<T>(&self, findings: &mut Findings, key: &str, bounds: &Bounded<T>) -> T
    where
        T: Copy + Into<u64> + TryFrom<u64>,
    {
        let range = (*bounds.range.start()).into()..=(*bounds.range.end()).into();
        let read = |value: &Value<'t>, findings: &mut Findings| T::try_from(value.size(findings, &range)?).ok();
        self.or(findings, key, bounds.default, read)
    }

    /// Returns the number of `key`, or its default; `remedy` follows what is out of bounds.
    pub(super) fn number<T>(&self, findings: &mut Findings, key: &str, bounds: &Bounded<T>, remedy: &str) -> T
    where
        T: Copy + Into<u64> + TryFrom<u64>,
    {
        self.or(findings, key, bounds.default, |value, findings| value.number(findings, &bounds.range, remedy))
    }

    /// Returns the per cent of `key`, or its default.
    pub(super) fn percent(&self, findings: &mut Findings, key: &str, bounds: &Bounded<u8>) -> u8 {
        self.or(findings, key, bounds.default, |value, findings| value.percent(findings, &bounds.range))
    }

    /// Reports `what` of the section as a whole.
    pub(super) fn complain(&self, findings: &mut Findings, what: impl Display) {
        findings.error(self.at, &self.path, what.to_string());
    }

    /// Warns of `what` for the section as a whole.
    pub(super) fn warn(&self, findings: &mut Findings, what: impl Display) {
        findings.warn(self.at, &self.path, what.to_string());
    }
}

fn child<'t>(path: &str, entry: &'t Entry) -> Value<'t> {
    Value { tree: &entry.value, key: &entry.key, key_at: entry.key_at, path: join(path, &entry.key) }
}

/// A plain scalar, or one that the environment filled in, may stand for a number or a bool.
fn is_untyped(scalar: &Scalar) -> bool {
    scalar.style == Style::Plain || scalar.written.is_some()
}

fn is_null(scalar: &Scalar) -> bool {
    scalar.style == Style::Plain
        && scalar.written.is_none()
        && matches!(scalar.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
}

/// The value as given: bare where YAML reads a number or a bool, else in quotes; none if it was reported before.
fn given(tree: &Tree) -> Option<String> {
    let shown = match &tree.content {
        Content::Broken => return None,
        Content::List(_) => "a list".to_owned(),
        Content::Map(_) => "a mapping".to_owned(),
        Content::Scalar(scalar) if is_null(scalar) => "has no value, which".to_owned(),
        Content::Scalar(scalar) => {
            let text = scalar.text.as_str();
            let is_number = || text.len() <= 40 && text.parse::<f64>().is_ok_and(f64::is_finite);
            let shown = if is_untyped(scalar) && (is_number() || matches!(text, "true" | "false")) {
                text.to_owned()
            } else {
                quoted(text)
            };
            match &scalar.written {
                Some(written) => format!("{shown} (from {})", quoted(written)),
                None => shown,
            }
        }
    };
    Some(shown)
}
