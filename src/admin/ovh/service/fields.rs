//! What a body says, field by field: absent is not null. Pure.
//!
//! Clients send whole objects back, read-only fields and all, so a field that is not asked for is passed over. A number
//! may come as text, as node-ovh's users write it.

use serde_json::{Map, Value};

use crate::admin::error::AdminError;
use crate::admin::guard::quoted;

/// A field that is absent (`None`), null (`Some(None)`), or has a value.
pub(super) type Given<T> = Option<Option<T>>;

/// The fields of a body.
#[derive(Debug)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body; none at all is an object without fields.
    ///
    /// # Errors
    /// [`AdminError::BadBody`] if it is no object.
    pub(super) fn of(body: &[u8]) -> Result<Self, AdminError> {
        if body.is_empty() {
            return Ok(Self(Map::new()));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(Value::Null) => Ok(Self(Map::new())),
            Ok(_) => Err(AdminError::BadBody("it is not an object".to_owned())),
            Err(error) => Err(AdminError::BadBody(error.to_string())),
        }
    }

    /// Returns a field as it is; null is none.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// Returns a text of so many characters at the most.
    ///
    /// # Errors
    /// [`AdminError::BadValue`].
    pub(super) fn text(&self, key: &'static str, max: usize) -> Result<Given<&str>, AdminError> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(Value::String(text)) => match text.chars().count() {
                count if count <= max => Ok(Some(Some(text))),
                count => Err(bad(key, format!("a text of {count} characters"), format!("0..={max} characters"))),
            },
            Some(other) => Err(bad(key, quoted(&other.to_string()), "texts".to_owned())),
        }
    }

    /// Returns a text that must be there.
    ///
    /// # Errors
    /// [`AdminError::BadValue`] or [`AdminError::Missing`].
    pub(super) fn needed(&self, key: &'static str, max: usize) -> Result<&str, AdminError> {
        self.text(key, max)?.flatten().filter(|text| !text.is_empty()).ok_or(AdminError::Missing(key))
    }

    /// Returns a whole number from 0 to `max`.
    ///
    /// # Errors
    /// [`AdminError::BadValue`].
    pub(super) fn number(&self, key: &'static str, max: u64) -> Result<Given<u64>, AdminError> {
        let Some(value) = self.0.get(key) else { return Ok(None) };
        let number = match value {
            Value::Null => return Ok(Some(None)),
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            Value::Array(_) | Value::Bool(_) | Value::Object(_) => None,
        };
        match number.filter(|number| *number <= max) {
            Some(number) => Ok(Some(Some(number))),
            None => Err(bad(key, quoted(&value.to_string()), format!("0..={max}"))),
        }
    }

    /// Returns one of these words.
    ///
    /// # Errors
    /// [`AdminError::BadValue`].
    pub(super) fn word(&self, key: &'static str, words: &[&'static str]) -> Result<Given<&'static str>, AdminError> {
        let Some(value) = self.0.get(key) else { return Ok(None) };
        if value.is_null() {
            return Ok(Some(None));
        }
        let known = words.iter().find(|word| value.as_str() == Some(**word));
        match known {
            Some(word) => Ok(Some(Some(word))),
            None => Err(bad(key, quoted(&value.to_string()), words.join(", "))),
        }
    }

    /// Returns a list of one to `max` texts, which must be there.
    ///
    /// # Errors
    /// [`AdminError::BadValue`] or [`AdminError::Missing`].
    pub(super) fn texts(&self, key: &'static str, max: usize) -> Result<Vec<&str>, AdminError> {
        let Some(value) = self.value(key) else { return Err(AdminError::Missing(key)) };
        let wrong = || bad(key, quoted(&value.to_string()), "lists of texts".to_owned());
        let items = value.as_array().ok_or_else(wrong)?;
        if !(1..=max).contains(&items.len()) {
            return Err(bad(key, format!("a list of {}", items.len()), format!("1..={max} entries")));
        }
        items.iter().map(|item| item.as_str().ok_or_else(wrong)).collect()
    }
}

fn bad(field: &'static str, got: String, bound: String) -> AdminError {
    AdminError::BadValue { field, got, bound }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_null_and_value_are_three_things() {
        let fields = Fields::of(br#"{"a": null, "b": "x", "n": "7", "m": 8, "w": "modern"}"#).unwrap();
        assert_eq!((fields.text("c", 9), fields.text("a", 9)), (Ok(None), Ok(Some(None))));
        assert_eq!(fields.text("b", 9), Ok(Some(Some("x"))));
        assert_eq!((fields.number("n", 9), fields.number("m", 9)), (Ok(Some(Some(7))), Ok(Some(Some(8)))));
        assert_eq!(fields.word("w", &["modern"]), Ok(Some(Some("modern"))));
        assert_eq!(fields.needed("a", 9), Err(AdminError::Missing("a")));
        assert!(Fields::of(b"").unwrap().0.is_empty() && Fields::of(b"[]").is_err());
    }

    #[test]
    fn wrong_values_are_told_with_field_value_and_bound() {
        let fields = Fields::of(r#"{"a": "äöü", "n": -1, "w": 3, "l": ["x", 1], "e": []}"#.as_bytes()).unwrap();
        for (error, want) in [
            (fields.text("a", 2).unwrap_err(), "a: a text of 3 characters is outside 0..=2 characters"),
            (fields.text("n", 2).unwrap_err(), "n: -1 is outside texts"),
            (fields.number("n", 9).unwrap_err(), "n: -1 is outside 0..=9"),
            (fields.number("a", 9).unwrap_err(), "a: \"äöü\" is outside 0..=9"),
            (fields.word("w", &["x", "y"]).unwrap_err(), "w: 3 is outside x, y"),
            (fields.texts("l", 9).unwrap_err(), "l: [\"x\",1] is outside lists of texts"),
            (fields.texts("e", 9).unwrap_err(), "e: a list of 0 is outside 1..=9 entries"),
            (fields.texts("z", 9).unwrap_err(), "z is missing; send it"),
        ] {
            assert_eq!(error.to_string(), want);
        }
    }
}
