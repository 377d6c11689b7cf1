//! Texts with variables: the values of header rules and the targets of redirects.
//!
//! Variables are written `${name}`; those that HAProxy and OVHcloud write in headers also `%ci`, `%cp` and the like.
//! `%%` is a percent sign.

use std::fmt;

/// What stands for something of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variable {
    /// The query, with its `?`; empty where there is none.
    Arguments,
    /// SHA-256 of the certificate that the client showed and that was verified, in hexadecimal; empty where it showed none.
    ClientCertSha256,
    /// The common name of that certificate's subject; empty where it has none.
    ClientCn,
    /// The client's address.
    ClientIp,
    /// The client's port.
    ClientPort,
    /// The host that the request names, without its port.
    Domain,
    /// The frontend's name.
    Frontend,
    /// The host that the request names, as it is written there.
    Host,
    /// The path, as it is written in the request, up to `?`.
    Path,
    /// The port that the request came to.
    Port,
    /// `http` or `https`.
    Protocol,
    /// The request's id.
    RequestId,
    /// The name that the client asked for in its TLS handshake.
    Sni,
    /// The version of TLS, as `TLSv1.3`; empty where there is none.
    TlsVersion,
    /// Path and query.
    Uri,
}

/// Every variable with its name and its short form, if it has one.
const VARIABLES: &[(Variable, &str, Option<&str>)] = &[
    (Variable::Arguments, "arguments", None),
    (Variable::ClientCertSha256, "client_cert_sha256", None),
    (Variable::ClientCn, "client_cn", None),
    (Variable::ClientIp, "client_ip", Some("ci")),
    (Variable::ClientPort, "client_port", Some("cp")),
    (Variable::Domain, "domain", None),
    (Variable::Frontend, "frontend", Some("f")),
    (Variable::Host, "host", None),
    (Variable::Path, "path", None),
    (Variable::Port, "port", Some("fp")),
    (Variable::Protocol, "protocol", None),
    (Variable::RequestId, "request_id", Some("ID")),
    (Variable::Sni, "sni", None),
    (Variable::TlsVersion, "tls_version", Some("sslv")),
    (Variable::Uri, "uri", None),
];

impl Variable {
    /// Returns its name, as in `${name}`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        VARIABLES.iter().find(|(variable, ..)| *variable == self).map_or("", |(_, name, _)| name)
    }

    /// Returns the names of all variables, in order.
    pub fn names() -> impl Iterator<Item = &'static str> {
        VARIABLES.iter().map(|(_, name, _)| *name)
    }

    fn named(name: &str) -> Option<Self> {
        VARIABLES.iter().find(|(_, own, _)| *own == name).map(|(variable, ..)| *variable)
    }

    /// Returns the variable whose short form `text` begins with, and the length of that; the longest one there is.
    fn short(text: &str) -> Option<(Self, usize)> {
        let found = VARIABLES.iter().filter_map(|(variable, _, short)| Some((*variable, (*short)?)));
        found
            .filter(|(_, short)| text.starts_with(short))
            .map(|(variable, short)| (variable, short.len()))
            .max_by_key(|(_, length)| *length)
    }
}

/// One part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A text that stays.
    Text(Box<str>),
    /// What a variable stands for.
    Variable(Variable),
}

/// A text with variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Box<[Piece]>);

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `${` without its `}`.
    #[error("has a ${{ without a }}; write ${{name}}")]
    Open,
    /// A `%` before nothing that is known.
    #[error("has a % that begins no variable; write %ci, %cp, %ID, %f, %fp, %sslv, or %% for a percent sign")]
    Percent,
    /// A name that is no variable.
    #[error("has the unknown variable ${{{name}}}; write one of {}", known())]
    Unknown {
        /// The name.
        name: Box<str>,
    },
}

fn known() -> String {
    Variable::names().collect::<Vec<_>>().join(", ")
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`], a predicate that follows the text.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['$', '%']) {
            plain.push_str(&rest[..at]);
            let (variable, after) = match &rest[at..] {
                after if after.starts_with("${") => {
                    let (name, after) = after[2..].split_once('}').ok_or(TemplateError::Open)?;
                    (Variable::named(name).ok_or_else(|| TemplateError::Unknown { name: name.into() })?, after)
                }
                after if after.starts_with("%%") => {
                    plain.push('%');
                    rest = &after[2..];
                    continue;
                }
                after if after.starts_with('%') => {
                    let (variable, length) = Variable::short(&after[1..]).ok_or(TemplateError::Percent)?;
                    (variable, &after[1 + length..])
                }
                after => {
                    plain.push('$');
                    rest = &after[1..];
                    continue;
                }
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
            }
            pieces.push(Piece::Variable(variable));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.into()));
        }
        Ok(Self(pieces.into()))
    }

    /// Returns its parts, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }
}

impl fmt::Display for Template {
    /// Writes it in the form that reads as itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(&text.replace('%', "%%")),
            Piece::Variable(variable) => write!(f, "${{{}}}", variable.as_str()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_is_read_as_it_is_written() {
        let text = "https://${host}${uri}";
        let template = Template::parse(text).unwrap();
        let want = [Piece::Text("https://".into()), Piece::Variable(Variable::Host), Piece::Variable(Variable::Uri)];
        assert_eq!((template.pieces(), template.to_string().as_str()), (&want[..], text));
        let haproxy = Template::parse("%ci:%cp 100%% $5").unwrap();
        assert_eq!(haproxy.to_string(), "${client_ip}:${client_port} 100%% $5");
        assert_eq!(Template::parse(&haproxy.to_string()), Ok(haproxy));
        assert_eq!(Template::parse("").unwrap().pieces(), []);
    }

    #[test]
    fn short_form_is_the_longest_that_fits() {
        assert_eq!(Template::parse("%fp").unwrap().pieces(), [Piece::Variable(Variable::Port)]);
        assert_eq!(Template::parse("%f").unwrap().pieces(), [Piece::Variable(Variable::Frontend)]);
    }

    #[test]
    fn template_that_says_nothing_known_is_refused() {
        assert_eq!(Template::parse("${host"), Err(TemplateError::Open));
        assert_eq!(Template::parse("${hots}"), Err(TemplateError::Unknown { name: "hots".into() }));
        assert_eq!(Template::parse("100%"), Err(TemplateError::Percent));
        assert!(Template::parse("${x}").unwrap_err().to_string().contains("client_ip"));
    }
}
