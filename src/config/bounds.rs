//! Every default and bound of the config file, in one place for lowering, the schema and the export.
//!
//! Bounds are wide: they catch slips of the pen (a lost unit, a digit too many), not opinions. Defaults have their
//! reasons in `conf/farmgate.yaml`.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A value's default and its bounds.
#[derive(Clone, Debug)]
pub(super) struct Bounded<T> {
    /// Where the key is not written.
    pub(super) default: T,
    /// What may be written.
    pub(super) range: RangeInclusive<T>,
}

impl<T> Bounded<T> {
    const fn new(default: T, range: RangeInclusive<T>) -> Self {
        Self { default, range }
    }
}

const fn seconds(default: u64, low_ms: u64, high: u64) -> Bounded<Duration> {
    let range = Duration::from_millis(low_ms)..=Duration::from_secs(high);
    Bounded::new(Duration::from_secs(default), range)
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const KIB: u32 = 1 << 10;
const MIB: u32 = 1 << 20;

pub(super) const INSTANCE_ID: Bounded<u64> = Bounded::new(1, 1..=(1 << 53) - 1);
pub(super) const WORKERS: RangeInclusive<u16> = 1..=256;
pub(super) const GRACE: Bounded<Duration> = seconds(30, 0, DAY);
pub(super) const CHECKS_AT_ONCE: Bounded<u16> = Bounded::new(256, 1..=10_000);
pub(super) const MEMORY: RangeInclusive<u64> = 32 << 20..=1 << 44;
pub(super) const API_PORTS: RangeInclusive<u16> = 1024..=49_151;
pub(super) const ZONE: &str = "local";

pub(super) const HANDSHAKE: Bounded<Duration> = seconds(5, 10, 10 * MINUTE);
pub(super) const HEADER: Bounded<Duration> = seconds(10, 10, HOUR);
pub(super) const BODY: Bounded<Duration> = seconds(30, 10, HOUR);
pub(super) const CLIENT_IDLE: Bounded<Duration> = seconds(60, 10, DAY);
pub(super) const WRITE: Bounded<Duration> = seconds(30, 10, HOUR);
pub(super) const TUNNEL: Bounded<Duration> = seconds(HOUR, 10, 7 * DAY);
pub(super) const SESSION: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * DAY);

pub(super) const CONNECTIONS: Bounded<u32> = Bounded::new(10_000, 1..=10_000_000);
/// 0: no bound.
pub(super) const PER_SOURCE: Bounded<u32> = Bounded::new(256, 0..=10_000_000);
pub(super) const HANDSHAKES: Bounded<u32> = Bounded::new(1000, 1..=1_000_000);
pub(super) const HEADER_FIELDS: Bounded<u16> = Bounded::new(128, 1..=1000);
pub(super) const HEADER_BYTES: Bounded<u32> = Bounded::new(64 * KIB, KIB..=MIB);
pub(super) const URI_BYTES: Bounded<u32> = Bounded::new(16 * KIB, 64..=MIB);
pub(super) const BODY_BYTES: Bounded<u64> = Bounded::new(100 << 20, 0..=1 << 40);
/// Bytes a second; 0: no bound.
pub(super) const BODY_RATE_MIN: Bounded<u32> = Bounded::new(500, 0..=1 << 30);
pub(super) const STREAMS: Bounded<u32> = Bounded::new(100, 1..=10_000);
pub(super) const RATE_REQUESTS: RangeInclusive<u32> = 1..=1_000_000;
pub(super) const RATE_WINDOW: Bounded<Duration> = seconds(1, 100, DAY);

pub(super) const HSTS_AGE: Bounded<Duration> = seconds(365 * DAY, 0, 3650 * DAY);
pub(super) const PAGE_STATUS: Bounded<u16> = Bounded::new(503, 200..=599);
/// What clients are told while a frontend is closed for maintenance.
pub(super) const PAGE: &str =
    "<!doctype html><title>Maintenance</title><p>This service is closed for maintenance.</p>\n";
/// The media type of [`PAGE`].
pub(super) const PAGE_TYPE: &str = "text/html; charset=utf-8";
/// The most bytes of a page.
pub(super) const PAGE_BYTES_MAX: usize = 256 << 10;
/// The most bytes of a page's media type.
pub(super) const PAGE_TYPE_BYTES_MAX: usize = 128;
pub(super) const RETRY_AFTER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * DAY);
pub(super) const PRIORITY: Bounded<u8> = Bounded::new(0, 0..=u8::MAX);
pub(super) const SHARE_WEIGHT: RangeInclusive<u32> = 0..=u16::MAX as u32;
pub(super) const MIRROR_SHARE: Bounded<u8> = Bounded::new(100, 1..=100);

pub(super) const CONNECT: Bounded<Duration> = seconds(2, 10, 10 * MINUTE);
pub(super) const RESPONSE: Bounded<Duration> = seconds(30, 10, DAY);
pub(super) const SERVER_IDLE: Bounded<Duration> = seconds(60, 10, DAY);
pub(super) const RETRY_ATTEMPTS: Bounded<u8> = Bounded::new(2, 0..=10);
/// The share of a farm's requests that may be tried again.
pub(super) const RETRY_SHARE: Bounded<u8> = Bounded::new(20, 0..=100);
pub(super) const RETRY_PER_SECOND: Bounded<u32> = Bounded::new(10, 0..=1_000_000);
pub(super) const QUEUE_LENGTH: Bounded<u32> = Bounded::new(1000, 0..=1_000_000);
pub(super) const QUEUE_TIMEOUT: Bounded<Duration> = seconds(5, 1, 10 * MINUTE);
/// The per cent of its fair share that a hash gives a server at most.
pub(super) const LOAD_MAX: RangeInclusive<u16> = 101..=1000;
pub(super) const IDLE_MAX: Bounded<u32> = Bounded::new(256, 0..=100_000);
pub(super) const AGE_MAX: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * DAY);
pub(super) const REQUESTS_MAX: RangeInclusive<u32> = 1..=1_000_000_000;
pub(super) const SERVER_STREAMS: Bounded<u32> = Bounded::new(100, 1..=10_000);
pub(super) const SERVER_CONNECTIONS: Bounded<u32> = Bounded::new(16, 1..=10_000);
pub(super) const MAX_CONNECTIONS: RangeInclusive<u32> = 1..=10_000_000;
pub(super) const WEIGHT: Bounded<u16> = Bounded::new(1, 0..=u16::MAX);

pub(super) const INTERVAL: Bounded<Duration> = seconds(2, 1, HOUR);
pub(super) const CHECK_TIMEOUT: Bounded<Duration> = seconds(1, 1, HOUR);
pub(super) const RISE: Bounded<u16> = Bounded::new(2, 1..=1000);
pub(super) const FALL: Bounded<u16> = Bounded::new(3, 1..=1000);
/// keepalived's `retries`: one less than `fall`.
pub(super) const PROBE_RETRIES: RangeInclusive<u16> = 0..=*FALL.range.end() - 1;
pub(super) const PORT: RangeInclusive<u16> = 1..=u16::MAX;
/// The name that `type: smtp` gives with HELO.
pub(super) const SMTP_HELLO: &str = "localhost";
/// The user that `type: pgsql` names.
pub(super) const PGSQL_USER: &str = "farmgate";

pub(super) const OBSERVE_ERRORS: Bounded<u16> = Bounded::new(5, 1..=10_000);
pub(super) const EJECT: Bounded<Duration> = seconds(30, 1000, DAY);
pub(super) const EJECT_MAX: Bounded<Duration> = seconds(5 * MINUTE, 1000, DAY);
pub(super) const SHARE_MAX: Bounded<u8> = Bounded::new(10, 0..=100);
pub(super) const SLOW_START: Bounded<Duration> = seconds(0, 0, HOUR);
/// The servers of `fail_open: "below N"`.
pub(super) const BELOW: RangeInclusive<u16> = 1..=10_000;
/// The per cent of `fail_open: "below N%"`.
pub(super) const BELOW_SHARE: RangeInclusive<u8> = 1..=100;
pub(super) const TRANSITIONS: Bounded<u16> = Bounded::new(10, 2..=1000);
pub(super) const FLAP_WITHIN: Bounded<Duration> = seconds(5 * MINUTE, 1000, DAY);
pub(super) const FLAP_HOLD: Bounded<Duration> = seconds(MINUTE, 1000, DAY);
pub(super) const INCIDENT_SHARE: Bounded<u8> = Bounded::new(60, 1..=100);
pub(super) const INCIDENT_HOLD: Bounded<Duration> = seconds(MINUTE, 1000, HOUR);
pub(super) const DRAIN_DEADLINE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(30 * DAY);
pub(super) const RESERVE: Bounded<u8> = Bounded::new(0, 0..=100);
pub(super) const STICKY_IDLE: Bounded<Duration> = seconds(30 * MINUTE, 1000, 30 * DAY);
pub(super) const STICKY_CLIENTS: Bounded<u32> = Bounded::new(100_000, 1..=10_000_000);
pub(super) const COOKIE_NAME: &str = "FGSRV";
pub(super) const COOKIE_MAX_AGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(400 * DAY);
/// The most bytes of a cookie's name and of a server's `cookie`.
pub(super) const COOKIE_BYTES_MAX: usize = 64;
/// The least bytes of the key that seals a cookie.
pub(super) const COOKIE_KEY_BYTES_MIN: usize = 16;

pub(super) const TIMELINE: Bounded<Duration> = seconds(30 * DAY, 60_000, 3650 * DAY);
pub(super) const HISTORY: Bounded<Duration> = seconds(DAY, 0, 365 * DAY);
pub(super) const JOURNAL_BYTES: Bounded<u64> = Bounded::new(200 << 20, 1 << 20..=1 << 40);
pub(super) const EVIDENCE: Bounded<u32> = Bounded::new(16, 1..=1000);
pub(super) const WEBHOOK_TIMEOUT: Bounded<Duration> = seconds(5, 100, MINUTE);
/// Of a million traces that begin here, how many are recorded.
pub(super) const SAMPLE_PPM: u32 = 10_000;
/// What spans are said to be of.
pub(super) const SERVICE_NAME: &str = "farmgate";
pub(super) const SERVICE_NAME_BYTES_MAX: usize = 255;
pub(super) const OTLP_TIMEOUT: Bounded<Duration> = seconds(5, 100, MINUTE);
pub(super) const OTLP_HEADERS_MAX: usize = 16;
pub(super) const WEBHOOK_RATE: Bounded<u32> = Bounded::new(10, 1..=10_000);

/// The shortest interval of a probe that is made through the OVHcloud shape.
pub(super) const OVH_INTERVAL_MIN: Bounded<Duration> = seconds(30, 1000, 30);
pub(super) const ADMIN_LISTEN: &str = "127.0.0.1:9090";
/// A token shorter than this is warned of.
pub(super) const TOKEN_BYTES_ADVISED: usize = 16;

/// The most frontends of a file.
pub const FRONTENDS_MAX: usize = 1000;
/// The most farms of a file.
pub const FARMS_MAX: usize = 10_000;
/// The most servers of a farm.
pub(super) const SERVERS_MAX: usize = 10_000;
/// The most listeners of a frontend.
pub(super) const LISTENERS_MAX: usize = 64;
/// The most certificates of a frontend.
pub(super) const CERTIFICATES_MAX: usize = 1000;
/// The most names of a frontend that ACME is asked for.
pub(super) const ACME_NAMES_MAX: usize = 100;
/// The most routes of a frontend.
pub(super) const ROUTES_MAX: usize = 10_000;
/// The most rules of a route.
pub(super) const RULES_MAX: usize = 16;
/// The most rules of a frontend that are regular expressions: each costs memory and, when it is asked, time.
pub(super) const RULES_MATCHING_MAX: usize = 1000;
/// The most patterns of one rule.
pub(super) const PATTERNS_MAX: usize = 1000;
/// The most bytes of one pattern of a rule.
pub(super) const PATTERN_BYTES_MAX: usize = 1024;
/// The most bytes that the regular expression of a rule may take, compiled.
pub(super) const RULE_COMPILED_BYTES_MAX: usize = 256 << 10;
/// The most farms that share the work of a route.
pub(super) const SHARES_MAX: usize = 64;
/// The most fields that are set, added or removed by one set of header rules, of each.
pub(super) const HEADER_RULES_MAX: usize = 64;
/// The most bytes of the name of a header field, a cookie or a parameter.
pub(super) const FIELD_BYTES_MAX: usize = 256;
/// The most addresses of a service, networks of a `trust` and credentials of a kind.
pub(super) const LIST_MAX: usize = 1000;
/// The most webhooks of a file.
pub(super) const WEBHOOKS_MAX: usize = 16;
/// The most arguments of a command.
pub(super) const ARGS_MAX: usize = 64;
/// The most bytes of a secret, of a pattern, of a URL and of a path.
pub(super) const TEXT_BYTES_MAX: usize = 4096;
/// The most bytes that a compiled pattern may take.
pub(super) const PATTERN_COMPILED_BYTES_MAX: usize = 1 << 20;
