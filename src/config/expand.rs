//! Fills `${env:NAME}` and `${env:NAME:-default}` into the scalars of a tree.
//!
//! After parsing and scalar by scalar, so a variable's value can never become structure; keys are left alone, and so
//! is every other `${…}`. `:-` stands in for a variable that is unset or empty, as in a shell. The environment is
//! handed in. What was filled in is not looked at again.

use super::error::{Findings, quoted};
use super::tree::{Content, Tree, join};

/// What begins an expansion.
pub(super) const OPENING: &str = "${env:";
/// The largest text that one scalar may grow to.
const EXPANDED_BYTES_MAX: usize = 1024 * 1024;

/// Looks a variable up.
pub(super) type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Expands every scalar of the tree in place; one that cannot be is reported and marked broken.
pub(super) fn expand(tree: &mut Tree, path: &str, env: Env<'_>, findings: &mut Findings) {
    match &mut tree.content {
        Content::Broken => {}
        Content::List(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                expand(item, &format!("{path}[{i}]"), env, findings);
            }
        }
        Content::Map(entries) => {
            for entry in entries {
                expand(&mut entry.value, &join(path, &entry.key), env, findings);
            }
        }
        Content::Scalar(scalar) if !scalar.text.contains(OPENING) => {}
        Content::Scalar(scalar) => match expand_text(&scalar.text, env) {
            Ok(text) => {
                let written = std::mem::replace(&mut scalar.text, text);
                scalar.written = Some(written.into());
            }
            Err(why) => {
                findings.error(tree.at, path, why.to_string());
                tree.content = Content::Broken;
            }
        },
    }
}

/// Why a scalar cannot be expanded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ExpandError {
    #[error("the environment has no variable {name}; set it, or write ${{env:{name}:-default}}")]
    Missing { name: String },
    #[error("{0} is no name of a variable; write letters, digits and _ only, as in ${{env:PORT}} or ${{env:PORT:-80}}")]
    Name(String),
    #[error("is longer than 1 MiB once its variables are filled in")]
    TooLong,
    #[error("\"${{env:\" is never closed; add \"}}\"")]
    Unclosed,
}

fn expand_text(text: &str, env: Env<'_>) -> Result<String, ExpandError> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPENING) {
        let (inside, tail) = after.split_once('}').ok_or(ExpandError::Unclosed)?;
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty() || !name.bytes().all(is_name) || name.as_bytes()[0].is_ascii_digit() {
            return Err(ExpandError::Name(quoted(name)));
        }
        let value = match (env(name), default) {
            (Some(value), None) => value,
            (Some(value), Some(_)) if !value.is_empty() => value,
            (_, Some(default)) => default.to_owned(),
            (None, None) => return Err(ExpandError::Missing { name: name.to_owned() }),
        };
        out.push_str(before);
        out.push_str(&value);
        if out.len() > EXPANDED_BYTES_MAX {
            return Err(ExpandError::TooLong);
        }
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "PORT" => Some("8080".to_owned()),
            "EMPTY" => Some(String::new()),
            "EVIL" => Some("x\"}, {evil: [${env:PORT}]".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn expansion_fills_in_variables_and_defaults_and_nothing_else() {
        for (text, want) in [
            ("${env:PORT}", "8080"),
            ("a:${env:PORT}/${env:PORT}b", "a:8080/8080b"),
            ("${env:NONE:-80}", "80"),
            ("${env:NONE:-}", ""),
            ("${env:EMPTY:-80}", "80"),
            ("${env:EMPTY}", ""),
            ("${env:NONE:-a:-b}", "a:-b"),
            ("${path}?${query} $PORT ${PORT} ${ENV:PORT}", "${path}?${query} $PORT ${PORT} ${ENV:PORT}"),
            ("${env:EVIL}", "x\"}, {evil: [${env:PORT}]"),
        ] {
            assert_eq!(expand_text(text, &env), Ok(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn expansion_that_cannot_be_done_names_the_remedy() {
        for (text, want) in [
            ("${env:NONE}", "the environment has no variable NONE; set it, or write ${env:NONE:-default}"),
            ("${env:PORT", "\"${env:\" is never closed; add \"}\""),
            (
                "${env:A-B}",
                "\"A-B\" is no name of a variable; write letters, digits and _ only, as in ${env:PORT} or ${env:PORT:-80}",
            ),
        ] {
            assert_eq!(expand_text(text, &env).unwrap_err().to_string(), want);
        }
        assert!(expand_text("${env:}", &env).is_err() && expand_text("${env:1A}", &env).is_err());
    }
}
