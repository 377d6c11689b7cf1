//! Bodies of the native shape → what is wanted. Every error names the field, the value as given and the bound.

use serde::de::DeserializeOwned;

use crate::admin::error::AdminError;
use crate::admin::guard::quoted;
use crate::model::Weight;

use super::wire::{Order, WeightOrder};

/// The operator's own words, in bytes.
const REASON_BYTES_MAX: usize = 500;

/// Returns the order that a body holds; an empty body is one without a reason.
pub(super) fn order(body: &[u8]) -> Result<Order, AdminError> {
    if body.is_empty() {
        return Ok(Order::default());
    }
    let order: Order = parse(body)?;
    check_reason(order.reason.as_deref())?;
    Ok(order)
}

/// Returns the weight and the reason that a body holds.
pub(super) fn weight(body: &[u8]) -> Result<(Weight, Option<String>), AdminError> {
    if body.is_empty() {
        return Err(AdminError::Missing("weight"));
    }
    let order: WeightOrder = parse(body)?;
    check_reason(order.reason.as_deref())?;
    let given = order.weight.ok_or(AdminError::Missing("weight"))?;
    let weight = given.as_i64().and_then(Weight::new);
    let bound = || "0..=65535, whole; only ratios matter, divide all weights of this farm".to_owned();
    let bad = || AdminError::BadValue { field: "weight", got: quoted(&given.to_string()), bound: bound() };
    Ok((weight.ok_or_else(bad)?, order.reason))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, AdminError> {
    // serde would take a list for the fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(AdminError::BadBody("it is not an object; send {\"field\": value}".to_owned()));
    }
    serde_json::from_slice(body).map_err(|e| AdminError::BadBody(quoted(&e.to_string())))
}

fn check_reason(reason: Option<&str>) -> Result<(), AdminError> {
    let Some(reason) = reason else { return Ok(()) };
    let bad = |got, bound| Err(AdminError::BadValue { field: "reason", got, bound });
    if reason.len() > REASON_BYTES_MAX {
        return bad(format!("{} bytes", reason.len()), format!("0..={REASON_BYTES_MAX} bytes"));
    }
    if reason.chars().any(char::is_control) {
        return bad(format!("{:?}", quoted(reason)), "one line of printable text".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> String {
        weight(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn weight_in_range_is_taken_with_its_reason() {
        assert_eq!(weight(b"{\"weight\": 0}"), Ok((Weight(0), None)));
        let body = b"{\"weight\": 65535, \"reason\": \"more\"}";
        assert_eq!(weight(body), Ok((Weight(65535), Some("more".to_owned()))));
    }

    #[test]
    fn weight_error_names_field_value_and_bound() {
        const BOUND: &str = "is outside 0..=65535, whole; only ratios matter, divide all weights of this farm";
        for given in ["65536", "-1", "1.5", "\"5\"", "true", "[1]", "1e3"] {
            let value = if given == "1e3" { "1000.0" } else { given };
            assert_eq!(refused(&format!("{{\"weight\": {given}}}")), format!("weight: {value} {BOUND}"));
        }
        assert_eq!(refused("{}"), "weight is missing; send it");
        assert_eq!(refused(""), "weight is missing; send it");
    }

    #[test]
    fn body_with_an_unknown_or_repeated_field_is_refused_by_name() {
        assert_eq!(
            refused("{\"weight\": 1, \"wait\": 2}"),
            "the body is not valid: unknown field `wait`, expected `weight` or `reason` at line 1 column 20"
        );
        assert!(refused("{\"weight\": 1, \"weight\": 2}").contains("duplicate field `weight`"));
        assert!(refused("[5]").starts_with("the body is not valid: it is not an object"));
    }

    #[test]
    fn reason_beyond_its_bound_or_on_two_lines_is_refused() {
        let long = format!("{{\"weight\": 1, \"reason\": \"{}\"}}", "x".repeat(501));
        assert_eq!(refused(&long), "reason: 501 bytes is outside 0..=500 bytes");
        assert_eq!(
            refused("{\"weight\": 1, \"reason\": \"a\\nb\"}"),
            "reason: \"a\\nb\" is outside one line of printable text"
        );
        assert_eq!(order(b""), Ok(Order::default()));
    }
}
