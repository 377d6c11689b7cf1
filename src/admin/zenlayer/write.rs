//! A write: planned while nothing else writes, made live at once, told in the log. Blocks on a thread of its own.

use std::cell::RefCell;
use std::sync::Arc;

use super::action::Action;
use super::error::Refusal;
use crate::admin::call::{AdminState, Call, Caller};
use crate::admin::error::AdminError;
use crate::model::Name;
use crate::objects::whole::Maker;
use crate::objects::{Desk, Edit, EditError, Edited, Objects, When};

/// What an object made by this shape is marked with.
pub(super) const SHAPE: &str = "zenlayer";

/// Who asks for what, and where it is answered from.
#[derive(Clone, Copy)]
pub(super) struct Asked<'c> {
    pub(super) state: &'c AdminState,
    pub(super) call: &'c Call,
    pub(super) caller: &'c Caller,
    pub(super) action: Action,
}

/// Makes a write and returns what its plan came to.
///
/// # Errors
/// The plan's [`Refusal`], or why its edits were not made.
pub(super) async fn write<T, P>(asked: Asked<'_>, plan: P) -> Result<T, Refusal>
where
    T: Send + 'static,
    P: FnOnce(&Desk<'_>) -> Result<(Vec<Edit>, T), Refusal> + Send + 'static,
{
    let (objects, act) = (Arc::clone(&asked.state.objects), asked.caller.act(asked.call, None));
    let done = tokio::task::spawn_blocking(move || edit(&*objects, plan, &act));
    let (result, edited) = done.await.map_err(|_| Refusal::bug())??;
    tracing::info!(
        request_id = asked.call.request_id,
        actor = %asked.caller.grant.name,
        source = %asked.call.peer,
        action = asked.action.name(),
        changes = edited.changes,
        "admin write"
    );
    Ok(result)
}

fn edit<T>(
    objects: &dyn Objects,
    plan: impl FnOnce(&Desk<'_>) -> Result<(Vec<Edit>, T), Refusal>,
    act: &crate::model::Act,
) -> Result<(T, Edited), Refusal> {
    let (plan, told) = (RefCell::new(Some(plan)), RefCell::new(None));
    let once = |desk: &Desk<'_>| {
        let unplanned = |why: &str| EditError::NotKept(why.into());
        let plan = plan.borrow_mut().take().ok_or_else(|| unplanned("the write was planned twice"))?;
        match plan(desk) {
            Ok((edits, result)) => {
                *told.borrow_mut() = Some(Ok(result));
                Ok(edits)
            }
            Err(refusal) => {
                *told.borrow_mut() = Some(Err(refusal));
                Err(unplanned("the plan was refused"))
            }
        }
    };
    let edited = objects.edit(&once, When::Live, act);
    match (told.take(), edited) {
        (Some(Err(refusal)), _) => Err(refusal),
        (_, Err(error)) => Err(error.into()),
        (Some(Ok(result)), Ok(edited)) => Ok((result, edited)),
        (None, Ok(_)) => Err(Refusal::bug()),
    }
}

/// Refuses a credential of some farms what concerns more than those.
///
/// # Errors
/// [`AdminError::ForbiddenFarm`].
pub(super) fn unbounded(caller: &Caller) -> Result<(), AdminError> {
    match caller.grant.farms {
        None => Ok(()),
        Some(_) => Err(AdminError::ForbiddenFarm { name: caller.grant.name.clone(), farm: "(all of them)".to_owned() }),
    }
}

/// Returns who makes objects for that service.
pub(super) fn maker(service: Option<crate::model::ObjectId>) -> Maker {
    Maker { shape: SHAPE.into(), service, zone: None }
}

/// Returns an edit that makes an object, with this beside it.
pub(super) fn beside(edit: Edit, extras: Arc<str>) -> Edit {
    match edit {
        Edit::Create(create) => Edit::Create(crate::objects::Create { extras, ..create }),
        other @ (Edit::Delete { .. } | Edit::Replace(_) | Edit::Wish { .. }) => other,
    }
}

/// Letters of a name that is made of what people call something.
const SLUG_BYTES_MAX: usize = 40;

/// Returns a name like `text` that is not taken: small letters, digits and hyphens, with a number if need be.
///
/// # Errors
/// [`Refusal::bug`] if there is none among so many.
pub(super) fn fresh_name(text: &str, is_taken: &dyn Fn(&str) -> bool) -> Result<Name, Refusal> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let slug: String = text.chars().take(SLUG_BYTES_MAX).map(plain).collect();
    let slug = slug.trim_matches('-');
    let is_number = slug.bytes().all(|b| b.is_ascii_digit());
    let slug = if is_number { format!("lb-{slug}").trim_end_matches('-').to_owned() } else { slug.to_owned() };
    numbered(&slug, is_taken)
}

/// Returns this name, or it with the first number that is not taken.
///
/// # Errors
/// [`Refusal::bug`] if there is none among so many, or it is no name.
pub(super) fn numbered(name: &str, is_taken: &dyn Fn(&str) -> bool) -> Result<Name, Refusal> {
    let more = (2..=crate::objects::OBJECTS_MAX + 2).map(|n| format!("{name}-{n}"));
    let free = std::iter::once(name.to_owned()).chain(more).find(|name| !is_taken(name));
    free.and_then(|name| Name::parse(&name).ok()).ok_or_else(Refusal::bug)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_made_of_what_was_said_and_is_not_taken() {
        let taken = |name: &str| matches!(name, "web" | "web-2");
        for (text, want) in [
            ("shop", "shop"),
            ("Web", "web-3"),
            ("My Shop: prod!", "my-shop--prod"),
            ("123", "lb-123"),
            ("", "lb"),
            ("\u{e9}\u{e9}", "lb"),
        ] {
            assert_eq!(fresh_name(text, &taken).unwrap().as_str(), want, "{text:?}");
        }
        assert!(fresh_name(&"x".repeat(500), &taken).is_ok());
    }
}
