//! Certificates that are obtained from an authority for whoever asked through an API. Pure.
//!
//! One is declared without its PEM and inert, and its extras say the name that it is for and the tasks that wait for it.
//! Once it is there its form says chain and key, like that of one that was brought, and it is renewed for as long as it is
//! declared. Whoever asks and whoever obtains know each other by nothing else.

use serde_json::{Map, Value};

use crate::model::{Declaration, Made, ObjectId, ObjectKind, TaskId};

use super::edit::{Edit, Replace};
use super::form;

/// The action of a task that waits for certificates.
pub const ACTION: &str = "orderFreeCertificate";

const NAME: &str = "acme";
const TASK: &str = "task";
const CHAIN_BEGINS: &str = "-----BEGIN CERTIFICATE-----";

/// A certificate that is to be obtained, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obtained {
    /// Its object.
    pub id: ObjectId,
    /// The name that it is for.
    pub name: Box<str>,
    /// The tasks that wait, or waited, for it.
    pub tasks: Vec<TaskId>,
    /// Whether it was obtained.
    pub is_there: bool,
}

impl Obtained {
    /// Returns what a declaration says of it; nothing for one that was brought.
    #[must_use]
    pub fn of(declaration: &Declaration) -> Option<Self> {
        if declaration.kind != ObjectKind::Certificate {
            return None;
        }
        let extras = form::object(&declaration.extras);
        Some(Self {
            id: declaration.id,
            name: extras.get(NAME)?.as_str()?.into(),
            tasks: tasks(extras.get(TASK)),
            is_there: !declaration.is_inert,
        })
    }

    /// Returns all of them.
    #[must_use]
    pub fn all(made: &Made) -> Vec<Self> {
        made.of(None, ObjectKind::Certificate).filter_map(|it| Self::of(it)).collect()
    }
}

/// Returns what the extras of one say.
#[must_use]
pub fn extras(name: &str, task: TaskId) -> Map<String, Value> {
    let own = [(NAME, Value::from(name)), (TASK, Value::from(task.0))];
    own.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Returns the edit with which another task waits for one that is declared. `is_over`: whether a task has ended.
#[must_use]
pub fn joined(declaration: &Declaration, task: TaskId, is_over: &dyn Fn(TaskId) -> bool) -> Edit {
    let mut extras = form::object(&declaration.extras);
    let mut waiting = tasks(extras.get(TASK));
    waiting.retain(|known| !is_over(*known));
    waiting.push(task);
    extras.insert(TASK.to_owned(), waiting.iter().map(|task| task.0).collect());
    let extras = Some(form::text(extras));
    Edit::Replace(Replace { id: declaration.id, extras, ..Replace::default() })
}

/// Returns the edit that makes one there, or renews it; none where nothing would change. `pem`: the key and behind it
/// the chain, as the authority's client keeps them.
#[must_use]
pub fn arrival(declaration: &Declaration, pem: &str) -> Option<Edit> {
    let (key, cert) = pem.split_at(pem.find(CHAIN_BEGINS)?);
    let own = [("cert", cert), ("key", key)];
    let form = form::text(own.into_iter().map(|(part, text)| (part.to_owned(), Value::from(text))).collect());
    if form == declaration.form && !declaration.is_inert {
        return None;
    }
    let id = declaration.id;
    Some(Edit::Replace(Replace { id, form: Some(form), is_inert: Some(false), ..Replace::default() }))
}

/// One task, or a list of them.
fn tasks(value: Option<&Value>) -> Vec<TaskId> {
    let several = value.and_then(Value::as_array);
    let all = several.map_or_else(|| value.into_iter().collect(), |all| all.iter().collect::<Vec<_>>());
    all.into_iter().filter_map(|task| Some(TaskId(task.as_u64()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Name, Timestamp};

    fn declared(extras: Map<String, Value>) -> Declaration {
        Declaration {
            id: ObjectId(1 << 40),
            kind: ObjectKind::Certificate,
            name: Name::parse("one").unwrap(),
            parent: None,
            shape: "a".into(),
            service: None,
            zone: None,
            is_inert: true,
            form: "{}".into(),
            extras: form::text(extras),
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            version: 1,
        }
    }

    #[test]
    fn certificate_that_is_waited_for_is_known_and_becomes_one_with_chain_and_key() {
        let waiting = declared(extras("a.test", TaskId(7)));
        let said = Obtained::of(&waiting).unwrap();
        assert_eq!((&*said.name, &*said.tasks, said.is_there), ("a.test", &[TaskId(7)][..], false));
        for (over, want) in [(7, vec![TaskId(8)]), (9, vec![TaskId(7), TaskId(8)])] {
            let Edit::Replace(replace) = joined(&waiting, TaskId(8), &|task| task == TaskId(over)) else {
                panic!("it is")
            };
            let both = Declaration { extras: replace.extras.unwrap(), ..waiting.clone() };
            assert_eq!(Obtained::of(&both).unwrap().tasks, want);
        }
        let pem = "-----BEGIN PRIVATE KEY-----\nk\n-----BEGIN CERTIFICATE-----\nc\n";
        let Some(Edit::Replace(replace)) = arrival(&waiting, pem) else { panic!("it arrives") };
        let form = form::object(replace.form.as_deref().unwrap());
        assert_eq!((form["key"].as_str(), form["cert"].as_str()), (Some(&pem[..30]), Some(&pem[30..])));
        let there = Declaration { form: replace.form.unwrap(), is_inert: false, ..waiting };
        assert!(Obtained::of(&there).unwrap().is_there);
        assert_eq!(arrival(&there, pem), None, "the same again changes nothing");
        assert_eq!(arrival(&there, "torn"), None);
        assert_eq!(Obtained::of(&declared(Map::new())), None, "one that was brought is not obtained");
    }
}
