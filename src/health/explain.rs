//! A server's state in HAProxy's words, from one function.

use crate::model::{AdminStatus, Health, Standing, Weight};

/// Returns the state of a server as HAProxy's stats page words it: `UP`, `UP 2/3`, `DOWN`, `DOWN 1/2`, `DRAIN`,
/// `MAINT`, `MAINT (resolution)` or `no check`.
///
/// `is_resolved` is false while the server's name has no address. Weight 0 reads as DRAIN, as there.
#[must_use]
pub fn haproxy_state(admin: AdminStatus, weight: Weight, standing: &Standing, is_resolved: bool) -> String {
    let Standing { health, progress, .. } = *standing;
    let under_way = progress.have > 0 && progress.have < progress.need;
    match (admin, health) {
        (AdminStatus::Maintenance, _) => "MAINT".to_owned(),
        (AdminStatus::Active | AdminStatus::Drain, _) if !is_resolved => "MAINT (resolution)".to_owned(),
        (AdminStatus::Active | AdminStatus::Drain, Health::Down) if under_way => {
            format!("DOWN {}/{}", progress.have, progress.need)
        }
        (AdminStatus::Active | AdminStatus::Drain, Health::Down) => "DOWN".to_owned(),
        (AdminStatus::Drain, Health::Off | Health::Stopping | Health::Unknown | Health::Up) => "DRAIN".to_owned(),
        (AdminStatus::Active, Health::Off | Health::Stopping | Health::Unknown | Health::Up) if weight == Weight(0) => {
            "DRAIN".to_owned()
        }
        (AdminStatus::Active, Health::Stopping) if under_way => format!("NOLB {}/{}", progress.have, progress.need),
        (AdminStatus::Active, Health::Stopping) => "NOLB".to_owned(),
        (AdminStatus::Active, Health::Off | Health::Unknown) => "no check".to_owned(),
        (AdminStatus::Active, Health::Up) if under_way => format!("UP {}/{}", progress.have, progress.need),
        (AdminStatus::Active, Health::Up) => "UP".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Progress;

    #[test]
    fn state_words_follow_the_truth_table() {
        let p = |have, need| Progress { have, need };
        for (admin, weight, health, progress, want) in [
            (AdminStatus::Active, 1, Health::Up, p(3, 3), "UP"),
            (AdminStatus::Active, 1, Health::Up, p(1, 3), "UP 1/3"),
            (AdminStatus::Active, 1, Health::Down, p(0, 2), "DOWN"),
            (AdminStatus::Active, 1, Health::Down, p(1, 2), "DOWN 1/2"),
            (AdminStatus::Active, 1, Health::Off, p(0, 0), "no check"),
            (AdminStatus::Active, 1, Health::Unknown, p(0, 2), "no check"),
            (AdminStatus::Active, 0, Health::Up, p(3, 3), "DRAIN"),
            (AdminStatus::Active, 0, Health::Down, p(0, 2), "DOWN"),
            (AdminStatus::Drain, 1, Health::Up, p(3, 3), "DRAIN"),
            (AdminStatus::Drain, 1, Health::Down, p(0, 2), "DOWN"),
            (AdminStatus::Maintenance, 1, Health::Up, p(3, 3), "MAINT"),
            (AdminStatus::Maintenance, 1, Health::Down, p(0, 2), "MAINT"),
        ] {
            let standing = Standing::of(health, progress);
            assert_eq!(haproxy_state(admin, Weight(weight), &standing, true), want, "{admin:?} {health:?}");
        }
        assert_eq!(
            haproxy_state(AdminStatus::Active, Weight(1), &Standing::of(Health::Down, p(0, 2)), false),
            "MAINT (resolution)"
        );
    }
}
