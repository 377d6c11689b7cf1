//! `farmgate check`: says whether a config file would load, and everything that is wrong with it.

use std::io::{self, Write};
use std::path::Path;

use crate::config::{self, Loaded};

/// Exit code where the file would load.
const OK: u8 = 0;
/// Exit code where the answer could not be written.
const FAILED: u8 = 1;
/// Exit code of a bad config file, `EX_CONFIG`.
const CONFIG: u8 = 78;

/// Checks the file at `path`: one line on `out` where it is good, every error on `err` where it is not; warnings go to
/// `err` too and change nothing. Returns the exit code: 0, 78 for a bad file, 1 where the answer cannot be written.
pub fn run(path: &Path, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let (code, written) = match config::load(path, &|name| std::env::var(name).ok()) {
        Ok(loaded) => (OK, print_good(path, &loaded, out, err)),
        Err(errors) => (CONFIG, writeln!(err, "{errors}")),
    };
    if written.is_ok() { code } else { code.max(FAILED) }
}

fn print_good(path: &Path, loaded: &Loaded, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    for warning in &loaded.warnings {
        writeln!(err, "warning: {warning}")?;
    }
    let topology = &loaded.topology;
    let servers = topology.farms.iter().map(|farm| farm.servers.len()).sum();
    let frontends = count(topology.frontends.len(), "frontend");
    let farms = count(topology.farms.len(), "farm");
    writeln!(out, "{}: ok, {frontends}, {farms}, {}", path.display(), count(servers, "server"))
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> (u8, String, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.yaml");
        std::fs::write(&path, text).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&path, &mut out, &mut err);
        let clean = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&path.display().to_string(), "f.yaml");
        (code, clean(out), clean(err))
    }

    #[test]
    fn check_good_file_prints_what_it_holds() {
        let text = "service: lb\nfrontends: {web: {protocol: http, listen: ['127.0.0.1:0'], farm: web}}\n\
            farms: {web: {protocol: http, servers: {a: '127.0.0.1:1', b: '127.0.0.1:1'}}}\n";
        let (code, out, err) = check(text);
        assert_eq!((code, out.as_str()), (0, "f.yaml: ok, 1 frontend, 1 farm, 2 servers\n"));
        assert!(err.starts_with("warning: f.yaml:3:59 farms.web.servers.b: has the same address as"), "{err}");
    }

    #[test]
    fn check_bad_file_prints_every_error_and_78() {
        let (code, out, err) = check("service: lb\nfrontends: {}\nfarms: []\nworkers: 0\n");
        let want = "f.yaml:3:8 farms: a list is not a mapping of farms\n\
            f.yaml:4:10 workers: 0 is outside 1..=256; write auto for one per core\nf.yaml: 2 errors\n";
        assert_eq!((code, out.as_str(), err.as_str()), (78, "", want));
    }

    #[test]
    fn check_missing_file_is_one_error_and_78() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run(Path::new("/nonexistent/f.yaml"), &mut out, &mut err), 78);
        let err = String::from_utf8(err).unwrap();
        assert!(err.starts_with("/nonexistent/f.yaml: cannot be read: No such file"), "{err}");
        assert!(err.ends_with("/nonexistent/f.yaml: 1 error\n"), "{err}");
    }
}
