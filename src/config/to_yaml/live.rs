//! What is live as a whole config file: a topology as it is, beside the settings that the file gave.
//!
//! Nothing that the file keeps out of itself comes in: what it fills in from the environment, or reads from a file of
//! its own, is written as it stands there, wherever the value is still the same. A secret that stood in the clear, or
//! that an API gave, becomes a variable of its own (`${env:FARMGATE_…}`), which the text's head names. Pure.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_yaml::{Mapping, Value};

use super::{ExportError, file, refuse_lossy};
use crate::config::declared::Declared;
use crate::config::tree::{Content, Entry, Scalar, Style, Tree, join};
use crate::model::Topology;
use crate::model::secrecy::is_secret;

/// Keys of secrets outside `farms`, each with a twin that ends in `_file`.
const SECRET_KEYS: [&str; 5] = ["application_secret", "consumer_key", "password", "secret", "token"];
/// Where every value is a secret: fields that are sent with each post of traces.
const SECRET_MAP: &str = "tracing.otlp.headers";
/// What sets headers, by their names.
const HEADER_KEYS: [&str; 2] = ["request_headers", "response_headers"];
/// What a secret's file is named with.
const FILE_SUFFIX: &str = "_file";
/// What stands in the text for a reference until it is whole; no name and no word of a config has this.
const MARK: &str = "farmgate-reference";

/// A config file as [`live`] writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveConfig {
    /// The YAML, without a head.
    pub yaml: String,
    /// Variables that must be set for it to load and that no file named before: name and key path.
    pub variables: Vec<(String, String)>,
}

impl LiveConfig {
    /// Returns the text of the file, behind comment lines that say what it is and what to set.
    #[must_use]
    pub fn text(&self, about: &str) -> String {
        let mut text = format!("# {about}\n");
        if !self.variables.is_empty() {
            text.push_str("# Secrets are not written here. Set these variables to what they are, then it loads:\n");
        }
        for (name, path) in &self.variables {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "#   {name}: {path}");
        }
        text.push_str(&self.yaml);
        text
    }
}

/// Returns what loads as `topology` beside the settings of `declared`.
///
/// # Errors
/// As [`super::to_yaml`].
pub fn live(declared: &Declared, topology: &Topology) -> Result<LiveConfig, ExportError> {
    let mut value = serde_yaml::to_value(file(topology))?;
    refuse_lossy(&value, "")?;
    let mut writer = Writer::default();
    if let Value::Mapping(whole) = &mut value {
        if let Some(Value::Mapping(farms)) = whole.get_mut("farms") {
            for (name, farm) in named(farms) {
                writer.farm(farm, declared.farm_tree(&name), &join("farms", &name));
            }
        }
        if let Some(Value::Mapping(frontends)) = whole.get_mut("frontends") {
            for (name, frontend) in named(frontends) {
                if let Some(tree) = declared.frontend_tree(&name) {
                    writer.as_written(frontend, tree);
                }
                writer.headers_in(frontend, false, &join("frontends", &name));
            }
        }
        for entry in declared.rest() {
            let (key, setting) = writer.setting(entry, "");
            whole.insert(key, setting);
        }
    }
    let yaml = writer.finish(&serde_yaml::to_string(&value)?);
    Ok(LiveConfig { yaml, variables: writer.variables })
}

fn named(map: &mut Mapping) -> impl Iterator<Item = (String, &mut Value)> {
    map.iter_mut().filter_map(|(name, value)| Some((name.as_str()?.to_owned(), value)))
}

/// Text under construction.
#[derive(Default)]
struct Writer {
    /// What marks stand for, as it is to be written.
    references: Vec<String>,
    variables: Vec<(String, String)>,
    taken: BTreeSet<String>,
}

impl Writer {
    /// Puts references into a farm.
    fn farm(&mut self, farm: &mut Value, tree: Option<&Tree>, path: &str) {
        if let Some(tree) = tree {
            self.as_written(farm, tree);
        }
        let Value::Mapping(farm) = farm else { return };
        let of = |key: &str| tree.and_then(|tree| child(tree, key));
        // The only probe is written by itself, whatever the file did.
        let only = of("probe").or_else(|| match &of("probes")?.content {
            Content::Map(entries) => entries.first().map(|entry| &entry.value),
            Content::Broken | Content::List(_) | Content::Scalar(_) => None,
        });
        for (key, tree) in [("probe", only), ("shadow", of("shadow"))] {
            if let Some(probe) = farm.get_mut(key) {
                self.secret_in(probe, "password", tree, &join(path, key));
            }
        }
        if let Some(Value::Mapping(probes)) = farm.get_mut("probes") {
            for (name, probe) in named(probes) {
                let tree = of("probes").and_then(|probes| child(probes, &name));
                self.secret_in(probe, "password", tree, &join(&join(path, "probes"), &name));
            }
        }
        if let Some(cookie) = farm.get_mut("stickiness").and_then(|it| it.get_mut("cookie")) {
            let tree = of("stickiness").and_then(|it| child(it, "cookie"));
            self.secret_in(cookie, "key", tree, &join(&join(path, "stickiness"), "cookie"));
        }
    }

    /// Writes what is the same as in the file as the file does where that names variables.
    fn as_written(&mut self, value: &mut Value, tree: &Tree) {
        match (value, &tree.content) {
            (Value::Mapping(map), Content::Map(entries)) => {
                for entry in entries {
                    let hex = format!("{}_hex", entry.key);
                    match &entry.value.content {
                        // Bytes that are no plain text are written as hex.
                        Content::Scalar(scalar @ Scalar { written: Some(_), .. }) if map.contains_key(&hex) => {
                            map.remove(&hex);
                            map.insert(entry.key.as_str().into(), self.scalar(scalar));
                        }
                        Content::Broken | Content::List(_) | Content::Map(_) | Content::Scalar(_) => {
                            if let Some(value) = map.get_mut(&entry.key) {
                                self.as_written(value, &entry.value);
                            }
                        }
                    }
                }
            }
            (Value::Sequence(values), Content::List(items)) if values.len() == items.len() => {
                for (value, item) in values.iter_mut().zip(items) {
                    self.as_written(value, item);
                }
            }
            (value, Content::Scalar(scalar @ Scalar { written: Some(_), .. })) => {
                if text_of(value).is_some_and(|text| text == scalar.text) {
                    *value = self.scalar(scalar);
                }
            }
            (_, _) => {}
        }
    }

    /// Puts a reference in the place of a secret of a mapping.
    fn secret_in(&mut self, value: &mut Value, key: &str, tree: Option<&Tree>, path: &str) {
        let Value::Mapping(map) = value else { return };
        let is_clear = |value: &Value| value.as_str().is_some_and(|text| !text.starts_with(MARK));
        if !map.get(key).is_some_and(is_clear) {
            return;
        }
        let file_key = format!("{key}{FILE_SUFFIX}");
        match tree.and_then(|tree| child(tree, &file_key)).map(|tree| &tree.content) {
            Some(Content::Scalar(file)) => {
                map.remove(key);
                map.insert(file_key.into(), self.scalar(file));
            }
            Some(Content::Broken | Content::List(_) | Content::Map(_)) | None => {
                let reference = self.variable(&join(path, key));
                map.insert(key.into(), reference);
            }
        }
    }

    /// Puts references in the place of what headers say that are secrets, in whatever sets headers below.
    fn headers_in(&mut self, value: &mut Value, is_headers: bool, path: &str) {
        match value {
            Value::Mapping(map) => {
                for (name, value) in named(map) {
                    let path = join(path, &name);
                    if is_headers && is_secret(&name) {
                        self.hide(value, &path);
                    } else {
                        self.headers_in(value, is_headers || HEADER_KEYS.contains(&name.as_str()), &path);
                    }
                }
            }
            Value::Sequence(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    self.headers_in(item, is_headers, &format!("{path}[{i}]"));
                }
            }
            Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) | Value::Tagged(_) => {}
        }
    }

    fn hide(&mut self, value: &mut Value, path: &str) {
        match value {
            Value::String(text) if !text.starts_with(MARK) => *value = self.variable(path),
            Value::Sequence(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    self.hide(item, &format!("{path}[{i}]"));
                }
            }
            Value::Bool(_)
            | Value::Mapping(_)
            | Value::Null
            | Value::Number(_)
            | Value::String(_)
            | Value::Tagged(_) => {}
        }
    }

    /// Returns the URL of a receiver, of which whatever follows the host may be what lets one post there.
    fn receiver(&mut self, url: &str, path: &str) -> Value {
        let start = url.find("://").map_or(0, |at| at + 3);
        let host = url.get(start..).unwrap_or_default();
        let end = host.find(['/', '?', '#']).unwrap_or(host.len());
        // A name and a password stand before the host.
        let open = if host.get(..end).is_some_and(|host| host.contains('@')) { start } else { start + end };
        match url.split_at_checked(open) {
            Some((_, "" | "/")) | None => self.reference(quoted(url)),
            Some((open, _)) => {
                let name = self.name(&join(path, "path"), &format!("{path}, what follows {open}"));
                self.reference(quoted(&format!("{open}${{env:{name}}}")))
            }
        }
    }

    /// Returns a setting as it stands in the file, its secrets as references.
    fn setting(&mut self, entry: &Entry, parent: &str) -> (Value, Value) {
        let path = join(parent, &entry.key);
        let is_hidden = SECRET_KEYS.contains(&entry.key.as_str()) || parent == SECRET_MAP;
        let value = match &entry.value.content {
            Content::Scalar(Scalar { written: None, .. }) if is_hidden => self.variable(&path),
            Content::Scalar(Scalar { written: None, text, .. }) if is_receiver(&path) => self.receiver(text, &path),
            Content::Broken | Content::List(_) | Content::Map(_) | Content::Scalar(_) => self.tree(&entry.value, &path),
        };
        (entry.key.as_str().into(), value)
    }

    fn tree(&mut self, tree: &Tree, path: &str) -> Value {
        match &tree.content {
            Content::Broken => Value::Null,
            Content::List(items) => {
                let items = items.iter().enumerate();
                Value::Sequence(items.map(|(i, item)| self.tree(item, &format!("{path}[{i}]"))).collect())
            }
            Content::Map(entries) => Value::Mapping(entries.iter().map(|entry| self.setting(entry, path)).collect()),
            Content::Scalar(scalar) => self.scalar(scalar),
        }
    }

    /// Returns a scalar that reads as the one of the file does.
    fn scalar(&mut self, scalar: &Scalar) -> Value {
        let text = scalar.written.as_deref().unwrap_or(&scalar.text);
        match scalar.style {
            // Of several lines: a text, since no other word has any.
            Style::Plain if !text.contains('\n') => self.reference(text.to_owned()),
            Style::Plain | Style::Quoted => self.reference(quoted(text)),
        }
    }

    /// Returns a reference to a variable that is new.
    fn variable(&mut self, path: &str) -> Value {
        let name = self.name(path, path);
        self.reference(quoted(&format!("${{env:{name}}}")))
    }

    /// Returns the name of a variable that is new, which is told to be for what is at `shown`.
    fn name(&mut self, path: &str, shown: &str) -> String {
        let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let mut name = String::from("FARMGATE_");
        for c in path.chars().map(upper).filter(|c| c.is_ascii_graphic()) {
            if c != '_' || !name.ends_with('_') {
                name.push(c);
            }
        }
        let mut name = name.trim_end_matches('_').to_owned();
        let base = name.clone();
        for number in 2_u32.. {
            if self.taken.insert(name.clone()) {
                break;
            }
            name = format!("{base}_{number}");
        }
        self.variables.push((name.clone(), shown.to_owned()));
        name
    }

    fn reference(&mut self, text: String) -> Value {
        self.references.push(text);
        Value::String(format!("{MARK}-{}-", self.references.len() - 1))
    }

    /// Puts every reference where its mark stands.
    fn finish(&self, yaml: &str) -> String {
        let mut text = String::with_capacity(yaml.len());
        let mut rest = yaml;
        while let Some((before, after)) = rest.split_once(MARK) {
            text.push_str(before);
            let mark = after.strip_prefix('-').and_then(|after| after.split_once('-'));
            let known =
                mark.and_then(|(number, after)| Some((self.references.get(number.parse::<usize>().ok()?)?, after)));
            match known {
                Some((reference, after)) => {
                    text.push_str(reference);
                    rest = after;
                }
                None => {
                    text.push_str(MARK);
                    rest = after;
                }
            }
        }
        text.push_str(rest);
        text
    }
}

/// Returns whether that is the key path of the URL of a receiver of events.
fn is_receiver(path: &str) -> bool {
    path.starts_with("webhooks.") && path.ends_with(".url")
}

fn child<'t>(tree: &'t Tree, key: &str) -> Option<&'t Tree> {
    match &tree.content {
        Content::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
        Content::Broken | Content::List(_) | Content::Scalar(_) => None,
    }
}

/// What a scalar of the export would be read as.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Mapping(_) | Value::Null | Value::Sequence(_) | Value::Tagged(_) => None,
    }
}

/// A text in double quotes: what JSON writes is YAML. Texts cannot fail to be written.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
