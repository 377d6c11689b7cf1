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
    "limits",
    "frontends",
    "farms",
    "admin",
    "journal",
    "webhooks",
    "acme",
    "log",
    "tracing",
    "upgrade_socket",
    "user",
    "group",
];
/// `limits` of the process.
pub(super) const PROCESS_LIMITS: &[&str] = &["memory"];
/// `service`, where it is a mapping.
pub(super) const SERVICE: &[&str] = &["name", "addresses", "api_ports", "api_files", "api_sockets"];
/// One frontend.
pub(super) const FRONTEND: &[&str] = &[
    "protocol",
    "listen",
    "tls",
    "h2c",
    "accept_proxy",
    "allow",
    "deny",
    "trust",
    "hsts",
    "maintenance",
    "request_headers",
    "response_headers",
    "timeouts",
    "limits",
    "routes",
    "redirect",
    "reject",
    "farm",
];
/// A frontend's `tls`.
pub(super) const FRONTEND_TLS: &[&str] =
    &["certificates", "acme", "profile", "alpn", "client_ca", "client_crl", "client_auth"];
/// One of a frontend's `tls.certificates`.
pub(super) const CERTIFICATE: &[&str] = &["cert", "key"];
/// A frontend's `accept_proxy`.
pub(super) const ACCEPT_PROXY: &[&str] = &["from"];
/// A frontend's `hsts`, where it is a mapping.
pub(super) const HSTS: &[&str] = &["max_age", "include_subdomains"];
/// A frontend's `maintenance`, where it is a mapping.
pub(super) const MAINTENANCE: &[&str] = &["status", "body", "body_file", "content_type", "retry_after"];
/// `request_headers` and `response_headers`.
pub(super) const HEADER_RULES: &[&str] = &["set", "add", "remove"];
/// A frontend's `timeouts`.
pub(super) const FRONTEND_TIMEOUTS: &[&str] = &["handshake", "header", "body", "idle", "write", "tunnel", "session"];
/// A frontend's `limits`.
pub(super) const LIMITS: &[&str] = &[
    "connections",
    "connections_per_source",
    "handshakes",
    "header_bytes",
    "header_fields",
    "uri_bytes",
    "body_bytes",
    "body_rate_min",
    "streams",
    "rate",
];
/// `limits.rate`.
pub(super) const RATE: &[&str] = &["per", "requests", "window", "burst"];
/// Something told apart by the value of a header field.
pub(super) const BY_HEADER: &[&str] = &["header"];
/// A frontend's `redirect`, where it is a mapping.
pub(super) const REDIRECT: &[&str] = &["to", "status"];
/// One of a frontend's `routes`.
pub(super) const ROUTE: &[&str] = &["name", "priority", "rules", "action"];
/// One of a route's `rules`.
pub(super) const RULE: &[&str] = &["field", "name", "sub_field", "match", "pattern", "negate"];
/// A route's `action`.
pub(super) const ACTION: &[&str] =
    &["farm", "farms", "redirect", "status", "reject", "rewrite", "mirror", "request_headers", "response_headers"];
/// `action.rewrite`.
pub(super) const REWRITE: &[&str] = &["prefix", "with"];
/// `action.mirror`.
pub(super) const MIRROR: &[&str] = &["farm", "share"];
/// One farm.
pub(super) const FARM: &[&str] = &[
    "protocol",
    "balance",
    "hash",
    "http2",
    "tls",
    "proxy_protocol",
    "reuse",
    "queue",
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
pub(super) const RETRIES: &[&str] = &["attempts", "budget"];
/// `retries.budget`, where it is a mapping.
pub(super) const RETRY_BUDGET: &[&str] = &["share", "per_second_min"];
/// A farm's `hash`.
pub(super) const HASH: &[&str] = &["key", "load_max"];
/// A farm's `queue`.
pub(super) const QUEUE: &[&str] = &["length", "timeout"];
/// A farm's `reuse`.
pub(super) const REUSE: &[&str] = &["idle_max", "age_max", "requests_max", "streams", "connections"];
/// `tls` of a farm and of a server, where it is a mapping.
pub(super) const SERVER_TLS: &[&str] = &["ca", "sni", "verify", "cert", "key"];
/// A farm's `observe`, where it is a mapping.
pub(super) const OBSERVE: &[&str] = &["errors", "count", "eject", "eject_max", "share_max"];
/// A farm's `flap`, where it is a mapping.
pub(super) const FLAP: &[&str] = &["transitions", "within", "hold"];
/// A farm's `incident`, where it is a mapping.
pub(super) const INCIDENT: &[&str] = &["share", "hold"];
/// A farm's `drain`.
pub(super) const DRAIN: &[&str] = &["deadline", "at_deadline"];
/// A farm's `stickiness`, where it is a mapping.
pub(super) const STICKINESS: &[&str] = &["source", "cookie", "header"];
/// `stickiness.source`.
pub(super) const STICKY_SOURCE: &[&str] = &["idle", "clients_max"];
/// `stickiness.header`, where it is a mapping.
pub(super) const STICKY_HEADER: &[&str] = &["name", "idle", "clients_max"];
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
pub(super) const SERVER: &[&str] = &[
    "address",
    "weight",
    "backup",
    "probe",
    "tls",
    "proxy_protocol",
    "max_connections",
    "cookie",
    "on_down",
    "status",
];
/// A server's `probe`, where it is a mapping; the same keys of a farm's probe say where it goes and as whom.
pub(super) const AIM: &[&str] = &["port", "address", "host", "tls", "sni", "verify", "ca", "proxy", "source"];
/// `admin`.
pub(super) const ADMIN: &[&str] =
    &["listen", "tls", "hosts", "metrics", "allow_commands", "rate", "tokens", "ovh", "zenlayer"];
/// `admin.rate`.
pub(super) const CALL_RATE: &[&str] = &["requests", "window", "burst"];
/// `admin.tls`, where it is a mapping.
pub(super) const TLS: &[&str] = &["cert", "key", "client_ca", "client_auth"];
/// One of `admin.tokens`.
pub(super) const TOKEN: &[&str] =
    &["name", "role", "farms", "token", "token_file", "client_cert_sha256", "client_cert_cn"];
/// `admin.ovh`.
pub(super) const OVH: &[&str] = &["credentials", "applications", "probe_interval_min", "public_url"];
/// One of `admin.ovh.applications`.
pub(super) const OVH_APPLICATION: &[&str] =
    &["name", "role", "application_key", "application_secret", "application_secret_file"];
/// One of the `rules` of a credential.
pub(super) const CALL_RULE: &[&str] = &["method", "path"];
/// One of `admin.ovh.credentials`.
pub(super) const OVH_CREDENTIAL: &[&str] = &[
    "name",
    "role",
    "farms",
    "rules",
    "application_key",
    "application_secret",
    "application_secret_file",
    "consumer_key",
    "consumer_key_file",
];
/// `admin.zenlayer`.
pub(super) const ZENLAYER: &[&str] = &["access_keys"];
/// One of `admin.zenlayer.access_keys`.
pub(super) const ZENLAYER_KEY: &[&str] = &["name", "role", "farms", "actions", "id", "secret", "secret_file"];
/// `journal`.
pub(super) const JOURNAL: &[&str] = &["timeline", "history", "size_max", "evidence_per_server"];
/// One of `webhooks`.
pub(super) const WEBHOOK: &[&str] = &["url", "secret", "secret_file", "ca", "timeout", "per_second_max"];
/// `acme`.
pub(super) const ACME: &[&str] = &["directory", "contact", "ca", "challenge", "terms_agreed"];
/// `log`.
pub(super) const LOG: &[&str] = &["level", "format", "access"];
/// `log.access`.
pub(super) const ACCESS: &[&str] = &["path", "format", "fields"];
/// `tracing`.
pub(super) const TRACING: &[&str] = &["sample", "service_name", "otlp"];
/// `tracing.otlp`.
pub(super) const OTLP: &[&str] = &["url", "headers", "ca", "timeout"];

/// Every section under its schema's name.
#[cfg(test)]
pub(super) const SECTIONS: &[(&str, &[&str])] = &[
    ("File", FILE),
    ("Service", SERVICE),
    ("Frontend", FRONTEND),
    ("FrontendTls", FRONTEND_TLS),
    ("Certificate", CERTIFICATE),
    ("AcceptProxy", ACCEPT_PROXY),
    ("Hsts", HSTS),
    ("Maintenance", MAINTENANCE),
    ("HeaderRules", HEADER_RULES),
    ("FrontendTimeouts", FRONTEND_TIMEOUTS),
    ("Limits", LIMITS),
    ("Rate", RATE),
    ("ByHeader", BY_HEADER),
    ("RedirectTo", REDIRECT),
    ("Route", ROUTE),
    ("Rule", RULE),
    ("Action", ACTION),
    ("Rewrite", REWRITE),
    ("Mirror", MIRROR),
    ("Farm", FARM),
    ("FarmTimeouts", FARM_TIMEOUTS),
    ("Retries", RETRIES),
    ("RetryBudget", RETRY_BUDGET),
    ("Hash", HASH),
    ("Queue", QUEUE),
    ("Reuse", REUSE),
    ("ServerTls", SERVER_TLS),
    ("StickyHeader", STICKY_HEADER),
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
    ("CallRate", CALL_RATE),
    ("Tls", TLS),
    ("Token", TOKEN),
    ("Ovh", OVH),
    ("OvhApplication", OVH_APPLICATION),
    ("CallRule", CALL_RULE),
    ("OvhCredential", OVH_CREDENTIAL),
    ("Zenlayer", ZENLAYER),
    ("ZenlayerKey", ZENLAYER_KEY),
    ("ProcessLimits", PROCESS_LIMITS),
    ("Journal", JOURNAL),
    ("Webhook", WEBHOOK),
    ("Acme", ACME),
    ("Log", LOG),
    ("AccessLog", ACCESS),
    ("Tracing", TRACING),
    ("Otlp", OTLP),
];
