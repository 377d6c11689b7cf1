//! Load balancers: described, made, named, given addresses, terminated and restored.
//!
//! One that is terminated is gone from every answer and its listeners are closed; it is kept for a week, in which it can
//! be restored, and in which another Terminate removes it for good. The file's own is the file's.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use http::StatusCode;
use serde_json::{Map, Value};

use super::error::Refusal;
use super::find::{Balancer, balancers, is_balancer};
use super::market::{self, NAMED_MAX};
use super::ports::SOCKETS_MAX;
use super::request::Fields;
use super::target::{self, Target, balancer};
use super::wire::kept::{KeptBalancer, KeptListener, keep, kept};
use super::wire::{self, Tag};
use super::write::{Asked, beside, fresh_name, maker, unbounded, write};
use super::{to_wire, wire::Created};
use crate::admin::error::AdminError;
use crate::admin::guard::quoted;
use crate::model::{Name, ObjectId, ObjectKind};
use crate::objects::{Edit, Replace, World, covers, form};
use crate::store::Snapshot;

/// The words of `ipStackType`; no source lists them.
const IP_STACKS: &[&str] = &["IPv4", "IPv6", "IPv4_IPv6"];
const PAGE_SIZE_DEFAULT: u64 = 20;
const PAGE_SIZES: RangeInclusive<u64> = 1..=1000;
const PAGES: RangeInclusive<u64> = 1..=1_000_000_000;
const TAGS_MAX: usize = 20;
const TAG_CHARS_MAX: usize = 64;
const NAME_CHARS_MAX: usize = 64;
/// Load balancers that one call may make.
const NUMBER_MAX: u64 = 20;
/// Addresses that one call may add.
const ADDRESSES_MAX: usize = 20;
/// Addresses that the vendor checks from.
const CHECK_ADDRESSES: usize = 2;
/// How long a terminated one can be restored.
const RECYCLED_SECONDS: u64 = 7 * 24 * 3600;

/// DescribeLoadBalancers.
pub(super) fn describe(snapshot: &Snapshot, fields: &Fields) -> Result<wire::LoadBalancers, Refusal> {
    let size = fields.number_but_zero("pageSize", &PAGE_SIZES)?.unwrap_or(PAGE_SIZE_DEFAULT);
    let page = fields.number_but_zero("pageNum", &PAGES)?.unwrap_or(1);
    let ids = fields.texts("loadBalancerIds", NAMED_MAX)?;
    let name = fields.text("loadBalancerName")?;
    let region = fields.text("regionId")?;
    let group = fields.text("resourceGroupId")?;
    let vpc = fields.text("vpcId")?;
    let stack = fields.word("ipStackType", IP_STACKS)?;
    let has_group = fields.text("securityGroupId")?.is_some();
    let keys = fields.texts("tagKeys", TAGS_MAX)?;
    let tags = tags(fields)?;
    let is_named = |is: &str, want: &str| match want.strip_suffix('*') {
        Some(start) => is.starts_with(start),
        None => is == want,
    };
    let is_wanted = |it: &Balancer<'_>| {
        (ids.is_empty() || ids.contains(&it.id))
            && name.as_deref().is_none_or(|want| is_named(&it.kept.name, want))
            && region.as_deref().is_none_or(|want| want == snapshot.service.zone.as_str())
            && group.as_deref().is_none_or(|want| want == to_wire::resource_group(it))
            && stack.is_none_or(|want| to_wire::ip_stack(&it.addresses) == Some(want))
            && vpc.as_deref().is_none_or(|want| it.kept.vpc_id.as_deref() == Some(want))
            && !has_group
            && keys.iter().all(|key| it.kept.tags.iter().any(|tag| tag.key == *key))
            && tags.iter().all(|tag| it.kept.tags.contains(tag))
    };
    let found: Vec<_> = balancers(snapshot).into_iter().filter(is_wanted).collect();
    let skip = usize::try_from((page - 1).saturating_mul(size)).unwrap_or(usize::MAX);
    let take = usize::try_from(size).unwrap_or(usize::MAX);
    let shown = found.iter().skip(skip).take(take).map(|it| to_wire::load_balancer(snapshot, it));
    Ok(wire::LoadBalancers { total_count: found.len(), data_set: shown.collect() })
}

/// CreateLoadBalancer.
pub(super) async fn create(asked: Asked<'_>, fields: &Fields) -> Result<Created, Refusal> {
    unbounded(asked.caller)?;
    let name = name(fields)?;
    let region = fields.clone();
    market::check_internet(fields)?;
    market::no_security_group(fields)?;
    let (vpc_id, subnet_id) = (fields.text("vpcId")?, fields.text("subnetId")?);
    if vpc_id.is_none() && subnet_id.is_none() {
        return Err(AdminError::Missing("vpcId").into());
    }
    let checks = fields.texts("healthCheckPrivateIps", CHECK_ADDRESSES)?;
    if subnet_id.is_some() && !checks.is_empty() && checks.len() != CHECK_ADDRESSES {
        let got = format!("{} of them", checks.len());
        let bound = CHECK_ADDRESSES.to_string();
        return Err(AdminError::BadValue { field: "healthCheckPrivateIps", got, bound }.into());
    }
    let stack = fields.word("ipStackType", IP_STACKS)?;
    let number = fields.number_but_zero("number", &(1..=NUMBER_MAX))?.unwrap_or(1);
    let tags = match fields.object("tags")? {
        Some(tags_of) => tags(&tags_of)?,
        None => Vec::new(),
    };
    let resource_group_id = fields.text("resourceGroupId")?;
    let balancer = KeptBalancer { name, vpc_id, subnet_id, resource_group_id, tags, ..KeptBalancer::default() };
    let now = asked.call.now.unix_seconds();
    let ids = write(asked, move |desk| {
        let world = &*desk.view.live;
        market::in_region(&region, world.of_file().service.zone.as_str())?;
        let has = to_wire::ip_stack(&world.of_file().service.addresses);
        if let Some(wanted) = stack.filter(|wanted| has != Some(*wanted)) {
            let is = has.unwrap_or("none");
            let message =
                format!("ipStackType: {wanted} cannot be had: service.addresses are {is}; send that or nothing");
            return Err(Refusal::bad_value(message));
        }
        let mut edits = expired(world, now);
        let mut given: Vec<Name> = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..number {
            let is_taken = |name: &str| {
                world.made().named(None, ObjectKind::Service, name).is_some()
                    || world.of_file().service.name.as_str() == name
                    || given.iter().any(|it| it.as_str() == name)
            };
            let name = fresh_name(&balancer.name, &is_taken)?;
            let id = desk.fresh_id();
            let edit = maker(None).create(id, ObjectKind::Service, &name, None, Map::new());
            edits.push(beside(edit, keep("{}", &balancer)));
            ids.push(id.to_string());
            given.push(name);
        }
        Ok((edits, ids))
    })
    .await?;
    let order_number = format!("O{}", ids.first().map_or("", String::as_str));
    Ok(Created { order_number, load_balancer_ids: ids })
}

/// ModifyLoadBalancersAttribute: the name.
pub(super) async fn modify(asked: Asked<'_>, fields: &Fields) -> Result<wire::Nothing, Refusal> {
    unbounded(asked.caller)?;
    let ids = fields.texts("loadBalancerIds", NAMED_MAX)?;
    if ids.is_empty() {
        return Err(AdminError::Missing("loadBalancerIds").into());
    }
    let name = name(fields)?;
    write(asked, move |desk| {
        let world = &*desk.view.live;
        let mut edits = Vec::new();
        for id in &ids {
            let found = balancer(world, id)?;
            match found.made {
                None if found.kept.name == name => {}
                None => return Err(of_file(id)),
                Some(made) => {
                    edits.push(replaced(made.id, &made.extras, &KeptBalancer { name: name.clone(), ..found.kept }))
                }
            }
        }
        Ok((edits, wire::Nothing {}))
    })
    .await
}

/// AddResourceResourceGroup: the resource group.
pub(super) async fn group(asked: Asked<'_>, fields: &Fields) -> Result<wire::Nothing, Refusal> {
    unbounded(asked.caller)?;
    let group = fields.need_text("resourceGroupId")?;
    let ids = fields.texts("resources", NAMED_MAX)?;
    if ids.is_empty() {
        return Err(AdminError::Missing("resources").into());
    }
    write(asked, move |desk| {
        let world = &*desk.view.live;
        let mut edits = Vec::new();
        for id in &ids {
            let found = balancer(world, id)?;
            let Some(made) = found.made else { return Err(of_file(id)) };
            let resource_group_id = Some(group.clone());
            edits.push(replaced(made.id, &made.extras, &KeptBalancer { resource_group_id, ..found.kept }));
        }
        Ok((edits, wire::Nothing {}))
    })
    .await
}

/// ModifyResourceTags.
pub(super) async fn tag(asked: Asked<'_>, fields: &Fields) -> Result<wire::Nothing, Refusal> {
    unbounded(asked.caller)?;
    let id = fields.need_text("resourceUuid")?;
    let set = tags_at(fields, "replaceTags")?;
    let gone = fields.texts("deleteTagKeys", TAGS_MAX)?;
    write(asked, move |desk| {
        let found = balancer(&desk.view.live, &id)?;
        let Some(made) = found.made else { return Err(of_file(&id)) };
        let mut tags = found.kept.tags.clone();
        tags.retain(|tag| !gone.contains(&tag.key) && !set.iter().any(|new| new.key == tag.key));
        tags.extend(set);
        if tags.len() > TAGS_MAX {
            let got = format!("{} of them", tags.len());
            return Err(AdminError::BadValue { field: "replaceTags", got, bound: format!("0..={TAGS_MAX}") }.into());
        }
        Ok((vec![replaced(made.id, &made.extras, &KeptBalancer { tags, ..found.kept })], wire::Nothing {}))
    })
    .await
}

/// AddLoadBalancersPrivateIps and DeleteLoadBalancersPrivateIps: listeners open on these too, or close there.
pub(super) async fn addresses(asked: Asked<'_>, fields: &Fields, is_added: bool) -> Result<wire::Nothing, Refusal> {
    unbounded(asked.caller)?;
    let id = fields.need_text("loadBalancerId")?;
    let wanted = fields.texts("privateIps", if is_added { ADDRESSES_MAX } else { 1 })?;
    if wanted.is_empty() {
        return Err(AdminError::Missing("privateIps").into());
    }
    let parsed = wanted.iter().map(|text| text.parse::<IpAddr>().map_err(|_| bad_address(text, "is no IP address")));
    let wanted: Vec<IpAddr> = parsed.collect::<Result<_, _>>()?;
    write(asked, move |desk| {
        let world = &*desk.view.live;
        let found = balancer(world, &id)?;
        let Some(made) = found.made else { return Err(of_file(&id)) };
        let after = changed(world, &found.addresses, &wanted, is_added)?;
        let mut edits = Vec::new();
        let text = Value::Array(after.iter().map(|ip| Value::from(ip.to_string())).collect());
        edits.push(Edit::Replace(Replace {
            id: made.id,
            form: Some(form::with(&made.form, "addresses", text)),
            ..Replace::default()
        }));
        for it in world.made().of(None, ObjectKind::Frontend).filter(|it| it.service == Some(made.id)) {
            if kept::<KeptListener>(Some(it)).lane_of.is_some() {
                continue;
            }
            let listener = Target::find(world, &found, &it.id.to_string())?;
            check_sockets(after.len(), listener.ports().len())?;
            for lane in &listener.lanes {
                let Some(it) = lane.made else { continue };
                let listen = target::listen(&after, &lane.ports());
                edits.push(Edit::Replace(Replace {
                    id: it.id,
                    form: Some(form::with(&it.form, "listen", listen)),
                    ..Replace::default()
                }));
            }
        }
        Ok((edits, wire::Nothing {}))
    })
    .await
}

/// TerminateLoadBalancer.
pub(super) async fn terminate(asked: Asked<'_>, fields: &Fields) -> Result<wire::Nothing, Refusal> {
    unbounded(asked.caller)?;
    let id = fields.need_text("loadBalancerId")?;
    market::no_eips(fields)?;
    let now = asked.call.now.unix_seconds();
    write(asked, move |desk| {
        let world = &*desk.view.live;
        let found = Balancer::find(&world.of_file().service, world.made(), &id)?;
        let Some(made) = found.made else { return Err(of_file(&id)) };
        if found.is_recycled() {
            return Ok((gone(world, made.id), wire::Nothing {}));
        }
        let mut edits = Vec::new();
        let inert = carrying(world, made.id).filter(|it| it.is_inert).map(|it| it.id.0).collect();
        for it in carrying(world, made.id).filter(|it| !it.is_inert) {
            edits.push(Edit::Replace(Replace { id: it.id, is_inert: Some(true), ..Replace::default() }));
        }
        let after = KeptBalancer { recycled_at: Some(now), inert, ..found.kept };
        edits.push(replaced(made.id, &made.extras, &after));
        Ok((edits, wire::Nothing {}))
    })
    .await
}

/// RestoreLoadBalancer: its listeners open again, if nobody took their ports.
pub(super) async fn restore(asked: Asked<'_>, fields: &Fields) -> Result<wire::Nothing, Refusal> {
    unbounded(asked.caller)?;
    let id = fields.need_text("loadBalancerId")?;
    let now = asked.call.now.unix_seconds();
    write(asked, move |desk| {
        let world = &*desk.view.live;
        let found = Balancer::find(&world.of_file().service, world.made(), &id)?;
        let (Some(made), true) = (found.made, found.is_recycled()) else {
            return Err(Refusal::wrong_status(format!(
                "load balancer {id} is not terminated; there is nothing to restore"
            )));
        };
        if is_expired(&found.kept, now) {
            return Err(Refusal::no_load_balancer(&id));
        }
        let mut edits = Vec::new();
        for it in carrying(world, made.id).filter(|it| !found.kept.inert.contains(&it.id.0)) {
            edits.push(Edit::Replace(Replace { id: it.id, is_inert: Some(false), ..Replace::default() }));
        }
        let after = KeptBalancer { recycled_at: None, inert: Vec::new(), ..found.kept };
        edits.push(replaced(made.id, &made.extras, &after));
        Ok((edits, wire::Nothing {}))
    })
    .await
}

/// Refuses more sockets than a listener may have.
pub(super) fn check_sockets(addresses: usize, ports: usize) -> Result<(), Refusal> {
    if addresses * ports <= SOCKETS_MAX {
        return Ok(());
    }
    let message = format!(
        "port: {ports} ports on {addresses} addresses are {} sockets, more than {SOCKETS_MAX}; name fewer ports",
        addresses * ports
    );
    Err(Refusal::new(StatusCode::BAD_REQUEST, "INVALID_PORT_RANGE", message))
}

fn changed(world: &World, is: &[IpAddr], wanted: &[IpAddr], is_added: bool) -> Result<Vec<IpAddr>, Refusal> {
    let service = &world.of_file().service.addresses;
    let mut after = is.to_vec();
    for ip in wanted {
        match (after.iter().position(|it| it == ip), is_added) {
            (_, true) if covers(&after, *ip) => return Err(bad_address(&ip.to_string(), "is there already")),
            (Some(_), true) => return Err(Refusal::bug()),
            (None, true) if !covers(service, *ip) => {
                return Err(bad_address(&ip.to_string(), "is not among service.addresses; write it there first"));
            }
            (None, true) => after.push(*ip),
            (Some(_), false) if after.len() == 1 => {
                return Err(bad_address(&ip.to_string(), "is the last one; a load balancer keeps one"));
            }
            (Some(at), false) => {
                after.remove(at);
            }
            (None, false) => return Err(bad_address(&ip.to_string(), "is none of this load balancer")),
        }
    }
    Ok(after)
}

fn bad_address(text: &str, why: &str) -> Refusal {
    let text = quoted(text);
    let message = format!("privateIps: \"{}\" {why}", text.escape_default());
    Refusal::new(StatusCode::BAD_REQUEST, "INVALID_INSTANCE_IP_ADDRESS", message)
}

fn of_file(id: &str) -> Refusal {
    let message = format!("load balancer {id} is declared in the config file; change service there and reload");
    Refusal::new(StatusCode::CONFLICT, "OPERATION_DENIED_FILE_MADE", message)
}

fn replaced(id: ObjectId, extras: &str, after: &KeptBalancer) -> Edit {
    Edit::Replace(Replace { id, extras: Some(keep(extras, after)), ..Replace::default() })
}

/// Returns the farms and frontends of a service.
fn carrying(world: &World, service: ObjectId) -> impl Iterator<Item = &std::sync::Arc<crate::model::Declaration>> {
    let kinds = [ObjectKind::Farm, ObjectKind::Frontend];
    kinds.into_iter().flat_map(|kind| world.made().of(None, kind)).filter(move |it| it.service == Some(service))
}

/// Returns the edits that remove a load balancer and everything of it.
fn gone(world: &World, service: ObjectId) -> Vec<Edit> {
    let all = carrying(world, service).map(|it| it.id).chain(std::iter::once(service));
    all.map(|id| Edit::Delete { id }).collect()
}

/// Returns the edits that remove what was terminated too long ago to be restored: of one, so that a write stays small.
fn expired(world: &World, now: u64) -> Vec<Edit> {
    let services = world.made().of(None, ObjectKind::Service).filter(|it| is_balancer(it));
    let mut old = services.filter(|it| is_expired(&kept(Some(it)), now));
    old.next().map(|it| gone(world, it.id)).unwrap_or_default()
}

fn is_expired(balancer: &KeptBalancer, now: u64) -> bool {
    balancer.recycled_at.is_some_and(|at| at.saturating_add(RECYCLED_SECONDS) < now)
}

fn name(fields: &Fields) -> Result<String, Refusal> {
    let name = fields.need_text("loadBalancerName")?;
    let chars = name.chars().count();
    if chars <= NAME_CHARS_MAX && !name.chars().any(char::is_control) {
        return Ok(name);
    }
    let got = format!("\"{}\"", quoted(&name).escape_default());
    Err(AdminError::BadValue { field: "loadBalancerName", got, bound: format!("1..={NAME_CHARS_MAX} characters") }
        .into())
}

fn tags(of: &Fields) -> Result<Vec<Tag>, Refusal> {
    tags_at(of, "tags")
}

fn tags_at(of: &Fields, field: &'static str) -> Result<Vec<Tag>, Refusal> {
    let one = |tag: &Fields| -> Result<Tag, AdminError> {
        let (key, value) = (tag.need_text("tags.key")?, tag.need_text("tags.value")?);
        for (field, text) in [("tags.key", &key), ("tags.value", &value)] {
            if text.chars().count() > TAG_CHARS_MAX {
                let bound = format!("1..={TAG_CHARS_MAX} characters");
                return Err(AdminError::BadValue { field, got: quoted(text), bound });
            }
        }
        Ok(Tag { key, value })
    };
    let tags: Result<Vec<Tag>, AdminError> = of.objects(field, TAGS_MAX)?.iter().map(one).collect();
    Ok(tags?)
}
