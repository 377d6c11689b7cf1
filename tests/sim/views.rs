//! What others read: snapshot, table and explanation agree, word for word.

use farmgate::farm::Serving;
use farmgate::health::explain::{Carriers, HeldBy};
use farmgate::health::{FarmFacts, ServerFacts, explain as explain_facts, explain_farm as explain_farm_facts};
use farmgate::model::AdminStatus;
use farmgate::store::Table;
use farmgate::store::snapshot::{FarmRow, ServerRow, Snapshot};

use super::{Held, must};

fn carriers(farm: &FarmRow) -> Carriers {
    match farm.serving {
        Serving::Backups => Carriers::Backups,
        Serving::FailOpen => Carriers::FailOpen,
        Serving::Nobody => Carriers::Nobody,
        Serving::Held => Carriers::Held,
        Serving::Primaries => Carriers::Primaries,
        Serving::Unproven => Carriers::Unproven,
    }
}

fn facts<'a>(snapshot: &Snapshot, farm: &'a FarmRow, row: &'a ServerRow) -> ServerFacts<'a> {
    let incident = snapshot.incident.as_ref().filter(|_| row.is_held_by_incident);
    ServerFacts {
        farm: &farm.farm,
        server: &row.server,
        state: &row.state,
        standing: &row.standing,
        probes: &row.probes,
        recent: &row.recent,
        decided_by: &row.decided_by,
        durations: &[],
        since: row.health_since,
        state_since: row.state_since,
        now: snapshot.at,
        effective_weight: row.effective_hundredths,
        rotation_weight: farm.servers.iter().map(|row| u64::from(row.effective_hundredths)).sum(),
        carriers: carriers(farm),
        held: incident.map(|incident| HeldBy { incident: incident.id, until: incident.until }),
        overrides: &row.overrides,
        is_resolved: row.addr.is_some(),
        leaving_since: None,
        deadline: row.order.as_ref().and_then(|order| Some((order.deadline?, order.at_deadline))),
        open: row.in_flight,
        queued: row.queued,
    }
}

/// The state, and the sentence that begins with it, are of the class that is expected.
pub(crate) fn explain_server(snapshot: &Snapshot, farm: &FarmRow, row: &ServerRow, class: &str) -> Held {
    let progress = row.state.strip_prefix(class).map(str::trim_start);
    let is_of_class = progress.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'/'));
    must!(is_of_class, "(10) the state has its word", "{} is {:?}, not {class}: {row:?}", row.server.name, row.state);
    let sentence = explain_facts(&facts(snapshot, farm, row)).sentence;
    let behind = sentence.strip_prefix(&row.state);
    let is_said = behind.is_some_and(|rest| rest.starts_with(':') || rest.starts_with(" since "));
    must!(is_said, "(10) the explanation begins with the state", "{:?}: {sentence}", row.state);
    Ok(())
}

/// An explanation of a farm names every server of it.
pub(crate) fn explain_farm(snapshot: &Snapshot, farm: &FarmRow) -> Held {
    let servers: Vec<_> = farm.servers.iter().map(|row| facts(snapshot, farm, row)).collect();
    let facts = FarmFacts { farm: &farm.farm, carriers: carriers(farm), servers: &servers, now: snapshot.at };
    let explanation = explain_farm_facts(&facts);
    let is_whole = !explanation.sentence.is_empty() && explanation.tree.len() == servers.len();
    must!(is_whole, "(10) a farm is explained with all its servers", "{explanation:?}");
    Ok(())
}

/// Snapshot and table are of one instant.
pub(crate) fn agree(snapshot: &Snapshot, table: &Table) -> Held {
    must!(snapshot.farms.len() == table.farms.len(), "(10) snapshot and table agree", "on farms");
    for (row, farm) in snapshot.farms.iter().zip(&table.farms) {
        must!(row.serving == farm.rotation.serving, "(10) snapshot and table agree", "{:?}", row.serving);
        for ((at, entry), row) in farm.servers.iter().enumerate().zip(&row.servers) {
            let is_same = row.server == entry.server
                && row.standing == entry.standing
                && row.addr == entry.addr
                && row.in_flight == entry.live.in_flight_total()
                && row.is_held_by_incident == entry.held.is_some()
                && (row.effective_weight > 0) == farm.rotation.holds(at)
                && row.order.is_some() == (entry.server.admin != AdminStatus::Active);
            must!(is_same, "(10) snapshot and table agree", "{row:?}\n{entry:?}");
        }
    }
    Ok(())
}
