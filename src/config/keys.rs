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
    "journal",
    "webhooks",
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
pub(super) const FARM: &[&str] = &[
    "protocol",
    "balance",
    "probe",
    "probes",
    "quorum",
    "shadow",
    "observe",
    "slow_start",
    "flap",
    "incident",
    "on_down",
    "drain",
    "reserve",
    "stickiness",
    "timeouts",
    "retries",
    "fail_open",
    "servers",
];
/// A farm's `timeouts`.
pub(super) const FARM_TIMEOUTS: &[&str] = &["connect", "response", "idle"];
/// A farm's `retries`.
pub(super) const RETRIES: &[&str] = &["attempts"];
/// A farm's `observe`, where it is a mapping.
pub(super) const OBSERVE: &[&str] = &["errors", "count", "eject", "eject_max", "share_max"];
/// A farm's `flap`, where it is a mapping.
pub(super) const FLAP: &[&str] = &["transitions", "within", "hold"];
/// A farm's `incident`, where it is a mapping.
pub(super) const INCIDENT: &[&str] = &["share", "hold"];
/// A farm's `drain`.
pub(super) const DRAIN: &[&str] = &["deadline", "at_deadline"];
/// A farm's `stickiness`, where it is a mapping.
pub(super) const STICKINESS: &[&str] = &["source", "cookie"];
/// `stickiness.source`.
pub(super) const STICKY_SOURCE: &[&str] = &["idle", "clients_max"];
/// `stickiness.cookie`.
pub(super) const STICKY_COOKIE: &[&str] = &["name", "max_age", "secure", "http_only", "same_site", "key", "key_file"];
/// One probe of a farm.
pub(super) const PROBE: &[&str] = &[
    "type",
    "method",
    "url",
    "version",
    "host",
    "expect",
    "service",
    "hello",
    "user",
    "password",
    "password_file",
    "steps",
    "tls",
    "send",
    "program",
    "args",
    "port",
    "address",
    "sni",
    "verify",
    "ca",
    "proxy",
    "source",
    "interval",
    "fast_interval",
    "down_interval",
    "timeout",
    "rise",
    "fall",
    "retries",
    "retry_interval",
    "start",
];
/// A probe's `expect`.
pub(super) const EXPECT: &[&str] = &["status", "stopping", "contains", "matches", "negate"];
/// One of a probe's `steps`: one key of these.
pub(super) const STEP: &[&str] = &["send", "send_hex", "expect", "expect_hex", "matches"];
/// One server, where it is a mapping.
pub(super) const SERVER: &[&str] = &["address", "weight", "backup", "probe", "cookie", "status"];
/// A server's `probe`, where it is a mapping; the same keys of a farm's probe say where it goes and as whom.
pub(super) const AIM: &[&str] = &["port", "address", "host", "sni", "verify", "ca", "proxy", "source"];
/// `admin`.
pub(super) const ADMIN: &[&str] = &["listen", "tls", "metrics", "allow_commands", "tokens", "ovh", "zenlayer"];
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
/// `journal`.
pub(super) const JOURNAL: &[&str] = &["timeline", "history", "size_max", "evidence_per_server"];
/// One of `webhooks`.
pub(super) const WEBHOOK: &[&str] = &["url", "secret", "secret_file", "ca", "timeout", "per_second_max"];
/// `log`.
pub(super) const LOG: &[&str] = &["level", "format", "access"];
/// `log.access`.
pub(super) const ACCESS: &[&str] = &["path", "format", "fields"];

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
    ("Observe", OBSERVE),
    ("Flap", FLAP),
    ("Incident", INCIDENT),
    ("Drain", DRAIN),
    ("Stickiness", STICKINESS),
    ("StickySource", STICKY_SOURCE),
    ("StickyCookie", STICKY_COOKIE),
    ("Probe", PROBE),
    ("Expect", EXPECT),
    ("Step", STEP),
    ("Server", SERVER),
    ("Aim", AIM),
    ("Admin", ADMIN),
    ("Tls", TLS),
    ("Token", TOKEN),
    ("Ovh", OVH),
    ("OvhCredential", OVH_CREDENTIAL),
    ("Zenlayer", ZENLAYER),
    ("ZenlayerKey", ZENLAYER_KEY),
    ("Journal", JOURNAL),
    ("Webhook", WEBHOOK),
    ("Log", LOG),
    ("AccessLog", ACCESS),
];
