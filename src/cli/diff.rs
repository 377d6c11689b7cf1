//! `farmgate diff`: in what a config file differs from what is live.
//!
//! Both are written out in the same way, every default told, and compared key by key. Secrets are told by where they
//! come from and not compared. Exit codes are those of diff(1): 0 the same, 1 different, 2 could not tell; 64 for wrong
//! arguments and 78 for a file that would not load, as everywhere.

mod compare;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::admin::native::wire::{FarmList, FrontendList, OriginWire};
use crate::config::{self, to_yaml::live::live};
use crate::objects::form::key_path;
use crate::report::report;

use super::client::{AdminArgs, CliError, Client, plain};
use compare::{Difference, Kind, compare};

/// Exit code where nothing differs.
const SAME: u8 = 0;
/// Exit code where something does.
const DIFFERENT: u8 = 1;
/// Exit code where it could not be told.
const TROUBLE: u8 = 2;
/// Exit code of a bad config file, `EX_CONFIG`.
const CONFIG: u8 = 78;

/// Arguments of `diff`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The config file
    #[arg(short, long, value_name = "FILE", env = "FARMGATE_CONFIG", default_value = "/etc/farmgate/farmgate.yaml")]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Where the process is.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Prints every difference and returns the exit code.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let file = match written(&args.config) {
        Ok(file) => file,
        Err(why) => {
            let _ = writeln!(err, "{why}");
            return CONFIG;
        }
    };
    let told = differences(args, &file).and_then(|(differences, who)| {
        let told =
            if args.json { print_json(&differences, &who, out) } else { print(&args.config, &differences, &who, out) };
        told.map(|()| differences.is_empty()).map_err(CliError::from)
    });
    match told {
        Ok(true) => SAME,
        Ok(false) => DIFFERENT,
        Err(error) => super::explain(&error, err).max(TROUBLE),
    }
}

/// Returns the file as the live config is written; every error of it, one a line.
fn written(path: &Path) -> Result<Value, String> {
    let loaded = config::load(path, &|name| std::env::var(name).ok()).map_err(|errors| errors.to_string())?;
    let told = live(&loaded.declared, &loaded.topology).map_err(|error| report(&error).to_string())?;
    parsed(&told.yaml).map_err(|error| error.to_string())
}

fn parsed(yaml: &str) -> Result<Value, serde_yaml::Error> {
    serde_yaml::from_str(yaml)
}

/// Who made what is live and not as the file has it.
#[derive(Debug, Default)]
struct Who {
    /// Objects made through an API, by key path: the shape.
    made: BTreeMap<String, String>,
    /// Fields that an operator set, by key path: who.
    set: BTreeMap<String, String>,
}

impl Who {
    fn of(farms: &FarmList, frontends: &FrontendList) -> Self {
        let mut who = Self::default();
        for farm in &farms.farms {
            who.made(&["farms", &farm.name], &farm.origin);
            for server in &farm.servers {
                let path = ["farms", &farm.name, "servers", &server.name];
                who.made(&path, &server.origin);
                for field in &server.overrides {
                    let path = key_path(&[path[0], path[1], path[2], path[3], &field.field]);
                    who.set.insert(path, field.actor.clone());
                }
            }
        }
        for frontend in &frontends.frontends {
            who.made(&["frontends", &frontend.name], &frontend.origin);
            for route in &frontend.routes {
                who.made(&["frontends", &frontend.name, "routes", &route.name], &route.origin);
            }
        }
        who
    }

    fn made(&mut self, path: &[&str], origin: &OriginWire) {
        if let Some(shape) = &origin.shape {
            self.made.insert(key_path(path), shape.clone());
        }
    }
}

fn differences(args: &Args, file: &Value) -> Result<(Vec<Difference>, Who), CliError> {
    let client = Client::new(&args.admin)?;
    let path = "/api/v1/config";
    let yaml = client.get(path)?;
    let url = || format!("{}{path}", args.admin.admin);
    let live = parsed(&yaml).map_err(|_| CliError::NotFarmgate { url: url(), status: 200 })?;
    let farms: FarmList = client.parse("/api/v1/farms", &client.get("/api/v1/farms")?)?;
    let frontends: FrontendList = client.parse("/api/v1/frontends", &client.get("/api/v1/frontends")?)?;
    Ok((compare(file, &live), Who::of(&farms, &frontends)))
}

fn print(path: &Path, differences: &[Difference], who: &Who, out: &mut dyn Write) -> io::Result<()> {
    for difference in differences {
        let Difference { path, kind } = difference;
        let path = plain(path);
        match kind {
            Kind::Added(_) => writeln!(out, "+ {path}: in the file only; a reload adds it")?,
            Kind::Changed { file, live } => {
                let (file, live) = (plain(&file.to_string()), plain(&live.to_string()));
                write!(out, "~ {path}: {live} live, {file} in the file")?;
                match who.set.get(&difference.path) {
                    Some(actor) => writeln!(out, "; set by {} and kept by a reload of the same file", plain(actor))?,
                    None => writeln!(out)?,
                }
            }
            Kind::Removed(_) => match who.made.get(&difference.path) {
                Some(shape) => {
                    writeln!(out, "- {path}: live only; made through the {} API and kept by a reload", plain(shape))?;
                }
                None => writeln!(out, "- {path}: live only; a reload removes it")?,
            },
        }
    }
    let shown = path.display();
    match differences.len() {
        0 => writeln!(out, "{shown}: nothing differs from what is live"),
        1 => writeln!(out, "{shown}: 1 difference from what is live"),
        n => writeln!(out, "{shown}: {n} differences from what is live"),
    }
}

fn print_json(differences: &[Difference], who: &Who, out: &mut dyn Write) -> io::Result<()> {
    let one = |Difference { path, kind }: &Difference| match kind {
        Kind::Added(file) => json!({"path": path, "kind": "added", "file": file}),
        Kind::Changed { file, live } => {
            json!({"path": path, "kind": "changed", "file": file, "live": live, "set_by": who.set.get(path)})
        }
        Kind::Removed(live) => json!({"path": path, "kind": "removed", "live": live, "made_by": who.made.get(path)}),
    };
    let all: Vec<Value> = differences.iter().map(one).collect();
    writeln!(out, "{:#}", json!({"same": all.is_empty(), "differences": all}))
}

#[cfg(test)]
mod tests;
