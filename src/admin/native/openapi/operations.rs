//! The table of operations: every path and method of the native API with what it takes and answers.

mod things;
mod told;

use crate::admin::native::route::Route;
use crate::model::Access;

/// What operations are grouped by, in the order shown.
pub(super) const TAGS: [(&str, &str); 9] = [
    ("status", "Everything at one instant."),
    ("farms", "Servers of one protocol, with balance and probes."),
    ("servers", "Addresses of a farm: what is declared, how they do, and taking them out and back."),
    ("frontends", "Named entries, with their listeners and routes."),
    ("certificates", "Certificates made through an API; a key goes in and never comes out."),
    ("why", "Why something is as it is, and what happened."),
    ("probes", "What other probes say, would say or would have said."),
    ("config", "The whole config, what is staged, and work behind the answers."),
    ("credentials", "What applications asked for through the OVHcloud shape."),
];

/// One operation.
pub(super) struct Operation {
    pub(super) path: &'static str,
    pub(super) method: &'static str,
    pub(super) id: String,
    pub(super) tag: &'static str,
    pub(super) summary: String,
    pub(super) about: &'static str,
    pub(super) role: Access,
    pub(super) sent: Sent,
    pub(super) answers: Vec<Answer>,
    /// Whether the answer has an ETag.
    pub(super) is_tagged: bool,
}

/// What a call sends.
pub(super) enum Sent {
    Nothing,
    Json { schema: &'static str, is_required: bool, example: Option<String> },
}

/// What is answered when it went well.
pub(super) enum Answer {
    Json { status: u16, schema: &'static str, about: &'static str },
    Nothing { status: u16, about: &'static str },
    Text { status: u16, kind: &'static str, about: &'static str },
}

impl Operation {
    /// Returns the names of what stands in its path.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Returns its path with names that are none of anything.
    pub(super) fn sample(&self) -> String {
        self.path.replace(['{', '}'], "")
    }

    /// Returns the keys that its query takes, of its route.
    pub(super) fn query_keys(&self) -> &'static [&'static str] {
        let sample = self.sample();
        let Some(route) = Route::of(&sample) else { return &[] };
        let writes = self.method.parse().is_ok_and(|method| route.writes(&method));
        if writes { &["stage"] } else { route.query_keys().unwrap_or_default() }
    }

    /// Returns whether it writes an object that there is.
    pub(super) fn is_conditional(&self) -> bool {
        self.query_keys() == ["stage"] && self.method != "POST"
    }

    /// Returns the statuses with which it can be refused.
    pub(super) fn errors(&self) -> Vec<u16> {
        let mut errors = vec![400, 401];
        let is_read = matches!(self.method, "GET");
        if !is_read || self.role > Access::Read {
            errors.push(403);
        }
        if self.names().next().is_some() {
            errors.push(404);
        }
        if !is_read {
            errors.push(409);
            errors.extend(self.is_conditional().then_some(412));
            errors.extend([413, 422]);
        }
        errors.push(503);
        errors
    }
}

/// Returns every operation.
pub(super) fn all() -> Vec<Operation> {
    let mut all = told::all();
    all.extend(things::all());
    all
}
