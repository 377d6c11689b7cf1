//! Quotas: how much went through the zone this month, from how much on somebody wants to know, and the months before.
//!
//! Nothing is included and nothing is billed, so `included` is null; the count begins anew with each month in UTC, which
//! is what `resetDate` says. A month is history once it is over. [`watch`] keeps the count going while nobody asks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::Receiver;

use crate::admin::call::AdminState;
use crate::admin::error::AdminError;
use crate::admin::guard::quoted;
use crate::clock;
use crate::model::Timestamp;
use crate::model::traffic::MonthTraffic;
use crate::report::report;

use super::fields::Fields;
use super::settings::{self, Settings};
use super::{Query, Refusal, Writing, json, not_found, wire};

/// How often it is counted, and kept.
const EVERY: Duration = Duration::from_secs(60);
/// The most bytes that an alert can be set to: what a signed 64-bit number holds.
const BYTES_MAX: u64 = i64::MAX as u64;

/// Returns the quota of the zone.
pub(super) fn quota<'z>(state: &AdminState, now: Timestamp, zone: &'z str) -> wire::Quota<'z> {
    let month = state.traffic.count(&state.store.load(), now);
    wire::Quota {
        zone,
        included: None,
        total: month.bytes,
        alert: Settings::of(state.objects.view().made()).alert(),
        reset_date: month.since.to_string(),
        last_update_date: month.counted_at.to_string(),
    }
}

/// Sets from how many bytes on somebody wants to know; everything else of a quota is read-only.
pub(super) async fn put(write: &Writing<'_>, zone: &str) -> Result<Vec<u8>, Refusal> {
    if zone != write.zone {
        return Err(not_found("quota", zone));
    }
    if let Some(alert) = Fields::of(&write.call.body)?.number("alert", BYTES_MAX)? {
        settings::set_alert(write, alert).await?;
    }
    json(&())
}

/// Answers the list of months that are over.
pub(super) fn list(state: &AdminState, now: Timestamp, query: &Query) -> Result<Vec<u8>, Refusal> {
    let from = day(query, "historizedDate.from")?;
    let to = day(query, "historizedDate.to")?;
    let months = state.traffic.over(now);
    let passes = |month: &&MonthTraffic| {
        let date = month.until().date();
        from.is_none_or(|from| *date >= *from) && to.is_none_or(|to| *date <= *to) && query.is_in("zone", &month.zone)
    };
    json(&months.iter().filter(passes).map(|month| month.id).collect::<Vec<_>>())
}

/// Answers one month that is over.
pub(super) fn past(state: &AdminState, now: Timestamp, id: &str) -> Result<Vec<u8>, Refusal> {
    let months = state.traffic.over(now);
    let found = months.into_iter().find(|month| Some(month.id) == id.parse().ok());
    let month = found.ok_or_else(|| not_found("quota history", id))?;
    json(&wire::QuotaHistory {
        id: month.id,
        historized_date: month.until().date(),
        zone: month.zone.into(),
        total: month.bytes,
        reset_date: month.since.to_string(),
        last_update_date: month.counted_at.to_string(),
    })
}

/// Counts and keeps until told to stop, and says once a month when somebody wants to know.
pub(in crate::admin::ovh) async fn watch(state: AdminState, mut stopped: Receiver<bool>) {
    let mut told = Timestamp::default();
    loop {
        // Told to stop, or whoever could tell is gone.
        let is_over = tokio::time::timeout(EVERY, stopped.wait_for(|is_stopped| *is_stopped)).await.is_ok();
        let month = state.traffic.count(&state.store.load(), clock::wall());
        if let Some(alert) = Settings::of(state.objects.view().made()).alert().filter(|alert| month.bytes >= *alert)
            && told != month.since
        {
            told = month.since;
            tracing::warn!(zone = %month.zone, bytes = month.bytes, alert, "traffic of this month reached its quota alert");
        }
        let meter = Arc::clone(&state.traffic);
        match tokio::task::spawn_blocking(move || meter.keep()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = %report(&error), "traffic not kept: tried again"),
            // The runtime ends.
            Err(_) => return,
        }
        if is_over {
            return;
        }
    }
}

/// Returns the day of a date or of a date and time.
fn day<'q>(query: &'q Query, key: &'static str) -> Result<Option<&'q str>, AdminError> {
    let Some(text) = query.text(key) else { return Ok(None) };
    let day = text.get(..10).filter(|day| {
        day.bytes().enumerate().all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() })
    });
    let bound = "dates, e.g. 2025-11-21".to_owned();
    day.map(Some).ok_or_else(|| AdminError::BadValue { field: key, got: quoted(text), bound })
}
