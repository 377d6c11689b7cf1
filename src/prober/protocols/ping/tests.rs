//! Packets of every sort, and real echoes where this process may send them.

use proptest::prelude::*;

use super::*;
use std::time::Duration;
use tokio::time::Instant;

const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

fn echo() -> Echo {
    Echo::new(0x0001_0002, 0x1234, 99)
}

/// What comes back for a request.
fn reply(echo: &Echo, ip: IpAddr) -> Vec<u8> {
    let mut message = echo.request(ip).to_vec();
    message[0] = if ip.is_ipv4() { 0 } else { 129 };
    message
}

fn in_packet(message: &[u8], options: usize) -> Vec<u8> {
    let mut packet = vec![0; IPV4_HEAD_BYTES_MIN + options];
    packet[0] = 0x45 + u8::try_from(options / 4).unwrap();
    packet.extend_from_slice(message);
    packet
}

#[test]
fn request_has_a_checksum_that_sums_to_nothing() {
    for ip in [V4, V6] {
        let request = echo().request(ip);
        assert_eq!(checksum(&request), [0, 0]);
        assert_eq!(request[4..8], [0x12, 0x35, 0, 2]);
    }
}

#[test]
fn reply_is_the_one_to_this_request_and_no_other() {
    let echo = echo();
    assert!(echo.is_answered_by(&reply(&echo, V4), V4, Form::Message));
    assert!(echo.is_answered_by(&reply(&echo, V6), V6, Form::Message));
    assert!(echo.is_answered_by(&in_packet(&reply(&echo, V4), 0), V4, Form::Packet));
    assert!(echo.is_answered_by(&in_packet(&reply(&echo, V4), 8), V4, Form::Packet), "with options");
    let other = Echo::new(0x0001_0002, 0x1234, 98);
    assert!(!echo.is_answered_by(&reply(&other, V4), V4, Form::Message), "of another moment");
    let other = Echo::new(0x0001_0003, 0x1234, 99);
    assert!(!echo.is_answered_by(&reply(&other, V4), V4, Form::Message), "of another sequence");
    assert!(!echo.is_answered_by(&echo.request(V4), V4, Form::Message), "the request itself");
    assert!(!echo.is_answered_by(&reply(&echo, V4), V6, Form::Message), "of another family");
    assert!(!echo.is_answered_by(&reply(&echo, V4), V4, Form::Packet), "without its header");
}

proptest! {
    #[test]
    fn any_packet_is_looked_at_without_a_panic(packet in prop::collection::vec(any::<u8>(), 0..80), raw in any::<bool>()) {
        let form = if raw { Form::Packet } else { Form::Message };
        prop_assert!(!echo().is_answered_by(&packet, V4, form));
    }

    #[test]
    fn reply_cut_anywhere_is_none(cut in 0..44usize) {
        let packet = in_packet(&reply(&echo(), V4), 0);
        prop_assert!(!echo().is_answered_by(&packet[..cut], V4, Form::Packet));
    }
}

/// With the right to send one, loopback answers; without, the record tells what is missing and blames no server.
#[tokio::test]
async fn ping_of_loopback_passes_or_tells_what_it_needs() {
    let after = Duration::from_secs(2);
    let deadline = Deadline { at: Instant::from_std(clock::monotonic() + after), after };
    let is_allowed = open(V4).is_ok();
    for (addr, source) in [("127.0.0.1:9", None), ("127.0.0.7:9", Some("127.0.0.3".parse().unwrap()))] {
        let finding = ask(addr.parse().unwrap(), source, deadline).await;
        if is_allowed {
            assert_eq!((finding.status, finding.content.as_str()), (CheckStatus::L4Ok, "echo reply of 24 bytes"));
        } else {
            assert_eq!((finding.status, finding.content.as_str()), (CheckStatus::SockErr, REMEDY));
        }
    }
}
