//! `HealthCheck` ↔ a farm's probe, with keepalived's timing. Pure.
//!
//! There, the first failure is followed by `checkRetry` more checks, `checkDelayTry` apart, and a server is Dead when all
//! failed; one pass brings it back. A check here is over before the next begins, so intervals are no shorter than the
//! timeout. What was asked for is kept beside the farm's own words and told again while the probe is still that.

use serde_json::{Map, Value, json};

use super::error::Refusal;
use super::request::Fields;
use super::wire::HealthCheck;
use crate::admin::error::AdminError;
use crate::admin::guard::quoted;
use crate::model::{FailOpen, Farm, Pace, Probe, ProbeKind};

/// The words of `checkType`.
const TYPES: &[&str] = &["PING_CHECK", "TCP", "HTTP_GET"];
const DELAY_LOOP_DEFAULT: u64 = 3;
const TIMEOUT_DEFAULT: u64 = 2;
const RETRY_DEFAULT: u64 = 2;
const DELAY_TRY_DEFAULT: u64 = 2;
/// What passes where no status is asked for.
const STATUS_DEFAULT: u16 = 200;

/// Reads the `healthCheck` of a request.
///
/// # Errors
/// A [`Refusal`] that names the field.
pub(super) fn read(of: &Fields) -> Result<HealthCheck, Refusal> {
    let enabled = of.flag("healthCheck.enabled")?.unwrap_or(true);
    let check_type = of.word("healthCheck.checkType", TYPES)?;
    if enabled && check_type.is_none() {
        return Err(AdminError::Missing("healthCheck.checkType").into());
    }
    let url = of.text("healthCheck.checkHttpGetUrl")?;
    if let Some(url) = url.as_ref().filter(|url| !url.starts_with('/')) {
        let message =
            format!("healthCheck.checkHttpGetUrl: \"{}\" does not begin with /", quoted(url).escape_default());
        return Err(Refusal::bad_value(message));
    }
    let is_http = check_type == Some("HTTP_GET");
    let seconds = |field, range, default: u64| -> Result<Option<u64>, AdminError> {
        Ok(of.number_but_zero(field, &range)?.or_else(|| enabled.then_some(default)))
    };
    Ok(HealthCheck {
        enabled,
        check_type: check_type.map(str::to_owned),
        check_port: port(of.number_but_zero("healthCheck.checkPort", &(1..=65_535))?),
        check_delay_loop: seconds("healthCheck.checkDelayLoop", 3..=30, DELAY_LOOP_DEFAULT)?,
        check_conn_timeout: seconds("healthCheck.checkConnTimeout", 1..=15, TIMEOUT_DEFAULT)?,
        check_retry: seconds("healthCheck.checkRetry", 1..=5, RETRY_DEFAULT)?,
        check_delay_try: seconds("healthCheck.checkDelayTry", 1..=15, DELAY_TRY_DEFAULT)?,
        check_http_get_url: url.unwrap_or_else(|| if enabled && is_http { "/" } else { "" }.to_owned()),
        check_http_get_host: of.text("healthCheck.checkHttpGetHost")?,
        check_http_status_code: port(of.number_but_zero("healthCheck.checkHttpStatusCode", &(100..=599))?),
        fail_open: of.flag("healthCheck.failOpen")?.unwrap_or(false),
    })
}

fn port(number: Option<u64>) -> Option<u16> {
    number.and_then(|number| u16::try_from(number).ok())
}

/// Returns the farm's probe that checks so; none: it has none.
pub(super) fn probe(check: &HealthCheck) -> Option<Value> {
    let kind = check.check_type.as_deref().filter(|_| check.enabled)?;
    let timeout = check.check_conn_timeout.unwrap_or(TIMEOUT_DEFAULT);
    let seconds = |number: u64| Value::from(format!("{}s", number.max(timeout)));
    let mut probe = Map::new();
    probe.insert("interval".to_owned(), seconds(check.check_delay_loop.unwrap_or(DELAY_LOOP_DEFAULT)));
    probe.insert("retry_interval".to_owned(), seconds(check.check_delay_try.unwrap_or(DELAY_TRY_DEFAULT)));
    probe.insert("timeout".to_owned(), seconds(timeout));
    probe.insert("retries".to_owned(), check.check_retry.unwrap_or(RETRY_DEFAULT).into());
    probe.insert("rise".to_owned(), 1.into());
    match kind {
        "PING_CHECK" => {
            probe.insert("type".to_owned(), "ping".into());
            return Some(Value::Object(probe));
        }
        "HTTP_GET" => {
            let url = if check.check_http_get_url.is_empty() { "/" } else { &check.check_http_get_url };
            let status = check.check_http_status_code.unwrap_or(STATUS_DEFAULT);
            probe.insert("type".to_owned(), "http".into());
            probe.insert("url".to_owned(), url.into());
            probe.insert("expect".to_owned(), json!({ "status": status }));
            if let Some(host) = &check.check_http_get_host {
                probe.insert("host".to_owned(), host.as_str().into());
            }
        }
        _ => {
            probe.insert("type".to_owned(), "tcp".into());
        }
    }
    if let Some(port) = check.check_port {
        probe.insert("port".to_owned(), port.into());
    }
    Some(Value::Object(probe))
}

/// Returns how a farm is checked: as it was asked for, while the farm's form still says that, else as its probe is.
pub(super) fn shown(
    asked: Option<&HealthCheck>,
    form: Option<&Map<String, Value>>,
    farm: Option<&Farm>,
) -> HealthCheck {
    let Some(farm) = farm else { return HealthCheck::default() };
    let fail_open = farm.fail_open == FailOpen::WhenAllDown;
    let is_still = |asked: &&HealthCheck| {
        let is = form.map(|form| form.get("probe").cloned());
        is == Some(probe(asked)) && asked.fail_open == fail_open && !form.is_some_and(|it| it.contains_key("probes"))
    };
    if let Some(asked) = asked.filter(is_still) {
        return asked.clone();
    }
    let Some(probe) = farm.main_probe() else { return HealthCheck { fail_open, ..HealthCheck::default() } };
    of_probe(probe, fail_open)
}

fn of_probe(probe: &Probe, fail_open: bool) -> HealthCheck {
    let (check_type, url, code) = match &probe.kind {
        ProbeKind::Http(http) => ("HTTP_GET", http.path.to_string(), http.expect.status.to_string().parse().ok()),
        ProbeKind::Ping => ("PING_CHECK", String::new(), None),
        ProbeKind::Agent { .. }
        | ProbeKind::Command(_)
        | ProbeKind::Exchange(_)
        | ProbeKind::Grpc { .. }
        | ProbeKind::Mysql { .. }
        | ProbeKind::Oco
        | ProbeKind::Pgsql { .. }
        | ProbeKind::Redis { .. }
        | ProbeKind::Smtp { .. }
        | ProbeKind::Tcp { .. }
        | ProbeKind::Tls => ("TCP", String::new(), None),
    };
    HealthCheck {
        enabled: true,
        check_type: Some(check_type.to_owned()),
        check_port: probe.aim.port,
        check_delay_loop: Some(seconds_up(probe.interval)),
        check_conn_timeout: Some(seconds_up(probe.timeout)),
        // There, the first failure and so many more make a server Dead; `fall` counts the first as well.
        check_retry: Some(probe.fall.saturating_sub(1).into()),
        check_delay_try: Some(seconds_up(probe.interval_in(Pace::Changing))),
        check_http_get_url: url,
        check_http_get_host: probe.aim.host.as_deref().map(str::to_owned),
        check_http_status_code: code,
        fail_open,
    }
}

fn seconds_up(duration: std::time::Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
