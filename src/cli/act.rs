//! What `drain`, `maintain`, `ready` and `weight` share: one write, and one line that says how the server is now.

use std::io::Write;

use crate::admin::native::wire::{Order, ServerWire};

use super::client::{AdminArgs, CliError, Client, Target, plain};

/// Asks for `verb` on a server and prints how it is then.
pub(super) fn order(
    admin: &AdminArgs,
    target: &Target,
    verb: &str,
    reason: Option<&str>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let body = Order { reason: reason.map(str::to_owned) };
    let server: ServerWire = Client::new(admin)?.post(&target.path(verb), &body)?;
    tell(target, &server, out)
}

/// Prints how a server is.
pub(super) fn tell(target: &Target, server: &ServerWire, out: &mut dyn Write) -> Result<(), CliError> {
    let ServerWire { weight, effective_weight, in_flight, .. } = server;
    let state = plain(&server.state);
    writeln!(out, "{target}: {state}, weight {weight}, effective {effective_weight}, {in_flight} in flight")?;
    Ok(())
}
