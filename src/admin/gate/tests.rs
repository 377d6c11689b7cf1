//! Who comes too often is told so in the words of its shape; everybody else goes on.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::*;
use crate::admin::Credentials;
use crate::admin::fixture::{OPS, Running, VIEWER, credentials, settings};
use crate::admin::vendor_fixture;
use crate::store::NoJournal;

/// Two calls an hour.
const RATE: CallRate = CallRate { requests: 1, window: Duration::from_secs(3600), burst: 2 };

fn running() -> Running {
    Running::start_as(&settings(), None, Arc::new(NoJournal), |state| {
        let known = Credentials { rate: RATE, ..credentials() };
        state.credentials = Arc::new(ArcSwap::from_pointee(known));
    })
}

#[test]
fn credential_that_is_used_too_often_is_refused_in_the_words_of_its_shape() {
    for (method, path, key, code) in [
        ("GET", "/api/v1/farms", "/error/code", "too_many_requests"),
        ("GET", "/metrics", "/error/code", "too_many_requests"),
        ("GET", "/1.0/ipLoadbalancing", "/class", "Client::TooManyRequests"),
        ("POST", "/api/v2/zlb", "/code", "REQUEST_LIMIT_EXCEEDED"),
    ] {
        let running = running();
        for _ in 0..2 {
            let reply = running.call(method, path, OPS, "");
            assert!(reply.status != 429 && reply.field("retry-after").is_none(), "{path}: {reply:?}");
        }
        let reply = running.call(method, path, OPS, "");
        assert_eq!((reply.status, reply.json().pointer(key)), (429, Some(&code.into())), "{path}: {reply:?}");
        assert!(reply.body.contains("too many calls with credential"), "{reply:?}");
        let wait: u64 = reply.field("retry-after").unwrap().parse().unwrap();
        assert!((3500..=3600).contains(&wait), "{wait}");
        assert_ne!(running.call(method, path, VIEWER, "").status, 429, "another credential goes on");
    }
}

#[test]
fn source_that_calls_too_often_is_refused_before_anything_but_what_watchdogs_ask() {
    let running = running();
    for n in 0..RATE.burst * CREDENTIALS_PER_SOURCE {
        assert_eq!(running.send("GET", "/1.0/auth/time", &[], b"").status, 200, "{n}");
    }
    let reply = running.send("GET", "/1.0/auth/time", &[], b"");
    assert_eq!((reply.status, &reply.json()["class"]), (429, &"Client::TooManyRequests".into()), "{reply:?}");
    assert!(reply.field("retry-after").is_some() && reply.body.contains("too many calls from 127.0.0.1"), "{reply:?}");
    assert_eq!(running.call("GET", "/api/v1/farms", OPS, "").status, 429);
    for _ in 0..20 {
        assert_eq!(running.send("GET", "/healthz", &[], b"").status, 200);
    }
}

#[test]
fn source_that_failed_too_often_is_not_let_in_with_what_is_right_either() {
    let state = vendor_fixture::state();
    let mut call = vendor_fixture::call("GET", "/api/v1/farms", "");
    let unknown = || AdminError::Unauthorized("who?".to_owned());
    let grant = Grant { name: "ops".into(), access: crate::model::Access::Read, farms: None };
    let enter = |call: &Call, who: Result<Grant, AdminError>| state.let_in(call, || who, |grant| grant);
    let is_kept_out = |told: &Result<Grant, AdminError>| matches!(told, Err(AdminError::TooManyRequests { .. }));
    // A token comes back ten times a second, so the two looks must follow one another quickly once.
    let caught = (0..10_000).any(|_| {
        let failed = enter(&call, Err(unknown()));
        is_kept_out(&failed) && is_kept_out(&enter(&call, Ok(grant.clone())))
    });
    assert!(caught, "nobody was kept out");
    call.peer = "127.0.0.2".parse().unwrap();
    assert_eq!(enter(&call, Ok(grant.clone())), Ok(grant), "another source goes on");
    assert_eq!(enter(&call, Err(unknown())), Err(unknown()));
}

#[test]
fn source_is_an_address_and_of_ipv6_its_network() {
    let of = |peer: &str| {
        let mut call = vendor_fixture::call("GET", "/", "");
        call.peer = peer.parse().unwrap();
        source(&call)
    };
    assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    assert_ne!(of("127.0.0.1"), of("127.0.0.2"));
}
