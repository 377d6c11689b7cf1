//! Every key of the config file, section by section: what lowering allows. A test holds the schema to the same lists.

/// The file itself.
pub(super) const FILE: &[&str] = &[
    "service",
    "instance_id",
    "zone",
    "workers",
    "state_dir",
    "grace",
    "checks_at_once",
    "frontends",
    "farms",
    "admin",
    "log",
];
/// `service`, where it is a mapping.
pub(super) const SERVICE: &[&str] = &["name", "addresses", "api_ports"];
/// One frontend.
pub(super) const FRONTEND: &[&str] = &["protocol", "listen", "farm", "trust", "timeouts", "limits"];
/// A frontend's `timeouts`.
pub(super) const FRONTEND_TIMEOUTS: &[&str] = &["header", "body", "idle", "write", "tunnel"];
/// A frontend's `limits`.
pub(super) const LIMITS: &[&str] = &["connections", "header_bytes", "uri_bytes", "body_bytes"];
/// One farm.
pub(super) const FARM: &[&str] = &["protocol", "balance", "probe", "timeouts", "retries", "fail_open", "servers"];
/// A farm's `timeouts`.
pub(super) const FARM_TIMEOUTS: &[&str] = &["connect", "response", "idle"];
/// A farm's `retries`.
pub(super) const RETRIES: &[&str] = &["attempts"];
/// A farm's `probe`.
pub(super) const PROBE: &[&str] =
    &["type", "method", "url", "host", "port", "expect", "interval", "timeout", "rise", "fall", "start"];
/// A probe's `expect`.
pub(super) const EXPECT: &[&str] = &["status", "contains", "matches", "negate"];
/// One server, where it is a mapping.
pub(super) const SERVER: &[&str] = &["address", "weight", "backup", "probe", "status"];
/// `admin`.
pub(super) const ADMIN: &[&str] = &["listen", "tls", "metrics", "tokens", "ovh", "zenlayer"];
/// `admin.tls`, where it is a mapping.
pub(super) const TLS: &[&str] = &["cert", "key"];
/// One of `admin.tokens`.
pub(super) const TOKEN: &[&str] = &["name", "role", "token", "token_file"];
/// `admin.ovh`.
pub(super) const OVH: &[&str] = &["credentials"];
/// One of `admin.ovh.credentials`.
pub(super) const OVH_CREDENTIAL: &[&str] = &[
    "name",
    "role",
    "application_key",
    "application_secret",
    "application_secret_file",
    "consumer_key",
    "consumer_key_file",
];
/// `admin.zenlayer`.
pub(super) const ZENLAYER: &[&str] = &["access_keys"];
/// One of `admin.zenlayer.access_keys`.
pub(super) const ZENLAYER_KEY: &[&str] = &["name", "role", "id", "secret", "secret_file"];
/// `log`.
pub(super) const LOG: &[&str] = &["level", "format", "access"];
/// `log.access`.
pub(super) const ACCESS: &[&str] = &["path", "format"];

/// Every section under its schema's name.
#[cfg(test)]
pub(super) const SECTIONS: &[(&str, &[&str])] = &[
    ("File", FILE),
    ("Service", SERVICE),
    ("Frontend", FRONTEND),
    ("FrontendTimeouts", FRONTEND_TIMEOUTS),
    ("Limits", LIMITS),
    ("Farm", FARM),
    ("FarmTimeouts", FARM_TIMEOUTS),
    ("Retries", RETRIES),
    ("Probe", PROBE),
    ("Expect", EXPECT),
    ("Server", SERVER),
    ("Admin", ADMIN),
    ("Tls", TLS),
    ("Token", TOKEN),
    ("Ovh", OVH),
    ("OvhCredential", OVH_CREDENTIAL),
    ("Zenlayer", ZENLAYER),
    ("ZenlayerKey", ZENLAYER_KEY),
    ("Log", LOG),
    ("AccessLog", ACCESS),
];
