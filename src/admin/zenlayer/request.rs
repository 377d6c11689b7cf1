//! The action and the body of a call → what is asked. Pure.
//!
//! As lenient as the published examples need: absent, null and empty text are the same, numbers are taken as text and
//! text as numbers, unknown fields are ignored.

use serde::Deserialize;
use serde_json::Value;

use super::error::Refusal;
use crate::admin::call::Call;
use crate::admin::error::AdminError;

const PAGE_SIZE_DEFAULT: u64 = 20;
const PAGE_SIZE_MAX: u64 = 1000;

/// Every action of the published API that this version does not do.
const NOT_OFFERED: [&str; 18] = [
    "AddLoadBalancersPrivateIps",
    "AssignLoadBalancerIpv6",
    "CreateListener",
    "CreateLoadBalancer",
    "DeleteListener",
    "DeleteLoadBalancersPrivateIps",
    "DeregisterBackend",
    "DescribeLoadBalancerMonitorData",
    "DescribeLoadBalancerRegions",
    "InquiryPriceCreateLoadBalancer",
    "ModifyBackend",
    "ModifyListener",
    "ModifyLoadBalancersAttribute",
    "RegisterBackend",
    "RestoreLoadBalancer",
    "SetSecurityGroupForLoadBalancers",
    "TerminateLoadBalancer",
    "UnbindSecurityGroupFromLoadBalancers",
];

/// Returns whether an action changes nothing, which the published names tell.
pub(super) fn only_reads(action: &str) -> bool {
    action.starts_with("Describe") || action.starts_with("Inquiry")
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action<'a> {
    /// Health of servers.
    DescribeBackendHealth,
    /// Servers.
    DescribeBackends,
    /// Frontends.
    DescribeListeners,
    /// The service.
    DescribeLoadBalancers,
    /// One that this version does not do.
    NotOffered(&'a str),
}

impl<'a> Action<'a> {
    /// Returns the action of that name.
    ///
    /// # Errors
    /// A [`Refusal`] if it is missing or unknown.
    pub(super) fn of(name: Option<&'a str>) -> Result<Self, Refusal> {
        match name.ok_or_else(Refusal::missing_action)? {
            "DescribeBackendHealth" => Ok(Self::DescribeBackendHealth),
            "DescribeBackends" => Ok(Self::DescribeBackends),
            "DescribeListeners" => Ok(Self::DescribeListeners),
            "DescribeLoadBalancers" => Ok(Self::DescribeLoadBalancers),
            name if NOT_OFFERED.contains(&name) => Ok(Self::NotOffered(name)),
            name => Err(Refusal::unknown_action(name)),
        }
    }
}

/// The fields of a body that any of the answered actions reads.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Request {
    #[serde(deserialize_with = "text")]
    pub(super) load_balancer_id: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) listener_id: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) protocol: Option<String>,
    #[serde(deserialize_with = "texts")]
    pub(super) listener_ids: Vec<String>,
    #[serde(deserialize_with = "texts")]
    pub(super) load_balancer_ids: Vec<String>,
    #[serde(deserialize_with = "text")]
    pub(super) load_balancer_name: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) region_id: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) vpc_id: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) resource_group_id: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) security_group_id: Option<String>,
    #[serde(deserialize_with = "number")]
    page_size: Option<u64>,
    #[serde(deserialize_with = "number")]
    page_num: Option<u64>,
}

impl Request {
    /// Returns the request of a body; an empty one asks for nothing in particular.
    ///
    /// # Errors
    /// [`AdminError::BadBody`] if it is not UTF-8 JSON, no object, or a field is of a type that it cannot be;
    /// [`AdminError::BadValue`] for a page that cannot be.
    pub(super) fn parse(body: &[u8]) -> Result<Self, AdminError> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let bad = |text: String| AdminError::BadBody(text);
        let body = std::str::from_utf8(body).map_err(|e| bad(e.to_string()))?;
        let value: Value = serde_json::from_str(body).map_err(|e| bad(e.to_string()))?;
        if !value.is_object() {
            return Err(bad("it is not a JSON object".to_owned()));
        }
        let request: Self = serde_json::from_value(value).map_err(|e| bad(e.to_string()))?;
        match request.page_size {
            Some(size) if size > PAGE_SIZE_MAX => Err(AdminError::BadValue {
                field: "pageSize",
                got: size.to_string(),
                bound: format!("1..={PAGE_SIZE_MAX}"),
            }),
            _ => Ok(request),
        }
    }

    /// Returns whether the page that is asked for is the first; only it can hold anything.
    pub(super) fn is_first_page(&self) -> bool {
        self.page_size.unwrap_or(PAGE_SIZE_DEFAULT) > 0 && self.page_num.is_none_or(|page| page <= 1)
    }
}

/// Returns a header's value as text.
pub(super) fn header<'c>(call: &'c Call, name: &str) -> Option<&'c str> {
    call.headers.get(name)?.to_str().ok()
}

fn text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    as_text(Value::deserialize(from)?).map_err(serde::de::Error::custom)
}

fn texts<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => {
            let items = items.into_iter().filter_map(|item| as_text(item).transpose());
            items.collect::<Result<_, _>>().map_err(serde::de::Error::custom)
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Err(serde::de::Error::custom("a list of ids must be an array"))
        }
    }
}

fn number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let text = as_text(Value::deserialize(from)?).map_err(serde::de::Error::custom)?;
    text.map(|t| t.parse().map_err(|_| serde::de::Error::custom(format!("\"{t}\" is not a whole number")))).transpose()
}

fn as_text(value: Value) -> Result<Option<String>, &'static str> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err("a text field holds something else than text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_takes_absent_null_and_empty_alike_and_numbers_as_text() {
        for body in ["", "{}", r#"{"loadBalancerId":null}"#, r#"{"loadBalancerId":"","extra":[1]}"#] {
            assert_eq!(Request::parse(body.as_bytes()).unwrap().load_balancer_id, None, "{body}");
        }
        let request = Request::parse(br#"{"listenerId":42,"listenerIds":["a",7,null],"pageNum":"2"}"#).unwrap();
        assert_eq!(request.listener_id.as_deref(), Some("42"));
        assert_eq!(request.listener_ids, ["a", "7"]);
        assert!(!request.is_first_page());
    }

    #[test]
    fn request_that_is_no_json_object_or_has_a_field_of_another_type_is_refused() {
        for body in [
            &b"["[..],
            b"[]",
            b"\"x\"",
            b"{\"loadBalancerId\":\"\xff\"}",
            b"{\"loadBalancerId\":{}}",
            b"{\"listenerIds\":\"a\"}",
            b"{\"pageSize\":\"many\"}",
            b"{\"pageSize\":1001}",
        ] {
            assert!(Request::parse(body).is_err(), "{:?}", String::from_utf8_lossy(body));
        }
    }
}
