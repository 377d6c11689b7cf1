//! When it is told that a certificate comes to its end: two weeks and three days before, and when it has. Each once.

use std::time::Duration;

use crate::model::{CertificateChange, Timestamp};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long before its end a certificate that was not renewed is first told of.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// How long before its end it is told of again.
const VERY_SOON: Duration = Duration::from_secs(3 * 24 * 3600);

/// What was told of a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    #[default]
    Nothing,
    Soon,
    VerySoon,
    Expired,
}

/// Returns what is to be told now, if anything, and notes that it was.
pub(super) fn to_tell(told: &mut Told, until: Timestamp, now: Timestamp) -> Option<CertificateChange> {
    let stands = match until.since(now) {
        Duration::ZERO => Told::Expired,
        left if left <= VERY_SOON => Told::VerySoon,
        left if left <= SOON => Told::Soon,
        _ => Told::Nothing,
    };
    if stands <= *told {
        return None;
    }
    *told = stands;
    Some(match stands {
        Told::Expired => CertificateChange::Expired { until },
        Told::Nothing | Told::Soon | Told::VerySoon => {
            let days = until.since(now).as_secs().div_ceil(DAY.as_secs());
            CertificateChange::Expiring { until, days: u32::try_from(days).unwrap_or(u32::MAX) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_a_certificate_is_told_at_two_weeks_at_three_days_and_when_it_is_there() {
        let end = Duration::from_secs(86_400 * 1_000);
        let until = Timestamp(0) + end;
        let before = |days: f64| Timestamp(0) + (end - DAY.mul_f64(days));
        let mut told = Told::default();
        let mut tell = |now| to_tell(&mut told, until, now);
        assert_eq!(tell(before(30.0)), None);
        assert_eq!(tell(before(13.5)), Some(CertificateChange::Expiring { until, days: 14 }));
        assert_eq!(tell(before(4.0)), None);
        assert_eq!(tell(before(3.0)), Some(CertificateChange::Expiring { until, days: 3 }));
        assert_eq!(tell(before(0.001)), None);
        assert_eq!(tell(until), Some(CertificateChange::Expired { until }));
        assert_eq!(tell(until + DAY), None);
    }

    #[test]
    fn certificate_that_has_expired_when_it_is_first_seen_is_told_once_as_expired() {
        let until = Timestamp(0) + DAY;
        let mut told = Told::default();
        assert_eq!(to_tell(&mut told, until, until + DAY), Some(CertificateChange::Expired { until }));
        assert_eq!(to_tell(&mut told, until, until + DAY), None);
    }
}
