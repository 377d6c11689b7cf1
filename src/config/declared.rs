//! What a file declares, kept so that objects made at run time are lowered beside it: one farm or frontend at a time, by
//! the same rules, with the same key paths in errors.
//!
//! A form is the JSON of what the file would say. It may not name files whose text is read (what the process can read
//! is not for whoever may write through an API), nor variables of the environment, nor programs to be run, and is held
//! to everything else that the file is. Pure: files that the config file names were read with it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::error::{Findings, path_segment};
use super::expand::OPENING;
use super::lower::alone;
use super::to_yaml;
use super::tree::{Content, DEPTH_MAX, Entry, Position, Scalar, Style, Tree, join};
use crate::model::{Farm, FarmId, Frontend, FrontendId, Name, ProbeKind, Protocol, RouteId, ServerId, Topology};

/// What a config file declares; see the module's doc.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    label: Box<str>,
    farms: HashMap<Box<str>, Entry>,
    frontends: HashMap<Box<str>, Entry>,
    rest: Vec<Entry>,
    files: HashMap<PathBuf, Box<str>>,
}

/// Something that is wrong with what an API wrote: prints as `farms.web.servers.a.weight: 70000 is outside …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key path.
    pub path: Box<str>,
    /// What, and the remedy.
    pub message: Box<str>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// A farm or frontend as the file has it, or as a form says.
#[derive(Clone, Copy, Debug)]
pub enum Base<'f, I> {
    /// As the file declares it.
    File,
    /// As this form says, under this id.
    Form(I, &'f str),
}

/// A farm to lower.
#[derive(Clone, Debug)]
pub struct FarmUnit<'f> {
    /// Its name.
    pub name: &'f Name,
    /// It without the servers that were made through an API.
    pub base: Base<'f, FarmId>,
    /// Those: name, id and form.
    pub servers: Vec<(&'f Name, ServerId, &'f str)>,
}

/// A frontend to lower.
#[derive(Clone, Debug)]
pub struct FrontendUnit<'f> {
    /// Its name.
    pub name: &'f Name,
    /// It without the routes that were made through an API.
    pub base: Base<'f, FrontendId>,
    /// Those.
    pub routes: Vec<RouteUnit<'f>>,
}

/// A route of a frontend to lower.
#[derive(Clone, Debug)]
pub struct RouteUnit<'f> {
    /// Its name.
    pub name: &'f Name,
    /// Its id.
    pub id: RouteId,
    /// It without the rules that were made through an API.
    pub form: &'f str,
    /// Those.
    pub rules: Vec<&'f str>,
}

/// The farms that a frontend may name: protocol and id by name.
pub type KnownFarms<'n> = HashMap<&'n str, (Protocol, FarmId)>;

impl Declared {
    /// Keeps what `root` declares, whose files are `files`.
    pub(super) fn of(label: &str, root: Tree, files: HashMap<PathBuf, Box<str>>) -> Self {
        let mut declared = Self { label: label.into(), files, ..Self::default() };
        let Content::Map(entries) = root.content else { return declared };
        let by_name = |tree: Tree| match tree.content {
            Content::Map(named) => named.into_iter().map(|it| (it.key.clone().into_boxed_str(), it)).collect(),
            Content::Broken | Content::List(_) | Content::Scalar(_) => HashMap::new(),
        };
        for entry in entries {
            match entry.key.as_str() {
                "farms" => declared.farms = by_name(entry.value),
                "frontends" => declared.frontends = by_name(entry.value),
                "instance_id" | "service" | "zone" => {}
                _ => declared.rest.push(entry),
            }
        }
        declared
    }

    /// Returns what the file says beside its service, frontends and farms.
    pub(super) fn rest(&self) -> &[Entry] {
        &self.rest
    }

    /// Returns what the file says of a farm.
    pub(super) fn farm_tree(&self, name: &str) -> Option<&Tree> {
        self.farms.get(name).map(|entry| &entry.value)
    }

    /// Returns what the file says of a frontend.
    pub(super) fn frontend_tree(&self, name: &str) -> Option<&Tree> {
        self.frontends.get(name).map(|entry| &entry.value)
    }

    /// Returns where the file declares what has that key path; a key that is not written stands where its owner does.
    #[must_use]
    pub fn position(&self, path: &[&str]) -> Option<String> {
        let (kind, rest) = path.split_first()?;
        let (name, rest) = rest.split_first()?;
        let all = match *kind {
            "farms" => &self.farms,
            "frontends" => &self.frontends,
            _ => return None,
        };
        let entry = all.get(*name)?;
        let (mut at, mut tree) = (entry.key_at, &entry.value);
        for key in rest {
            let found = match &tree.content {
                Content::Map(entries) => entries.iter().find(|e| e.key == *key).map(|e| (e.key_at, &e.value)),
                Content::List(items) => items.iter().find(|item| names(item, key)).map(|item| (item.at, item)),
                Content::Broken | Content::Scalar(_) => None,
            };
            let Some(found) = found else { break };
            (at, tree) = found;
        }
        Some(format!("{}:{at}", self.label))
    }

    /// Returns the text that the file writes at that key path of a farm or frontend.
    #[must_use]
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        let (kind, rest) = path.split_first()?;
        let (name, keys) = rest.split_first()?;
        let tree = match *kind {
            "farms" => self.farm_tree(name),
            "frontends" => self.frontend_tree(name),
            _ => None,
        };
        match &keys.iter().try_fold(tree?, |tree, key| get(tree, key))?.content {
            Content::Scalar(scalar) => Some(&scalar.text),
            Content::Broken | Content::List(_) | Content::Map(_) => None,
        }
    }

    /// Lowers a farm with its servers.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn farm(&self, unit: &FarmUnit<'_>) -> Result<Farm, Vec<Fault>> {
        let path = join("farms", unit.name.as_str());
        let mut faults = Vec::new();
        let mut tree = self.base(&self.farms, unit.name, &path, base_form(&unit.base), &mut faults);
        if let Base::Form(..) = unit.base {
            refuse_children(&tree, "servers", &path, &mut faults);
            set(&mut tree, "servers", Tree { at: Position::START, content: Content::Map(Vec::new()) });
        }
        let own = join(&path, "servers");
        for (name, _, form) in &unit.servers {
            let path = join(&own, name.as_str());
            let value = from_json(form, &path, &mut faults);
            let entry = Entry { key: name.to_string(), key_at: Position::START, value };
            let Some(Content::Map(entries)) = get_mut(&mut tree, "servers").map(|servers| &mut servers.content) else {
                continue;
            };
            if let Some(there) = entries.iter().find(|there| there.key == name.as_str()) {
                let message =
                    format!("the file declares one at {}:{}; rename one of the two", self.label, there.key_at);
                faults.push(Fault { path: path.into(), message: message.into() });
            } else {
                entries.push(entry);
            }
        }
        let mut farm = self.lower_farm(&tree, unit.name, &path, faults)?;
        if let Base::Form(id, _) = unit.base {
            farm.id = id;
            refuse_commands(&farm, &path)?;
        }
        let ids: HashMap<&Name, ServerId> = unit.servers.iter().map(|(name, id, _)| (*name, *id)).collect();
        for server in &mut farm.servers {
            if let Some(id) = ids.get(&server.name) {
                std::sync::Arc::make_mut(server).id = *id;
            }
        }
        Ok(farm)
    }

    /// Lowers a frontend with its routes.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn frontend(&self, unit: &FrontendUnit<'_>, farms: &KnownFarms<'_>) -> Result<Frontend, Vec<Fault>> {
        let path = join("frontends", unit.name.as_str());
        let mut faults = Vec::new();
        let mut tree = self.base(&self.frontends, unit.name, &path, base_form(&unit.base), &mut faults);
        let routes: Vec<_> = unit.routes.iter().map(|route| route_tree(route, &path, &mut faults)).collect();
        if !routes.is_empty() {
            append(&mut tree, "routes", routes);
        }
        let mut frontend = self.lower_frontend(&tree, unit.name, &path, farms, faults)?;
        if let Base::Form(id, _) = unit.base {
            frontend.id = id;
        }
        let ids: HashMap<&Name, RouteId> = unit.routes.iter().map(|route| (route.name, route.id)).collect();
        for route in &mut frontend.routes {
            if let Some(id) = ids.get(&route.name) {
                std::sync::Arc::make_mut(route).id = *id;
            }
        }
        Ok(frontend)
    }

    /// Returns the keys in which `form` differs from what the file says of a farm, its servers apart; by name.
    ///
    /// # Errors
    /// Every fault of the form.
    pub fn farm_differences(&self, is: &Farm, form: &str) -> Result<Vec<String>, Vec<Fault>> {
        let path = join("farms", is.name.as_str());
        let mut faults = Vec::new();
        let mut tree = from_json(form, &path, &mut faults);
        refuse_children(&tree, "servers", &path, &mut faults);
        let servers = self.farms.get(is.name.as_str()).and_then(|entry| get(&entry.value, "servers").cloned());
        set(&mut tree, "servers", servers.unwrap_or(Tree { at: Position::START, content: Content::Map(Vec::new()) }));
        let wanted = self.lower_farm(&tree, &is.name, &path, faults)?;
        Ok(differences(&to_yaml::farm_json(is), &to_yaml::farm_json(&wanted)))
    }

    /// Returns the keys in which `form` differs from what the file says of a server of it, and what it would be.
    ///
    /// # Errors
    /// Every fault of the form.
    pub fn server_differences(
        &self,
        farm: &Farm,
        server: &Name,
        form: &str,
    ) -> Result<(Vec<String>, crate::model::Server), Vec<Fault>> {
        let path = join("farms", farm.name.as_str());
        let mut faults = Vec::new();
        let own = join(&join(&path, "servers"), server.as_str());
        let value = from_json(form, &own, &mut faults);
        let Some(mut tree) = self.farms.get(farm.name.as_str()).map(|entry| entry.value.clone()) else {
            return Err(vec![not_of_the_file(&path)]);
        };
        if let Some(servers) = get_mut(&mut tree, "servers") {
            set(servers, server.as_str(), value);
        }
        let wanted = self.lower_farm(&tree, &farm.name, &path, faults)?;
        let of = |farm: &Farm| farm.servers.iter().find(|it| it.name == *server).cloned();
        let (Some(is), Some(wanted)) = (of(farm), of(&wanted)) else { return Err(vec![not_of_the_file(&own)]) };
        let keys = differences(&to_yaml::server_json(&is), &to_yaml::server_json(&wanted));
        Ok((keys, crate::model::Server::clone(&wanted)))
    }

    /// Returns the keys in which `form` differs from what the file says of a frontend; a form without `routes` has those
    /// of the file.
    ///
    /// # Errors
    /// Every fault of the form.
    pub fn frontend_differences(
        &self,
        is: &Frontend,
        form: &str,
        farms: &KnownFarms<'_>,
    ) -> Result<Vec<String>, Vec<Fault>> {
        let path = join("frontends", is.name.as_str());
        let mut faults = Vec::new();
        let mut tree = from_json(form, &path, &mut faults);
        let routes = self.frontends.get(is.name.as_str()).and_then(|entry| get(&entry.value, "routes").cloned());
        if let Some(routes) = routes.filter(|_| get(&tree, "routes").is_none()) {
            set(&mut tree, "routes", routes);
        }
        let wanted = self.lower_frontend(&tree, &is.name, &path, farms, faults)?;
        let name = |id: FarmId| name_of(farms, id);
        Ok(differences(&to_yaml::frontend_json(is, &name), &to_yaml::frontend_json(&wanted, &name)))
    }

    fn base(
        &self,
        all: &HashMap<Box<str>, Entry>,
        name: &Name,
        path: &str,
        form: Option<&str>,
        faults: &mut Vec<Fault>,
    ) -> Tree {
        match (form, all.get(name.as_str())) {
            (Some(form), _) => from_json(form, path, faults),
            (None, Some(entry)) => entry.value.clone(),
            (None, None) => {
                faults.push(not_of_the_file(path));
                Tree { at: Position::START, content: Content::Broken }
            }
        }
    }

    fn lower_farm(&self, tree: &Tree, name: &Name, path: &str, faults: Vec<Fault>) -> Result<Farm, Vec<Fault>> {
        let mut findings = Findings::default();
        let read = |path: &Path| self.read(path);
        let farm = alone::farm(tree, name.as_str(), path, &read, &mut findings);
        finish(farm, findings, faults, path)
    }

    fn lower_frontend(
        &self,
        tree: &Tree,
        name: &Name,
        path: &str,
        farms: &KnownFarms<'_>,
        faults: Vec<Fault>,
    ) -> Result<Frontend, Vec<Fault>> {
        let mut findings = Findings::default();
        let read = |path: &Path| self.read(path);
        let frontend = alone::frontend(tree, name.as_str(), path, farms, &read, &mut findings);
        finish(frontend, findings, faults, path)
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let refused =
            || io::Error::new(io::ErrorKind::PermissionDenied, "an API may name files of the config file only");
        self.files.get(path).map(|text| text.to_string()).ok_or_else(refused)
    }
}

/// Reads files and remembers what they held.
pub(super) struct Remembering<'r> {
    read: &'r dyn Fn(&Path) -> io::Result<String>,
    files: RefCell<HashMap<PathBuf, Box<str>>>,
}

impl<'r> Remembering<'r> {
    /// Reads through `read`.
    pub(super) fn new(read: &'r dyn Fn(&Path) -> io::Result<String>) -> Self {
        Self { read, files: RefCell::default() }
    }

    /// Reads a file.
    pub(super) fn read(&self, path: &Path) -> io::Result<String> {
        let text = (self.read)(path)?;
        self.files.borrow_mut().insert(path.to_owned(), text.clone().into());
        Ok(text)
    }

    /// Returns what was read.
    pub(super) fn files(self) -> HashMap<PathBuf, Box<str>> {
        self.files.into_inner()
    }
}

fn base_form<'f, I>(base: &Base<'f, I>) -> Option<&'f str> {
    match base {
        Base::File => None,
        Base::Form(_, form) => Some(form),
    }
}

fn not_of_the_file(path: &str) -> Fault {
    let message = "is not in the file any more, and objects made through an API are part of it; remove those first";
    Fault { path: path.into(), message: message.into() }
}

fn finish<T>(lowered: Option<T>, findings: Findings, mut faults: Vec<Fault>, path: &str) -> Result<T, Vec<Fault>> {
    faults.extend(findings.errors.into_iter().map(|finding| Fault { path: finding.path, message: finding.text }));
    match lowered {
        Some(lowered) if faults.is_empty() => Ok(lowered),
        None if faults.is_empty() => {
            Err(vec![Fault { path: path.into(), message: "could not be read, and no error was found: a bug".into() }])
        }
        Some(_) | None => Err(faults),
    }
}

fn refuse_commands(farm: &Farm, path: &str) -> Result<(), Vec<Fault>> {
    if !farm.probes_with_slots().any(|(_, probe)| matches!(probe.kind, ProbeKind::Command(_))) {
        return Ok(());
    }
    let message = "a probe that runs a program can be written in the config file only; choose another type";
    Err(vec![Fault { path: join(path, "probe").into(), message: message.into() }])
}

fn route_tree(route: &RouteUnit<'_>, frontend: &str, faults: &mut Vec<Fault>) -> Tree {
    let path = format!("{frontend}.routes.{}", path_segment(route.name.as_str()));
    let mut tree = from_json(route.form, &path, faults);
    let text = route.name.to_string();
    let name = Content::Scalar(Scalar { text, style: Style::Quoted, written: None });
    set(&mut tree, "name", Tree { at: Position::START, content: name });
    let rules: Vec<_> = route.rules.iter().map(|rule| from_json(rule, &path, faults)).collect();
    if !rules.is_empty() {
        append(&mut tree, "rules", rules);
    }
    tree
}

fn names(item: &Tree, name: &str) -> bool {
    matches!(get(item, "name").map(|name| &name.content), Some(Content::Scalar(scalar)) if scalar.text == name)
}

fn get<'t>(tree: &'t Tree, key: &str) -> Option<&'t Tree> {
    let Content::Map(entries) = &tree.content else { return None };
    entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
}

fn get_mut<'t>(tree: &'t mut Tree, key: &str) -> Option<&'t mut Tree> {
    let Content::Map(entries) = &mut tree.content else { return None };
    entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
}

fn set(tree: &mut Tree, key: &str, value: Tree) {
    let Content::Map(entries) = &mut tree.content else { return };
    match entries.iter_mut().find(|entry| entry.key == key) {
        Some(entry) => entry.value = value,
        None => entries.push(Entry { key: key.to_owned(), key_at: Position::START, value }),
    }
}

fn append(tree: &mut Tree, key: &str, more: Vec<Tree>) {
    match get_mut(tree, key).map(|list| &mut list.content) {
        Some(Content::List(items)) => items.extend(more),
        Some(Content::Broken | Content::Map(_) | Content::Scalar(_)) => {}
        None => set(tree, key, Tree { at: Position::START, content: Content::List(more) }),
    }
}

fn refuse_children(tree: &Tree, key: &str, path: &str, faults: &mut Vec<Fault>) {
    if get(tree, key).is_some() {
        let message = format!("{key} are objects of their own; this form is without them");
        faults.push(Fault { path: join(path, key).into(), message: message.into() });
    }
}

/// Returns the tree of a form; what no form may hold is reported.
fn from_json(form: &str, path: &str, faults: &mut Vec<Fault>) -> Tree {
    match serde_json::from_str(form) {
        Ok(json @ Json::Object(_)) => tree_of(&json, path, 0, faults),
        Ok(_) => {
            faults.push(Fault { path: path.into(), message: "is not an object; send {\"key\": value}".into() });
            Tree { at: Position::START, content: Content::Broken }
        }
        Err(error) => {
            faults.push(Fault { path: path.into(), message: format!("is not JSON: {error}").into() });
            Tree { at: Position::START, content: Content::Broken }
        }
    }
}

fn tree_of(json: &Json, path: &str, depth: usize, faults: &mut Vec<Fault>) -> Tree {
    let plain = |text: String| Content::Scalar(Scalar { text, style: Style::Plain, written: None });
    let mut refused = |message: &str| {
        faults.push(Fault { path: path.into(), message: message.into() });
        Content::Broken
    };
    let content = match json {
        _ if depth >= DEPTH_MAX => refused("is nested too deeply; no key needs that"),
        Json::Null => plain("null".to_owned()),
        Json::Bool(flag) => plain(flag.to_string()),
        Json::Number(number) => plain(number.to_string()),
        Json::String(text) if text.contains(OPENING) => {
            refused("holds \"${env:\", which the config file alone may; send the value itself")
        }
        Json::String(text) => Content::Scalar(Scalar { text: text.clone(), style: Style::Quoted, written: None }),
        Json::Array(items) => {
            let items = items.iter().enumerate();
            Content::List(items.map(|(i, item)| tree_of(item, &format!("{path}[{i}]"), depth + 1, faults)).collect())
        }
        Json::Object(map) => {
            let entry = |(key, value): (&String, &Json)| {
                let path = join(path, key);
                let value = if key.ends_with("_file") {
                    let message = "names a file to be read, which the config file alone may; send the value itself";
                    faults.push(Fault { path: path.into(), message: message.into() });
                    Tree { at: Position::START, content: Content::Broken }
                } else {
                    tree_of(value, &path, depth + 1, faults)
                };
                Entry { key: key.clone(), key_at: Position::START, value }
            };
            Content::Map(map.iter().map(entry).collect())
        }
    };
    Tree { at: Position::START, content }
}

fn name_of(farms: &KnownFarms<'_>, id: FarmId) -> String {
    farms.iter().find(|(_, (_, known))| *known == id).map_or_else(String::new, |(name, _)| (*name).to_owned())
}

/// Returns the keys in which two objects differ, by name.
fn differences(a: &Json, b: &Json) -> Vec<String> {
    let (Json::Object(a), Json::Object(b)) = (a, b) else { return Vec::new() };
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    keys.into_iter().filter(|key| a.get(*key) != b.get(*key)).cloned().collect()
}

/// Keeps a topology's own farms by name.
#[must_use]
pub fn known_farms(topology: &Topology) -> KnownFarms<'_> {
    topology.farms.iter().map(|farm| (farm.name.as_str(), (farm.protocol, farm.id))).collect()
}

/// Returns a farm as the file writes it, without its servers and with its secrets: for forms that are not shown.
#[must_use]
pub fn farm_form(farm: &Farm) -> serde_json::Map<String, Json> {
    let mut form = object(to_yaml::farm_json(farm));
    form.remove("servers");
    form
}

/// Returns a server as the file writes it.
#[must_use]
pub fn server_form(server: &crate::model::Server) -> serde_json::Map<String, Json> {
    object(to_yaml::server_json(server))
}

/// Returns a frontend as the file writes it; `names` tells the name of a farm.
#[must_use]
pub fn frontend_form(frontend: &Frontend, names: &dyn Fn(FarmId) -> String) -> serde_json::Map<String, Json> {
    object(to_yaml::frontend_json(frontend, names))
}

fn object(json: Json) -> serde_json::Map<String, Json> {
    match json {
        Json::Object(map) => map,
        Json::Array(_) | Json::Bool(_) | Json::Null | Json::Number(_) | Json::String(_) => serde_json::Map::new(),
    }
}
