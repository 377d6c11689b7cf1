//! Templates made values: header rules, and where a redirect leads. Pure.
//!
//! What a client sent can stand in a value, and cannot end it: control bytes are percent-encoded, in the place of a
//! redirect everything that is no part of a URI as well (RFC 3986 §2). What is encoded already stays as it is.

use std::fmt::{self, Display};

use ::http::header::{HeaderValue, STRICT_TRANSPORT_SECURITY};
use pingora::http::{RequestHeader, ResponseHeader};

use crate::model::{HeaderRules, Hsts, Piece, Template, Variable};

/// Fields that say where a message ends or how long its connection lives: no rule changes them.
const FRAMING: [&str; 8] =
    ["connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// What the variables of one request stand for.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    /// The client's address.
    pub client_ip: &'a [u8],
    /// The client's port.
    pub client_port: u16,
    /// The port that it came to; 0 where there is none.
    pub port: u16,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The frontend's name.
    pub frontend: &'a str,
    /// The host as it is written in the request; empty where there is none.
    pub host: &'a [u8],
    /// The request target: a path, and its query if it has one.
    pub target: &'a [u8],
    /// The request's id.
    pub id: &'a dyn Display,
    /// The name that the client asked for in its handshake, or nothing.
    pub sni: &'a str,
    /// The version of TLS, or nothing.
    pub tls_version: &'static str,
    /// SHA-256 of the client's certificate and its common name; nothing of what was not verified.
    pub client_certificate: (&'a str, &'a str),
}

/// Which bytes stay as they are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    /// Of a header field: all but control bytes.
    Field,
    /// Of a URI.
    Uri,
}

/// Returns what a template says as the value of a field; nothing where it comes to no such value.
#[must_use]
pub fn field_value(template: &Template, values: &Values<'_>) -> Option<HeaderValue> {
    HeaderValue::from_bytes(&rendered(template, values, Text::Field)).ok()
}

/// Returns where a redirect leads. A path that leads away (`//host`) where the template begins with it does not: it is
/// the client's to write.
#[must_use]
pub fn location(template: &Template, values: &Values<'_>) -> Option<HeaderValue> {
    let text = rendered(template, values, Text::Uri);
    let begins_with_path = matches!(template.pieces().first(), Some(Piece::Variable(Variable::Path | Variable::Uri)));
    let slashes = text.iter().take_while(|byte| **byte == b'/').count();
    let text = if begins_with_path && slashes > 1 { &text[slashes - 1..] } else { &text };
    HeaderValue::from_bytes(text).ok()
}

fn rendered(template: &Template, values: &Values<'_>, kind: Text) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    for piece in template.pieces() {
        match piece {
            Piece::Text(text) => encode(text.as_bytes(), kind, &mut out),
            Piece::Variable(variable) => values.write(*variable, kind, &mut out),
        }
    }
    out
}

impl Values<'_> {
    fn write(&self, variable: Variable, kind: Text, out: &mut Vec<u8>) {
        let query_at = memchr::memchr(b'?', self.target).unwrap_or(self.target.len());
        let (path, arguments) = self.target.split_at(query_at);
        match variable {
            Variable::Arguments => encode(arguments, kind, out),
            Variable::ClientCertSha256 => encode(self.client_certificate.0.as_bytes(), kind, out),
            Variable::ClientCn => encode(self.client_certificate.1.as_bytes(), kind, out),
            Variable::ClientIp => encode(self.client_ip, kind, out),
            Variable::ClientPort => show(&self.client_port, kind, out),
            Variable::Domain => encode(domain(self.host), kind, out),
            Variable::Frontend => encode(self.frontend.as_bytes(), kind, out),
            Variable::Host => encode(self.host, kind, out),
            Variable::Path => encode(path, kind, out),
            Variable::Port => show(&self.port, kind, out),
            Variable::Protocol => encode(self.scheme.as_bytes(), kind, out),
            Variable::RequestId => show(&self.id, kind, out),
            Variable::Sni => encode(self.sni.as_bytes(), kind, out),
            Variable::TlsVersion => encode(self.tls_version.as_bytes(), kind, out),
            Variable::Uri => encode(self.target, kind, out),
        }
    }
}

/// Returns the host without its port; the brackets of an address stay.
fn domain(host: &[u8]) -> &[u8] {
    let address = if host.first() == Some(&b'[') { memchr::memchr(b']', host).unwrap_or(0) } else { 0 };
    memchr::memrchr(b':', &host[address..]).map_or(host, |at| &host[..address + at])
}

fn show(value: &dyn Display, kind: Text, out: &mut Vec<u8>) {
    struct Encoded<'a>(&'a mut Vec<u8>, Text);
    impl fmt::Write for Encoded<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            encode(text.as_bytes(), self.1, self.0);
            Ok(())
        }
    }
    // Nothing that is shown here fails to be, nor does writing it.
    let _ = fmt::write(&mut Encoded(out, kind), format_args!("{value}"));
}

fn encode(bytes: &[u8], kind: Text, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        let stays = match kind {
            Text::Field => (*byte >= b' ' && *byte != 0x7f) || *byte == b'\t',
            Text::Uri => byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(byte),
        };
        if stays {
            out.push(*byte);
        } else {
            out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// A head whose fields rules change.
pub trait Fields {
    /// Leaves out every field of a name, which is in lower case.
    fn leave_out(&mut self, name: &str);
    /// Puts a field in the place of all of its name.
    fn put(&mut self, name: &str, value: HeaderValue);
    /// Puts a field beside those of its name.
    fn put_beside(&mut self, name: &str, value: HeaderValue);
}

macro_rules! fields_of {
    ($head:ty) => {
        // Names that are none, or too many fields, change nothing: both are refused where they come from.
        impl Fields for $head {
            fn leave_out(&mut self, name: &str) {
                let _ = self.remove_header(name);
            }

            fn put(&mut self, name: &str, value: HeaderValue) {
                let _ = self.insert_header(name.to_owned(), value);
            }

            fn put_beside(&mut self, name: &str, value: HeaderValue) {
                let _ = self.append_header(name.to_owned(), value);
            }
        }
    };
}
fields_of!(RequestHeader);
fields_of!(ResponseHeader);

/// Changes a head by rules.
pub fn apply(rules: &HeaderRules, values: &Values<'_>, head: &mut impl Fields) {
    for name in rules.remove.iter().filter(|name| !is_framing(name)) {
        head.leave_out(name);
    }
    for (name, template) in rules.set.iter().filter(|(name, _)| !is_framing(name)) {
        if let Some(value) = field_value(template, values) {
            head.put(name, value);
        }
    }
    for (name, template) in rules.add.iter().filter(|(name, _)| !is_framing(name)) {
        if let Some(value) = field_value(template, values) {
            head.put_beside(name, value);
        }
    }
}

fn is_framing(name: &str) -> bool {
    FRAMING.iter().any(|field| field.eq_ignore_ascii_case(name))
}

/// Says to a client that came in TLS that it is to come so always, whatever the server said of that.
pub fn set_hsts(hsts: Hsts, head: &mut ResponseHeader) {
    let below = if hsts.includes_subdomains { "; includeSubDomains" } else { "" };
    let text = format!("max-age={}{below}", hsts.max_age.as_secs());
    if let Ok(value) = HeaderValue::try_from(text) {
        // Fails only for what is no value.
        let _ = head.insert_header(STRICT_TRANSPORT_SECURITY, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values<'a>(host: &'a [u8], target: &'a [u8]) -> Values<'a> {
        Values {
            client_ip: b"192.0.2.7",
            client_port: 4711,
            port: 8443,
            scheme: "https",
            frontend: "web",
            host,
            target,
            id: &"r-1",
            sni: "sni.example.com",
            tls_version: "TLSv1.3",
            client_certificate: ("c0ffee", "ann smith"),
        }
    }

    #[track_caller]
    fn check(template: &str, host: &str, target: &str, want: &str) {
        let template = Template::parse(template).unwrap();
        let place = location(&template, &values(host.as_bytes(), target.as_bytes())).unwrap();
        assert_eq!(place.to_str().unwrap(), want);
    }

    #[test]
    fn place_has_every_variable() {
        check("https://${host}${uri}", "example.com:80", "/a?b=1&c", "https://example.com:80/a?b=1&c");
        check("https://${domain}:8443${path}", "example.com:80", "/a?b", "https://example.com:8443/a");
        check("https://${domain}/", "[::1]:80", "/", "https://[::1]/");
        check("/x${arguments}", "h", "/a?b", "/x?b");
        check("/x${arguments}", "h", "/a", "/x");
        check("${protocol}://h:${port}/${frontend}", "h", "/", "https://h:8443/web");
        check("/?c=${client_ip}:${client_port}&r=${request_id}", "h", "/", "/?c=192.0.2.7:4711&r=r-1");
        check("/${sni}/${tls_version}", "h", "/", "/sni.example.com/TLSv1.3");
        check("/${client_cn}/${client_cert_sha256}", "h", "/", "/ann%20smith/c0ffee");
    }

    #[test]
    fn place_holds_nothing_that_ends_it_and_leads_nowhere_else() {
        check(
            "https://${host}${uri}",
            "h",
            "/a b\r\nX: 1<>\"\\^`{|}",
            "https://h/a%20b%0D%0AX:%201%3C%3E%22%5C%5E%60%7B%7C%7D",
        );
        check("${path}", "h", "//evil.example/x", "/evil.example/x");
        check("${uri}", "h", "///evil.example?a", "/evil.example?a");
        check("${uri}", "h", "/\\evil", "/%5Cevil");
        check("https://h${path}", "h", "//a", "https://h//a");
        check("https://h${path}", "h", "/%2e%2E/ü", "https://h/%2e%2E/%C3%BC");
    }

    #[test]
    fn field_keeps_what_a_field_may_hold() {
        let template = Template::parse("%ci:%cp %fp %f \"${path}\"").unwrap();
        let value = field_value(&template, &values(b"h", b"/\xff\n")).unwrap();
        assert_eq!(value.as_bytes(), b"192.0.2.7:4711 8443 web \"/\xff%0A\"");
    }

    fn rules() -> HeaderRules {
        let text = |text| Template::parse(text).unwrap();
        HeaderRules {
            remove: ["x-debug".into(), "content-length".into()].into(),
            set: [("X-Ip".into(), text("%ci")), ("Transfer-Encoding".into(), text("chunked"))].into(),
            add: [("Via".into(), text("mine")), ("Connection".into(), text("close"))].into(),
        }
    }

    #[test]
    fn rules_remove_set_and_add_and_leave_framing_alone() {
        let mut head = ResponseHeader::build(200, None).unwrap();
        for (name, value) in [
            ("X-Debug", "1"),
            ("X-Debug", "2"),
            ("Content-Length", "3"),
            ("X-Ip", "a"),
            ("X-Ip", "b"),
            ("Via", "1.1 a"),
        ] {
            head.append_header(name, value).unwrap();
        }
        apply(&rules(), &values(b"h", b"/"), &mut head);
        let mut lines: Vec<_> =
            head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        assert_eq!(lines, ["content-length: 3", "via: 1.1 a", "via: mine", "x-ip: 192.0.2.7"]);
    }

    #[test]
    fn rules_write_names_as_they_are_written() {
        let mut head = RequestHeader::build("GET", b"/", None).unwrap();
        apply(&rules(), &values(b"h", b"/"), &mut head);
        let mut wire = Vec::new();
        head.header_to_h1_wire(&mut wire);
        let wire = String::from_utf8(wire).unwrap();
        assert!(wire.contains("X-Ip: 192.0.2.7\r\n"), "{wire}");
    }

    #[test]
    fn hsts_stands_once() {
        let mut head = ResponseHeader::build(200, None).unwrap();
        head.append_header("Strict-Transport-Security", "max-age=1").unwrap();
        let hsts = Hsts { max_age: std::time::Duration::from_secs(31_536_000), includes_subdomains: true };
        set_hsts(hsts, &mut head);
        let all: Vec<_> = head.headers.get_all(STRICT_TRANSPORT_SECURITY).iter().collect();
        assert_eq!(all, ["max-age=31536000; includeSubDomains"]);
    }

    proptest! {
        #[test]
        fn any_request_makes_a_place_and_a_value(
            host in prop::collection::vec(any::<u8>(), 0..20),
            target in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let every: String = Variable::names().map(|name| format!("${{{name}}} ")).collect();
            let template = Template::parse(&every).unwrap();
            let place = location(&template, &values(&host, &target)).unwrap();
            prop_assert!(place.as_bytes().iter().all(u8::is_ascii_graphic));
            prop_assert!(field_value(&template, &values(&host, &target)).is_some());
        }
    }
}
