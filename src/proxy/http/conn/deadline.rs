//! One timer that is moved lazily: a deadline that is put off costs nothing until the old one fires.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::Sleep;

use crate::clock;

/// See the module's doc.
#[derive(Default)]
pub(in crate::proxy::http) struct Deadline {
    sleep: Option<Pin<Box<Sleep>>>,
    /// The deadline kept by [`Self::poll_since`] until [`Self::restart`].
    since: Option<Instant>,
}

impl Deadline {
    /// Ready once `by` has come.
    pub(in crate::proxy::http) fn poll(&mut self, by: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(by.into())));
        if sleep.deadline().into_std() > by {
            sleep.as_mut().reset(by.into());
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if clock::monotonic() >= by {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(by.into());
        }
    }

    /// Ready once the deadline of the first call since [`Self::restart`] has come; later ones are not looked at.
    pub(in crate::proxy::http) fn poll_since(&mut self, by: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let by = *self.since.get_or_insert(by);
        self.poll(by, cx)
    }

    /// Begins a new wait.
    pub(in crate::proxy::http) fn restart(&mut self) {
        self.since = None;
    }
}
