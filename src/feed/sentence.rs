//! An event in one sentence of plain English, true by itself: it says what happened to whom and, where that is known,
//! why. Times are UTC.

use crate::model::{
    Act, AgentHealth, AgentSays, AgentWeight, CertificateChange, CheckBrief, CheckingChange, CommandKind,
    CredentialChange, EditKind, Ejection, Event, EventKind, FarmId, FieldChange, Health, IncidentPhase, Leftovers,
    Name, OrderEnding, RefreshPhase, StandingChange, Suspicion, SuspicionKind, Terms, TrafficFault, Wish,
};

/// Returns an event in one sentence.
#[must_use]
pub fn sentence(event: &Event) -> String {
    match &event.kind {
        EventKind::Certificate { frontend, certificate, change } => certificate_of(frontend, certificate, change),
        EventKind::Changed { farm_name, server_name, from, to, terms, act, .. } => {
            changed(&of(farm_name, server_name), *from, *to, terms, act)
        }
        EventKind::Checking { farm_name, probe, change, .. } => match change {
            CheckingChange::Impossible { why } => format!(
                "Checks of farm {farm_name} by its probe {probe} cannot be made, and what is known of its servers grows old: {why}."
            ),
            CheckingChange::Possible => format!("Checks of farm {farm_name} by its probe {probe} can be made again."),
        },
        EventKind::Commanded { command, act } => {
            format!("{} asked for {}{}.", who(act), command_of(*command), reason_of(act))
        }
        EventKind::Credential { id, application, change, act, .. } => credential(*id, application, *change, act),
        EventKind::Edited { object, path, edit, fields, act, .. } => edited(object.as_str(), path, *edit, fields, act),
        EventKind::FarmServing { farm_name, serving, .. } => farm_serving(farm_name, serving),
        EventKind::Incident { phase, farms, servers, until, .. } => {
            incident(*phase, farms, *servers, &until.to_string())
        }
        EventKind::Left { farm_name, server_name, closed, .. } => {
            let closed = count(*closed, "connection");
            format!(
                "Server {}, which is no longer configured, has nothing open any more; {closed} closed for it.",
                of(farm_name, server_name)
            )
        }
        EventKind::OrderEnded { farm_name, server_name, order, ending, closed, .. } => {
            let (order, server) = (order.as_str(), of(farm_name, server_name));
            let closed = count(*closed, "connection");
            match ending {
                OrderEnding::Deadline => {
                    format!("The {order} of server {server} came to its deadline; {closed} closed.")
                }
                OrderEnding::Idle => {
                    format!("The {order} of server {server} is complete: nothing is open on it any more.")
                }
                OrderEnding::Until => format!("The {order} of server {server} came to its end; {closed} closed."),
            }
        }
        EventKind::Refresh { task, zones, phase, act } => refresh(task.0, zones, phase, act),
        EventKind::Reloaded { added, removed, overrides_dropped } => {
            let dropped = count(*overrides_dropped as u64, "override");
            let (added, removed) = (count(*added as u64, "server"), count(*removed as u64, "server"));
            format!("A new config is live: {added} added, {removed} removed, {dropped} dropped.")
        }
        EventKind::StandingChanged { farm_name, server_name, change, .. } => {
            standing(&of(farm_name, server_name), change)
        }
        EventKind::Transition { farm_name, server_name, to, check, chain, incident, slot, .. } => {
            let what = match to {
                Health::Down => "went down",
                Health::Off => "is no longer checked",
                Health::Stopping => "asks for no new work",
                Health::Unknown => "is unproven again",
                Health::Up => "came up",
            };
            let own = [check.brief(*slot)];
            let chain = if chain.is_empty() { own.as_slice() } else { chain };
            let mut text = format!("Server {} {what} after {}", of(farm_name, server_name), runs(chain));
            match check.content.as_str() {
                "" => {}
                content => text += &format!("; the last said \"{content}\""),
            }
            if let Some(incident) = incident {
                text += &format!("; part of incident {incident}");
            }
            text + "."
        }
    }
}

fn of(farm: &Name, server: &Name) -> String {
    format!("{server} of farm {farm}")
}

fn count(n: u64, what: &str) -> String {
    match n {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// `3 checks: L7STS 503 ×2, L7TOUT`.
fn runs(chain: &[CheckBrief]) -> String {
    let same = |a: &CheckBrief, b: &CheckBrief| (a.status, a.code) == (b.status, b.code);
    let told: Vec<String> = chain
        .chunk_by(same)
        .map(|run| {
            let code = run[0].code.map_or_else(String::new, |code| format!(" {code}"));
            let times = if run.len() > 1 { format!(" ×{}", run.len()) } else { String::new() };
            format!("{}{code}{times}", run[0].status.as_str())
        })
        .collect();
    format!("{}: {}", count(chain.len() as u64, "check"), told.join(", "))
}

fn certificate_of(frontend: &Name, certificate: &str, change: &CertificateChange) -> String {
    match change {
        CertificateChange::Expired { until } => {
            format!("The certificate for {certificate} at frontend {frontend} expired at {until} and is still shown.")
        }
        CertificateChange::Expiring { until, days } => {
            let left = count(u64::from(*days), "day");
            format!(
                "The certificate for {certificate} at frontend {frontend} expires within {left}, at {until}, and was \
                 not renewed."
            )
        }
        CertificateChange::NotObtained { why } => {
            format!("No certificate for {certificate} at frontend {frontend} was obtained: {why}.")
        }
        CertificateChange::Refused { why } => {
            format!("Changed files of TLS at frontend {frontend} cannot be used, the former still are: {why}.")
        }
        CertificateChange::Renewed { until } => {
            format!("Frontend {frontend} shows a new certificate for {certificate}, good until {until}.")
        }
    }
}

fn changed(server: &str, from: Wish, to: Wish, terms: &Terms, act: &Act) -> String {
    let mut text = format!(
        "{} (from {}) changed the {} of server {server} from {from} to {to}",
        act.actor,
        act.source,
        from.field().as_str()
    );
    if let Some(until) = terms.until {
        text += &format!(", until {until}");
    }
    if let Some(deadline) = terms.deadline {
        text += &match terms.at_deadline {
            Some(Leftovers::Close) => format!(", with a deadline at {deadline} when what is still open is closed"),
            Some(Leftovers::Keep) => format!(", with a deadline at {deadline} when what is still open is kept"),
            None => format!(", with a deadline at {deadline}"),
        };
    }
    if let Some(reason) = &act.reason {
        text += &format!(": \"{reason}\"");
    }
    text + "."
}

fn who(act: &Act) -> String {
    format!("{} (from {})", act.actor, act.source)
}

fn reason_of(act: &Act) -> String {
    act.reason.as_ref().map_or_else(String::new, |reason| format!(": \"{reason}\""))
}

fn command_of(command: CommandKind) -> &'static str {
    match command {
        CommandKind::Reload => "a reload",
        CommandKind::Upgrade => "an upgrade",
    }
}

fn credential(id: u64, application: &str, change: CredentialChange, act: &Act) -> String {
    let what = match change {
        CredentialChange::Asked => "asked for",
        CredentialChange::Granted => "granted",
        CredentialChange::LoggedOut => "ended its own",
        CredentialChange::Refused => "refused",
        CredentialChange::Revoked => "revoked",
    };
    format!("{} {what} credential {id} of application {application}{}.", who(act), reason_of(act))
}

fn refresh(task: u64, zones: &[Box<str>], phase: &RefreshPhase, act: &Act) -> String {
    let of = match zones {
        [] => "everything that is staged".to_owned(),
        [one] => format!("what is staged for zone {one}"),
        several => format!("what is staged for zones {}", several.join(", ")),
    };
    match phase {
        RefreshPhase::Begun => format!("{} asked that {of} go live, as task {task}{}.", who(act), reason_of(act)),
        RefreshPhase::Done { changes } => {
            let changes = count(*changes as u64, "change");
            format!("Task {task} of {} is done: {changes} went live.", who(act))
        }
        RefreshPhase::Failed { why } => {
            format!("Task {task} of {} failed and {of} still is: {why}.", who(act))
        }
    }
}

fn edited(object: &str, path: &str, edit: EditKind, fields: &[FieldChange], act: &Act) -> String {
    let who = who(act);
    let keys: Vec<&str> = fields.iter().map(|field| &*field.key).collect();
    let keys = if keys.is_empty() { String::new() } else { format!(" ({})", keys.join(", ")) };
    let mut text = match edit {
        EditKind::Changed => format!("{who} changed the {object} {path}{keys}"),
        EditKind::Created => format!("{who} made the {object} {path}"),
        EditKind::Deleted => format!("{who} removed the {object} {path}"),
        EditKind::Overtaken => {
            format!("What was staged of the {object} {path} is dropped{keys}: {who} made live what it does not go with")
        }
        EditKind::Staged => format!("{who} staged a change of the {object} {path}{keys}"),
    };
    if let Some(reason) = &act.reason {
        text += &format!(": \"{reason}\"");
    }
    text + "."
}

fn farm_serving(farm: &Name, serving: &str) -> String {
    match serving {
        "primaries" => format!("Farm {farm} serves normally, from its primary servers."),
        "backups" => format!("Farm {farm} serves from its backup servers: no primary server may take work."),
        "unproven" => format!("Farm {farm} serves from servers that were not checked yet."),
        "fail_open" => format!("Farm {farm} fails open: it serves from servers whose checks fail."),
        "nobody" => format!("Farm {farm} has no server that may take work."),
        other => format!("Farm {farm} serves in another way: {other}."),
    }
}

fn incident(phase: IncidentPhase, farms: &[(FarmId, Name)], servers: usize, until: &str) -> String {
    let servers = count(servers as u64, "server");
    let names = farms.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ");
    let farms = if farms.len() == 1 { format!("farm {names}") } else { format!("farms {names}") };
    match phase {
        IncidentPhase::Began => format!(
            "{servers} of {farms} failed at once in a way that points at this balancer or its network; the last good \
             rotation is held until {until} at the latest."
        ),
        IncidentPhase::Believed => format!(
            "{servers} of {farms} went on failing for longer than the rotation is held; the checks are believed now."
        ),
        IncidentPhase::Recovered => format!("The incident that struck {servers} of {farms} is over."),
    }
}

fn standing(server: &str, change: &StandingChange) -> String {
    match change {
        StandingChange::AgentSaid(says) => format!("The agent of server {server} asks for {}.", agent(says)),
        StandingChange::Ejected(Ejection { until, errors, kind, .. }) => {
            let fault = match kind {
                TrafficFault::Connect => "no connection could be made",
                TrafficFault::Response => "no whole response came in time",
                TrafficFault::Status => "a response with a 5xx status",
            };
            let times = count(u64::from(*errors), "piece");
            let verb = if *errors == 1 { "has" } else { "have" };
            format!(
                "Server {server} is ejected until {until}: {times} of work in a row {verb} failed, the last one for: \
                 {fault}."
            )
        }
        StandingChange::EjectionEnded => format!("The ejection of server {server} is over."),
        StandingChange::HeldDown { until, score } => format!(
            "Server {server} is held down until {until}: its health changed {score} times within the flap guard's time."
        ),
        StandingChange::HoldEnded => format!("Server {server} is no longer held down for changing too often."),
        StandingChange::Suspected(Suspicion { kind, good, bad, .. }) => {
            let what = match kind {
                SuspicionKind::ProbesFail => "its probes fail while its traffic goes well",
                SuspicionKind::TrafficFails => "its probes pass while its traffic fails",
            };
            format!("Server {server} is suspect: {what} ({good} good, {bad} bad).")
        }
        StandingChange::SuspicionEnded => format!("Probes and traffic of server {server} agree again."),
        StandingChange::WarmupBegan { until } => {
            format!("Server {server} begins to warm up and has its whole weight at {until}.")
        }
        StandingChange::WarmupEnded => format!("Server {server} is warm and has its whole weight."),
    }
}

fn agent(says: &AgentSays) -> String {
    let AgentSays { weight, maxconn, admin, health, reason } = says;
    let asked = [
        weight.map(|weight| match weight {
            AgentWeight::Percent(percent) => format!("{percent} % of its weight"),
            AgentWeight::Weight(weight) => format!("weight {weight}"),
        }),
        maxconn.map(|most| format!("at most {}", count(u64::from(most), "connection"))),
        admin.map(|admin| format!("admin status {}", admin.as_str())),
        health.map(|health| match health {
            AgentHealth::Down => "health down".to_owned(),
            AgentHealth::Up => "health up".to_owned(),
        }),
    ];
    let asked: Vec<String> = asked.into_iter().flatten().collect();
    let asked = if asked.is_empty() { "nothing".to_owned() } else { asked.join(", ") };
    reason.as_deref().map_or_else(|| asked.clone(), |reason| format!("{asked} (\"{reason}\")"))
}
