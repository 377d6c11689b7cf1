//! The scalars of the config file's schema: texts of a form, numbers in a range, and values that `${env:…}` may fill.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// What a text holds that the environment fills in later.
const ENV: &str = r"\$\{env:";

macro_rules! text {
    ($(#[doc = $doc:literal])* $name:ident, $pattern:expr) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let description = concat!($($doc),*).trim();
                json_schema!({"type": "string", "description": description, "pattern": $pattern})
            }
        }
    };
}

text!(
    /// A share in per cent, with up to four places behind the point.
    SampleText,
    format!(r"^[0-9]{{1,3}}(\.[0-9]{{1,4}})?%$|{ENV}")
);
text!(
    /// A server's host:port.
    AddressText,
    format!(r"^.+:[0-9]{{1,5}}$|{ENV}")
);
text!(
    /// When Down servers are used: `all_down`, `never`, `below N` or `below N%`.
    BelowText,
    format!("^(all_down|never|below [0-9]+%?)$|{ENV}")
);
text!(
    /// An integer and one of the units ms, s, m, h, d.
    DurationText,
    format!("^[0-9]+(ms|s|m|h|d)$|{ENV}")
);
text!(
    /// A text that the environment fills in.
    EnvText,
    ENV
);
text!(
    /// Bytes, two hex digits each.
    HexText,
    format!(r"^\s*([0-9A-Fa-f]\s*[0-9A-Fa-f]\s*)+$|{ENV}")
);
text!(
    /// An IP address.
    IpText,
    format!("^[0-9A-Fa-f.:]+$|{ENV}")
);
text!(
    /// An ip:port to listen on, or unix:/path.
    ListenText,
    format!(r"^([0-9.]+|\[[0-9a-fA-F:.%]+\]):[0-9]{{1,5}}$|^unix:/.+$|{ENV}")
);
text!(
    /// 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit, not all digits.
    NameText,
    format!("{NAME}|{ENV}")
);
text!(
    /// A share, as 50%.
    PercentText,
    format!("^[0-9]{{1,4}}%$|{ENV}")
);
text!(
    /// Ports, as LOW-HIGH.
    PortsText,
    format!("^[0-9]{{1,5}}(-[0-9]{{1,5}})?$|{ENV}")
);
text!(
    /// An integer and one of the units B, KiB, MiB, GiB.
    SizeText,
    format!("^[0-9]+(B|KiB|MiB|GiB)$|{ENV}")
);
text!(
    /// A path, host/path, http://host/path or https://host/path.
    UrlText,
    format!("^(https?://[^/]|[^/]*/)[!-~]*$|{ENV}")
);
text!(
    /// An http or https URL.
    WebhookUrlText,
    format!("^https?://[!-~]+$|{ENV}")
);

/// A token of RFC 9110.
const FIELD: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";
const NAME: &str = "^(?![0-9]+$)[a-z0-9][a-z0-9._-]{0,62}$";

/// A value, or a text that the environment fills in.
#[derive(Clone, Debug, serde::Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Filled<T> {
    /// The value.
    Value(T),
    /// The text.
    Env(EnvText),
}

/// A version of HTTP: 1 (or 1.1) or 2.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(transparent)]
pub struct VersionText(pub String);

impl JsonSchema for VersionText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "VersionText".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let env = generator.subschema_for::<EnvText>();
        json_schema!({"anyOf": [{"enum": [1, 1.1, 2, "1", "1.1", "2"]}, env]})
    }
}

/// An integer in `LOW..=HIGH`.
#[derive(Clone, Copy, Debug)]
pub struct Number<const LOW: u64, const HIGH: u64>(pub u64);

impl<const LOW: u64, const HIGH: u64> Serialize for Number<LOW, HIGH> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<const LOW: u64, const HIGH: u64> JsonSchema for Number<LOW, HIGH> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Number_{LOW}_{HIGH}").into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let env = generator.subschema_for::<EnvText>();
        json_schema!({"anyOf": [{"type": "integer", "minimum": LOW, "maximum": HIGH}, env]})
    }
}

/// One, or a list of them.
#[derive(Clone, Debug, serde::Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<T>),
}

/// A mapping of header fields, in the order written.
#[derive(Clone, Debug)]
pub struct Fields<T>(pub Vec<(String, T)>);

impl<T: Serialize> Serialize for Fields<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, it) in &self.0 {
            map.serialize_entry(name, it)?;
        }
        map.end()
    }
}

impl<T: JsonSchema> JsonSchema for Fields<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Fields_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let it = generator.subschema_for::<T>();
        json_schema!({"type": "object", "propertyNames": {"pattern": FIELD}, "additionalProperties": it})
    }
}

/// A mapping of free names, in the order written.
#[derive(Clone, Debug)]
pub struct Named<T>(pub Vec<(String, T)>);

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, it) in &self.0 {
            map.serialize_entry(name, it)?;
        }
        map.end()
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let it = generator.subschema_for::<T>();
        json_schema!({"type": "object", "propertyNames": {"pattern": NAME}, "additionalProperties": it})
    }
}
