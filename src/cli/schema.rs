//! `farmgate schema`: prints the JSON Schema of the config file, for editors and for checking before a deploy.

use std::io::Write;

use crate::config::schema_json;

/// Prints the schema on `out`. Returns the exit code: 0, or 1 where it cannot be written.
pub fn run(out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match writeln!(out, "{:#}", schema_json()) {
        Ok(()) => 0,
        Err(error) => {
            // Nothing is left to do where this cannot be written either.
            let _ = writeln!(err, "farmgate: cannot write the schema: {error}");
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_prints_json() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run(&mut out, &mut err), 0);
        let schema: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(schema["type"], "object");
        assert!(err.is_empty());
    }
}
