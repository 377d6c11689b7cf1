//! Drain and maintenance as objects: who ordered it, until when, what happens then.
//!
//! An order follows from what is declared and what overrides it; only what came of it (idle, past its deadline) is
//! remembered beside. Pure. An order is idle once nothing is open on its server; what is open at the deadline is
//! closed or kept, as the operator said, else as the farm says.

use crate::model::{Act, AdminStatus, DrainRule, Leftovers, Override, Terms, Timestamp};

/// A drain or maintenance of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// Drain or maintenance.
    pub(super) admin: AdminStatus,
    /// Who ordered it; nobody where the file declares it.
    pub(super) act: Option<Act>,
    /// Since when.
    pub(super) since: Timestamp,
    /// When it ends by itself.
    pub(super) until: Option<Timestamp>,
    /// When what is open counts as left over.
    pub(super) deadline: Option<Timestamp>,
    /// What happens to that.
    pub(super) at_deadline: Leftovers,
    /// What was open when it began.
    pub(super) began_with: u64,
    /// Whether it was told that nothing is open any more.
    pub(super) is_idle: bool,
    /// Whether the deadline has come.
    pub(super) is_past_deadline: bool,
}

impl Order {
    /// Returns the order that a server is under, if any, as of `now`: by an override, else by the file, in which case
    /// it begins now. Nothing came of it yet.
    pub(super) fn of(
        declared: AdminStatus,
        made: Option<&Override>,
        admin: AdminStatus,
        rule: DrainRule,
        now: Timestamp,
    ) -> Option<Self> {
        if admin == AdminStatus::Active {
            return None;
        }
        debug_assert!(made.is_some() || declared == admin, "an order has an origin");
        let since = made.map_or(now, |made| made.act.at);
        let Terms { until, deadline, at_deadline } = made.map(|made| made.terms).unwrap_or_default();
        let by_rule = rule.deadline.filter(|_| admin == AdminStatus::Drain).map(|after| since + after);
        Some(Self {
            admin,
            act: made.map(|made| made.act.clone()),
            since,
            until,
            deadline: deadline.or(by_rule),
            at_deadline: at_deadline.unwrap_or(rule.at_deadline),
            began_with: 0,
            is_idle: false,
            is_past_deadline: false,
        })
    }

    /// Takes over what came of the earlier one, if it is the same order still.
    pub(super) fn continued(mut self, earlier: Option<&Self>) -> Self {
        let by_file = |order: &Self| order.act.is_none();
        let is_same = |earlier: &&Self| {
            earlier.admin == self.admin
                && ((by_file(earlier) && by_file(&self)) || (earlier.act == self.act && self.act.is_some()))
        };
        let Some(earlier) = earlier.filter(is_same) else { return self };
        if by_file(earlier) {
            let moved = self.deadline.map(|deadline| earlier.since + deadline.since(self.since));
            (self.since, self.deadline) = (earlier.since, moved);
        }
        self.began_with = earlier.began_with;
        self.is_idle = earlier.is_idle;
        self.is_past_deadline = earlier.is_past_deadline && self.deadline == earlier.deadline;
        self
    }

    /// The process begins with nothing open: an order of an earlier one, or of the file, has nothing to wait for.
    pub(super) fn of_an_earlier_process(mut self, now: Timestamp) -> Self {
        self.is_idle = true;
        self.is_past_deadline = self.deadline.is_some_and(|deadline| deadline <= now);
        self
    }

    /// Returns when something comes of it by the clock.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let deadline = self.deadline.filter(|_| !self.is_past_deadline);
        [self.until, deadline].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Wish;

    const RULE: DrainRule = DrainRule { deadline: Some(Duration::from_micros(100)), at_deadline: Leftovers::Close };

    fn made(admin: AdminStatus, at: u64, terms: Terms) -> Override {
        let act = Act { actor: "ops".into(), source: "local".into(), reason: None, at: Timestamp(at) };
        Override { wish: Wish::Admin(admin), declared: Wish::Admin(AdminStatus::Active), terms, act }
    }

    fn order(made: &Override, now: u64) -> Order {
        let Wish::Admin(admin) = made.wish else { unreachable!("an admin status") };
        Order::of(AdminStatus::Active, Some(made), admin, RULE, Timestamp(now)).unwrap()
    }

    #[test]
    fn order_of_an_active_server_is_none() {
        let active = made(AdminStatus::Active, 1, Terms::default());
        assert_eq!(Order::of(AdminStatus::Drain, Some(&active), AdminStatus::Active, RULE, Timestamp(5)), None);
        assert_eq!(Order::of(AdminStatus::Active, None, AdminStatus::Active, RULE, Timestamp(5)), None);
    }

    #[test]
    fn order_has_the_farms_deadline_for_a_drain_and_its_own_first() {
        let plain = Terms::default();
        assert_eq!(order(&made(AdminStatus::Drain, 7, plain), 9).deadline, Some(Timestamp(107)));
        assert_eq!(order(&made(AdminStatus::Maintenance, 7, plain), 9).deadline, None);
        let own = Terms { deadline: Some(Timestamp(50)), at_deadline: Some(Leftovers::Keep), until: None };
        let drain = order(&made(AdminStatus::Drain, 7, own), 9);
        assert_eq!((drain.deadline, drain.at_deadline), (Some(Timestamp(50)), Leftovers::Keep));
        let by_file = Order::of(AdminStatus::Drain, None, AdminStatus::Drain, RULE, Timestamp(9)).unwrap();
        assert_eq!((by_file.since, by_file.deadline, by_file.act), (Timestamp(9), Some(Timestamp(109)), None));
    }

    #[test]
    fn order_is_continued_only_where_it_is_the_same() {
        let past = Order {
            is_idle: true,
            is_past_deadline: true,
            began_with: 3,
            ..order(&made(AdminStatus::Drain, 7, Terms::default()), 9)
        };
        let same = order(&made(AdminStatus::Drain, 7, Terms::default()), 200).continued(Some(&past));
        assert_eq!(same, past);
        let later = order(&made(AdminStatus::Drain, 8, Terms::default()), 200).continued(Some(&past));
        assert_eq!((later.is_idle, later.began_with), (false, 0));
        let by_file = |now| Order::of(AdminStatus::Drain, None, AdminStatus::Drain, RULE, Timestamp(now)).unwrap();
        let reloaded = by_file(60).continued(Some(&by_file(9)));
        assert_eq!(
            (reloaded.since, reloaded.deadline),
            (Timestamp(9), Some(Timestamp(109))),
            "a reload begins nothing"
        );
    }

    #[test]
    fn order_is_due_at_its_deadline_until_that_has_come_and_at_its_end() {
        let terms = Terms { deadline: Some(Timestamp(50)), until: Some(Timestamp(80)), at_deadline: None };
        let mut order = order(&made(AdminStatus::Maintenance, 7, terms), 9);
        assert_eq!(order.due(), Some(Timestamp(50)));
        order.is_past_deadline = true;
        assert_eq!(order.due(), Some(Timestamp(80)));
        assert!(!order.clone().of_an_earlier_process(Timestamp(49)).is_past_deadline);
        assert!(order.of_an_earlier_process(Timestamp(50)).is_past_deadline);
    }
}
