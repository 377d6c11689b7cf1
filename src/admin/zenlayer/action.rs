//! The actions of the published API: their names, and what they ask of a caller. Pure.

use super::error::Refusal;
use crate::model::Access;

/// An action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    AddLoadBalancersPrivateIps,
    AssignLoadBalancerIpv6,
    CreateListener,
    CreateLoadBalancer,
    DeleteListener,
    DeleteLoadBalancersPrivateIps,
    DeregisterBackend,
    DescribeBackendHealth,
    DescribeBackends,
    DescribeListeners,
    DescribeLoadBalancerMonitorData,
    DescribeLoadBalancerRegions,
    DescribeLoadBalancers,
    InquiryPriceCreateLoadBalancer,
    ModifyBackend,
    ModifyListener,
    ModifyLoadBalancersAttribute,
    RegisterBackend,
    RestoreLoadBalancer,
    SetSecurityGroupForLoadBalancers,
    TerminateLoadBalancer,
    UnbindSecurityGroupFromLoadBalancers,
}

impl Action {
    /// Every action, with its published name.
    pub(super) const ALL: [(&'static str, Self); 22] = [
        ("AddLoadBalancersPrivateIps", Self::AddLoadBalancersPrivateIps),
        ("AssignLoadBalancerIpv6", Self::AssignLoadBalancerIpv6),
        ("CreateListener", Self::CreateListener),
        ("CreateLoadBalancer", Self::CreateLoadBalancer),
        ("DeleteListener", Self::DeleteListener),
        ("DeleteLoadBalancersPrivateIps", Self::DeleteLoadBalancersPrivateIps),
        ("DeregisterBackend", Self::DeregisterBackend),
        ("DescribeBackendHealth", Self::DescribeBackendHealth),
        ("DescribeBackends", Self::DescribeBackends),
        ("DescribeListeners", Self::DescribeListeners),
        ("DescribeLoadBalancerMonitorData", Self::DescribeLoadBalancerMonitorData),
        ("DescribeLoadBalancerRegions", Self::DescribeLoadBalancerRegions),
        ("DescribeLoadBalancers", Self::DescribeLoadBalancers),
        ("InquiryPriceCreateLoadBalancer", Self::InquiryPriceCreateLoadBalancer),
        ("ModifyBackend", Self::ModifyBackend),
        ("ModifyListener", Self::ModifyListener),
        ("ModifyLoadBalancersAttribute", Self::ModifyLoadBalancersAttribute),
        ("RegisterBackend", Self::RegisterBackend),
        ("RestoreLoadBalancer", Self::RestoreLoadBalancer),
        ("SetSecurityGroupForLoadBalancers", Self::SetSecurityGroupForLoadBalancers),
        ("TerminateLoadBalancer", Self::TerminateLoadBalancer),
        ("UnbindSecurityGroupFromLoadBalancers", Self::UnbindSecurityGroupFromLoadBalancers),
    ];

    /// Returns the action of that name.
    ///
    /// # Errors
    /// A [`Refusal`] if it is missing or unknown.
    pub(super) fn of(name: Option<&str>) -> Result<Self, Refusal> {
        let name = name.ok_or_else(Refusal::missing_action)?;
        let known = Self::ALL.iter().find(|(known, _)| *known == name);
        known.map(|(_, action)| *action).ok_or_else(|| Refusal::unknown_action(name))
    }

    /// Returns its name.
    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }

    /// Returns the least role that may ask for it.
    pub(super) fn needs(self) -> Access {
        match self {
            Self::DescribeBackendHealth
            | Self::DescribeBackends
            | Self::DescribeListeners
            | Self::DescribeLoadBalancerMonitorData
            | Self::DescribeLoadBalancerRegions
            | Self::DescribeLoadBalancers
            | Self::InquiryPriceCreateLoadBalancer => Access::Read,
            Self::AddLoadBalancersPrivateIps
            | Self::AssignLoadBalancerIpv6
            | Self::CreateListener
            | Self::CreateLoadBalancer
            | Self::DeleteListener
            | Self::DeleteLoadBalancersPrivateIps
            | Self::DeregisterBackend
            | Self::ModifyBackend
            | Self::ModifyListener
            | Self::ModifyLoadBalancersAttribute
            | Self::RegisterBackend
            | Self::RestoreLoadBalancer
            | Self::SetSecurityGroupForLoadBalancers
            | Self::TerminateLoadBalancer
            | Self::UnbindSecurityGroupFromLoadBalancers => Access::Operate,
        }
    }

    /// Returns whether it changes nothing.
    pub(super) fn only_reads(self) -> bool {
        self.needs() == Access::Read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn action_has_one_name_and_those_that_read_are_called_so() {
        for (name, action) in Action::ALL {
            assert_eq!((Action::of(Some(name)).unwrap(), action.name()), (action, name));
            let is_called_so = name.starts_with("Describe") || name.starts_with("Inquiry");
            assert_eq!(action.only_reads(), is_called_so, "{name}");
        }
        assert!(Action::of(None).is_err() && Action::of(Some("")).is_err());
        assert!(Action::of(Some("describebackends")).is_err());
    }
}
