//! Which shape answers a call. One entry per shape, looked through in order; the native one takes what is left.

use std::future::Future;
use std::pin::Pin;

use axum::response::Response;

use super::call::{AdminState, Call};
use super::error::AdminError;
use super::gate::Shown;
use super::{native, ovh, zenlayer};

/// What a shape is to the rest of the admin side.
struct Shape {
    /// Returns whether a path is this shape's, known to it or not.
    claims: fn(&str) -> bool,
    /// Answers a whole call.
    answer: for<'a> fn(&'a AdminState, &'a Call) -> Answer<'a>,
    /// Returns whether a call whose body was not read yet shows a credential that there is.
    is_known: fn(&AdminState, &Call) -> bool,
    /// Returns what a call shows to say who makes it.
    shown: fn(&Call) -> Option<Shown>,
    /// Answers, in this shape's error body, a call that failed before it was whole. Its body is empty.
    refuse: fn(&Call, &AdminError) -> Response,
}

type Answer<'a> = Pin<Box<dyn Future<Output = Response> + Send + 'a>>;

macro_rules! shape {
    ($shape:ident) => {
        Shape {
            claims: $shape::claims,
            answer: |state, call| Box::pin($shape::answer(state, call)),
            is_known: $shape::is_known,
            shown: $shape::shown,
            refuse: $shape::refuse,
        }
    };
}

/// Every shape but the native one, which claims what no other does.
static SHAPES: [Shape; 2] = [shape!(ovh), shape!(zenlayer)];
static NATIVE: Shape = shape!(native);

/// Answers a call in the shape that its path belongs to.
pub(super) async fn answer(state: &AdminState, call: &Call) -> Response {
    (shape_of(call).answer)(state, call).await
}

/// Refuses a call in the shape that its path belongs to.
pub(super) fn refuse(call: &Call, error: &AdminError) -> Response {
    (shape_of(call).refuse)(call, error)
}

/// Returns whether a call shows a credential that there is, as far as that can be told without its body.
pub(super) fn is_known(state: &AdminState, call: &Call) -> bool {
    (shape_of(call).is_known)(state, call)
}

/// Returns what a call shows to say who makes it, if anything.
pub(super) fn shown(call: &Call) -> Option<Shown> {
    (shape_of(call).shown)(call)
}

fn shape_of(call: &Call) -> &'static Shape {
    let path = call.uri.path();
    SHAPES.iter().find(|shape| (shape.claims)(path)).unwrap_or(&NATIVE)
}
