//! One farm or frontend, lowered by itself: beside a file that was lowered before.

use std::collections::HashMap;

use super::{Around, Commands, Known, Listeners, Protocols, ReadFile, farm, frontend};
use crate::config::declared::KnownFarms;
use crate::config::error::Findings;
use crate::config::read::Value;
use crate::config::tree::{Position, Tree};
use crate::model::{Farm, Frontend};

/// Lowers a farm.
pub(in crate::config) fn farm(
    tree: &Tree,
    name: &str,
    path: &str,
    read_file: ReadFile<'_>,
    findings: &mut Findings,
) -> Option<Farm> {
    let value = Value { tree, key: name, key_at: Position::START, path: path.to_owned() };
    // The file was asked before; what an API says is looked at afterwards.
    let commands = Commands::Allowed;
    farm::lower(&value, Around { read_file, commands }, findings).map(|lowered| lowered.farm)
}

/// Lowers a frontend, which may name these farms.
pub(in crate::config) fn frontend(
    tree: &Tree,
    name: &str,
    path: &str,
    farms: &KnownFarms<'_>,
    read_file: ReadFile<'_>,
    findings: &mut Findings,
) -> Option<Frontend> {
    let mut protocols: Protocols<'_> = HashMap::with_capacity(farms.len());
    let known = farms.iter().map(|(name, known)| (*name, Known::of(*known)));
    protocols.extend(known);
    let value = Value { tree, key: name, key_at: Position::START, path: path.to_owned() };
    let mut listeners = Listeners::default();
    frontend::lower(&value, &protocols, read_file, &mut listeners, findings).map(|lowered| lowered.frontend)
}
