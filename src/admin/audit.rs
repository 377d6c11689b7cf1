//! What is told of credentials that applications ask for: an event for each thing that is made of one. No secret is in
//! it: the consumer key is kept nowhere, and what is told is what an operator is shown.

use serde_json::{Value, json};

use crate::model::credential::AskedCredential;
use crate::model::{Act, CredentialChange, EventKind, FieldChange, Timestamp};

use super::call::AdminState;

/// Tells what was made of a credential: what it was before, if it was there, and is now, if it still is.
pub(super) fn credential(
    state: &AdminState,
    (before, after): (Option<&AskedCredential>, Option<&AskedCredential>),
    change: CredentialChange,
    act: Act,
) {
    let Some(one) = after.or(before) else { return };
    let (id, at) = (one.id, act.at);
    let known = state.credentials.load();
    let application = known.ovh_applications.iter().find(|application| application.key == one.application_key);
    let application = application.map_or(&one.application_key, |application| &application.name).clone();
    let (was, is) = (before.map(|it| facts(it, at)), after.map(|it| facts(it, at)));
    let fields = differences(was.as_ref(), is.as_ref());
    state.store.note(EventKind::Credential { id, application, change, fields, act }, at);
}

type Facts = Vec<(&'static str, Value)>;

/// What it is and may do; what does not hold is null.
fn facts(credential: &AskedCredential, at: Timestamp) -> Facts {
    let granted = credential.verdict.as_ref().and_then(|verdict| verdict.granted.as_ref());
    let rules = credential.rules.iter().map(|rule| format!("{} {}", rule.method, rule.path));
    let texts = |texts: Vec<String>| if texts.is_empty() { Value::Null } else { json!(texts) };
    let farms = granted.and_then(|granted| granted.farms.as_deref());
    vec![
        ("state", json!(credential.state(at).as_str())),
        ("rules", texts(rules.collect())),
        ("allowed_ips", texts(credential.allowed_ips.iter().map(ToString::to_string).collect())),
        ("role", json!(granted.map(|granted| granted.access.as_str()))),
        ("farms", json!(farms.map(|farms| farms.iter().map(ToString::to_string).collect::<Vec<_>>()))),
        ("until", json!(granted.and_then(|granted| granted.until).map(|until| until.to_string()))),
    ]
}

fn differences(before: Option<&Facts>, after: Option<&Facts>) -> Vec<FieldChange> {
    let of = |facts: Option<&Facts>, key: &str| {
        let found = facts.and_then(|facts| facts.iter().find(|(own, value)| *own == key && !value.is_null()));
        found.map(|(_, value)| value.to_string().into_boxed_str())
    };
    let keys = after.or(before).into_iter().flatten().map(|(key, _)| *key);
    let change = |key: &str| FieldChange { key: key.into(), before: of(before, key), after: of(after, key) };
    keys.map(change).filter(|change| change.before != change.after).collect()
}
