//! The actions of the published API: their names, where they are asked for, and what they ask of a caller. Pure.
//!
//! Two are of other services of the vendor's, for the Terraform provider goes there with a load balancer's tags and its
//! resource group.

use super::error::Refusal;
use crate::model::Access;

/// A service of the vendor's, as far as load balancers need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// Resource groups.
    User,
    /// Load balancers.
    Zlb,
    /// Tags.
    Zrm,
}

impl Service {
    /// Returns the service that is asked for there.
    pub(super) fn at(path: &str) -> Option<Self> {
        [Self::User, Self::Zlb, Self::Zrm].into_iter().find(|service| service.path() == path)
    }

    /// Returns where it is asked for.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::User => "/api/v2/user",
            Self::Zlb => "/api/v2/zlb",
            Self::Zrm => "/api/v2/zrm",
        }
    }

    /// Returns the version that is spoken.
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::User => "2024-05-29",
            Self::Zlb => "2025-04-01",
            Self::Zrm => "2025-10-14",
        }
    }
}

/// An action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    AddLoadBalancersPrivateIps,
    AddResourceResourceGroup,
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
    ModifyResourceTags,
    RegisterBackend,
    RestoreLoadBalancer,
    SetSecurityGroupForLoadBalancers,
    TerminateLoadBalancer,
    UnbindSecurityGroupFromLoadBalancers,
}

impl Action {
    /// Every action, with its published name.
    pub(super) const ALL: [(&'static str, Self); 24] = [
        ("AddLoadBalancersPrivateIps", Self::AddLoadBalancersPrivateIps),
        ("AddResourceResourceGroup", Self::AddResourceResourceGroup),
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
        ("ModifyResourceTags", Self::ModifyResourceTags),
        ("RegisterBackend", Self::RegisterBackend),
        ("RestoreLoadBalancer", Self::RestoreLoadBalancer),
        ("SetSecurityGroupForLoadBalancers", Self::SetSecurityGroupForLoadBalancers),
        ("TerminateLoadBalancer", Self::TerminateLoadBalancer),
        ("UnbindSecurityGroupFromLoadBalancers", Self::UnbindSecurityGroupFromLoadBalancers),
    ];

    /// Returns the action of that name.
    ///
    /// # Errors
    /// A [`Refusal`] if it is missing, unknown, or of another service.
    pub(super) fn of(service: Service, name: Option<&str>) -> Result<Self, Refusal> {
        let name = name.ok_or_else(Refusal::missing_action)?;
        let known = Self::ALL.iter().find(|(known, action)| *known == name && action.service() == service);
        known.map(|(_, action)| *action).ok_or_else(|| Refusal::unknown_action(name, service.version()))
    }

    /// Returns the service that it is of.
    pub(super) fn service(self) -> Service {
        match self {
            Self::AddResourceResourceGroup => Service::User,
            Self::ModifyResourceTags => Service::Zrm,
            Self::AddLoadBalancersPrivateIps
            | Self::AssignLoadBalancerIpv6
            | Self::CreateListener
            | Self::CreateLoadBalancer
            | Self::DeleteListener
            | Self::DeleteLoadBalancersPrivateIps
            | Self::DeregisterBackend
            | Self::DescribeBackendHealth
            | Self::DescribeBackends
            | Self::DescribeListeners
            | Self::DescribeLoadBalancerMonitorData
            | Self::DescribeLoadBalancerRegions
            | Self::DescribeLoadBalancers
            | Self::InquiryPriceCreateLoadBalancer
            | Self::ModifyBackend
            | Self::ModifyListener
            | Self::ModifyLoadBalancersAttribute
            | Self::RegisterBackend
            | Self::RestoreLoadBalancer
            | Self::SetSecurityGroupForLoadBalancers
            | Self::TerminateLoadBalancer
            | Self::UnbindSecurityGroupFromLoadBalancers => Service::Zlb,
        }
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
            | Self::AddResourceResourceGroup
            | Self::AssignLoadBalancerIpv6
            | Self::CreateListener
            | Self::CreateLoadBalancer
            | Self::DeleteListener
            | Self::DeleteLoadBalancersPrivateIps
            | Self::DeregisterBackend
            | Self::ModifyBackend
            | Self::ModifyListener
            | Self::ModifyLoadBalancersAttribute
            | Self::ModifyResourceTags
            | Self::RegisterBackend
            | Self::RestoreLoadBalancer
            | Self::SetSecurityGroupForLoadBalancers
            | Self::TerminateLoadBalancer
            | Self::UnbindSecurityGroupFromLoadBalancers => Access::Admin,
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
            assert_eq!((Action::of(action.service(), Some(name)).unwrap(), action.name()), (action, name));
            let is_called_so = name.starts_with("Describe") || name.starts_with("Inquiry");
            assert_eq!(action.only_reads(), is_called_so, "{name}");
        }
        for name in [None, Some(""), Some("describebackends"), Some("ModifyResourceTags")] {
            assert!(Action::of(Service::Zlb, name).is_err(), "{name:?}");
        }
        assert!(Action::of(Service::Zrm, Some("DescribeBackends")).is_err());
    }
}
