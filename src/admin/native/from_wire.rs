//! Bodies of the native shape → what is wanted. Every error names the field, the value as given and the bound.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::admin::error::AdminError;
use crate::admin::guard::quoted;
use crate::model::{Leftovers, Reserve, Terms, Timestamp, Weight};

use super::credentials::Wanted;
use super::when::{self, Sense};
use super::wire::{GrantOrder, Order, TermsOrder, UpgradeOrder, WeightOrder};

/// The operator's own words, in bytes.
const REASON_BYTES_MAX: usize = 500;
/// The largest body of an order, in bytes: a wait holds it.
const ORDER_BYTES_MAX: usize = 8 * 1024;
/// How far ahead a deadline or an end may be.
const TERM_MAX: Duration = Duration::from_secs(366 * 86_400);

const WHEN: &str = "a duration from now such as 10m or a time of RFC 3339 such as 2026-11-21T13:34:20Z, at most 366 days \
                    ahead";

/// A change as asked for, without whom it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked<T> {
    pub(super) what: T,
    pub(super) reason: Option<String>,
    pub(super) reserve: Reserve,
}

/// Returns the order that a body holds; an empty body is one without a reason.
pub(super) fn order(body: &[u8]) -> Result<Order, AdminError> {
    if body.is_empty() {
        return Ok(Order::default());
    }
    let order: Order = parse(body)?;
    check_reason(order.reason.as_deref())?;
    Ok(order)
}

/// Returns what an upgrade is to start; an empty body is one without a reason.
pub(super) fn upgrade(body: &[u8]) -> Result<UpgradeOrder, AdminError> {
    if body.is_empty() {
        return Ok(UpgradeOrder::default());
    }
    let order: UpgradeOrder = parse(body)?;
    check_reason(order.reason.as_deref())?;
    Ok(order)
}

/// Returns the terms of a drain or maintenance that a body holds; an empty body is one without any.
pub(super) fn terms(body: &[u8], now: Timestamp) -> Result<Asked<Terms>, AdminError> {
    let order: TermsOrder = if body.is_empty() { TermsOrder::default() } else { parse(body)? };
    check_reason(order.reason.as_deref())?;
    let deadline = moment("deadline", order.deadline.as_ref(), now)?;
    let until = moment("until", order.until.as_ref(), now)?;
    if let (Some(deadline), Some(until)) = (deadline, until)
        && deadline > until
    {
        let bound = format!("what comes before its end at {until}; send an earlier deadline or a later until");
        return Err(AdminError::BadValue { field: "deadline", got: deadline.to_string(), bound });
    }
    let leftovers = |value: &Value| {
        let known = value.as_str().and_then(Leftovers::parse);
        known.ok_or_else(|| bad("at_deadline", value, "close and keep"))
    };
    let at_deadline = order.at_deadline.as_ref().map(leftovers).transpose()?;
    let what = Terms { until, deadline, at_deadline };
    Ok(Asked { what, reserve: reserve(order.force.as_ref())?, reason: order.reason })
}

/// Returns what a grant says, and why; an empty body is one that says nothing.
pub(super) fn grant(body: &[u8], now: Timestamp) -> Result<(Wanted, Option<String>), AdminError> {
    let order: GrantOrder = if body.is_empty() { GrantOrder::default() } else { parse(body)? };
    check_reason(order.reason.as_deref())?;
    let until = order.until.as_ref().map(|given| {
        let at = given.as_str().and_then(|text| when::moment(text, now, Sense::FromNow)).filter(|at| *at > now);
        at.ok_or_else(|| bad("until", given, "a duration from now such as 90d or a later time of RFC 3339"))
    });
    let wanted = Wanted::of(&order, until.transpose()?)?;
    Ok((wanted, order.reason))
}

/// Returns the weight that a body holds.
pub(super) fn weight(body: &[u8]) -> Result<Asked<Weight>, AdminError> {
    if body.is_empty() {
        return Err(AdminError::Missing("weight"));
    }
    let order: WeightOrder = parse(body)?;
    check_reason(order.reason.as_deref())?;
    let given = order.weight.ok_or(AdminError::Missing("weight"))?;
    let weight = given.as_i64().and_then(Weight::new);
    let bound = "0..=65535, whole; only ratios matter, divide all weights of this farm";
    let what = weight.ok_or_else(|| bad("weight", &given, bound))?;
    Ok(Asked { what, reserve: reserve(order.force.as_ref())?, reason: order.reason })
}

/// Returns the object that a body holds, which is small.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, AdminError> {
    if body.len() > ORDER_BYTES_MAX {
        return Err(AdminError::BodyTooLarge { max: ORDER_BYTES_MAX });
    }
    // serde would take a list for the fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(AdminError::BadBody("it is not an object; send {\"field\": value}".to_owned()));
    }
    serde_json::from_slice(body).map_err(|e| AdminError::BadBody(quoted(&e.to_string())))
}

/// The error of a field whose value is outside its bound.
pub(super) fn bad(field: &'static str, got: &Value, bound: &str) -> AdminError {
    AdminError::BadValue { field, got: quoted(&got.to_string()), bound: bound.to_owned() }
}

fn moment(field: &'static str, value: Option<&Value>, now: Timestamp) -> Result<Option<Timestamp>, AdminError> {
    let Some(value) = value else { return Ok(None) };
    let at = value.as_str().and_then(|text| when::moment(text, now, Sense::FromNow));
    let at = at.filter(|at| *at >= now && at.since(now) <= TERM_MAX);
    at.map(Some).ok_or_else(|| bad(field, value, WHEN))
}

fn reserve(force: Option<&Value>) -> Result<Reserve, AdminError> {
    match force {
        None | Some(Value::Bool(false)) => Ok(Reserve::Kept),
        Some(Value::Bool(true)) => Ok(Reserve::Ignored),
        Some(value) => Err(bad("force", value, "true and false")),
    }
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

    const NOW: Timestamp = Timestamp(1_763_732_060_000_000);

    fn refused(body: &str) -> String {
        weight(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn weight_in_range_is_taken_with_its_reason() {
        let asked =
            |what, reason: Option<&str>, reserve| Ok(Asked { what, reason: reason.map(str::to_owned), reserve });
        assert_eq!(weight(b"{\"weight\": 0}"), asked(Weight(0), None, Reserve::Kept));
        let body = b"{\"weight\": 65535, \"reason\": \"more\", \"force\": true}";
        assert_eq!(weight(body), asked(Weight(65535), Some("more"), Reserve::Ignored));
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
            "the body is not valid: unknown field `wait`, expected one of `weight`, `reason`, `force` at line 1 column 20"
        );
        assert!(refused("{\"weight\": 1, \"weight\": 2}").contains("duplicate field `weight`"));
        assert!(refused("[5]").starts_with("the body is not valid: it is not an object"));
        let long = format!("{{\"weight\": 1{}}}", " ".repeat(ORDER_BYTES_MAX));
        assert_eq!(refused(&long), "the body is longer than 8192 bytes; send less");
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

    #[test]
    fn terms_are_read_as_distances_and_as_times() {
        let none = Asked { what: Terms::default(), reason: None, reserve: Reserve::Kept };
        assert_eq!((terms(b"", NOW), terms(b"{}", NOW)), (Ok(none.clone()), Ok(none)));
        let body = b"{\"deadline\": \"5s\", \"until\": \"2025-11-21T14:34:20Z\", \"at_deadline\": \"keep\", \
                     \"reason\": \"kernel\", \"force\": true}";
        let asked = terms(body, NOW).unwrap();
        let (deadline, until) = (Some(Timestamp(NOW.0 + 5_000_000)), Some(Timestamp(NOW.0 + 3_600_000_000)));
        assert_eq!(asked.what, Terms { until, deadline, at_deadline: Some(Leftovers::Keep) });
        assert_eq!((asked.reason.as_deref(), asked.reserve), (Some("kernel"), Reserve::Ignored));
    }

    #[test]
    fn terms_error_names_field_value_and_bound() {
        let said = |body: &str| terms(body.as_bytes(), NOW).unwrap_err().to_string();
        for (field, value) in
            [("deadline", "\"soon\""), ("until", "5"), ("until", "\"2025-11-21T13:34:19Z\""), ("deadline", "\"367d\"")]
        {
            assert_eq!(said(&format!("{{\"{field}\": {value}}}")), format!("{field}: {value} is outside {WHEN}"));
        }
        assert_eq!(said("{\"at_deadline\": \"cut\"}"), "at_deadline: \"cut\" is outside close and keep");
        assert_eq!(said("{\"force\": \"yes\"}"), "force: \"yes\" is outside true and false");
        assert_eq!(
            said("{\"deadline\": \"2h\", \"until\": \"1h\"}"),
            "deadline: 2025-11-21T15:34:20.000Z is outside what comes before its end at 2025-11-21T14:34:20.000Z; send an \
             earlier deadline or a later until"
        );
    }
}
