//! Headers as the protocol has them, headers that are almost ones, and bytes that are none.

use proptest::prelude::*;

use super::*;

fn addresses(source: &str, destination: &str) -> Option<Addresses> {
    Some(Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() })
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    [&SIGNATURE[..], &[command, family], &length_of(body), body].concat()
}

#[test]
fn header_of_version_1_is_read_to_its_line_end() {
    for (line, want) in [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", addresses("192.0.2.7:56324", "198.51.100.1:443")),
        ("PROXY TCP6 2001:db8::7 ::1 1 65535\r\n", addresses("[2001:db8::7]:1", "[::1]:65535")),
        ("PROXY TCP4 0.0.0.0 255.255.255.255 0 0\r\n", addresses("0.0.0.0:0", "255.255.255.255:0")),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff:f...f:ffff whatever 1 2\r\n", None),
    ] {
        let bytes = [line.as_bytes(), b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(read(&bytes), Reading::Whole(line.len(), want), "{line:?}");
        for end in 0..line.len() {
            assert_eq!(read(&bytes[..end]), Reading::Partial, "{line:?} cut at {end}");
        }
    }
}

#[test]
fn header_of_version_1_that_is_not_exactly_one_is_refused() {
    for line in [
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\r\n",
        "PROXY TCP4 192.0.2.7  198.51.100.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324 65536\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 056324 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1  443\r\n",
        "PROXY TCP4 192.0.2.007 198.51.100.1 1 443\r\n",
        "PROXY TCP4 ::1 ::1 1 443\r\n",
        "PROXY TCP6 192.0.2.7 198.51.100.1 1 443\r\n",
        "PROXY UDP4 192.0.2.7 198.51.100.1 1 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        "PROXY TCP4 \u{661}.0.2.7 198.51.100.1 1 443\r\n",
        "proxy TCP4 192.0.2.7 198.51.100.1 1 443\r\n",
        "GET / HTTP/1.1\r\n",
        "\r\n\r\nGET",
    ] {
        assert!(matches!(read(line.as_bytes()), Reading::Malformed(_)), "{line:?}");
    }
    let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat();
    assert!(matches!(read(&endless), Reading::Malformed(_)));
}

#[test]
fn header_of_version_2_is_read_with_its_vectors() {
    let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];
    let v4_with_vectors = [&v4[..], &[0x04, 0, 1, 0]].concat();
    let mut v6 = [0; 36];
    v6[15] = 1;
    v6[31] = 2;
    v6[33] = 80;
    let want4 = addresses("192.0.2.7:56324", "198.51.100.1:443");
    for (bytes, want) in [
        (v2(V2_PROXY, TCP4, &v4), want4),
        (v2(V2_PROXY, TCP4, &v4_with_vectors), want4),
        (v2(V2_PROXY, TCP6, &v6), addresses("[::1]:80", "[::2]:0")),
        (v2(V2_PROXY, UNSPEC, &[]), None),
        (v2(V2_PROXY, UNIX, &[0; UNIX_ADDRESSES_BYTES]), None),
        (v2(V2_LOCAL, UNSPEC, &[]), None),
        (v2(V2_LOCAL, TCP4, &v4), None),
        (v2(V2_LOCAL, 0x77, &[1]), None),
    ] {
        let with_more = [&bytes[..], b"more"].concat();
        assert_eq!(read(&with_more), Reading::Whole(bytes.len(), want), "{bytes:?}");
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), Reading::Partial, "{bytes:?} cut at {end}");
        }
    }
}

#[test]
fn header_of_version_2_that_is_not_exactly_one_is_refused() {
    for bytes in [
        v2(V2_PROXY, TCP4, &[0; 11]),
        v2(V2_PROXY, TCP6, &[0; 35]),
        v2(V2_PROXY, UNIX, &[0; 215]),
        v2(V2_PROXY, 0x12, &[0; 12]),
        v2(V2_PROXY, 0x41, &[0; 12]),
        v2(0x22, TCP4, &[0; 12]),
        v2(0x11, TCP4, &[0; 12]),
        v2(V2_PROXY, UNSPEC, &vec![0; BYTES_MAX]),
    ] {
        assert!(matches!(read(&bytes), Reading::Malformed(_)), "{bytes:?}");
    }
}

#[test]
fn header_tells_what_it_is_asked_to_and_no_more() {
    let known = addresses("192.0.2.7:1000", "198.51.100.1:443");
    let none = Said::default();
    let certified = Said { version: Some("TLSv1.3"), is_certified: true, common_name: Some("me") };
    assert_eq!(written(ProxyOut::V1, known, &certified), b"PROXY TCP4 192.0.2.7 198.51.100.1 1000 443\r\n");
    assert_eq!(written(ProxyOut::V1, None, &none), b"PROXY UNKNOWN\r\n");
    assert_eq!(written(ProxyOut::V2, None, &certified), v2(V2_PROXY, UNSPEC, &[]));
    let ssl = |form, said: &Said<'_>| written(form, known, said)[28..].to_vec();
    assert!(ssl(ProxyOut::V2, &certified).is_empty());
    assert_eq!(ssl(ProxyOut::V2Ssl, &none), b"\x20\0\x05\0\0\0\0\x01");
    assert_eq!(ssl(ProxyOut::V2Ssl, &certified), b"\x20\0\x0f\x03\0\0\0\0\x21\0\x07TLSv1.3");
    assert_eq!(ssl(ProxyOut::V2SslCn, &certified), b"\x20\0\x14\x03\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x02me");
}

#[test]
fn addresses_of_two_families_are_written_as_one() {
    let mixed = addresses("192.0.2.7:1000", "[2001:db8::1]:443");
    let line = written(ProxyOut::V1, mixed, &Said::default());
    assert_eq!(line, b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1000 443\r\n");
}

proptest! {
    #[test]
    fn reading_never_panics_and_never_takes_more_than_there_is(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let as_v1 = [V1, &bytes].concat();
        let as_v2 = [&SIGNATURE[..], &bytes].concat();
        for bytes in [&bytes, &as_v1, &as_v2] {
            if let Reading::Whole(length, _) = read(bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }

    #[test]
    fn header_is_read_as_it_is_written(
        source: (IpAddr, u16),
        destination: (IpAddr, u16),
        form in prop::sample::select(&ProxyOut::ALL),
    ) {
        let said = Addresses { source: source.into(), destination: destination.into() };
        let bytes = written(form, Some(said), &Said::default());
        prop_assert_eq!(read(&bytes), Reading::Whole(bytes.len(), Some(of_one_family(said))));
    }
}
