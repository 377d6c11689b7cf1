//! Every event of the Store becomes one log line, here and nowhere else.
//!
//! A message is constant for each kind of event, its facts are fields, among them `event`: the id under which timeline,
//! stream and webhooks have the same.

use crate::feed::wire::{AgentWire, change_word};
use crate::model::{
    Act, AgentSays, CertificateChange, CheckingChange, Event, EventKind, Health, IncidentPhase, Leftovers, OrderEnding,
    RefreshPhase, StandingChange,
};

/// Logs an event.
pub(super) fn log(event: &Event) {
    let (id, generation) = (event.id, event.generation.0);
    match &event.kind {
        EventKind::Certificate { .. } => log_certificate(event),
        EventKind::Changed { farm_name, server_name, from, to, terms, act, .. } => tracing::info!(
            event = id,
            farm = %farm_name,
            server = %server_name,
            field = from.field().as_str(),
            %from,
            %to,
            until = terms.until.map(tracing::field::display),
            deadline = terms.deadline.map(tracing::field::display),
            at_deadline = terms.at_deadline.map(Leftovers::as_str),
            actor = &*act.actor,
            source = &*act.source,
            reason = act.reason.as_deref().unwrap_or(""),
            generation,
            "server changed by operator"
        ),
        EventKind::Checking { farm_name, probe, change, .. } => match change {
            CheckingChange::Impossible { why } => tracing::warn!(
                event = id, farm = %farm_name, %probe, error = %why, generation,
                "checks cannot be made: what is known of the servers grows old"
            ),
            CheckingChange::Possible => {
                tracing::info!(event = id, farm = %farm_name, %probe, generation, "checks can be made again");
            }
        },
        EventKind::Commanded { .. } | EventKind::Credential { .. } | EventKind::Refresh { .. } => log_audit(event),
        EventKind::Edited { object, id: object_id, path, edit, fields, act } => tracing::info!(
            event = id,
            object = object.as_str(),
            object_id = object_id.0,
            path = &**path,
            edit = edit.as_str(),
            keys = fields.iter().map(|field| &*field.key).collect::<Vec<_>>().join(", "),
            actor = &*act.actor,
            source = &*act.source,
            reason = act.reason.as_deref().unwrap_or(""),
            generation,
            "object written through an api"
        ),
        EventKind::FarmServing { farm_name, serving, .. } => match *serving {
            "primaries" => tracing::info!(event = id, farm = %farm_name, serving, generation, "farm serves normally"),
            "nobody" => tracing::error!(event = id, farm = %farm_name, serving, generation, "farm has no server"),
            _ => tracing::warn!(event = id, farm = %farm_name, serving, generation, "farm is degraded"),
        },
        EventKind::Incident { .. } => log_incident(event),
        EventKind::Left { farm_name, server_name, closed, .. } => tracing::info!(
            event = id, farm = %farm_name, server = %server_name, closed, generation, "removed server is idle"
        ),
        EventKind::OrderEnded { .. } => log_end_of_order(event),
        EventKind::Reloaded { added, removed, overrides_dropped } => {
            tracing::info!(event = id, added, removed, overrides_dropped, generation, "config is live");
        }
        EventKind::StandingChanged { .. } => log_standing(event),
        EventKind::Transition { .. } => log_transition(event),
    }
}

fn log_certificate(event: &Event) {
    let EventKind::Certificate { frontend, certificate, change } = &event.kind else { return };
    let (id, certificate) = (event.id, &**certificate);
    match change {
        CertificateChange::Expired { until } => tracing::error!(
            event = id, %frontend, certificate, %until, "certificate expired and is still shown: renew its files"
        ),
        CertificateChange::Expiring { until, days } => tracing::warn!(
            event = id, %frontend, certificate, %until, days, "certificate expires soon and was not renewed"
        ),
        CertificateChange::NotObtained { why } => tracing::error!(
            event = id, %frontend, certificate, error = %why, "certificate not obtained"
        ),
        CertificateChange::Refused { why } => tracing::error!(
            event = id, %frontend, certificate, error = %why, "changed files of tls cannot be used: the former still are"
        ),
        CertificateChange::Renewed { until } => {
            tracing::info!(event = id, %frontend, certificate, %until, "certificate renewed");
        }
    }
}

fn log_audit(event: &Event) {
    let id = event.id;
    let reason = |act: &Act| act.reason.as_deref().unwrap_or("").to_owned();
    match &event.kind {
        EventKind::Commanded { command, act } => tracing::info!(
            event = id,
            command = command.as_str(),
            actor = &*act.actor,
            source = &*act.source,
            reason = reason(act),
            "process told what to do"
        ),
        EventKind::Credential { id: credential, application, change, fields, act } => tracing::info!(
            event = id,
            credential,
            application = &**application,
            change = change.as_str(),
            keys = fields.iter().map(|field| &*field.key).collect::<Vec<_>>().join(", "),
            actor = &*act.actor,
            source = &*act.source,
            reason = reason(act),
            "credential asked for or decided"
        ),
        EventKind::Refresh { task, zones, phase, act } => {
            let (task, zones, phase_word) = (task.0, zones.join(", "), phase.as_str());
            let (actor, source) = (&*act.actor, &*act.source);
            match phase {
                RefreshPhase::Begun => tracing::info!(
                    event = id,
                    task,
                    zones,
                    phase = phase_word,
                    actor,
                    source,
                    reason = reason(act),
                    "refresh of what is staged begins"
                ),
                RefreshPhase::Done { changes } => tracing::info!(
                    event = id,
                    task,
                    zones,
                    phase = phase_word,
                    changes,
                    actor,
                    source,
                    "what was staged is live"
                ),
                RefreshPhase::Failed { why } => tracing::error!(
                    event = id, task, zones, phase = phase_word, actor, source, error = %why,
                    "refresh failed: what is staged stays staged"
                ),
            }
        }
        EventKind::Certificate { .. }
        | EventKind::Changed { .. }
        | EventKind::Checking { .. }
        | EventKind::Edited { .. }
        | EventKind::FarmServing { .. }
        | EventKind::Incident { .. }
        | EventKind::Left { .. }
        | EventKind::OrderEnded { .. }
        | EventKind::Reloaded { .. }
        | EventKind::StandingChanged { .. }
        | EventKind::Transition { .. } => {}
    }
}

fn log_incident(event: &Event) {
    let EventKind::Incident { incident, phase, farms, servers, until } = &event.kind else { return };
    let (id, generation) = (event.id, event.generation.0);
    let farms = farms.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(",");
    match phase {
        IncidentPhase::Began => tracing::error!(
            event = id, incident, farms, servers, %until, generation,
            "most checks fail at once: the last good rotation is held; look at this machine's network"
        ),
        IncidentPhase::Believed => tracing::error!(
            event = id,
            incident,
            farms,
            servers,
            generation,
            "most checks went on failing: they are believed now"
        ),
        IncidentPhase::Recovered => {
            tracing::info!(event = id, incident, farms, servers, generation, "incident is over");
        }
    }
}

fn log_end_of_order(event: &Event) {
    let EventKind::OrderEnded { farm_name, server_name, order, ending, closed, .. } = &event.kind else { return };
    let (id, generation, order_word) = (event.id, event.generation.0, order.as_str());
    match ending {
        OrderEnding::Idle => tracing::info!(
            event = id, farm = %farm_name, server = %server_name, order = order_word, generation,
            "nothing is open on the server any more"
        ),
        OrderEnding::Deadline => tracing::info!(
            event = id, farm = %farm_name, server = %server_name, order = order_word, closed, generation,
            "deadline of the server came"
        ),
        OrderEnding::Until => tracing::info!(
            event = id, farm = %farm_name, server = %server_name, order = order_word, closed, generation,
            "drain or maintenance of the server is over"
        ),
    }
}

fn log_standing(event: &Event) {
    let EventKind::StandingChanged { farm_name, server_name, change, .. } = &event.kind else { return };
    let (id, generation, word) = (event.id, event.generation.0, change_word(change));
    let (farm, server) = (farm_name.as_str(), server_name.as_str());
    match change {
        StandingChange::AgentSaid(says) => log_agent(event, says),
        StandingChange::Ejected(ejection) => tracing::warn!(
            event = id, %farm, %server, change = word, errors = ejection.errors, kind = ejection.kind.as_str(),
            times = ejection.times, until = %ejection.until, generation, "server ejected for what its traffic showed"
        ),
        StandingChange::EjectionEnded => {
            tracing::info!(event = id, %farm, %server, change = word, generation, "ejection of server is over");
        }
        StandingChange::HeldDown { until, score } => tracing::warn!(
            event = id, %farm, %server, change = word, score, %until, generation,
            "server held down for changing too often"
        ),
        StandingChange::HoldEnded => {
            tracing::info!(event = id, %farm, %server, change = word, generation, "server is held down no more");
        }
        StandingChange::Suspected(suspicion) => tracing::warn!(
            event = id,
            %farm,
            %server,
            change = word,
            kind = suspicion.kind.as_str(),
            good = suspicion.good,
            bad = suspicion.bad,
            generation,
            "probes and traffic of server disagree"
        ),
        StandingChange::SuspicionEnded => {
            tracing::info!(event = id, %farm, %server, change = word, generation, "probes and traffic of server agree");
        }
        StandingChange::WarmupBegan { until } => tracing::info!(
            event = id, %farm, %server, change = word, %until, generation, "server begins to warm up"
        ),
        StandingChange::WarmupEnded => {
            tracing::info!(event = id, %farm, %server, change = word, generation, "server has its whole weight");
        }
    }
}

fn log_agent(event: &Event, says: &AgentSays) {
    let EventKind::StandingChanged { farm_name: farm, server_name: server, .. } = &event.kind else { return };
    let AgentWire { weight, maxconn, admin, health, reason } = AgentWire::of(says);
    let (id, generation) = (event.id, event.generation.0);
    tracing::info!(
        event = id, %farm, %server, change = "agent_said", weight, maxconn, admin, health, reason, generation,
        "agent of server asks for something else"
    );
}

fn log_transition(event: &Event) {
    let EventKind::Transition { farm_name, server_name, from, to, check, progress, incident, .. } = &event.kind else {
        return;
    };
    let (id, generation, farm, server) = (event.id, event.generation.0, farm_name.as_str(), server_name.as_str());
    let (from, check_status, code) = (from.as_str(), check.status.as_str(), check.code);
    let (content, duration_ms) = (check.content.as_str(), check.duration.as_millis());
    let progress = format!("{}/{}", progress.have, progress.need);
    match to {
        Health::Down => tracing::warn!(
            event = id,
            %farm,
            %server,
            from,
            to = "down",
            check = check_status,
            code,
            content,
            duration_ms,
            progress,
            incident,
            generation,
            "server left rotation"
        ),
        Health::Stopping => tracing::info!(
            event = id,
            %farm,
            %server,
            from,
            to = "stopping",
            check = check_status,
            code,
            content,
            duration_ms,
            progress,
            incident,
            generation,
            "server asks for no new work"
        ),
        Health::Off | Health::Unknown => tracing::info!(
            event = id, %farm, %server, from, to = to.as_str(), check = check_status, code, content, duration_ms,
            progress, incident, generation, "server has no verdict any more"
        ),
        Health::Up => tracing::info!(
            event = id,
            %farm,
            %server,
            from,
            to = to.as_str(),
            check = check_status,
            code,
            content,
            duration_ms,
            progress,
            incident,
            generation,
            "server joined rotation"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::feed::samples::every_kind;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The lines, word for word: what an operator greps for.
    #[test]
    fn every_kind_of_event_is_one_line_with_its_id() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .without_time()
            .with_ansi(false)
            .with_target(false)
            .with_writer(move || writer.clone())
            .finish();
        let events = every_kind();
        tracing::subscriber::with_default(subscriber, || events.iter().for_each(log));
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), events.len());
        for (line, event) in text.lines().zip(&events) {
            assert!(line.contains(&format!(" event={} ", event.id)), "{line}");
        }
        insta::assert_snapshot!(text);
    }
}
