//! Whatever a connection begins with: the readers of PROXY headers and of TLS hellos never panic, and what they say of
//! the beginning holds whatever follows.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::model::ProxyOut;
use crate::model::fuzz::{fuzz, like};

use super::client_hello;
use super::proxy_header::{self, Addresses, Said};

fn headers() -> Vec<Vec<u8>> {
    let addresses = |source: &str, destination: &str| {
        Some(Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() })
    };
    let said = Said { version: Some("TLSv1.3"), is_certified: true, common_name: Some("me") };
    let known = [addresses("192.0.2.7:56324", "198.51.100.1:443"), addresses("[2001:db8::7]:1", "[::1]:65535"), None];
    let forms = ProxyOut::ALL.iter();
    forms.flat_map(|form| known.map(|addresses| proxy_header::written(*form, addresses, &said))).collect()
}

#[test]
fn proxy_header_is_the_same_whatever_follows() {
    use proxy_header::{BYTES_MAX, Reading, read};
    let pieces: &[&[u8]] =
        &[b"PROXY ", b"TCP4 ", b"UNKNOWN", b"\r\n", b"\r\n\r\n\0\r\nQUIT\n", b"\x21\x11\0\x0c", b" "];
    fuzz(&(like(headers(), pieces), any::<Index>()), |(bytes, at)| {
        let whole = read(&bytes);
        let cut = at.index(bytes.len() + 1);
        match read(&bytes[..cut]) {
            Reading::Partial => prop_assert!(cut < BYTES_MAX, "{} bytes and no end", cut),
            known @ (Reading::Malformed(_) | Reading::Whole(..)) => prop_assert_eq!(known, whole, "cut at {}", cut),
        }
        if let Reading::Whole(length, _) = whole {
            prop_assert!(length <= bytes.len());
            prop_assert_eq!(read(&bytes[..length]), whole);
            prop_assert!(cut >= length || read(&bytes[..cut]) == Reading::Partial, "whole at {}", cut);
        }
        Ok(())
    });
}

/// A hello as rustls writes it.
fn hello(name: &str, alpn: &[&str]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = versions.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let mut bytes = Vec::new();
    let name = name.to_owned().try_into().unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn client_hello_is_the_same_whatever_follows() {
    use client_hello::{Reading, read};
    let whole = hello("api.example.com", &["h2", "http/1.1"]);
    // The same message in small records.
    let records = whole[5..].chunks(40);
    let length = |piece: &[u8]| u16::try_from(piece.len()).unwrap().to_be_bytes();
    let spread = records.flat_map(|piece| [&[22, 3, 1], &length(piece)[..], piece].concat()).collect();
    let seeds = vec![whole, hello("a.example", &[]), spread];
    let pieces: &[&[u8]] =
        &[b"\0\0\0\x0e\0\x0c\0\0\x09a.example", b"\0\x10\0\x05\0\x03\x02h2", b"\x16\x03\x01", b"\0\0"];
    fuzz(&(like(seeds, pieces), any::<Index>()), |(bytes, at)| {
        let whole = read(&bytes);
        let cut = at.index(bytes.len() + 1);
        let known = read(&bytes[..cut]);
        if known != Reading::Partial {
            prop_assert_eq!(&known, &whole, "cut at {}", cut);
        }
        if let Reading::Hello(hello) = whole {
            let is_name = |name: &String| name.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase());
            prop_assert!(hello.server_name.iter().all(is_name), "{:?}", hello.server_name);
            prop_assert!(hello.alpn.iter().all(|name| !name.is_empty()), "{:?}", hello.alpn);
        }
        Ok(())
    });
}
