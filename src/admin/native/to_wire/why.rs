//! Checks, evidence and explanations → bodies of the native shape. Pure.

use std::time::Duration;

use crate::model::{CheckBrief, CheckRecord, Farm, ProbeSlot};

use crate::admin::native::wire::{BriefWire, EvidenceWire};

/// Returns the name of a farm's probe; its number, should the farm no longer have it.
pub(in crate::admin::native) fn probe_name(farm: &Farm, slot: ProbeSlot) -> String {
    farm.probe_at(slot).map_or_else(|| format!("probe {}", slot.0), |probe| probe.name.to_string())
}

/// Returns milliseconds with three digits of their fraction.
#[expect(clippy::cast_precision_loss, reason = "a check's microseconds are far below 2^53")]
pub(in crate::admin::native) fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

/// Returns what is remembered of a check.
pub(in crate::admin::native) fn brief(farm: &Farm, brief: &CheckBrief) -> BriefWire {
    BriefWire {
        probe: probe_name(farm, brief.slot),
        status: brief.status.as_str().to_owned(),
        code: brief.code,
        at: brief.at.to_string(),
        duration_ms: ms(brief.duration),
    }
}

/// Returns a check as a history lists it.
pub(in crate::admin::native) fn line(brief: &CheckBrief) -> (String, String, Option<u16>, f64) {
    (brief.at.to_string(), brief.status.as_str().to_owned(), brief.code, ms(brief.duration))
}

/// Returns a check with what it sent, received and measured.
pub(in crate::admin::native) fn evidence(farm: &Farm, slot: ProbeSlot, record: &CheckRecord) -> EvidenceWire {
    let none = crate::model::Evidence::default();
    let kept = record.evidence.as_deref().unwrap_or(&none);
    let is_text = std::str::from_utf8(&kept.received).is_ok();
    EvidenceWire {
        probe: probe_name(farm, slot),
        status: record.status.as_str().to_owned(),
        code: record.code,
        content: record.content.as_str().to_owned(),
        at: record.at.to_string(),
        duration_ms: ms(record.duration),
        sent: printable(&kept.sent),
        received: printable(&kept.received),
        received_hex: (!is_text).then(|| hex::encode(&kept.received)),
        connect_ms: kept.connect.map(ms),
        tls_ms: kept.tls.map(ms),
        first_byte_ms: kept.first_byte.map(ms),
        errno: kept.errno,
        tls_alert: kept.tls_alert.as_deref().map(str::to_owned),
        certificate_sha256: kept.certificate_sha256.map(hex::encode),
    }
}

/// Bytes as people read them: line ends as such, other control characters and what is no UTF-8 as `\xNN`.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => text.push('\n'),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                c if c.is_control() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text.replace("\\r\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_evidence_are_printable_and_keep_their_lines() {
        assert_eq!(printable(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "GET / HTTP/1.1\nHost: a\n\n");
        assert_eq!(printable(b"a\rb\x00\x1b[2J\xff\xc3\xa9\t"), "a\\rb\\x00\\x1b[2J\\xff\u{e9}\\t");
    }
}
