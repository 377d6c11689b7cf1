//! Pages of lists, asked for with `X-Pagination-*`: for every list of this shape, in one place.
//!
//! Such a list has whole objects where it would have ids: each is asked for as a client would, at the list's path and the
//! id, and only where the credential's rules allow that call. Then it is filtered, sorted and cut; where nothing is
//! filtered or sorted it is cut first, and only what is on the page is asked for. Of pages the answer
//! says how many objects there are (`X-Pagination-Elements`), of cursors where to go on (`X-Pagination-Cursor-Next`), which
//! is absent on the last page. A list that has objects anyway is paged as it is. The words are those of the vendor's own
//! page and command line.

use std::cmp::Ordering;

use http::{HeaderName, HeaderValue, Method, Uri};
use serde_json::Value;

use super::super::face::Look;
use super::super::listed::Listed;
use super::super::path::{self, Part, Target};
use super::super::{Outcome, Reading, error, filter::is_like};
use super::Refusal;
use crate::admin::call::Call;
use crate::admin::error::AdminError;
use crate::admin::guard::quoted;

const MODE: &str = "x-pagination-mode";
const SIZE: &str = "x-pagination-size";
/// Objects of a page, unless it is said how many.
const SIZE_DEFAULT: usize = 100;
/// The most objects of a page.
const SIZE_MAX: usize = 10_000;
/// Conditions of a filter.
const CONDITIONS_MAX: usize = 32;

/// A page that is asked for.
#[derive(Debug)]
pub(in crate::admin::ovh) struct Page {
    way: Way,
    size: usize,
    conditions: Vec<Condition>,
    sort: Option<(String, Direction)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From this position on.
    Cursor(usize),
    /// The page of this number, from 1.
    Number(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Ascending,
    Descending,
}

/// `field:word=value`.
#[derive(Debug)]
struct Condition {
    field: String,
    test: Test,
    value: String,
}

#[derive(Clone, Copy, Debug)]
enum Test {
    Compared(fn(Ordering) -> bool),
    Equal { is_wanted: bool },
    In { is_wanted: bool },
    Like { is_case_told: bool },
}

const TESTS: [(&str, Test); 10] = [
    ("eq", Test::Equal { is_wanted: true }),
    ("ge", Test::Compared(Ordering::is_ge)),
    ("gt", Test::Compared(Ordering::is_gt)),
    ("ilike", Test::Like { is_case_told: false }),
    ("in", Test::In { is_wanted: true }),
    ("le", Test::Compared(Ordering::is_le)),
    ("like", Test::Like { is_case_told: true }),
    ("lt", Test::Compared(Ordering::is_lt)),
    ("ne", Test::Equal { is_wanted: false }),
    ("nin", Test::In { is_wanted: false }),
];

impl Page {
    /// Returns the page that a call asks for; none where it asks for none.
    ///
    /// # Errors
    /// [`AdminError::BadValue`] for a field of it that cannot be.
    pub(in crate::admin::ovh) fn of(call: &Call) -> Result<Option<Self>, AdminError> {
        if call.method != Method::GET {
            return Ok(None);
        }
        let way = match text(call, MODE) {
            None => return Ok(None),
            Some("CachedObjectList-Cursor") => {
                let from = number(call, "x-pagination-cursor", 0, 0..=usize::MAX)?;
                Way::Cursor(from)
            }
            Some("CachedObjectList-Pages") => Way::Number(number(call, "x-pagination-number", 1, 1..=usize::MAX)?),
            Some(other) => return Err(bad(MODE, other, "CachedObjectList-Cursor, CachedObjectList-Pages")),
        };
        let size = number(call, SIZE, SIZE_DEFAULT, 1..=SIZE_MAX)?;
        let conditions = text(call, "x-pagination-filter").map(conditions).transpose()?.unwrap_or_default();
        let direction = match text(call, "x-pagination-sort-order").map(str::to_ascii_uppercase).as_deref() {
            None | Some("ASC") => Direction::Ascending,
            Some("DESC") => Direction::Descending,
            Some(other) => return Err(bad("x-pagination-sort-order", other, "ASC, DESC")),
        };
        let sort = text(call, "x-pagination-sort").map(|field| (decoded(field), direction));
        Ok(Some(Self { way, size, conditions, sort }))
    }

    /// Answers a call page by page; what is no list is answered as it is.
    ///
    /// # Errors
    /// As without paging.
    pub(in crate::admin::ovh) fn answer(&self, reading: &Reading<'_>) -> Result<Outcome, Refusal> {
        let call = reading.call;
        let body = match reading.answer()? {
            Outcome::Body(body) => body,
            other @ (Outcome::Page(_) | Outcome::Refused(_)) => return Ok(other),
        };
        let Ok(Value::Array(items)) = serde_json::from_slice(&body) else { return Ok(Outcome::Body(body)) };
        let from = match self.way {
            Way::Cursor(from) => from,
            Way::Number(number) => (number - 1).saturating_mul(self.size),
        };
        let whole = Wholes::of(reading);
        let cut = |all: Vec<Value>| all.into_iter().skip(from).take(self.size);
        let (total, page) = if self.conditions.is_empty() && self.sort.is_none() {
            // What is not on the page need not be looked at.
            let total = items.len();
            let page: Result<Vec<_>, _> = cut(items).filter_map(|it| whole.of_item(it).transpose()).collect();
            (total, page?)
        } else {
            let objects: Result<Vec<_>, _> = items.into_iter().filter_map(|it| whole.of_item(it).transpose()).collect();
            let mut objects = objects?;
            objects.retain(|object| self.conditions.iter().all(|condition| condition.holds(object)));
            self.put_in_order(&mut objects);
            (objects.len(), cut(objects).collect::<Vec<_>>())
        };
        self.told(call, total, &page)
    }

    fn told(&self, call: &Call, total: usize, page: &[Value]) -> Result<Outcome, Refusal> {
        let body = serde_json::to_vec(page).map_err(|_| Refusal::bug())?;
        let mut response = error::success(&call.request_id, call.now, body);
        let mut tell = |name: &'static str, value: usize| {
            response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(value));
        };
        tell(SIZE, self.size);
        match self.way {
            Way::Cursor(from) => {
                let next = from.saturating_add(self.size);
                if next < total {
                    tell("x-pagination-cursor-next", next);
                }
            }
            Way::Number(number) => {
                tell("x-pagination-elements", total);
                tell("x-pagination-number", number);
                tell("x-pagination-total", total.div_ceil(self.size));
            }
        }
        Ok(Outcome::Page(response))
    }

    fn put_in_order(&self, objects: &mut [Value]) {
        let Some((field, direction)) = &self.sort else { return };
        objects.sort_by(|a, b| {
            let order = compared(a.get(field), b.get(field));
            if *direction == Direction::Ascending { order } else { order.reverse() }
        });
    }
}

/// Whole objects of a list, by what stands in it.
struct Wholes<'r> {
    reading: &'r Reading<'r>,
    /// Farms, servers, frontends, routes or rules, where they are what is listed.
    listed: Option<Listed<'r>>,
}

impl<'r> Wholes<'r> {
    fn of(reading: &'r Reading<'r>) -> Self {
        let listed = match path::without_prefix(reading.call.uri.path()).and_then(path::parse) {
            Some(Target::Of(_, Part::Object(object))) => Listed::of(Look::at(reading.view, reading.snapshot), object),
            Some(_) | None => None,
        };
        Self { reading, listed }
    }

    /// Returns the object of an id, as its own path would; what is no id, or has no path, is returned itself. One that is
    /// gone meanwhile is left out.
    fn of_item(&self, item: Value) -> Result<Option<Value>, Refusal> {
        let Reading { call, known, .. } = self.reading;
        let id = match &item {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            Value::Array(_) | Value::Bool(_) | Value::Null | Value::Object(_) => return Ok(Some(item)),
        };
        let path = format!("{}/{id}", call.uri.path());
        let below = path::without_prefix(&path).unwrap_or_default();
        let Ok(uri) = path.parse::<Uri>() else { return Ok(Some(item)) };
        if path::parse(below).is_none() {
            return Ok(Some(item));
        }
        if !known.rules.iter().any(|rule| rule.allows("GET", below)) {
            return Err(Refusal::not_granted());
        }
        if let (Some(listed), Some(id)) = (&self.listed, item.as_u64()) {
            return Ok(listed.one(id));
        }
        let one = call.part(uri, http::HeaderMap::new());
        match (Reading { call: &one, ..*self.reading }).answer() {
            Ok(Outcome::Body(body)) => Ok(serde_json::from_slice(&body).ok()),
            Ok(Outcome::Page(_) | Outcome::Refused(_)) | Err(_) => Ok(None),
        }
    }
}

impl Condition {
    fn holds(&self, object: &Value) -> bool {
        let is = object.get(&self.field);
        let value = self.value.as_str();
        match self.test {
            Test::Compared(holds) => match is {
                None | Some(Value::Null) => false,
                Some(is) => holds(compared_to_text(is, value)),
            },
            Test::Equal { is_wanted } => (told(is) == value) == is_wanted,
            Test::In { is_wanted } => value.split(',').any(|one| told(is) == one) == is_wanted,
            Test::Like { is_case_told: true } => is_like(value, &told(is)),
            Test::Like { is_case_told: false } => is_like(&value.to_lowercase(), &told(is).to_lowercase()),
        }
    }
}

/// Returns a value as a filter writes it.
fn told(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "null".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn compared_to_text(is: &Value, value: &str) -> Ordering {
    match (is.as_f64(), value.parse::<f64>()) {
        (Some(is), Ok(value)) => is.total_cmp(&value),
        (None, _) | (_, Err(_)) => (*told(Some(is))).cmp(value),
    }
}

/// Numbers by size, the rest by its text; what is not there comes first.
fn compared(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    let there = |value: Option<&Value>| value.is_some_and(|value| !value.is_null());
    match (a, b) {
        (Some(a), Some(b)) if a.is_number() && b.is_number() => {
            a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default())
        }
        (a, b) if there(a) && there(b) => told(a).cmp(&told(b)),
        (a, b) => there(a).cmp(&there(b)),
    }
}

fn conditions(text: &str) -> Result<Vec<Condition>, AdminError> {
    let bound = "conditions joined by &, each field:word=value with eq, ge, gt, ilike, in, le, like, lt, ne or nin";
    let wrong = || bad("x-pagination-filter", text, bound);
    let one = |part: &str| {
        let (field, value) = part.split_once('=')?;
        let (field, word) = field.rsplit_once(':')?;
        let (_, test) = TESTS.into_iter().find(|(known, _)| *known == word)?;
        Some(Condition { field: decoded(field), test, value: decoded(value) })
    };
    let parts: Vec<&str> = text.split('&').filter(|part| !part.is_empty()).collect();
    if parts.len() > CONDITIONS_MAX {
        return Err(bad("x-pagination-filter", &format!("{} conditions", parts.len()), "32 conditions"));
    }
    parts.into_iter().map(|part| one(part).ok_or_else(wrong)).collect()
}

/// Takes the percent escapes of a text off; what is no escape stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| behind.get(..2)).flatten();
        let byte = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn number(
    call: &Call,
    field: &'static str,
    default: usize,
    range: std::ops::RangeInclusive<usize>,
) -> Result<usize, AdminError> {
    let Some(text) = text(call, field) else { return Ok(default) };
    let number = text.parse().ok().filter(|number| range.contains(number));
    let bound = match *range.end() {
        usize::MAX => format!("{}..", range.start()),
        end => format!("{}..={end}", range.start()),
    };
    number.ok_or_else(|| AdminError::BadValue { field, got: quoted(text), bound })
}

fn text<'c>(call: &'c Call, name: &str) -> Option<&'c str> {
    call.headers.get(name)?.to_str().ok().filter(|text| !text.is_empty())
}

fn bad(field: &'static str, got: &str, bound: &str) -> AdminError {
    AdminError::BadValue { field, got: quoted(got), bound: bound.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(filter: &str, object: &Value) -> bool {
        conditions(filter).unwrap().iter().all(|condition| condition.holds(object))
    }

    #[test]
    fn filters_compare_numbers_by_size_and_texts_by_letters() {
        let object = json!({"port": "8080", "weight": 9, "name": "Web One", "none": null, "backup": true});
        for (filter, want) in [
            ("weight:eq=9", true),
            ("weight:gt=10", false),
            ("weight:lt=10", true),
            ("weight:ge=9&weight:le=9", true),
            ("name:like=Web%25", true),
            ("name:like=web%25", false),
            ("name:ilike=web%25", true),
            ("name:eq=Web%20One", true),
            ("backup:eq=true", true),
            ("port:in=80,8080", true),
            ("port:nin=80,8080", false),
            ("none:eq=null", true),
            ("none:gt=0", false),
            ("unknown:ne=x", true),
        ] {
            assert_eq!(holds(filter, &object), want, "{filter}");
        }
        for wrong in ["name", "name=x", "name:is=x"] {
            assert!(conditions(wrong).is_err(), "{wrong}");
        }
        assert_eq!(decoded("a%2"), "a%2");
    }
}
