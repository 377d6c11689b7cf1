//! Listeners: described, made, changed and removed.
//!
//! One that is made here is a frontend and a farm for each of its ports, made and changed together. One of the file or of
//! another shape is the frontend that it is, and its farm; of those a change goes as far as the config file has a word.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::check;
use super::error::Refusal;
use super::find::{Balancer, listeners};
use super::load_balancers::check_sockets;
use super::market::NAMED_MAX;
use super::ports;
use super::request::Fields;
use super::shown::{KINDS, SCHEDULERS, Shown, balance, is_unweighted};
use super::target::{Lane, Target, balancer, listen};
use super::to_wire;
use super::wire::kept::{KeptBackend, KeptListener, keep, kept};
use super::wire::{self, HealthCheck};
use super::write::{Asked, SHAPE, beside, fresh_name, maker, numbered, unbounded, write};
use crate::admin::error::AdminError;
use crate::admin::guard::quoted;
use crate::model::{Declaration, Name, ObjectId, ObjectKind, Protocol, Server, ServerAddr};
use crate::objects::whole::Maker;
use crate::objects::{Desk, Edit, Replace, World, form, whole};
use crate::store::Snapshot;

const NAME_CHARS_MAX: usize = 64;
const PERSISTENT_SECONDS_MAX: u64 = 3600;
const IDLE_SECONDS_MAX: u64 = 24 * 3600;
const IDLE_SECONDS_DEFAULT: u64 = 300;

/// DescribeListeners.
pub(super) fn describe(snapshot: &Snapshot, fields: &Fields) -> Result<wire::Listeners, Refusal> {
    let balancer = super::find::balancer(snapshot, &fields.need_text("loadBalancerId")?)?;
    let ids = fields.texts("listenerIds", NAMED_MAX)?;
    let protocol = fields.text("protocol")?;
    let mut found = listeners(snapshot, &balancer);
    found.retain(|it| {
        (ids.is_empty() || ids.iter().any(|id| *id == it.id() || id == it.row.frontend.name.as_str()))
            && protocol.as_ref().is_none_or(|wanted| wanted == it.shown().protocol())
    });
    Ok(wire::Listeners { listeners: found.iter().map(to_wire::listener).collect() })
}

/// What a request says of a listener; absent: as it is.
struct Said {
    name: Option<String>,
    scheduler: Option<&'static str>,
    ports: Option<Vec<u16>>,
    /// The same as they are told.
    port: Option<String>,
    kind: Option<&'static str>,
    persistent: Option<u64>,
    idle: Option<u64>,
    algo_opts: Option<String>,
    proxy_protocol: Option<&'static str>,
    check: Option<HealthCheck>,
}

impl Said {
    fn read(fields: &Fields) -> Result<Self, Refusal> {
        let proxy_protocol = match fields.text("proxyProtocol")?.map(|it| it.to_ascii_lowercase()).as_deref() {
            None => None,
            Some("v1") => Some("v1"),
            Some("v2") => Some("v2"),
            Some("off" | "none" | "false") => Some("none"),
            Some(other) => {
                let (got, bound) = (quoted(other), "v1, v2, off".to_owned());
                return Err(AdminError::BadValue { field: "proxyProtocol", got, bound }.into());
            }
        };
        let port = fields.text("port")?;
        Ok(Self {
            name: name(fields)?,
            scheduler: fields.word("scheduler", SCHEDULERS)?,
            ports: port.as_deref().map(ports::parse).transpose()?,
            port: port.as_deref().map(ports::stored),
            kind: fields.word("kind", KINDS)?,
            persistent: fields.number("persistent", &(0..=PERSISTENT_SECONDS_MAX))?,
            idle: fields.number_but_zero("idleTimeout", &(1..=IDLE_SECONDS_MAX))?,
            algo_opts: fields.text("algoOpts")?,
            proxy_protocol,
            check: fields.object("healthCheck")?.map(|check| check::read(&check)).transpose()?,
        })
    }

    /// Writes into a farm what of it is a farm's.
    fn put(&self, farm: &mut Map<String, Value>) {
        let mut set = |key: &str, value: Option<Value>| match value {
            Some(value) => drop(farm.insert(key.to_owned(), value)),
            None => drop(farm.remove(key)),
        };
        if let Some(scheduler) = self.scheduler {
            set("balance", Some(balance(scheduler).as_str().into()));
        }
        if let Some(seconds) = self.persistent {
            let sticky = json!({"source": {"idle": format!("{seconds}s")}});
            set("stickiness", (seconds > 0).then_some(sticky));
        }
        if let Some(word) = self.proxy_protocol {
            set("proxy_protocol", (word != "none").then(|| word.into()));
        }
        if let Some(check) = &self.check {
            set("probe", check::probe(check));
            set("probes", None);
            set("fail_open", Some(check.fail_open.into()));
        }
        if let Some(seconds) = self.idle {
            put_idle(farm, seconds);
        }
    }

    /// Leaves out what is so already.
    fn without(self, is: &Shown<'_>, is_at: &[u16]) -> Self {
        Self {
            name: self.name.filter(|it| *it != is.name()),
            scheduler: self.scheduler.filter(|it| *it != is.scheduler()),
            ports: self.ports.filter(|it| it != is_at),
            port: self.port.filter(|it| *it != ports::told(is.kept.port.as_deref(), is_at)),
            kind: self.kind.filter(|it| *it != is.kind()),
            persistent: self.persistent.filter(|it| *it != is.persistent()),
            idle: self.idle.filter(|it| *it != is.idle_timeout()),
            algo_opts: self.algo_opts,
            proxy_protocol: self.proxy_protocol.filter(|it| *it != is.proxy_protocol().unwrap_or("none")),
            check: self.check.filter(|it| *it != is.health_check()),
        }
    }

    /// Returns what is kept beside once this is so.
    fn keep(&self, before: &KeptListener) -> KeptListener {
        let or = |said: Option<&str>, before: &Option<String>| said.map(str::to_owned).or_else(|| before.clone());
        let algo_opts = or(self.algo_opts.as_deref(), &before.algo_opts);
        KeptListener {
            lane_of: before.lane_of,
            name: or(self.name.as_deref(), &before.name),
            port: or(self.port.as_deref(), &before.port),
            scheduler: or(self.scheduler, &before.scheduler),
            kind: or(self.kind, &before.kind),
            algo_opts: algo_opts.filter(|it| it != "None"),
            health_check: self.check.clone().or_else(|| before.health_check.clone()),
        }
    }
}

/// CreateListener.
pub(super) async fn create(asked: Asked<'_>, fields: &Fields) -> Result<wire::CreatedListener, Refusal> {
    unbounded(asked.caller)?;
    let balancer_id = fields.need_text("loadBalancerId")?;
    for field in ["listenerName", "protocol", "scheduler", "port"] {
        fields.need_text(field)?;
    }
    let protocol = fields.word("protocol", &["TCP", "UDP"])?;
    let protocol = if protocol == Some("UDP") { Protocol::Udp } else { Protocol::Tcp };
    let mut said = Said::read(fields)?;
    let ports = said.ports.take().unwrap_or_default();
    said.idle = said.idle.or(Some(IDLE_SECONDS_DEFAULT));
    said.check = said.check.or_else(|| Some(HealthCheck::default()));
    check_udp(protocol, &said)?;
    let listener_id = write(asked, move |desk| {
        let world = &*desk.view.live;
        let balancer = balancer(world, &balancer_id)?;
        said.kind = Some(kind(world, &balancer, said.kind, None)?);
        let options = said.algo_opts.as_deref();
        check_options(options, said.scheduler.unwrap_or_default(), said.kind.unwrap_or(KINDS[0]), said.persistent)?;
        check_place(&balancer, &ports)?;
        let maker = maker(balancer.service());
        let mut farm = Map::from_iter([("protocol".to_owned(), Value::from(protocol.as_str()))]);
        said.put(&mut farm);
        let label = said.name.as_deref().unwrap_or_default();
        let stem = match balancer.made {
            Some(made) => format!("{}-{label}", made.name),
            None => label.to_owned(),
        };
        let stem = fresh_name(&stem, &is_taken(world))?;
        let plan = Lanes { desk, world, maker: &maker, balancer: &balancer, protocol, farm, stem: &stem };
        let (mut edits, mut main) = (Vec::new(), None);
        for port in &ports {
            let id = plan.open(*port, main, &said.keep(&KeptListener::default()), &[], &mut edits)?;
            main = main.or(Some(id));
        }
        Ok((edits, main.map_or_else(String::new, |id| id.to_string())))
    })
    .await?;
    Ok(wire::CreatedListener { listener_id })
}

/// DeleteListener.
pub(super) async fn delete(asked: Asked<'_>, fields: &Fields) -> Result<wire::Nothing, Refusal> {
    unbounded(asked.caller)?;
    let (balancer_id, id) = (fields.need_text("loadBalancerId")?, fields.need_text("listenerId")?);
    write(asked, move |desk| {
        let world = &*desk.view.live;
        let listener = Target::find(world, &balancer(world, &balancer_id)?, &id)?;
        Ok((listener.lanes.iter().flat_map(|lane| closed(world, lane)).collect(), wire::Nothing {}))
    })
    .await
}

/// ModifyListener.
pub(super) async fn modify(asked: Asked<'_>, fields: &Fields) -> Result<wire::Nothing, Refusal> {
    unbounded(asked.caller)?;
    let (balancer_id, id) = (fields.need_text("loadBalancerId")?, fields.need_text("listenerId")?);
    let said = Said::read(fields)?;
    write(asked, move |desk| {
        let world = &*desk.view.live;
        let balancer = balancer(world, &balancer_id)?;
        let listener = Target::find(world, &balancer, &id)?;
        let edits = change(desk, &balancer, &listener, said)?;
        Ok((edits, wire::Nothing {}))
    })
    .await
}

fn change(desk: &Desk<'_>, balancer: &Balancer<'_>, listener: &Target<'_>, said: Said) -> Result<Vec<Edit>, Refusal> {
    let world = &*desk.view.live;
    let (shown, main) = (listener.shown()?, listener.main()?);
    let mut said = said.without(&shown, &listener.ports());
    // Nothing is kept beside what the file declares.
    said.port = said.port.filter(|_| main.made.is_some());
    let scheduler = said.scheduler.unwrap_or_else(|| shown.scheduler()).to_owned();
    let (is_kind, is_persistent) = (shown.kind().to_owned(), said.persistent.unwrap_or_else(|| shown.persistent()));
    if said.kind.is_some() {
        said.kind = Some(kind(world, balancer, said.kind, Some(main.frontend.id.into()))?);
    }
    // Those that are there stay, unless they are said to go.
    let options = said.algo_opts.as_deref().or(listener.kept.algo_opts.as_deref());
    check_options(options, &scheduler, said.kind.unwrap_or(&is_kind), Some(is_persistent))?;
    check_udp(main.frontend.protocol, &said)?;
    let mut edits = Vec::new();
    let after = said.keep(&listener.kept);
    if after != listener.kept {
        let extras = main.made.map_or("{}", |made| &made.extras);
        let id = main.frontend.id.into();
        edits.push(Edit::Replace(Replace { id, extras: Some(keep(extras, &after)), ..Replace::default() }));
    }
    if main.frontend.protocol == Protocol::Http
        && let Some(seconds) = said.idle.take()
    {
        let mut form = whole::frontend(world, main.frontend.id).unwrap_or_default();
        form.remove("routes");
        put_idle(&mut form, seconds);
        edits.push(whole::replaced(main.frontend.id.into(), form));
    }
    let wanted = said.ports.take();
    for lane in &listener.lanes {
        edits.extend(changed_farm(world, lane, &said)?);
        if said.kind == Some("DR") && listener.is_own() {
            edits.extend(following(world, lane, lane.ports().first().copied(), true));
        }
        if is_unweighted(shown.scheduler()) != is_unweighted(&scheduler) {
            edits.extend(reweighed(world, lane, is_unweighted(&scheduler)));
        }
    }
    if let Some(wanted) = wanted {
        edits.extend(moved(desk, balancer, listener, &said, &wanted)?);
    }
    Ok(edits)
}

/// Changes a farm's own form, if that changes anything.
fn changed_farm(world: &World, lane: &Lane<'_>, said: &Said) -> Result<Option<Edit>, Refusal> {
    let Some(farm) = lane.farm else { return Ok(None) };
    let mut form = whole::farm(world, farm.id).ok_or_else(Refusal::bug)?;
    form.remove("servers");
    let before = form.clone();
    said.put(&mut form);
    Ok((form != before).then(|| whole::replaced(farm.id.into(), form)))
}

/// Gives servers the weights that their scheduler looks at: where it looks at none, 1, or 0 for no new work.
fn reweighed(world: &World, lane: &Lane<'_>, is_unweighted: bool) -> Vec<Edit> {
    let servers = lane.farm.into_iter().flat_map(|farm| &farm.servers);
    let made = servers.filter_map(|it| Some((it, world.made().get(it.id.into())?)));
    made.map(|(server, made)| {
        let before: KeptBackend = kept(Some(made));
        let asked = to_wire::weight(&before, server.weight.0, !is_unweighted);
        let is = if is_unweighted { asked.min(1) } else { asked };
        let extras = Some(keep(&made.extras, &KeptBackend { weight: Some(asked), ..before }));
        let form = (is != server.weight.0).then(|| form::with(&made.form, "weight", is.into()));
        Edit::Replace(Replace { id: made.id, form, extras, ..Replace::default() })
    })
    .collect()
}

/// Has a listener listen on other ports.
fn moved(
    desk: &Desk<'_>,
    balancer: &Balancer<'_>,
    listener: &Target<'_>,
    said: &Said,
    wanted: &[u16],
) -> Result<Vec<Edit>, Refusal> {
    let (world, main) = (&*desk.view.live, listener.main()?);
    if !listener.is_own() {
        let addresses = main.addresses();
        check_sockets(addresses.len(), wanted.len())?;
        return Ok(vec![listening(world, main, listen(&addresses, wanted))?]);
    }
    check_place(balancer, wanted)?;
    let servers = main.farm.map_or(&[][..], |farm| &farm.servers);
    let fixed =
        |server: &&Arc<Server>| !kept::<KeptBackend>(world.made().get(server.id.into()).map(|made| &**made)).follows;
    if let (Some(server), true) = (servers.iter().find(fixed), wanted.len() > 1) {
        let message = format!(
            "port: backend {} has a port of its own, which a listener of several ports cannot lead to; deregister it first",
            server.address
        );
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "INVALID_BACKEND_SERVER_PORT", message));
    }
    let has = |lane: &Lane<'_>, port: u16| lane.ports().contains(&port);
    let mut missing: Vec<u16> =
        wanted.iter().copied().filter(|port| !listener.lanes.iter().any(|lane| has(lane, *port))).collect();
    let mut edits = Vec::new();
    let mut leaving: Vec<&Lane<'_>> =
        listener.lanes[1..].iter().filter(|lane| !wanted.iter().any(|port| has(lane, *port))).collect();
    if !wanted.iter().any(|port| has(main, *port)) {
        let port = if missing.is_empty() {
            // Every port has its lane: the first takes the place of one of them.
            let other = listener.lanes[1..].iter().find(|lane| wanted.iter().any(|port| has(lane, *port)));
            let other = other.ok_or_else(Refusal::bug)?;
            leaving.push(other);
            other.ports().first().copied().ok_or_else(Refusal::bug)?
        } else {
            missing.remove(0)
        };
        edits.push(listening(world, main, listen(&balancer.addresses, &[port]))?);
        edits.extend(following(world, main, Some(port), false));
    }
    edits.extend(leaving.into_iter().flat_map(|lane| closed(world, lane)));
    if missing.is_empty() {
        return Ok(edits);
    }
    let farm_id = main.farm.ok_or_else(Refusal::bug)?.id;
    let mut farm = whole::farm(world, farm_id).ok_or_else(Refusal::bug)?;
    farm.remove("servers");
    said.put(&mut farm);
    let servers: Vec<_> = servers.iter().filter_map(|it| world.made().get(it.id.into())).collect();
    let maker = maker(balancer.service());
    let stem = &main.frontend.name;
    let plan = Lanes { desk, world, maker: &maker, balancer, protocol: main.frontend.protocol, farm, stem };
    for port in missing {
        plan.open(port, Some(main.frontend.id.into()), &KeptListener::default(), &servers, &mut edits)?;
    }
    Ok(edits)
}

/// Has a frontend listen elsewhere.
fn listening(world: &World, lane: &Lane<'_>, listen: Value) -> Result<Edit, Refusal> {
    let mut form = whole::frontend(world, lane.frontend.id).ok_or_else(Refusal::bug)?;
    form.insert("listen".to_owned(), listen);
    if lane.made.is_some() {
        form.remove("routes");
        // Routes that are part of the form, not objects of their own, stay.
        if let Some(routes) = lane.made.and_then(|made| form::object(&made.form).remove("routes")) {
            form.insert("routes".to_owned(), routes);
        }
    }
    Ok(whole::replaced(lane.frontend.id.into(), form))
}

/// Has the servers that follow a listener follow it to this port; with `all`, the others from now on too.
fn following(world: &World, lane: &Lane<'_>, port: Option<u16>, all: bool) -> Vec<Edit> {
    let servers = lane.farm.into_iter().flat_map(|farm| &farm.servers);
    let made = servers.filter_map(|it| Some((it, world.made().get(it.id.into())?, port?)));
    let follow = made.filter(|(_, made, _)| all || kept::<KeptBackend>(Some(made)).follows);
    let one = |(server, made, port): (&Arc<Server>, &Arc<Declaration>, u16)| {
        let address = ServerAddr { port, ..server.address.clone() };
        let form = form::with(&made.form, "address", address.to_string().into());
        let extras = keep(&made.extras, &KeptBackend { follows: true, ..kept(Some(made)) });
        Edit::Replace(Replace { id: made.id, form: Some(form), extras: Some(extras), ..Replace::default() })
    };
    follow.map(one).collect()
}

/// Returns the edits that remove a frontend, and its farm where this shape made that for it.
fn closed(world: &World, lane: &Lane<'_>) -> Vec<Edit> {
    let farm = lane.farm.and_then(|farm| world.made().get(farm.id.into())).filter(|made| &*made.shape == SHAPE);
    let is_own = lane.made.is_some_and(|made| &*made.shape == SHAPE);
    let farm = farm.filter(|_| is_own).map(|made| Edit::Delete { id: made.id });
    std::iter::once(Edit::Delete { id: lane.frontend.id.into() }).chain(farm).collect()
}

/// Makes the frontends and farms of a listener.
struct Lanes<'p> {
    desk: &'p Desk<'p>,
    world: &'p World,
    maker: &'p Maker,
    balancer: &'p Balancer<'p>,
    protocol: Protocol,
    farm: Map<String, Value>,
    stem: &'p Name,
}

impl Lanes<'_> {
    /// Makes one more, with these servers; `of`: the listener, unless this is it.
    fn open(
        &self,
        port: u16,
        of: Option<ObjectId>,
        kept: &KeptListener,
        servers: &[&Arc<Declaration>],
        edits: &mut Vec<Edit>,
    ) -> Result<ObjectId, Refusal> {
        let name = match of {
            None => self.stem.clone(),
            Some(_) => numbered(&format!("{}-p{port}", self.stem), &is_taken(self.world))?,
        };
        let (frontend, farm) = (self.desk.fresh_id(), self.desk.fresh_id());
        let is_not_lane = of.is_none();
        let beside_it = if is_not_lane {
            keep("{}", kept)
        } else {
            keep("{}", &KeptListener { lane_of: of.map(|id| id.0), ..KeptListener::default() })
        };
        edits.push(self.maker.create(farm, ObjectKind::Farm, &name, None, self.farm.clone()));
        for it in servers {
            let mut form = form::object(&it.form);
            let address = form.get("address").and_then(Value::as_str).unwrap_or_default();
            let mut address: ServerAddr = address.parse().map_err(|_| Refusal::bug())?;
            address.port = port;
            form.insert("address".to_owned(), address.to_string().into());
            let edit = self.maker.create(self.desk.fresh_id(), ObjectKind::Server, &it.name, Some(farm), form);
            edits.push(beside(edit, Arc::clone(&it.extras)));
        }
        let form = Map::from_iter([
            ("protocol".to_owned(), self.protocol.as_str().into()),
            ("listen".to_owned(), listen(&self.balancer.addresses, &[port])),
            ("farm".to_owned(), name.as_str().into()),
        ]);
        edits.push(beside(self.maker.create(frontend, ObjectKind::Frontend, &name, None, form), beside_it));
        Ok(frontend)
    }
}

fn is_taken(world: &World) -> impl Fn(&str) -> bool {
    move |name| world.farm_named(name).is_some() || world.frontend_named(name).is_some()
}

fn put_idle(form: &mut Map<String, Value>, seconds: u64) {
    let timeouts = form.entry("timeouts").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(timeouts) = timeouts {
        timeouts.insert("idle".to_owned(), format!("{seconds}s").into());
    }
}

/// Returns the kind of a listener: all of a load balancer are of one; without a word, of that.
fn kind(
    world: &World,
    balancer: &Balancer<'_>,
    said: Option<&'static str>,
    but: Option<ObjectId>,
) -> Result<&'static str, Refusal> {
    let others = world.made().of(None, ObjectKind::Frontend);
    let others = others.filter(|it| it.service == balancer.service() && Some(it.id) != but);
    let kinds = others.filter_map(|it| kept::<KeptListener>(Some(it)).kind);
    let is = kinds.into_iter().next().and_then(|is| KINDS.iter().copied().find(|kind| **kind == *is));
    match (said, is) {
        (Some(said), Some(is)) if said != is => Err(Refusal::bad_value(format!(
            "kind: {said} is not {is}, which the other listeners of this load balancer are; send that one"
        ))),
        (said, is) => Ok(said.or(is).unwrap_or(KINDS[0])),
    }
}

fn check_options(options: Option<&str>, scheduler: &str, kind: &str, persistent: Option<u64>) -> Result<(), Refusal> {
    let Some(options) = options.filter(|options| *options != "None") else { return Ok(()) };
    let why = if (kind, scheduler) != ("DR", "mh") {
        "needs kind DR and scheduler mh"
    } else if persistent.unwrap_or(0) > 0 {
        "goes with no persistent but 0"
    } else {
        return Ok(());
    };
    let message = format!("algoOpts: \"{}\" {why}; send None to take them away", quoted(options).escape_default());
    Err(Refusal::bad_value(message))
}

/// What needs connections cannot be had of datagrams.
fn check_udp(protocol: Protocol, said: &Said) -> Result<(), Refusal> {
    if protocol == Protocol::Udp && said.proxy_protocol.is_some_and(|word| word != "none") {
        let message = "proxyProtocol: a UDP listener has no connections to begin with it; leave it out".to_owned();
        return Err(Refusal::bad_value(message));
    }
    Ok(())
}

fn check_place(balancer: &Balancer<'_>, ports: &[u16]) -> Result<(), Refusal> {
    if balancer.addresses.is_empty() {
        let message = "nothing can be listened on: service.addresses is empty; write there what APIs may listen on";
        return Err(Refusal::wrong_status(message.to_owned()));
    }
    check_sockets(balancer.addresses.len(), ports.len())
}

fn name(fields: &Fields) -> Result<Option<String>, AdminError> {
    let Some(name) = fields.text("listenerName")? else { return Ok(None) };
    let is_end = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric());
    let is_good = name.len() <= NAME_CHARS_MAX
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        && is_end(name.bytes().next())
        && is_end(name.bytes().next_back());
    if is_good {
        return Ok(Some(name));
    }
    let bound = format!("1..={NAME_CHARS_MAX} letters, digits, - and ., with a letter or digit at both ends");
    Err(AdminError::BadValue { field: "listenerName", got: format!("\"{}\"", quoted(&name).escape_default()), bound })
}
