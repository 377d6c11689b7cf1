//! Drain, maintenance, ready and weight: what is ordered of one server, and how a drain goes on.
//!
//! A wait looks at the snapshot now and then and holds nothing but the names. Runs on the admin runtime; a change, which
//! is kept on disk, on a thread of its own.

use std::time::Duration;

use axum::response::Response;
use tokio::time::timeout;

use crate::clock;
use crate::model::{Change, Reserve, ServerKey, Terms, Wish};
use crate::report::report;
use crate::store::ChangeError;

use crate::admin::aside::{self, NotMade, Share};
use crate::admin::call::{AdminState, Call, Caller};
use crate::admin::error::AdminError;
use crate::admin::guard::quoted;
use crate::admin::long::{Held, LongCall, NOT_HELD, Over, Stream, event};

use super::error::Failure;
use super::from_wire::{self, Asked};
use super::route::ServerAct;
use super::wire::OrderWire;
use super::{answered, rows_of, to_wire};

/// How often a wait looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often a stream tells how a drain stands.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Orders a drain; with `wait`, answers once nothing is open any more or the time is over.
pub(super) async fn drain(
    state: &AdminState,
    call: &Call,
    caller: &Caller,
    names: (&str, &str),
    wait: Option<Duration>,
) -> Result<Response, Failure> {
    let asked = from_wire::terms(&call.body, call.now)?;
    // Before anything is changed: who may not wait is told so at once.
    let long = wait.map(|_| begin(state, caller)).transpose()?;
    change(state, call, caller, names, wished(ServerAct::Drain, asked)).await?;
    if let Some((wait, long)) = wait.zip(long) {
        until_idle(state, call, names, wait, &long).await?;
    }
    server(state, names).await
}

/// Orders maintenance or gives a server work again.
pub(super) async fn act(
    state: &AdminState,
    call: &Call,
    caller: &Caller,
    names: (&str, &str),
    act: ServerAct,
) -> Result<Response, Failure> {
    let asked = match act {
        ServerAct::Drain | ServerAct::Maintenance => from_wire::terms(&call.body, call.now)?,
        ServerAct::Ready => {
            let reason = from_wire::order(&call.body)?.reason;
            Asked { what: Terms::default(), reason, reserve: Reserve::Ignored }
        }
    };
    change(state, call, caller, names, wished(act, asked)).await?;
    server(state, names).await
}

/// Sets a weight.
pub(super) async fn weight(
    state: &AdminState,
    call: &Call,
    caller: &Caller,
    names: (&str, &str),
) -> Result<Response, Failure> {
    let Asked { what, reason, reserve } = from_wire::weight(&call.body)?;
    change(state, call, caller, names, Asked { what: (Wish::Weight(what), Terms::default()), reason, reserve }).await?;
    server(state, names).await
}

/// Tells how an order stands; with `wait`, once nothing is open any more or the time is over.
pub(super) async fn read(
    state: &AdminState,
    call: &Call,
    caller: &Caller,
    names: (&str, &str),
    wait: Option<Duration>,
) -> Result<Response, Failure> {
    let mut order = look(state, call, names).await?.ok_or_else(|| Failure::no_order(names.0, names.1))?;
    if let Some(wait) = wait {
        let long = begin(state, caller)?;
        until_idle(state, call, names, wait, &long).await?;
        order = look(state, call, names).await?.unwrap_or(order);
    }
    tracing::trace!(request_id = call.request_id, left = order.left, "drain asked about");
    answered(&order)
}

/// Opens a stream that tells each second how an order stands, until nothing is open any more or it is over.
pub(super) fn stream(
    state: &AdminState,
    call: &Call,
    caller: &Caller,
    names: (&str, &str),
) -> Result<Response, Failure> {
    let snapshot = state.store.snapshot(call.now);
    if rows_of(&snapshot, names)?.1.order.is_none() {
        return Err(Failure::no_order(names.0, names.1));
    }
    let (response, stream) = Stream::open(begin(state, caller)?);
    let (held, state) = (Held::of(state, call, caller), state.clone());
    let (call, farm, server) = (call.clone(), names.0.to_owned(), names.1.to_owned());
    tokio::spawn(async move {
        // Over: nobody listens any more, or nothing is left to tell.
        let _ = tell(&state, &call, (&farm, &server), held, stream).await;
    });
    Ok(response)
}

fn begin(state: &AdminState, caller: &Caller) -> Result<LongCall, Failure> {
    state.long_calls.begin(&caller.grant.name).map_err(Failure::too_many_open)
}

async fn tell(
    state: &AdminState,
    call: &Call,
    names: (&str, &str),
    mut held: Held,
    mut stream: Stream,
) -> Result<(), Over> {
    loop {
        if !held.is_good() {
            stream.end(NOT_HELD);
            return Ok(());
        }
        let Ok(Some(order)) = look(state, call, names).await else {
            stream.end(": the order is over\n\n");
            return Ok(());
        };
        // Numbers and texts cannot fail to be written.
        let json = serde_json::to_string(&order).unwrap_or_default();
        stream.send(event(None, "drain", &json)).await?;
        if order.left == 0 {
            return Ok(());
        }
        tokio::select! {
            goes_on = stream.call.rest(TELL_EVERY) => if !goes_on { return Ok(()) },
            () = stream.is_left() => return Ok(()),
        }
    }
}

/// Waits until nothing is open on the server, its order is over, the time is up or the admin side stops.
async fn until_idle(
    state: &AdminState,
    call: &Call,
    names: (&str, &str),
    wait: Duration,
    long: &LongCall,
) -> Result<(), Failure> {
    let idle = async {
        while look(state, call, names).await?.is_some_and(|order| order.left > 0) && long.rest(LOOK_EVERY).await {}
        Ok(())
    };
    // The time being up is no failure: the answer says what is left.
    timeout(wait, idle).await.unwrap_or(Ok(()))
}

/// Returns how a server's order stands, if it is under one.
async fn look(state: &AdminState, call: &Call, names: (&str, &str)) -> Result<Option<OrderWire>, Failure> {
    let (store, farm, server) = (state.store.clone(), names.0.to_owned(), names.1.to_owned());
    let seen = state.aside(call, (Share::Looks, ""), move || {
        let snapshot = store.snapshot(clock::wall());
        let (_, row) = rows_of(&snapshot, (&farm, &server))?;
        Ok::<_, AdminError>(row.order.as_ref().map(|order| to_wire::order::order(order, snapshot.at)))
    });
    match seen.await {
        Ok(seen) => Ok(seen?),
        Err(NotMade::Broken) => Ok(None),
        Err(busy @ NotMade::Busy) => Err(busy.into()),
    }
}

fn wished(act: ServerAct, asked: Asked<Terms>) -> Asked<(Wish, Terms)> {
    let Asked { what, reason, reserve } = asked;
    Asked { what: (Wish::Admin(act.wanted()), what), reason, reserve }
}

/// Makes a change.
async fn change(
    state: &AdminState,
    call: &Call,
    caller: &Caller,
    names: (&str, &str),
    asked: Asked<(Wish, Terms)>,
) -> Result<(), Failure> {
    let (state, call, caller) = (state.clone(), call.clone(), caller.clone());
    let (farm, server) = (names.0.to_owned(), names.1.to_owned());
    let changed = aside::done(move || change_now(&state, &call, &caller, (&farm, &server), asked));
    changed.await.unwrap_or_else(|| Err(Failure::bug()))
}

/// Makes a change; waits for the disk.
fn change_now(
    state: &AdminState,
    call: &Call,
    caller: &Caller,
    (farm, server): (&str, &str),
    asked: Asked<(Wish, Terms)>,
) -> Result<(), Failure> {
    let Asked { what: (wish, terms), reason, reserve } = asked;
    let snapshot = state.store.snapshot(call.now);
    let (farm_row, server_row) = rows_of(&snapshot, (farm, server))?;
    caller.may_change(&farm_row.farm.name)?;
    let target = ServerKey { farm: farm_row.farm.id, server: server_row.server.id };
    let change = Change { target, wish, terms, reserve };
    match state.store.change(&change, caller.act(call, reason.as_deref())) {
        Ok(()) => {}
        Err(ChangeError::UnknownServer(_)) => {
            return Err(AdminError::NotFound { kind: "server", id: quoted(server) }.into());
        }
        Err(ChangeError::Reserve { left, of, share, reserve }) => {
            return Err(Failure::reserve(&format!(
                "this would leave {left} of {of} servers, {share} % of the weight, and farm \"{}\" keeps {reserve} % in \
                 reserve",
                farm_row.farm.name
            )));
        }
        Err(error @ ChangeError::Journal(_)) => {
            tracing::error!(request_id = call.request_id, error = %report(&error), "admin change not kept");
            return Err(AdminError::NotKept.into());
        }
    }
    tracing::info!(
        request_id = call.request_id,
        actor = %caller.grant.name,
        source = %call.peer,
        farm = %farm_row.farm.name,
        server = %server_row.server.name,
        field = wish.field().as_str(),
        value = %wish,
        "admin change"
    );
    Ok(())
}

/// Answers with the server as it is now.
async fn server(state: &AdminState, names: (&str, &str)) -> Result<Response, Failure> {
    let (store, farm, server) = (state.store.clone(), names.0.to_owned(), names.1.to_owned());
    // What is done is told, however much waits for its turn.
    let answer = aside::done(move || {
        let snapshot = store.snapshot(clock::wall());
        let (farm, server) = rows_of(&snapshot, (&farm, &server))?;
        answered(&to_wire::server(farm, server, &snapshot.made, snapshot.at))
    });
    answer.await.unwrap_or_else(|| Err(Failure::bug()))
}
