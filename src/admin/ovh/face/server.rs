//! A server and what each balancer instance sees of it.

use super::{Look, overlaid, server_key};
use crate::admin::ovh::ahead::Item;
use crate::admin::ovh::wire;
use crate::model::{
    AdminStatus, Declaration, Farm, FarmId, Field, Health, Host, Leftovers, PeerAddr, Role, Server, ServerId,
    ServerKey, StagedChange, StagedKey, Weight, Wish,
};
use crate::objects::form;
use crate::store::snapshot::{ServerRow, Sight};

/// Returns a server of a farm.
pub(in crate::admin::ovh) fn server(look: Look<'_>, farm: &Item<Farm>, item: &Item<Server>) -> wire::Server {
    let key = ServerKey { farm: FarmId(farm.id.0), server: ServerId(item.id.0) };
    let row = look.snapshot.and_then(|snapshot| {
        let farm = snapshot.farms.iter().find(|row| row.farm.id == key.farm)?;
        farm.servers.iter().find(|row| row.server.id == key.server)
    });
    server_at(look, farm, item, row)
}

/// Returns a server of a farm whose live row is known.
pub(in crate::admin::ovh) fn server_at(
    look: Look<'_>,
    farm: &Item<Farm>,
    item: &Item<Server>,
    row: Option<&ServerRow>,
) -> wire::Server {
    let key = ServerKey { farm: FarmId(farm.id.0), server: ServerId(item.id.0) };
    let base = item.model.as_ref().map(|server| of_model(server, row)).unwrap_or_default();
    let mut sights: Vec<&Sight> = row.iter().flat_map(|row| &row.sights).collect();
    // The vendor's own page looks at the last one.
    sights.sort_by_key(|sight| sight.last_check.as_ref().map(|check| check.at));
    wire::Server {
        server_state: sights.into_iter().map(server_state).collect(),
        ..told_with(look, key, item, &base, row.map(|row| &*row.server))
    }
}

/// Returns a server of a farm as clients are told of it, without what instances see of it. `live`: as it is now.
pub(in crate::admin::ovh) fn told(
    look: Look<'_>,
    farm: &Item<Farm>,
    item: &Item<Server>,
    live: Option<&Server>,
) -> wire::Server {
    let key = ServerKey { farm: FarmId(farm.id.0), server: ServerId(item.id.0) };
    let base = item.model.as_ref().map(|server| of_model(server, None)).unwrap_or_default();
    told_with(look, key, item, &base, live)
}

fn told_with(
    look: Look<'_>,
    key: ServerKey,
    item: &Item<Server>,
    base: &wire::Server,
    live: Option<&Server>,
) -> wire::Server {
    let mut face = overlaid(base, item, server_key);
    if let Some(Wish::Weight(weight)) = shown(look, key, item, live, Field::Weight)
        && face.weight.unwrap_or(Weight::DEFAULT.0) != weight.0
    {
        face.weight = Some(weight.0);
    }
    if let Some(Wish::Admin(admin)) = shown(look, key, item, live, Field::Admin) {
        customer_status(admin).clone_into(&mut face.status);
    }
    wire::Server { server_id: key.server.0, backend_id: key.farm.0, ..face }
}

/// Returns the value of a field that a client is told: what is staged of it, else what is live, else what is declared.
fn shown(look: Look<'_>, key: ServerKey, item: &Item<Server>, live: Option<&Server>, field: Field) -> Option<Wish> {
    if let Some(StagedChange::Wish(_, wish)) = look.view.staged_of(StagedKey::Field(key, field)).map(|it| &it.change) {
        return Some(*wish);
    }
    let declared = |made: &Declaration| form::object(&made.form).remove(field.as_str());
    let ahead = item.made.as_ref().and_then(|made| declared(made));
    let before = look.view.live.made().get(item.id).and_then(|made| declared(made));
    match (live, &item.model) {
        (Some(live), _) if ahead == before => Some(Wish::current(field, live)),
        (_, Some(model)) => Some(Wish::current(field, model)),
        (_, None) => match field {
            Field::Admin => ahead.and_then(|word| AdminStatus::parse(word.as_str()?)).map(Wish::Admin),
            Field::Weight => ahead.and_then(|weight| Weight::new(weight.as_i64()?)).map(Wish::Weight),
        },
    }
}

fn of_model(server: &Server, row: Option<&ServerRow>) -> wire::Server {
    let closes = server.on_down == Some(Leftovers::Close);
    wire::Server {
        address: row.map_or_else(|| host(server), address),
        status: customer_status(server.admin).to_owned(),
        display_name: Some(server.name.to_string()),
        port: Some(server.address.port),
        probe: server.probed,
        weight: Some(server.weight.0),
        backup: server.role == Role::Backup,
        ssl: server.tls.is_some(),
        chain: None,
        cookie: server.cookie.as_deref().map(str::to_owned),
        proxy_protocol_version: server.proxy_protocol.map(|form| form.as_str().to_owned()),
        on_marked_down: closes.then(|| "shutdown-sessions".to_owned()),
        ..wire::Server::default()
    }
}

/// Returns the text of a server's `address`; of one that is a Unix socket its path, with a port of 0.
fn address(row: &ServerRow) -> String {
    match &row.addr {
        Some(PeerAddr::Ip(addr)) => addr.ip().to_canonical().to_string(),
        Some(PeerAddr::Unix(_)) => row.server.address.to_string(),
        None => host(&row.server),
    }
}

fn host(server: &Server) -> String {
    match &server.address.host {
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name.to_string(),
        Host::Unix(_) => server.address.to_string(),
    }
}

/// Returns the word for what the operator wants of a server: whether it is to take new work.
fn customer_status(admin: AdminStatus) -> &'static str {
    match admin {
        AdminStatus::Active => "active",
        AdminStatus::Drain | AdminStatus::Maintenance => "inactive",
    }
}

fn server_state(sight: &Sight) -> wire::ServerState {
    let check = sight.last_check.as_deref();
    let waits = sight.health != Health::Off;
    let content = check.map(|check| check.content.as_str()).filter(|text| !text.is_empty());
    wire::ServerState {
        instance_id: sight.instance.0,
        status: sight.state.to_string(),
        check_status: check.map(|check| check.status.as_str()).or_else(|| waits.then_some("INI")),
        check_code: check.and_then(|check| check.code).map(|code| code.to_string()),
        last_check_content: content.map(str::to_owned),
        check_time: check.map(|check| check.at.to_string()),
    }
}
