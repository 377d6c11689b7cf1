//! What single checks sent and received: the newest failing ones of each server, and the newest first to pass.

use std::time::Duration;

use rusqlite::{Connection, Row, params};

use crate::model::{CheckRecord, CheckStatus, Content, Evidence, ProbeSlot, ServerKey, Timestamp, Verdict};

use super::queue::Seen;
use super::{number, unsigned};

/// First passing checks of one server that are kept.
pub(super) const PASSING_PER_SERVER: u32 = 4;

/// Keeps a check, and of its server no more than `failing_max` that failed and [`PASSING_PER_SERVER`] that did not.
pub(super) fn put(connection: &Connection, seen: &Seen, failing_max: u32) -> rusqlite::Result<()> {
    let Seen { server, slot, record } = seen;
    let evidence = record.evidence.as_deref();
    let time = |duration: Option<Duration>| duration.map(micros);
    let has_failed = record.verdict() == Verdict::Failed;
    let mut statement = connection.prepare_cached(
        "INSERT INTO evidence
            (farm, server, slot, at_us, failed, status, code, content, duration_us, sent, received, connect_us, tls_us,
                first_byte_us, errno, alert, certificate)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    )?;
    statement.execute(params![
        number(server.farm.0),
        number(server.server.0),
        slot.0,
        number(record.at.0),
        has_failed,
        record.status.as_str(),
        record.code,
        record.content.as_str(),
        micros(record.duration),
        evidence.map(|evidence| &*evidence.sent),
        evidence.map(|evidence| &*evidence.received),
        evidence.and_then(|evidence| time(evidence.connect)),
        evidence.and_then(|evidence| time(evidence.tls)),
        evidence.and_then(|evidence| time(evidence.first_byte)),
        evidence.and_then(|evidence| evidence.errno),
        evidence.and_then(|evidence| evidence.tls_alert.as_deref()),
        evidence.and_then(|evidence| evidence.certificate_sha256.map(|digest| digest.to_vec())),
    ])?;
    let most = if has_failed { failing_max } else { PASSING_PER_SERVER };
    let mut statement = connection.prepare_cached(
        "DELETE FROM evidence WHERE id IN (
            SELECT id FROM evidence WHERE server = ?1 AND farm = ?2 AND failed = ?3 ORDER BY id DESC LIMIT -1 OFFSET ?4
        )",
    )?;
    statement.execute(params![number(server.server.0), number(server.farm.0), has_failed, most])?;
    Ok(())
}

/// Returns what is kept of a server, the newest first. A check of a status that this build does not know is left out.
pub(super) fn find(
    connection: &Connection,
    server: ServerKey,
    limit: usize,
) -> rusqlite::Result<Vec<(ProbeSlot, CheckRecord)>> {
    let mut statement = connection.prepare_cached(
        "SELECT slot, at_us, status, code, content, duration_us, sent, received, connect_us, tls_us, first_byte_us,
                errno, alert, certificate
            FROM evidence WHERE server = ?1 AND farm = ?2 ORDER BY at_us DESC, id DESC LIMIT ?3",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![number(server.server.0), number(server.farm.0), limit], read)?;
    rows.filter_map(Result::transpose).collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Option<(ProbeSlot, CheckRecord)>> {
    let time = |n| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(n)?.map(duration));
    let Some(status) = CheckStatus::parse(&row.get::<_, String>(2)?) else { return Ok(None) };
    let evidence = match row.get::<_, Option<Vec<u8>>>(6)? {
        None => None,
        Some(sent) => Some(Evidence {
            sent: sent.into(),
            received: row.get::<_, Option<Vec<u8>>>(7)?.unwrap_or_default().into(),
            connect: time(8)?,
            tls: time(9)?,
            first_byte: time(10)?,
            errno: row.get(11)?,
            tls_alert: row.get::<_, Option<String>>(12)?.map(Into::into),
            certificate_sha256: row.get::<_, Option<Vec<u8>>>(13)?.and_then(|digest| digest.try_into().ok()),
        }),
    };
    let record = CheckRecord {
        status,
        code: row.get(3)?,
        content: Content::from_text(&row.get::<_, String>(4)?),
        at: Timestamp(unsigned(row.get(1)?)),
        duration: duration(row.get(5)?),
        evidence: evidence.map(Into::into),
        agent: None,
    };
    Ok(Some((ProbeSlot(row.get(0)?), record)))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn duration(us: i64) -> Duration {
    Duration::from_micros(unsigned(us.max(0)))
}
