//! Every event of the Store becomes one log line, here and nowhere else.

use crate::model::{Event, EventKind, Health};

/// Logs an event.
pub(super) fn log(event: &Event) {
    let generation = event.generation.0;
    match &event.kind {
        EventKind::Changed { farm_name, server_name, from, to, act, .. } => tracing::info!(
            farm = %farm_name,
            server = %server_name,
            field = from.field().as_str(),
            %from,
            %to,
            actor = &*act.actor,
            source = &*act.source,
            reason = act.reason.as_deref().unwrap_or(""),
            generation,
            "server changed by operator"
        ),
        EventKind::FarmServing { farm_name, serving, .. } => match *serving {
            "primaries" => tracing::info!(farm = %farm_name, serving, generation, "farm serves normally"),
            "nobody" => tracing::error!(farm = %farm_name, serving, generation, "farm has no server"),
            _ => tracing::warn!(farm = %farm_name, serving, generation, "farm is degraded"),
        },
        EventKind::Incident { incident, phase, farms, servers, .. } => {
            let farms: Vec<_> = farms.iter().map(ToString::to_string).collect();
            tracing::error!(
                incident,
                phase = phase.as_str(),
                farms = farms.join(","),
                servers,
                generation,
                "most checks fail at once"
            );
        }
        EventKind::Left { farm_name, server_name, closed, .. } => {
            tracing::info!(farm = %farm_name, server = %server_name, closed, generation, "removed server is idle");
        }
        EventKind::OrderEnded { farm_name, server_name, order, ending, closed, .. } => tracing::info!(
            farm = %farm_name,
            server = %server_name,
            order = order.as_str(),
            ending = ending.as_str(),
            closed,
            generation,
            "drain or maintenance came to its end"
        ),
        EventKind::StandingChanged { farm_name, server_name, change, .. } => {
            tracing::info!(farm = %farm_name, server = %server_name, ?change, generation, "standing of server changed");
        }
        EventKind::Reloaded { added, removed, overrides_dropped } => {
            tracing::info!(added, removed, overrides_dropped, generation, "config is live");
        }
        EventKind::Transition { farm_name, server_name, from, to, check, progress, .. } => {
            let (from, check_status, code) = (from.as_str(), check.status.as_str(), check.code);
            let (content, duration_ms) = (check.content.as_str(), check.duration.as_millis());
            let progress = format!("{}/{}", progress.have, progress.need);
            match to {
                Health::Down => tracing::warn!(
                    farm = %farm_name, server = %server_name, from, to = "down", check = check_status, code, content,
                    duration_ms, progress, generation, "server left rotation"
                ),
                Health::Off | Health::Stopping | Health::Unknown | Health::Up => tracing::info!(
                    farm = %farm_name, server = %server_name, from, to = to.as_str(), check = check_status, code,
                    content, duration_ms, progress, generation, "server joined rotation"
                ),
            }
        }
    }
}
