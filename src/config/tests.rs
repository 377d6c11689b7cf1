//! The config file from outside: texts in, models or messages out.

mod bad_frontends;
mod bad_input;
mod conf_files;
mod drawn;
mod fuzzed;
mod good_frontends;
mod good_input;
mod good_upstreams;
mod mutated;
mod round_trip;
mod schema;
mod tracing;

use std::io;
use std::path::Path;

use super::{ConfigErrors, Loaded, parse};

fn env(name: &str) -> Option<String> {
    match name {
        "FARMGATE_TOKEN" => Some("0123456789abcdef0123".to_owned()),
        "WEIGHT" => Some("7".to_owned()),
        "WORDS" => Some("not a number".to_owned()),
        _ => None,
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("/secret") => Ok("a-secret-of-a-good-length\r\n".to_owned()),
        Some("/empty") => Ok("\n".to_owned()),
        Some("/page") => Ok("back soon\n".to_owned()),
        Some("/short") => Ok("short".to_owned()),
        Some("/ca.pem" | "/etc/farmgate/ca.pem") => Ok("-----BEGIN CERTIFICATE-----\n".to_owned()),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
    }
}

fn load(text: &str) -> Result<Loaded, ConfigErrors> {
    parse("f.yaml", text, &env, &read_file)
}

fn errors(text: &str) -> Vec<String> {
    match load(text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.errors().iter().map(ToString::to_string).collect(),
    }
}
