//! What `drain`, `maintain`, `ready` and `weight` share: the server that they are of, and the line that says how it is
//! then.

use std::io::Write;

use crate::admin::native::wire::{ServerWire, TermsOrder};

use super::client::{AdminArgs, CliError, Client, Target, plain};

/// Which server, and why.
#[derive(Clone, Debug, clap::Args)]
pub struct On {
    /// The server, as FARM/SERVER, each by name or id
    #[arg(value_name = "FARM/SERVER")]
    pub target: Target,
    /// Why; kept and shown with the change
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Where the process is.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// For how long, and what happens then.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TermsArgs {
    /// When what is still open is done with as --at-deadline says: in so long (10m) or at a time (RFC 3339)
    #[arg(long, value_name = "WHEN")]
    pub deadline: Option<String>,
    /// When this ends by itself: in so long (2h) or at a time (RFC 3339)
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// What becomes of what is still open at the deadline; unless given, the farm's drain.at_deadline
    #[arg(long, value_name = "WHAT", value_parser = ["close", "keep"])]
    pub at_deadline: Option<String>,
    /// Do it although less than the farm's reserve is left
    #[arg(long)]
    pub force: bool,
}

impl TermsArgs {
    fn order(&self, reason: Option<&String>) -> TermsOrder {
        let text = |value: &Option<String>| value.clone().map(Into::into);
        TermsOrder {
            reason: reason.cloned(),
            deadline: text(&self.deadline),
            until: text(&self.until),
            at_deadline: text(&self.at_deadline),
            force: self.force.then_some(true.into()),
        }
    }
}

/// Asks for `verb` on a server on these terms and prints how it is then.
pub(super) fn order(
    client: &Client,
    on: &On,
    verb: &str,
    terms: &TermsArgs,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let server = client.post(&on.target.path(verb), &terms.order(on.reason.as_ref()));
    tell(&on.target, &server.map_err(with_force)?, out)
}

/// Prints how a server is.
pub(super) fn tell(target: &Target, server: &ServerWire, out: &mut dyn Write) -> Result<(), CliError> {
    let ServerWire { weight, effective_weight, in_flight, .. } = server;
    let state = plain(&server.state);
    writeln!(out, "{target}: {state}, weight {weight}, effective {effective_weight}, {in_flight} in flight")?;
    Ok(())
}

/// Names the option where the API names the field.
pub(super) fn with_force(mut error: CliError) -> CliError {
    if let CliError::Refused { code, message, .. } = &mut error
        && code == "reserve"
    {
        *message = message.replace("send force: true", "use --force");
    }
    error
}
