//! A body → its fields, read as leniently as the published examples need. Pure.
//!
//! Absent, null and empty text are the same, numbers are taken as text and text as numbers, unknown fields are ignored.
//! A field is named by its path (`healthCheck.checkPort`), whose last part is the key.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::admin::call::Call;
use crate::admin::error::AdminError;
use crate::admin::guard::quoted;

/// The longest text that any field takes, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// Returns a header's value as text.
pub(super) fn header<'c>(call: &'c Call, name: &str) -> Option<&'c str> {
    call.headers.get(name)?.to_str().ok()
}

/// The fields of an object of a body.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Returns the fields of a body; an empty one has none.
    ///
    /// # Errors
    /// [`AdminError::BadBody`] if it is not UTF-8 JSON, or no object.
    pub(super) fn parse(body: &[u8]) -> Result<Self, AdminError> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let bad = |text: String| AdminError::BadBody(text);
        let body = std::str::from_utf8(body).map_err(|e| bad(e.to_string()))?;
        match serde_json::from_str(body).map_err(|e| bad(e.to_string()))? {
            Value::Object(map) => Ok(Self(map)),
            Value::Array(_) | Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {
                Err(bad("it is not a JSON object".to_owned()))
            }
        }
    }

    /// Returns a field that is there and says something.
    fn value(&self, field: &str) -> Option<&Value> {
        let key = field.rsplit('.').next().unwrap_or(field);
        match self.0.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() => None,
            Some(value) => Some(value),
        }
    }

    /// Returns a text.
    ///
    /// # Errors
    /// [`AdminError::BadBody`] if it is none; [`AdminError::BadValue`] if it is too long.
    pub(super) fn text(&self, field: &'static str) -> Result<Option<String>, AdminError> {
        self.value(field).map(|value| as_text(field, value)).transpose()
    }

    /// Returns a text that must be there.
    ///
    /// # Errors
    /// As [`Self::text`], and [`AdminError::Missing`].
    pub(super) fn need_text(&self, field: &'static str) -> Result<String, AdminError> {
        self.text(field)?.ok_or(AdminError::Missing(field))
    }

    /// Returns one of these words.
    ///
    /// # Errors
    /// As [`Self::text`], and [`AdminError::BadValue`] for another word.
    pub(super) fn word(&self, field: &'static str, words: &[&'static str]) -> Result<Option<&'static str>, AdminError> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        let known = words.iter().find(|word| **word == text);
        let bad = || AdminError::BadValue { field, got: quoted(&text), bound: words.join(", ") };
        known.copied().map(Some).ok_or_else(bad)
    }

    /// Returns a whole number within a range.
    ///
    /// # Errors
    /// [`AdminError::BadBody`] if it is none; [`AdminError::BadValue`] outside the range.
    pub(super) fn number(&self, field: &'static str, range: &RangeInclusive<u64>) -> Result<Option<u64>, AdminError> {
        let Some(value) = self.value(field) else { return Ok(None) };
        let outside =
            |got: String| AdminError::BadValue { field, got, bound: format!("{}..={}", range.start(), range.end()) };
        let text = match value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.trim().to_owned(),
            Value::Array(_) | Value::Bool(_) | Value::Null | Value::Object(_) => return Err(no(field, "whole number")),
        };
        match (text.parse::<u64>(), text.parse::<f64>()) {
            (Ok(number), _) if range.contains(&number) => Ok(Some(number)),
            (Ok(_), _) => Err(outside(quoted(&text))),
            (Err(_), Ok(number)) if number.fract() == 0.0 && (0.0..1e15).contains(&number) => {
                // Whole and far below 2^53: printed without a fraction.
                let number = format!("{number:.0}").parse().unwrap_or(u64::MAX);
                if range.contains(&number) { Ok(Some(number)) } else { Err(outside(quoted(&text))) }
            }
            (Err(_), Ok(number)) if number.is_finite() => Err(outside(quoted(&text))),
            (Err(_), _) => Err(no(field, "whole number")),
        }
    }

    /// Returns a whole number within a range; 0 says nothing.
    ///
    /// # Errors
    /// As [`Self::number`].
    pub(super) fn number_but_zero(
        &self,
        field: &'static str,
        range: &RangeInclusive<u64>,
    ) -> Result<Option<u64>, AdminError> {
        if self.number(field, &(0..=u64::MAX)).ok().flatten() == Some(0) {
            return Ok(None);
        }
        self.number(field, range)
    }

    /// Returns whether something is so.
    ///
    /// # Errors
    /// [`AdminError::BadBody`] if it is neither true nor false.
    pub(super) fn flag(&self, field: &'static str) -> Result<Option<bool>, AdminError> {
        let Some(value) = self.value(field) else { return Ok(None) };
        let text = match value {
            Value::Bool(flag) => return Ok(Some(*flag)),
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.to_ascii_lowercase(),
            Value::Array(_) | Value::Null | Value::Object(_) => String::new(),
        };
        match text.as_str() {
            "true" | "1" => Ok(Some(true)),
            "false" | "0" => Ok(Some(false)),
            _ => Err(no(field, "true or false")),
        }
    }

    /// Returns texts, those that say something.
    ///
    /// # Errors
    /// [`AdminError::BadBody`] if it is no list of texts; [`AdminError::BadValue`] if there are too many.
    pub(super) fn texts(&self, field: &'static str, max: usize) -> Result<Vec<String>, AdminError> {
        let items = self.items(field, max)?;
        let says = |item: &&Value| !item.is_null() && item.as_str() != Some("");
        items.iter().filter(says).map(|item| as_text(field, item)).collect()
    }

    /// Returns an object.
    ///
    /// # Errors
    /// [`AdminError::BadBody`] if it is none.
    pub(super) fn object(&self, field: &'static str) -> Result<Option<Self>, AdminError> {
        match self.value(field) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self(map.clone()))),
            Some(_) => Err(no(field, "object")),
        }
    }

    /// Returns a list of objects.
    ///
    /// # Errors
    /// [`AdminError::BadBody`] if it is none; [`AdminError::BadValue`] if there are too many.
    pub(super) fn objects(&self, field: &'static str, max: usize) -> Result<Vec<Self>, AdminError> {
        let one = |item: &Value| match item {
            Value::Object(map) => Ok(Self(map.clone())),
            Value::Array(_) | Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {
                Err(no(field, "list of objects"))
            }
        };
        self.items(field, max)?.iter().map(one).collect()
    }

    fn items(&self, field: &'static str, max: usize) -> Result<&[Value], AdminError> {
        match self.value(field) {
            None => Ok(&[]),
            Some(Value::Array(items)) if items.len() > max => {
                let got = format!("{} of them", items.len());
                Err(AdminError::BadValue { field, got, bound: format!("0..={max}") })
            }
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(no(field, "list")),
        }
    }
}

fn as_text(field: &'static str, value: &Value) -> Result<String, AdminError> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Array(_) | Value::Bool(_) | Value::Null | Value::Object(_) => return Err(no(field, "text")),
    };
    if text.len() > TEXT_BYTES_MAX {
        let got = format!("{} bytes", text.len());
        return Err(AdminError::BadValue { field, got, bound: format!("0..={TEXT_BYTES_MAX}") });
    }
    Ok(text)
}

fn no(field: &'static str, what: &str) -> AdminError {
    AdminError::BadBody(format!("{field} is no {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: &str) -> Fields {
        Fields::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn absent_null_and_empty_are_alike_and_numbers_are_text() {
        for body in ["", "{}", r#"{"id":null}"#, r#"{"id":"","extra":[1]}"#] {
            assert_eq!(fields(body).text("id"), Ok(None), "{body}");
            assert_eq!(fields(body).number("id", &(1..=2)), Ok(None), "{body}");
            assert_eq!(fields(body).flag("id"), Ok(None), "{body}");
            assert_eq!(fields(body).texts("id", 1), Ok(Vec::new()), "{body}");
            assert_eq!(fields(body).need_text("id"), Err(AdminError::Missing("id")), "{body}");
        }
        let body = fields(r#"{"id":42,"ids":["a",7,null,""],"n":"50","f":3.0,"flag":"True"}"#);
        assert_eq!(body.text("id"), Ok(Some("42".to_owned())));
        assert_eq!(body.texts("ids", 4), Ok(vec!["a".to_owned(), "7".to_owned()]));
        assert_eq!(body.number("n", &(0..=65535)), Ok(Some(50)));
        assert_eq!(body.number("f", &(0..=3)), Ok(Some(3)));
        assert_eq!(body.flag("flag"), Ok(Some(true)));
        assert_eq!(fields(r#"{"port":"0"}"#).number_but_zero("port", &(1..=9)), Ok(None));
    }

    #[test]
    fn value_of_another_type_or_outside_its_range_is_refused() {
        let body = fields(r#"{"o":{},"a":["x"],"n":1.5,"m":-1,"t":"many","b":[1,[]]}"#);
        assert!(body.text("o").is_err() && body.text("a").is_err() && body.flag("t").is_err());
        for field in ["o", "a", "n", "m", "t"] {
            assert!(body.number(field, &(0..=9)).is_err(), "{field}");
        }
        assert!(body.texts("t", 9).is_err() && body.texts("b", 9).is_err() && body.texts("a", 0).is_err());
        assert!(body.objects("a", 9).is_err() && body.object("a").is_err());
        let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(TEXT_BYTES_MAX + 1));
        assert!(fields(&long).text("id").is_err());
    }

    #[test]
    fn body_that_is_no_json_object_is_refused() {
        for body in [&b"["[..], b"[]", b"\"x\"", b"{\"id\":\"\xff\"}", b"{", b"null"] {
            assert!(Fields::parse(body).is_err(), "{:?}", String::from_utf8_lossy(body));
        }
    }
}
