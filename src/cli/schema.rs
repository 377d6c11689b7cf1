//! `farmgate schema`: prints the JSON Schema of the config file, for editors and for checking before a deploy.

use std::io::Write;

use crate::config::schema_json;

use super::client::CliError;

/// Prints the schema on `out`.
///
/// # Errors
/// [`CliError::Output`] where it cannot be written.
pub fn run(out: &mut dyn Write) -> Result<(), CliError> {
    Ok(writeln!(out, "{:#}", schema_json())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_prints_json() {
        let mut out = Vec::new();
        run(&mut out).unwrap();
        let schema: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(schema["type"], "object");
    }
}
