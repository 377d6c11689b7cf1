//! `farmgate explain`: why a server, a farm or a request is as it is.

use std::io::Write;

use crate::admin::native::wire::{BranchWire, EvidenceWire, FarmExplainWire, RequestExplainWire, ServerExplainWire};

use super::client::{AdminArgs, CliError, Client, plain};
use super::scope::Scope;
use super::text::quoted;

/// Pieces of evidence that are printed.
const EVIDENCE_SHOWN: usize = 4;

/// Arguments of `explain`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The farm or the server, each by name or id
    #[arg(value_name = "FARM[/SERVER]", required_unless_present = "request")]
    pub scope: Option<Scope>,
    /// Instead: a request, by its id in the access log or on an error page
    #[arg(long, value_name = "ID", conflicts_with = "scope")]
    pub request: Option<String>,
    /// Print the API's JSON instead
    #[arg(long)]
    pub json: bool,
    /// Where the process is.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Prints why.
///
/// # Errors
/// [`CliError`] in plain words.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let client = Client::new(&args.admin)?;
    let path = match (&args.scope, &args.request) {
        (Some(scope), _) => scope.path("explain"),
        (None, Some(id)) => format!("/api/v1/requests/{}/explain", super::client::encoded(id)),
        (None, None) => {
            return Err(CliError::Argument("nothing to explain; give FARM/SERVER or --request ID".to_owned()));
        }
    };
    let text = client.get(&path)?;
    if args.json {
        out.write_all(text.as_bytes())?;
        return Ok(());
    }
    match &args.scope {
        Some(Scope { server: Some(_), .. }) => server(&client.parse(&path, &text)?, out),
        Some(Scope { server: None, .. }) => {
            let told: FarmExplainWire = client.parse(&path, &text)?;
            sentence_and_tree(&told.sentence, &told.tree, out)
        }
        None => {
            let told: RequestExplainWire = client.parse(&path, &text)?;
            sentence_and_tree(&told.sentence, &told.tree, out)
        }
    }
}

/// Prints why a server is as it is: the sentence, the tree, the advice, the evidence.
pub(super) fn server(told: &ServerExplainWire, out: &mut dyn Write) -> Result<(), CliError> {
    sentence_and_tree(&told.sentence, &told.tree, out)?;
    for advice in &told.advice {
        writeln!(out, "\nadvice: {}", plain(advice))?;
    }
    if !told.evidence.is_empty() {
        writeln!(out, "\nevidence, the newest first")?;
    }
    for one in told.evidence.iter().take(EVIDENCE_SHOWN) {
        evidence(one, out)?;
    }
    let more = told.evidence.len().saturating_sub(EVIDENCE_SHOWN);
    if more > 0 {
        writeln!(out, "  … {more} more; --json has them all")?;
    }
    Ok(())
}

fn sentence_and_tree(sentence: &str, tree: &[BranchWire], out: &mut dyn Write) -> Result<(), CliError> {
    writeln!(out, "{}", plain(sentence))?;
    branches(tree, 1, out)
}

fn branches(tree: &[BranchWire], depth: usize, out: &mut dyn Write) -> Result<(), CliError> {
    for branch in tree {
        writeln!(out, "{:width$}{}: {}", "", plain(&branch.label), plain(&branch.text), width = depth * 2)?;
        branches(&branch.children, depth + 1, out)?;
    }
    Ok(())
}

fn evidence(one: &EvidenceWire, out: &mut dyn Write) -> Result<(), CliError> {
    let code = one.code.map(|code| format!(" {code}")).unwrap_or_default();
    let head = format!("{} {} {}{code} {}", one.at, one.probe, one.status, one.content);
    writeln!(out, "  {}", plain(head.trim_end()))?;
    let ms = |value: Option<f64>, what: &str| value.map(|ms| format!("{what} {ms:.1} ms"));
    let measured = [
        ms(one.connect_ms, "connected after"),
        ms(one.tls_ms, "TLS"),
        ms(one.first_byte_ms, "first byte after"),
        ms(Some(one.duration_ms), "ended after"),
        one.errno.map(|errno| format!("errno {errno}")),
        one.tls_alert.as_ref().map(|alert| format!("TLS alert {alert}")),
        one.certificate_sha256.as_ref().map(|digest| format!("certificate {digest}")),
    ];
    let measured: Vec<_> = measured.into_iter().flatten().collect();
    writeln!(out, "    {}", plain(&measured.join(", ")))?;
    for line in quoted(">", &one.sent).into_iter().chain(quoted("<", &one.received)) {
        writeln!(out, "    {line}")?;
    }
    Ok(())
}
