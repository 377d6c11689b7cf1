//! The part of the config file's schema that is a route: rules, actions and what is changed on the way.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::bounds;
use super::text::{EnvText, Fields, Filled, NameText, Named, Number, OneOrMany, PercentText};

/// Which work goes elsewhere than what no route takes.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Its name, unique within the frontend.
    pub name: NameText,
    /// The smaller, the earlier; routes that redirect or reject come before all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Number<0, { *bounds::PRIORITY.range.end() as u64 }>>,
    /// What must hold, all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::RULES_MAX))]
    pub rules: Option<Vec<Rule>>,
    /// What is done.
    pub action: Action,
}

/// Something that must hold.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("not" = {"required": ["name", "sub_field"]}))]
pub struct Rule {
    /// What is looked at.
    pub field: Filled<Field>,
    /// Which header field, cookie or parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::FIELD_BYTES_MAX))]
    pub name: Option<String>,
    /// The same, in OVHcloud's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::FIELD_BYTES_MAX))]
    pub sub_field: Option<String>,
    /// How it is looked at.
    pub r#match: Filled<Match>,
    /// What it must be; with in, a list or a text with commas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<OneOrMany<PatternText>>,
    /// Whether it must not be that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negate: Option<Filled<bool>>,
}

/// A pattern: any scalar, which is read as a text.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct PatternText(pub String);

impl JsonSchema for PatternText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PatternText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "boolean"]})
    }
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Field {
    /// The value of a cookie (http).
    Cookie,
    /// The value of a header field (http).
    Header,
    /// The host that is asked for; tcp: in the TLS handshake.
    Host,
    /// The method (http).
    Method,
    /// The first value of a parameter of the query (http).
    Param,
    /// What is spoken.
    Protocol,
    /// The client's address.
    Source,
    /// The path, up to `?` (http).
    Uri,
}

/// How a rule looks at it.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Match {
    /// It has the pattern in it.
    Contains,
    /// It ends so.
    EndsWith,
    /// It is there.
    Exists,
    /// It is one of these.
    In,
    /// It is this.
    Is,
    /// The regular expression is found in it.
    Matches,
    /// It begins so.
    StartsWith,
}

/// What a route does: one of farm, farms, redirect and reject.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["farm"]}, {"required": ["farms"]}, {"required": ["redirect"]}, {"required": ["reject"]}
]))]
pub struct Action {
    /// The farm that takes the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub farm: Option<NameText>,
    /// The farms that share it, by weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = bounds::SHARES_MAX))]
    pub farms: Option<Named<Number<0, { *bounds::SHARE_WEIGHT.end() as u64 }>>>,
    /// Where clients are sent (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::TEXT_BYTES_MAX))]
    pub redirect: Option<String>,
    /// The status of the redirect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<RedirectStatus>,
    /// The status of the answer, or true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject: Option<Reject>,
    /// What becomes of the path (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
    /// Who sees a copy (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// Changes of the head towards the server (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<HeaderRules>,
    /// Changes of the head towards the client (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_headers: Option<HeaderRules>,
}

/// What becomes of a path.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// A path that begins with this, at the end of a segment …
    #[schemars(length(min = 1, max = bounds::FIELD_BYTES_MAX))]
    pub prefix: String,
    /// … has this instead.
    #[schemars(length(min = 1, max = bounds::FIELD_BYTES_MAX))]
    pub with: String,
}

/// A farm that sees a copy of the work.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// The farm.
    pub farm: NameText,
    /// How much of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<PercentText>,
}

/// Where clients are sent, as a text or with its status.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Redirect {
    /// As a text, with 302.
    Target(String),
    /// With its status.
    Full(RedirectTo),
}

/// Where clients are sent.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedirectTo {
    /// The place, with variables.
    #[schemars(length(min = 1, max = bounds::TEXT_BYTES_MAX))]
    pub to: String,
    /// The status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<RedirectStatus>,
}

macro_rules! status {
    ($(#[doc = $doc:literal])* $name:ident, $allowed:tt) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub u16);

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let env = generator.subschema_for::<EnvText>();
                json_schema!({"anyOf": [{"enum": $allowed}, env]})
            }
        }
    };
}

status!(
    /// The status of a redirect.
    RedirectStatus,
    [301, 302, 303, 307, 308]
);
status!(
    /// The status of a rejection.
    RejectStatus,
    [200, 400, 403, 405, 408, 429, 500, 502, 503, 504]
);

/// How work is rejected.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Reject {
    /// With 403; tcp: by closing.
    Plain(bool),
    /// With that status (http).
    Status(RejectStatus),
}

/// Changes of a head: fields are removed, then set, then added.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderRules {
    /// Fields that have this value and no other; with variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = bounds::HEADER_RULES_MAX))]
    pub set: Option<Fields<PatternText>>,
    /// Fields that have this value, or these, beside any other.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = bounds::HEADER_RULES_MAX))]
    pub add: Option<Fields<OneOrMany<PatternText>>>,
    /// Fields that are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::HEADER_RULES_MAX))]
    pub remove: Option<Vec<String>>,
}
