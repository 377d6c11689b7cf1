//! A blocking client of the native API, for the commands that speak to a running process.
//!
//! It goes straight to the address it is given: no proxy, no redirects. Whatever fails is told in plain words with
//! what to do about it. Texts of the other side are printed without control characters.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector as _, TcpConnector};
use ureq::{Agent, Body};

use crate::admin::native::wire::ErrorBody;

use super::pinned::{Fingerprint, PinnedConnector};

/// How long a connection may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// How long a whole call may take; a reload opens listeners meanwhile.
const CALL_DEADLINE: Duration = Duration::from_secs(60);
/// How long an upgrade may take: the new process has half a minute for each of its steps.
const UPGRADE_DEADLINE: Duration = Duration::from_secs(150);
/// How long one stream is read before it is opened anew.
const STREAM_DEADLINE: Duration = Duration::from_secs(600);
/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The heading in a command's help of what says which process is asked.
const ASKED: &str = "Which process is asked";

/// Where the running process is and who asks.
#[derive(Clone, clap::Args)]
pub struct AdminArgs {
    /// Where its admin side listens
    #[arg(
        long,
        value_name = "URL",
        env = "FARMGATE_ADMIN",
        default_value = "http://127.0.0.1:9090",
        help_heading = ASKED
    )]
    pub admin: String,
    /// One of its admin.tokens; better given in the environment, which fewer eyes see than the command line
    #[arg(long, value_name = "TOKEN", env = "FARMGATE_TOKEN", hide_env_values = true, help_heading = ASKED)]
    pub token: Option<String>,
    /// For https: authorities (PEM) to trust instead of the public ones
    #[arg(long, value_name = "FILE", env = "FARMGATE_CA", help_heading = ASKED)]
    pub ca: Option<PathBuf>,
    /// For https: SHA-256 of the one certificate to trust, as printed at the start under `admin.tls: auto`
    #[arg(
        long,
        value_name = "SHA256",
        env = "FARMGATE_FINGERPRINT",
        conflicts_with = "ca",
        help_heading = ASKED
    )]
    pub fingerprint: Option<String>,
}

impl fmt::Debug for AdminArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminArgs").field("admin", &self.admin).finish_non_exhaustive()
    }
}

/// Why a command failed; for people.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// An argument makes no sense.
    #[error("{0}")]
    Argument(String),
    /// Something answered, and it is not a farmgate.
    #[error("{url} answered {status} with something that is not farmgate's; check --admin or FARMGATE_ADMIN")]
    NotFarmgate {
        /// Where.
        url: String,
        /// With which status.
        status: u16,
    },
    /// The output could not be written.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
    /// The process refused.
    #[error("refused: {message}{}", lines(details))]
    Refused {
        /// Its word for programs.
        code: String,
        /// Its sentence.
        message: String,
        /// Every single reason, where there are several.
        details: Vec<String>,
    },
    /// The process does not know us.
    #[error("not let in: {message}; give a token with --token or FARMGATE_TOKEN")]
    Unauthorized {
        /// Its sentence.
        message: String,
    },
    /// Nobody answered.
    #[error(
        "cannot reach farmgate at {url}: {cause}; check that it runs and that --admin or FARMGATE_ADMIN names its \
         admin.listen"
    )]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        cause: String,
    },
    /// What was waited for did not come.
    #[error("{0}")]
    Unfinished(String),
    /// The certificate is not one to trust.
    #[error(
        "the certificate of {url} is not trusted: {cause}; give --ca FILE, or --fingerprint as printed at its start"
    )]
    Untrusted {
        /// Where.
        url: String,
        /// Why.
        cause: String,
    },
}

impl CliError {
    /// Returns the exit code: 64 for wrong arguments, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Argument(_) => 64,
            Self::NotFarmgate { .. }
            | Self::Output(_)
            | Self::Refused { .. }
            | Self::Unauthorized { .. }
            | Self::Unfinished(_)
            | Self::Unreachable { .. }
            | Self::Untrusted { .. } => 1,
        }
    }
}

/// `FARM/SERVER`, each by name or id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The farm.
    pub farm: String,
    /// The server.
    pub server: String,
}

impl Target {
    /// Returns the path of something of this server.
    pub(super) fn path(&self, of: &str) -> String {
        format!("/api/v1/farms/{}/servers/{}/{of}", self.farm, self.server)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
        };
        match text.split_once('/') {
            Some((farm, server)) if is_name(farm) && is_name(server) => {
                Ok(Self { farm: farm.to_owned(), server: server.to_owned() })
            }
            _ => {
                Err("is not FARM/SERVER; write names or ids as `farmgate status` shows them, e.g. web/web-1".to_owned())
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.farm, self.server)
    }
}

/// See the module's doc.
pub(super) struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

impl Client {
    pub(super) fn new(args: &AdminArgs) -> Result<Self, CliError> {
        let base = args.admin.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            let text = format!("--admin: \"{base}\" is not a URL; write http://HOST:PORT or https://HOST:PORT");
            return Err(CliError::Argument(text));
        }
        let wants_tls = args.fingerprint.as_ref().map(|_| "--fingerprint").or_else(|| args.ca.as_ref().map(|_| "--ca"));
        if let Some(option) = wants_tls.filter(|_| base.starts_with("http://")) {
            let text =
                format!("{option}: \"{base}\" has no certificate to trust; write https://, or leave {option} out");
            return Err(CliError::Argument(text));
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("farmgate/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_DEADLINE))
            .timeout_global(Some(CALL_DEADLINE));
        if let Some(path) = &args.ca {
            config = config.tls_config(TlsConfig::builder().root_certs(roots(path)?).build());
        }
        let agent = match &args.fingerprint {
            None => config.build().new_agent(),
            Some(text) => {
                let pin = text.parse::<Fingerprint>().map_err(CliError::Argument)?;
                let connector = TcpConnector::default().chain(PinnedConnector::new(pin));
                Agent::with_parts(config.build(), connector, DefaultResolver::default())
            }
        };
        Ok(Self { agent, base, token: args.token.clone() })
    }

    /// Returns what is at `path`, as it was sent.
    pub(super) fn get(&self, path: &str) -> Result<String, CliError> {
        let request = self.agent.get(self.url(path));
        self.take(path, self.signed(request).call())
    }

    /// Opens the stream of server-sent events at `path`. A connection that died without a word is given up in time.
    pub(super) fn stream(&self, path: &str) -> Result<impl Read + use<>, CliError> {
        let request = self.agent.get(self.url(path)).header("Accept", "text/event-stream");
        let request = self.signed(request).config().timeout_global(None);
        let request =
            request.timeout_recv_response(Some(CALL_DEADLINE)).timeout_recv_body(Some(STREAM_DEADLINE)).build();
        let response = request.call().map_err(|error| told(&self.base, &error))?;
        if response.status().is_success() {
            return Ok(response.into_body().into_reader());
        }
        let error = self.take(path, Ok(response)).err();
        Err(error.unwrap_or_else(|| CliError::NotFarmgate { url: self.url(path), status: 200 }))
    }

    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        let request = self.agent.post(self.url(path));
        self.parse(path, &self.take(path, self.signed(request).send_json(body))?)
    }

    /// Posts what takes as long as a new process does.
    pub(super) fn post_patiently<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        let request = self.signed(self.agent.post(self.url(path)));
        let request = request.config().timeout_global(Some(UPGRADE_DEADLINE)).build();
        self.parse(path, &self.take(path, request.send_json(body))?)
    }

    pub(super) fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        let request = self.agent.put(self.url(path));
        self.parse(path, &self.take(path, self.signed(request).send_json(body))?)
    }

    pub(super) fn parse<T: DeserializeOwned>(&self, path: &str, text: &str) -> Result<T, CliError> {
        serde_json::from_str(text).map_err(|_| CliError::NotFarmgate { url: self.url(path), status: 200 })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn signed<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn take(&self, path: &str, outcome: Result<Response<Body>, ureq::Error>) -> Result<String, CliError> {
        let broken = |error: ureq::Error| told(&self.base, &error);
        let mut response = outcome.map_err(broken)?;
        let status = response.status();
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(broken)?;
        let text = String::from_utf8(text);
        let foreign = || CliError::NotFarmgate { url: self.url(path), status: status.as_u16() };
        let text = text.map_err(|_| foreign())?;
        if status.is_success() {
            return Ok(text);
        }
        let ErrorBody { error } = serde_json::from_str(&text).map_err(|_| foreign())?;
        let message = plain(&error.message);
        if status == StatusCode::UNAUTHORIZED {
            return Err(CliError::Unauthorized { message });
        }
        let details = error.details.iter().map(|line| plain(line)).collect();
        Err(CliError::Refused { code: error.code, message, details })
    }
}

/// Returns `path` with those of the pairs that have a value as its query.
pub(super) fn with_query(path: &str, pairs: &[(&str, Option<&str>)]) -> String {
    let given = pairs.iter().filter_map(|(key, value)| Some(format!("{key}={}", encoded((*value)?))));
    let query: Vec<_> = given.collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

/// Returns `text` percent-encoded, so that it stays within its part of a URL.
pub(super) fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':');
    text.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Returns `text` with every control character replaced, so that it cannot steer a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn lines(details: &[String]) -> String {
    details.iter().map(|line| format!("\n  {line}")).collect()
}

fn roots(path: &Path) -> Result<RootCerts, CliError> {
    let shown = path.display();
    let pem = std::fs::read(path)
        .map_err(|e| CliError::Argument(format!("--ca: cannot read \"{shown}\": {}", e.to_string().to_lowercase())))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) =
            item.map_err(|e| CliError::Argument(format!("--ca: \"{shown}\" is not PEM: {e}")))?
        {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(CliError::Argument(format!("--ca: \"{shown}\" holds no certificate; give a PEM file that does")));
    }
    Ok(RootCerts::from(certificates))
}

/// Tells a failure of transport.
fn told(url: &str, error: &ureq::Error) -> CliError {
    let url = url.to_owned();
    match tls_error(error) {
        Some(inner @ rustls::Error::InvalidCertificate(_)) => {
            CliError::Untrusted { url, cause: plain(&inner.to_string().to_lowercase()) }
        }
        Some(inner) => CliError::Unreachable { url, cause: plain(&inner.to_string().to_lowercase()) },
        None => {
            let cause = if let ureq::Error::Io(inner) = error { inner.to_string() } else { error.to_string() };
            CliError::Unreachable { url, cause: plain(&cause.to_lowercase()) }
        }
    }
}

/// Returns what TLS has against the connection, if it is TLS; it comes bare or wrapped in an IO error.
fn tls_error(error: &ureq::Error) -> Option<&rustls::Error> {
    if let ureq::Error::Rustls(inner) = error {
        return Some(inner);
    }
    let ureq::Error::Io(inner) = error else { return None };
    inner.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests;
