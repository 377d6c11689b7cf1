//! Hellos of real clients, hellos made by hand, and bytes that are none.

use std::sync::Arc;

use proptest::prelude::*;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

/// A hello as rustls writes it.
fn real(name: &str, alpn: &[&str]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = versions.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = name.to_owned().try_into().unwrap();
    let mut bytes = Vec::new();
    ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut bytes).unwrap();
    bytes
}

/// A message of a hello with these extensions.
fn message_with(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut all = Vec::new();
    for (kind, body) in extensions {
        all.extend_from_slice(&kind.to_be_bytes());
        all.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
        all.extend_from_slice(body);
    }
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; RANDOM_BYTES]);
    body.extend_from_slice(&[0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend_from_slice(&u16::try_from(all.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&all);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[CLIENT_HELLO], &length[1..], &body].concat()
}

/// The message in records of that size.
fn in_records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |piece: &[u8]| {
        let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
        [&[HANDSHAKE, 3, 1], &length[..], piece].concat()
    };
    message.chunks(size).flat_map(record).collect()
}

fn name_extension(name: &str) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap();
    [&(length + 3).to_be_bytes()[..], &[HOST_NAME], &length.to_be_bytes()[..], name.as_bytes()].concat()
}

fn want(name: &str, alpn: &[&str]) -> Reading {
    let alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Reading::Hello(Hello { server_name: Some(name.to_owned()), alpn })
}

#[test]
fn hello_of_a_real_client_is_read_at_its_last_byte_and_no_sooner() {
    let bytes = real("api.example.com", &["h2", "http/1.1"]);
    for end in 0..bytes.len() {
        assert_eq!(read(&bytes[..end]), Reading::Partial, "cut at {end}");
    }
    let with_more = [&bytes[..], b"early"].concat();
    assert_eq!(read(&with_more), want("api.example.com", &["h2", "http/1.1"]));
}

#[test]
fn hello_is_read_over_records_of_any_size() {
    let message = message_with(&[(SERVER_NAME, name_extension("Api.Example"))]);
    for size in [1, 2, 3, 5, 50, message.len(), 1 << 14] {
        assert_eq!(read(&in_records(&message, size)), want("api.example", &[]), "records of {size}");
    }
}

#[test]
fn hello_of_post_quantum_size_is_read() {
    let keys = (51, vec![9; 16 * 1024 + 2000]);
    let message = message_with(&[keys, (SERVER_NAME, name_extension("pq.example"))]);
    assert_eq!(read(&in_records(&message, 1 << 14)), want("pq.example", &[]));
}

#[test]
fn hello_without_a_name_or_without_extensions_is_one() {
    assert_eq!(read(&in_records(&message_with(&[]), 500)), Reading::Hello(Hello::default()));
    let mut bare = message_with(&[]);
    bare.truncate(bare.len() - 2);
    bare[3] -= 2;
    assert_eq!(read(&in_records(&bare, 500)), Reading::Hello(Hello::default()));
}

#[test]
fn what_does_not_begin_as_tls_is_something_else() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"\x16\x04",
        b"\x16\x03\x01\0\x05\x02",
        b"\x16\x03\x01\0\0\x02",
    ] {
        assert_eq!(read(bytes), Reading::Plain, "{bytes:?}");
    }
    for bytes in [&b""[..], b"\x16", b"\x16\x03\x01\x00", b"\x16\x03\x01\0\0"] {
        assert_eq!(read(bytes), Reading::Partial, "{bytes:?}");
    }
}

#[test]
fn hello_that_contradicts_itself_is_refused() {
    let name = || (SERVER_NAME, name_extension("a.example"));
    let two_names = [&name_extension("a.example")[..], &name_extension("b.example")[..]].concat();
    let whole = message_with(&[name()]);
    let mut short = whole.clone();
    *short.last_mut().unwrap() = b'x';
    short[3] -= 1;
    let endless = [&[CLIENT_HELLO, 0xff, 0xff, 0xff], &whole[4..]].concat();
    for (what, message) in [
        ("the name twice", message_with(&[name(), name()])),
        ("two lists of names", message_with(&[(SERVER_NAME, two_names)])),
        ("an empty name", message_with(&[(SERVER_NAME, name_extension(""))])),
        ("a name with a space", message_with(&[(SERVER_NAME, name_extension("a b"))])),
        ("a name of zero bytes", message_with(&[(SERVER_NAME, name_extension("a\0"))])),
        ("an empty extension", message_with(&[(SERVER_NAME, Vec::new())])),
        ("an empty protocol", message_with(&[(ALPN, vec![0, 1, 0])])),
        ("no protocols", message_with(&[(ALPN, vec![0, 0])])),
        ("too short a length", short),
        ("too long a length", endless),
    ] {
        assert!(matches!(read(&in_records(&message, 1 << 14)), Reading::Malformed(_)), "{what}");
    }
    let mut alert = in_records(&whole, 10);
    alert[15] = 21;
    assert!(matches!(read(&alert), Reading::Malformed(_)), "another kind of record between");
    let mut empty = in_records(&whole, 10);
    empty[19] = 0;
    assert!(matches!(read(&empty), Reading::Malformed(_)), "an empty record between");
}

proptest! {
    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600), size in 1_usize..700) {
        read(&bytes);
        read(&in_records(&[&[CLIENT_HELLO, 0, 0, 200], &bytes[..]].concat(), size));
    }

    #[test]
    fn reading_survives_any_changed_byte(at in any::<prop::sample::Index>(), byte: u8, size in 1_usize..700) {
        let mut bytes = in_records(&real("api.example.com", &["h2"])[RECORD_HEAD_BYTES..], size);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        read(&bytes);
    }
}
