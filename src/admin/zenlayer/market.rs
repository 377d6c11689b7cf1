//! What has little meaning on one's own machines: regions, prices, security groups, addresses by the piece. Answered as
//! it is: one region, nothing costs anything, there are no groups.

use http::StatusCode;

use super::error::Refusal;
use super::find::balancer;
use super::request::Fields;
use super::wire;
use crate::admin::error::AdminError;
use crate::admin::guard::quoted;
use crate::store::Snapshot;

/// Load balancers that one call may name.
pub(super) const NAMED_MAX: usize = 100;
const CHARGE_TYPES: &[&str] = &["ByBandwidth", "ByTrafficPackage", "BandwidthCluster"];
const LINE_TYPES: &[&str] =
    &["PremiumBGP", "StandardBGP", "CN2", "PathBasedBandwidthIP", "LocalLine", "CMI", "CUG", "CTG"];
const IP_LINE_TYPES: &[&str] = &[
    "BGPLine",
    "CN2Line",
    "LocalLine",
    "ChinaMobile",
    "ChinaUnicom",
    "ChinaTelecom",
    "Cogent",
    "PathBasedBandwidthIP",
    "ThreeLine",
];
const BANDWIDTH_MBPS_MAX: u64 = 10_000;
const PACKAGE_MAX: f64 = 999_999.0;

/// Returns the one region: the zone.
pub(super) fn regions(snapshot: &Snapshot) -> wire::Regions {
    let zone = snapshot.service.zone.to_string();
    let region = wire::Region { region_id: zone.clone(), city_name: zone.clone(), city_code: zone };
    wire::Regions { regions: vec![region] }
}

/// Returns what a load balancer costs: nothing.
pub(super) fn prices(snapshot: &Snapshot, fields: &Fields) -> Result<wire::Prices, Refusal> {
    in_region(fields, snapshot.service.zone.as_str())?;
    check_internet(fields)?;
    let free = || wire::Price { charge_unit: "HOUR", category: "STANDARD", ..wire::Price::default() };
    Ok(wire::Prices {
        load_balancer_instance_price: free(),
        eip_price: free(),
        eip_network_price: free(),
        eip_network_prices: vec![wire::NetworkPrice { traffic_type: "ALL", price: free() }],
        lcu_price: free(),
    })
}

/// Refuses another region than the zone.
pub(super) fn in_region(fields: &Fields, zone: &str) -> Result<(), Refusal> {
    let region = fields.need_text("regionId")?;
    if region == zone {
        return Ok(());
    }
    let region = quoted(&region);
    let message = format!("region \"{}\" does not exist; the one there is, is \"{zone}\"", region.escape_default());
    Err(Refusal::new(StatusCode::NOT_FOUND, "INVALID_REGION_NOT_FOUND", message))
}

/// Checks what is said of a line to the internet; the addresses are the service's, whatever that is.
pub(super) fn check_internet(fields: &Fields) -> Result<(), Refusal> {
    let charge = fields.word("internetChargeType", CHARGE_TYPES)?;
    fields.word("networkLineType", LINE_TYPES)?;
    fields.word("ipNetworkType", IP_LINE_TYPES)?;
    let bandwidth = fields.number_but_zero("bandwidthMbps", &(1..=BANDWIDTH_MBPS_MAX))?;
    if charge == Some("ByBandwidth") && bandwidth.is_none() {
        return Err(AdminError::Missing("bandwidthMbps").into());
    }
    if let Some(package) = fields.text("trafficPackageSize")? {
        let number = package.parse::<f64>().ok().filter(|number| (0.0..=PACKAGE_MAX).contains(number));
        if number.is_none() {
            let got = quoted(&package);
            let bound = format!("0..={PACKAGE_MAX}");
            return Err(AdminError::BadValue { field: "trafficPackageSize", got, bound }.into());
        }
    }
    no_eips(fields)
}

/// Refuses addresses that were bought apart: there are none.
pub(super) fn no_eips(fields: &Fields) -> Result<(), Refusal> {
    match fields.texts("eipIds", NAMED_MAX)?.first() {
        None => Ok(()),
        Some(id) => {
            let id = quoted(id);
            let message = format!(
                "elastic IP \"{}\" does not exist; a load balancer has the addresses of the service",
                id.escape_default()
            );
            Err(Refusal::new(StatusCode::NOT_FOUND, "INVALID_EIP_NOT_FOUND", message))
        }
    }
}

/// Refuses a security group: there are none.
pub(super) fn no_security_group(fields: &Fields) -> Result<(), Refusal> {
    fields.text("securityGroupId")?.map_or(Ok(()), |id| Err(unknown_group(&id)))
}

fn unknown_group(id: &str) -> Refusal {
    let id = quoted(id);
    let message = format!(
        "security group \"{}\" does not exist; write allow or deny in the frontends of the config file",
        id.escape_default()
    );
    Refusal::new(StatusCode::NOT_FOUND, "INVALID_SECURITY_GROUP_NOT_FOUND", message)
}

/// SetSecurityGroupForLoadBalancers: no group exists that could be set.
pub(super) fn set_security_group(snapshot: &Snapshot, fields: &Fields) -> Result<wire::FailedLoadBalancers, Refusal> {
    let id = fields.need_text("securityGroupId")?;
    named(snapshot, fields)?;
    Err(unknown_group(&id))
}

/// UnbindSecurityGroupFromLoadBalancers: none is bound, so that is done.
pub(super) fn unbind_security_group(
    snapshot: &Snapshot,
    fields: &Fields,
) -> Result<wire::FailedLoadBalancers, Refusal> {
    named(snapshot, fields)?;
    Ok(wire::FailedLoadBalancers { failed_load_balancer_ids: Vec::new() })
}

fn named(snapshot: &Snapshot, fields: &Fields) -> Result<(), Refusal> {
    let ids = fields.texts("loadBalancerIds", NAMED_MAX)?;
    if ids.is_empty() {
        return Err(AdminError::Missing("loadBalancerIds").into());
    }
    ids.iter().try_for_each(|id| balancer(snapshot, id).map(drop))
}
