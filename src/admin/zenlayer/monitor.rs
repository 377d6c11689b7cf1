//! DescribeLoadBalancerMonitorData: what listeners did in the last day, from the counters of the data plane.

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::error::Refusal;
use super::find::{balancer, listeners_of};
use super::request::Fields;
use super::to_wire::second;
use super::wire;
use crate::admin::call::AdminState;
use crate::admin::error::AdminError;
use crate::admin::guard::quoted;
use crate::admin::minutes::Load;
use crate::model::{FrontendId, Timestamp};
use crate::store::Snapshot;

/// Points of one answer: a week of minutes.
const POINTS_MAX: u64 = 7 * 24 * 60;
const METRICS: &[&str] = &["NEW_CONNECTIONS", "CONCURRENT_CONNECTIONS", "HANDLED_BPS"];
/// The steps there are, in minutes.
const STEPS: &[&str] = &["1", "5"];

/// Returns one value for each step; null where nothing is known.
pub(super) fn describe(state: &AdminState, snapshot: &Snapshot, fields: &Fields) -> Result<wire::MonitorData, Refusal> {
    let balancer = balancer(snapshot, &fields.need_text("loadBalancerId")?)?;
    let listeners = listeners_of(snapshot, &balancer, fields.text("listenerId")?.as_deref())?;
    let metric = fields.word("metricType", METRICS)?.ok_or(AdminError::Missing("metricType"))?;
    let (start, end) = (minute(fields, "startTime")?, minute(fields, "endTime")?);
    let step = if fields.word("step", STEPS)? == Some("5") { 5 } else { 1 };
    let start = start / step * step;
    if end < start {
        return Err(Refusal::bad_value("endTime: is before startTime".to_owned()));
    }
    if (end - start) / step >= POINTS_MAX {
        let message = format!("endTime: more than {POINTS_MAX} steps behind startTime; ask for less, or with step 5");
        return Err(Refusal::bad_value(message));
    }
    let frontends: Vec<FrontendId> =
        listeners.iter().flat_map(|it| it.frontends().map(|row| row.frontend.id)).collect();
    let known = state.minutes.of(&frontends, &state.store, snapshot.at);
    let number = |load: &Load| match metric {
        "NEW_CONNECTIONS" => load.new_per_second,
        "CONCURRENT_CONNECTIONS" => load.open,
        _ => load.bits_per_second,
    };
    let mut metrics = Vec::new();
    let mut at = start;
    let mut rest = &known[known.partition_point(|(minute, _)| *minute < start)..];
    while at <= end {
        let (own, later) = rest.split_at(rest.partition_point(|(minute, _)| *minute < at + step));
        rest = later;
        let value = average(own.iter().map(|(_, load)| number(load)));
        metrics.push(wire::Metric { time: second(Timestamp(at * 60_000_000)), value });
        at += step;
    }
    let values = || metrics.iter().filter_map(|metric| metric.value);
    Ok(wire::MonitorData {
        max_value: values().reduce(f64::max),
        min_value: values().reduce(f64::min),
        avg_value: average(values()),
        metrics,
    })
}

fn average(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then_some(sum / count)
}

/// Reads a time, in minutes since 1970.
fn minute(fields: &Fields, field: &'static str) -> Result<u64, Refusal> {
    let text = fields.need_text(field)?;
    let parsed = OffsetDateTime::parse(&text, &Rfc3339).ok();
    let minutes = parsed.map(|at| at.to_offset(UtcOffset::UTC).unix_timestamp()).and_then(|at| u64::try_from(at).ok());
    minutes.map(|at| at / 60).ok_or_else(|| {
        let bound = "times as 2025-04-01T12:00:00Z".to_owned();
        AdminError::BadValue { field, got: format!("\"{}\"", quoted(&text).escape_default()), bound }.into()
    })
}
