//! `farmgate credentials`: what applications asked for through the OVHcloud shape, and what is made of it.

use std::io::Write;

use crate::admin::native::wire::{CredentialList, CredentialWire, GrantOrder, Order};

use super::client::{AdminArgs, CliError, Client, plain};

/// Arguments of `credentials`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    act: Option<Act>,
    /// Where the process is.
    #[command(flatten)]
    pub admin: AdminArgs,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Act {
    /// Let a credential that waits be used
    Grant {
        /// Its number, as `farmgate credentials` shows it
        id: u64,
        /// What it may do, at most what its application may; that, unless given
        #[arg(long, value_parser = ["read", "operate", "admin"])]
        role: Option<String>,
        /// A farm that it may change, by name; may be given several times; all, unless given
        #[arg(long = "farm", value_name = "FARM")]
        farms: Vec<String>,
        /// When it ends: in so long (90d) or at a time (RFC 3339)
        #[arg(long, value_name = "WHEN")]
        until: Option<String>,
        /// Why; kept and shown with it
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Refuse a credential that waits
    Refuse {
        /// Its number
        id: u64,
        /// Why; kept and shown with it
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// End a credential, whatever its state
    Revoke {
        /// Its number
        id: u64,
    },
}

/// Lists credentials, or does what is said to one and prints it as it is then.
///
/// # Errors
/// [`CliError`] in plain words; nothing was changed unless the answer was lost.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let client = Client::new(&args.admin)?;
    let path = |id: &u64, verb: &str| format!("/api/v1/credentials/{id}/{verb}");
    let credential: CredentialWire = match &args.act {
        None => return list(&client, out),
        Some(Act::Grant { id, role, farms, until, reason }) => {
            let farms = (!farms.is_empty()).then(|| farms.clone());
            let until = until.clone().map(Into::into);
            let order = GrantOrder { role: role.clone(), farms, until, reason: reason.clone() };
            client.post(&path(id, "grant"), &order)?
        }
        Some(Act::Refuse { id, reason }) => client.post(&path(id, "refuse"), &Order { reason: reason.clone() })?,
        Some(Act::Revoke { id }) => client.post(&path(id, "revoke"), &Order::default())?,
    };
    match args.act {
        Some(Act::Revoke { id }) => writeln!(out, "credential {id} of {}: revoked", plain(&credential.application))?,
        Some(_) | None => line(&credential, out)?,
    }
    Ok(())
}

fn list(client: &Client, out: &mut dyn Write) -> Result<(), CliError> {
    let path = "/api/v1/credentials";
    let CredentialList { credentials } = client.parse(path, &client.get(path)?)?;
    if credentials.is_empty() {
        writeln!(out, "no application has asked for a credential")?;
    }
    credentials.iter().try_for_each(|credential| line(credential, out))
}

/// One line, and one for each rule.
fn line(credential: &CredentialWire, out: &mut dyn Write) -> Result<(), CliError> {
    let CredentialWire { id, application, state, asked_at, role, farms, until, decided_by, .. } = credential;
    write!(out, "{id} {}: {}, asked for at {}", plain(application), plain(state), plain(asked_at))?;
    if let Some(role) = role {
        write!(out, ", role {}", plain(role))?;
    }
    if let Some(farms) = farms {
        write!(out, ", may change {}", plain(&farms.join(", ")))?;
    }
    if let Some(until) = until {
        write!(out, ", until {}", plain(until))?;
    }
    if let Some(who) = decided_by {
        write!(out, ", by {}", plain(who))?;
    }
    if !credential.allowed_ips.is_empty() {
        write!(out, ", from {}", plain(&credential.allowed_ips.join(", ")))?;
    }
    writeln!(out)?;
    for rule in &credential.rules {
        writeln!(out, "  {} {}", plain(&rule.method), plain(&rule.path))?;
    }
    Ok(())
}
