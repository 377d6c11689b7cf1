//! What became of a request → its sentence and tree. Pure. Names are those of the farm as it is now.

use crate::model::trace::Termination;
use crate::model::{Attempt, AttemptOutcome, Balance, ChosenBy, FarmId, RequestTrace, ServerId};
use crate::store::Snapshot;

use crate::admin::native::wire::{AttemptWire, BranchWire, RequestExplainWire};

/// Returns why a request went where it went.
pub(in crate::admin::native) fn request(snapshot: &Snapshot, trace: &RequestTrace) -> RequestExplainWire {
    let names = Names { snapshot, farm: trace.farm };
    RequestExplainWire {
        id: trace.id.to_string(),
        at: trace.at.to_string(),
        outside_id: trace.outside_id.as_deref().map(str::to_owned),
        termination: trace.termination.to_string(),
        sentence: sentence(&names, trace),
        tree: tree(&names, trace),
        attempts: trace.attempts.iter().map(|attempt| attempt_of(&names, attempt)).collect(),
    }
}

/// What things are called now; numbers where they are gone.
struct Names<'a> {
    snapshot: &'a Snapshot,
    farm: Option<FarmId>,
}

impl Names<'_> {
    fn farm(&self) -> Option<String> {
        let id = self.farm?;
        let row = self.snapshot.farms.iter().find(|row| row.farm.id == id);
        Some(row.map_or_else(|| id.to_string(), |row| row.farm.name.to_string()))
    }

    fn route(&self, trace: &RequestTrace) -> Option<String> {
        let id = trace.route?;
        let row = self.snapshot.frontends.iter().find(|row| row.frontend.id == trace.frontend);
        let mut routes = row.into_iter().flat_map(|row| &row.frontend.routes);
        let route = routes.find(|route| route.id == id);
        Some(route.map_or_else(|| id.to_string(), |route| route.name.to_string()))
    }

    fn server(&self, id: ServerId) -> String {
        let rows = self.snapshot.farms.iter().filter(|row| Some(row.farm.id) == self.farm).flat_map(|row| &row.servers);
        rows.map(|row| &row.server)
            .find(|server| server.id == id)
            .map_or_else(|| id.to_string(), |s| s.name.to_string())
    }
}

fn attempt_of(names: &Names<'_>, attempt: &Attempt) -> AttemptWire {
    AttemptWire {
        server: names.server(attempt.server),
        chosen_by: attempt.chosen_by.as_str().to_owned(),
        outcome: attempt.outcome.as_str().to_owned(),
    }
}

/// `went to web-2 (chosen by turns), which answered; before that web-1 could not be connected to; 1 retry; status 200 …`
fn sentence(names: &Names<'_>, trace: &RequestTrace) -> String {
    let mut parts = Vec::new();
    parts.extend(names.route(trace).map(|route| format!("was taken by route {route}")));
    parts
        .extend(trace.queue.map(|waited| format!("waited {:.1} ms for a server to have room", super::why::ms(waited))));
    match trace.attempts.split_last() {
        None => parts.push("went to no server".to_owned()),
        Some((last, earlier)) => {
            let server = names.server(last.server);
            parts.push(format!("went to {server} ({}), {}", chosen(last.chosen_by), which(last.outcome)));
            parts.extend(earlier.iter().map(|one| format!("{} {}", names.server(one.server), outcome(one.outcome))));
        }
    }
    match trace.attempts_total.saturating_sub(1) {
        0 => {}
        1 => parts.push("retried once".to_owned()),
        n => parts.push(format!("retried {n} times")),
    }
    parts.extend(trace.reason.map(|reason| format!("Farmgate itself ended it: {reason}")));
    parts.push(status(trace));
    parts.join("; ")
}

fn tree(names: &Names<'_>, trace: &RequestTrace) -> Vec<BranchWire> {
    let leaf = |label: &str, text: String| BranchWire { label: label.to_owned(), text, children: Vec::new() };
    let frontend = names.snapshot.frontends.iter().map(|row| &row.frontend).find(|front| front.id == trace.frontend);
    let frontend = frontend.map_or_else(|| trace.frontend.to_string(), |front| front.name.to_string());
    let mut tree = vec![leaf("client", format!("{} at frontend {frontend}", trace.client))];
    tree.extend(names.route(trace).map(|route| leaf("route", route)));
    let waited = trace.queue.map(|waited| format!("{:.1} ms for a server to have room", super::why::ms(waited)));
    tree.extend(waited.map(|waited| leaf("waited", waited)));
    if let Some(farm) = names.farm() {
        let generation = trace.generation.map(|table| format!(", by table {}", table.0)).unwrap_or_default();
        let attempt = |one: &Attempt| BranchWire {
            label: names.server(one.server),
            text: outcome(one.outcome).to_owned(),
            children: vec![leaf("chosen", chosen(one.chosen_by))],
        };
        let mut attempts: Vec<_> = trace.attempts.iter().map(attempt).collect();
        let shown = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
        let more = trace.attempts_total.saturating_sub(shown);
        if more > 0 {
            attempts.push(leaf("more", format!("{more} that are not remembered one by one")));
        }
        tree.push(BranchWire { label: "farm".to_owned(), text: format!("{farm}{generation}"), children: attempts });
    }
    tree.extend(trace.reason.map(|reason| leaf("ended by Farmgate", reason.to_owned())));
    if trace.termination != Termination::WELL {
        let Termination { by, phase } = trace.termination;
        tree.push(leaf("end", format!("{}: {}, {}", trace.termination, by.as_str(), phase.as_str())));
    }
    tree.push(leaf("client got", status(trace)));
    tree
}

fn status(trace: &RequestTrace) -> String {
    let after = format!("after {:.1} ms", super::why::ms(trace.duration));
    match trace.status {
        0 => format!("no status was sent; it ended {after}"),
        status => format!("status {status} {after}"),
    }
}

fn chosen(by: ChosenBy) -> String {
    match by {
        ChosenBy::Balance(Balance::Ewma) => "the quicker of two drawn by weight".to_owned(),
        ChosenBy::Balance(Balance::First) => "the first that may take work".to_owned(),
        ChosenBy::Balance(Balance::LeastConn) => "it had the least work for its weight".to_owned(),
        ChosenBy::Balance(Balance::Maglev) => "by the hash of its key".to_owned(),
        ChosenBy::Balance(Balance::Random) => "the less busy of two drawn by weight".to_owned(),
        ChosenBy::Balance(Balance::RoundRobin) => "it was its turn".to_owned(),
        ChosenBy::Balance(Balance::Source) => "by the client's address".to_owned(),
        ChosenBy::Balance(Balance::Uri) => "by the request's path".to_owned(),
        ChosenBy::OnlyOneLeft => "the only one left that may take work and had not been tried".to_owned(),
        ChosenBy::Queue => "the first that had a place again, after a wait".to_owned(),
        ChosenBy::StickyCookie => "the client's cookie names it".to_owned(),
        ChosenBy::StickyHeader => "the client's header field was given to it before".to_owned(),
        ChosenBy::StickySource => "the client's address was given to it before".to_owned(),
    }
}

fn which(ended: AttemptOutcome) -> String {
    match ended {
        AttemptOutcome::ClientFailed => "and the client left or failed before it was done".to_owned(),
        AttemptOutcome::TakenOut => "and was closed when the server was taken out".to_owned(),
        AttemptOutcome::NotConnected => "which could not be connected to".to_owned(),
        AttemptOutcome::Answered | AttemptOutcome::BrokenOff | AttemptOutcome::TimedOut => {
            format!("which {}", outcome(ended))
        }
    }
}

fn outcome(ended: AttemptOutcome) -> &'static str {
    match ended {
        AttemptOutcome::Answered => "answered",
        AttemptOutcome::BrokenOff => "broke off",
        AttemptOutcome::ClientFailed => "was left by the client before it was done",
        AttemptOutcome::NotConnected => "could not be connected to",
        AttemptOutcome::TakenOut => "was taken out, and what was open on it closed",
        AttemptOutcome::TimedOut => "did not answer in time",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::admin::fixture::{key, store_with};
    use crate::model::trace::{EndPhase, EndedBy};
    use crate::model::{FrontendId, Generation, RouteId, Timestamp};
    use crate::store::NoJournal;

    fn trace(attempts: Vec<Attempt>, status: u16, reason: Option<&'static str>) -> RequestTrace {
        RequestTrace {
            id: "r-1".into(),
            at: Timestamp(9_000_000),
            client: [192, 0, 2, 9].into(),
            frontend: FrontendId::derive(&crate::admin::fixture::name("web")),
            route: None,
            farm: Some(key("web", "s1").farm),
            generation: Some(Generation(7)),
            attempts_total: u32::try_from(attempts.len()).unwrap(),
            attempts,
            status,
            duration: Duration::from_micros(12_340),
            queue: None,
            reason,
            termination: Termination::WELL,
            outside_id: None,
        }
    }

    fn attempt(server: &str, chosen_by: ChosenBy, outcome: AttemptOutcome) -> Attempt {
        Attempt { server: key("web", server).server, chosen_by, outcome }
    }

    #[test]
    fn request_is_explained_by_its_attempts() {
        let snapshot = store_with(Arc::new(NoJournal)).snapshot(Timestamp(10_000_000));
        let turn = ChosenBy::Balance(Balance::RoundRobin);
        let said = |trace: &RequestTrace| request(&snapshot, trace).sentence;
        let retried = vec![
            attempt("s1", turn, AttemptOutcome::NotConnected),
            attempt("s2", ChosenBy::OnlyOneLeft, AttemptOutcome::Answered),
        ];
        let retried = trace(retried, 200, None);
        assert_eq!(
            said(&retried),
            "went to s2 (the only one left that may take work and had not been tried), which answered; s1 could not be \
             connected to; retried once; status 200 after 12.3 ms"
        );
        let sticky = trace(vec![attempt("s1", ChosenBy::StickyCookie, AttemptOutcome::TimedOut)], 504, None);
        assert_eq!(
            said(&sticky),
            "went to s1 (the client's cookie names it), which did not answer in time; status 504 after 12.3 ms"
        );
        let refused = RequestTrace { farm: None, ..trace(Vec::new(), 400, Some("the head is too long")) };
        assert_eq!(
            said(&refused),
            "went to no server; Farmgate itself ended it: the head is too long; status 400 after 12.3 ms"
        );
        let routed = RequestTrace { route: Some(RouteId(7)), farm: None, ..trace(Vec::new(), 302, None) };
        assert_eq!(said(&routed), "was taken by route 7; went to no server; status 302 after 12.3 ms");
        let waited = RequestTrace { queue: Some(Duration::from_micros(1_500)), ..trace(Vec::new(), 503, None) };
        assert!(said(&waited).starts_with("waited 1.5 ms for a server to have room; went to no server"));
        let gone = Attempt { server: ServerId(7), ..attempt("s1", turn, AttemptOutcome::TakenOut) };
        assert!(said(&trace(vec![gone], 0, None)).starts_with("went to 7 (it was its turn), and was closed when"));
        let late = Termination::new(EndedBy::ServerTimeout, EndPhase::Head);
        let branches = request(&snapshot, &RequestTrace { termination: late, ..sticky }).tree;
        let end = branches.iter().find(|branch| branch.label == "end").unwrap();
        assert_eq!(end.text, "sH: the server was silent for too long, while the server's answer was awaited");
        insta::assert_snapshot!(serde_json::to_string_pretty(&request(&snapshot, &retried)).unwrap());
    }
}
