//! Certificates that cost nothing: ordered here, obtained by whoever speaks ACME.
//!
//! One certificate for each name, however often it is ordered. They come into the list of certificates, as `built`, once they are there, and are
//! renewed by themselves; encrypted frontends of this shape show them from the next refresh on. The task ends when all
//! are there. The authority must reach this balancer by each name: by HTTP on
//! port 80, or by TLS on port 443 if a frontend there lets it.

use std::sync::Arc;

use serde_json::Value;

use crate::admin::error::AdminError;
use crate::admin::guard::quoted;
use crate::model::{Declaration, ObjectKind, Task, TaskId};
use crate::objects::obtained::{ACTION, Obtained, extras, joined};
use crate::objects::{Desk, Edit, form};

use super::fields::Fields;
use super::{Refusal, StatusCode, Writing, json, ssl, wire};

/// Names of one order.
const NAMES_MAX: usize = 100;
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Carries an order out as far as a task that waits.
pub(super) async fn order(write: &Writing<'_>) -> Result<Vec<u8>, Refusal> {
    let names = names(&Fields::of(&write.call.body)?)?;
    if !write.state.obtains {
        let why = "no authority is named to obtain certificates from; write acme: {terms_agreed: true} and state_dir at \
                   the top level of the config and start again";
        return Err(Refusal::because(StatusCode::CONFLICT, why.to_owned()));
    }
    let (zones, act) = ([write.zone.clone().into_boxed_str()], write.act.clone());
    let task = write.blocking(move |objects| objects.begin_task(ACTION, &zones, &act)).await?;
    let (own, id) = (names, task.id);
    let plan = move |desk: &Desk<'_>| Ok(own.iter().map(|name| wanted(desk, name, id)).collect());
    if let Err(refusal) = write.edit(None, plan).await {
        write.blocking(move |objects| objects.report_task(id, Err("the order was not kept"))).await?;
        return Err(refusal);
    }
    json(&told(&task))
}

fn wanted(desk: &Desk<'_>, name: &str, task: TaskId) -> Edit {
    let view = desk.view;
    let is_of = |it: &&Arc<Declaration>| Obtained::of(it).is_some_and(|said| &*said.name == name);
    if let Some(known) = view.made().of(None, ObjectKind::Certificate).find(is_of) {
        let is_over = |id| view.tasks.iter().find(|task| task.id == id).is_none_or(|task| task.status.is_final());
        return joined(known, task, &is_over);
    }
    ssl::certificate_of(desk.fresh_id(), true, "{}".into(), form::text(extras(name, task)))
}

/// Returns a task as this shape tells it.
pub(super) fn told(task: &Task) -> wire::Task<'_> {
    wire::Task {
        id: task.id.0,
        action: &task.action,
        status: task.status.as_str(),
        progress: task.progress,
        zones: task.zones.iter().map(|zone| &**zone).collect(),
        creation_date: task.created_at.to_string(),
        done_date: task.done_at.map(|at| at.to_string()),
    }
}

fn names(fields: &Fields) -> Result<Vec<String>, AdminError> {
    let given = match fields.value("fqdn") {
        // One name may come without a list.
        Some(Value::String(one)) => vec![one.as_str()],
        Some(_) | None => fields.texts("fqdn", NAMES_MAX)?,
    };
    let mut names: Vec<String> = Vec::new();
    for name in given {
        if !is_host_name(name) {
            let bound = format!("host names of 1 to {NAME_BYTES_MAX} bytes, without wildcards, in ASCII");
            return Err(AdminError::BadValue { field: "fqdn", got: quoted(&format!("{name:?}")), bound });
        }
        let name = name.to_ascii_lowercase();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_good = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (1..=LABEL_BYTES_MAX).contains(&label.len()) && is_good && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_address = text.parse::<std::net::IpAddr>().is_ok();
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.split('.').all(is_label) && !is_address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str) -> Result<Vec<String>, String> {
        names(&Fields::of(body.as_bytes()).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_host_names_once_each() {
        assert_eq!(check(r#"{"fqdn": ["A.test", "a.test", "b.test"]}"#), Ok(vec!["a.test".into(), "b.test".into()]));
        assert_eq!(check(r#"{"fqdn": "a.test"}"#), Ok(vec!["a.test".into()]));
        for (body, want) in [
            ("{}", "fqdn is missing; send it"),
            (r#"{"fqdn": []}"#, "fqdn: a list of 0 is outside 1..=100 entries"),
            (
                r#"{"fqdn": ["*.a.test"]}"#,
                "fqdn: \"*.a.test\" is outside host names of 1 to 253 bytes, without wildcards, in ASCII",
            ),
            (
                r#"{"fqdn": ["../x"]}"#,
                "fqdn: \"../x\" is outside host names of 1 to 253 bytes, without wildcards, in ASCII",
            ),
            (
                r#"{"fqdn": ["127.0.0.1"]}"#,
                "fqdn: \"127.0.0.1\" is outside host names of 1 to 253 bytes, without wildcards, in ASCII",
            ),
        ] {
            assert_eq!(check(body), Err(want.to_owned()), "{body}");
        }
    }
}
