//! Drain and maintenance → bodies of the native shape, with a guess at when nothing is open any more. Pure.

use std::time::Duration;

use crate::model::{Leftovers, SessionGroup, Timestamp};
use crate::store::snapshot::{LeavingRow, OrderRow};

use crate::admin::native::wire::{LeavingWire, OrderWire, SessionsWire};

/// Returns how an order stands at `now`.
pub(in crate::admin::native) fn order(row: &OrderRow, now: Timestamp) -> OrderWire {
    let left = row.sessions.iter().map(|group| group.count).sum();
    let end = row.deadline.filter(|_| row.at_deadline == Leftovers::Close);
    OrderWire {
        admin: row.admin.as_str().to_owned(),
        actor: row.act.as_ref().map(|act| act.actor.to_string()),
        source: row.act.as_ref().map(|act| act.source.to_string()),
        reason: row.act.as_ref().and_then(|act| act.reason.as_deref().map(str::to_owned)),
        since: row.act.as_ref().map(|_| row.since.to_string()),
        until: row.until.map(|at| at.to_string()),
        deadline: row.deadline.map(|at| at.to_string()),
        at_deadline: row.at_deadline.as_str().to_owned(),
        past_deadline: row.is_past_deadline,
        sessions: sessions(&row.sessions),
        left,
        eta: eta(row.began_with, left, now.since(row.since), now, end).map(|at| at.to_string()),
    }
}

/// Returns a server that a reload removed.
pub(in crate::admin::native) fn leaving(row: &LeavingRow) -> LeavingWire {
    LeavingWire {
        farm: row.farm_name.to_string(),
        id: row.key.server.0,
        name: row.server.name.to_string(),
        address: row.server.address.to_string(),
        since: row.since.to_string(),
        deadline: row.deadline.map(|at| at.to_string()),
        at_deadline: row.at_deadline.as_str().to_owned(),
        sessions: sessions(&row.sessions),
        in_flight: row.in_flight,
    }
}

/// Returns what is open, by kind.
pub(in crate::admin::native) fn sessions(groups: &[SessionGroup]) -> Vec<SessionsWire> {
    let of = |group: &SessionGroup| SessionsWire {
        kind: group.kind.as_str().to_owned(),
        count: group.count,
        oldest_ms: u64::try_from(group.oldest.as_millis()).unwrap_or(u64::MAX),
    };
    groups.iter().map(of).collect()
}

/// Guesses when nothing will be open, from how fast it ended so far; no later than `end`, when it is closed.
fn eta(began_with: u64, left: u64, elapsed: Duration, now: Timestamp, end: Option<Timestamp>) -> Option<Timestamp> {
    let by_rate = match began_with.checked_sub(left) {
        _ if left == 0 => None,
        None | Some(0) => None,
        Some(gone) => {
            let micros = elapsed.as_micros().saturating_mul(u128::from(left)) / u128::from(gone);
            Some(now + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)))
        }
    };
    match (by_rate, end.filter(|_| left > 0)) {
        (Some(guess), Some(end)) => Some(guess.min(end.max(now))),
        (guess, end) => guess.or(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn guess(began_with: u64, left: u64, seconds: u64, end: Option<u64>) -> Option<u64> {
        let now = Timestamp(1000 * SECOND);
        let end = end.map(|seconds| Timestamp((1000 + seconds) * SECOND));
        let eta = eta(began_with, left, Duration::from_secs(seconds), now, end)?;
        Some(eta.0 / SECOND - 1000)
    }

    #[test]
    fn eta_goes_on_at_the_rate_so_far_and_ends_with_the_deadline() {
        assert_eq!(guess(100, 50, 10, None), Some(10));
        assert_eq!(guess(100, 10, 90, None), Some(10));
        assert_eq!(guess(100, 50, 10, Some(4)), Some(4));
        assert_eq!(guess(100, 50, 10, Some(40)), Some(10));
        assert_eq!(guess(100, 100, 10, Some(40)), Some(40), "nothing ended: the deadline is all that is known");
        assert_eq!(guess(100, 100, 10, None), None);
        assert_eq!(guess(10, 12, 10, None), None);
        assert_eq!(guess(10, 0, 10, Some(5)), None, "nothing is waited for");
        assert!(guess(u64::MAX, u64::MAX - 1, u64::MAX / SECOND, None).is_some());
    }
}
