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

fn grant(name: &str) -> Grant {
    Grant { name: name.into(), access: crate::model::Access::Read, farms: None }
}

fn token(text: &str) -> Option<Shown> {
    Some(Shown::of(&[text.as_bytes()]))
}

/// Guesses until it is refused for that.
fn guess(state: &AdminState, call: &Call, shown: impl Fn(u32) -> Option<Shown>) -> bool {
    let unknown = || Err::<Grant, _>(AdminError::Unauthorized("who?".to_owned()));
    (0..20_000).any(|n| {
        matches!(state.let_in(call, shown(n), unknown, |grant| grant), Err(AdminError::TooManyRequests { .. }))
    })
}

#[test]
fn source_that_guesses_is_slowed_down_and_whoever_was_right_before_is_not() {
    let state = vendor_fixture::state();
    let call = vendor_fixture::call("GET", "/api/v1/farms", "");
    let enter = |shown, name: &str| state.let_in(&call, shown, || Ok::<_, AdminError>(grant(name)), |grant| grant);
    assert_eq!(enter(token("known"), "ops"), Ok(grant("ops")));
    let refused = |told: Result<Grant, AdminError>| matches!(told, Err(AdminError::TooManyRequests { .. }));
    // Ever other ones; a place comes back a hundred times a second, so one look must follow quickly once.
    let caught = (0..100).any(|_| {
        assert!(guess(&state, &call, |n| token(&n.to_string())), "nobody was slowed down");
        assert_eq!(enter(token("known"), "ops"), Ok(grant("ops")), "a right one is not refused for others' guesses");
        refused(enter(token("new"), "new"))
    });
    assert!(caught, "a guess that is right is not let in while so many are wrong");
    let mut elsewhere = call.clone();
    elsewhere.peer = "127.0.0.2".parse().unwrap();
    let other = state.let_in(&elsewhere, token("new"), || Ok::<_, AdminError>(grant("new")), |grant| grant);
    assert_eq!(other, Ok(grant("new")), "another source goes on");
}

#[test]
fn source_that_repeats_one_wrong_credential_keeps_no_other_out() {
    let state = vendor_fixture::state();
    let call = vendor_fixture::call("GET", "/api/v1/farms", "");
    for _ in 0..20 {
        assert!(guess(&state, &call, |_| token("wrong")));
    }
    let enter = state.let_in(&call, token("right"), || Ok::<_, AdminError>(grant("ops")), |grant| grant);
    assert_eq!(enter, Ok(grant("ops")), "which was never seen before");
}

#[test]
fn what_shows_nothing_or_is_known_and_may_not_is_no_guess() {
    let running = Running::start();
    for _ in 0..250 {
        assert_eq!(running.send("GET", "/api/v1/status", &[], b"").status, 401);
        assert_eq!(running.call("POST", "/api/v1/reload", VIEWER, "").status, 403);
    }
    assert_eq!(running.call("GET", "/api/v1/farms", OPS, "").status, 200);
    for _ in 0..250 {
        let fields = [("Origin", "http://evil.example"), ("Authorization", "Bearer wrong")];
        assert_eq!(running.send("GET", "/api/v1/status", &fields, b"").status, 403);
    }
    assert_eq!(running.call("GET", "/api/v1/farms", "another-wrong-one", "").status, 401, "it was never looked at");
}

#[test]
fn page_of_another_site_takes_nothing_from_what_its_source_may() {
    let running = running();
    for n in 0..3 * RATE.burst * CREDENTIALS_PER_SOURCE {
        let fields = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")];
        for path in ["/1.0/auth/time", "/api/v1/status", "/metrics", "/healthz"] {
            assert_eq!(running.send("GET", path, &fields, b"").status, 403, "{path} {n}");
        }
    }
    assert_eq!(running.call("GET", "/api/v1/farms", OPS, "").status, 200);
}

#[test]
fn source_is_an_address_and_of_ipv6_its_network() {
    let of = |peer: &str| {
        let mut call = vendor_fixture::call("GET", "/", "");
        call.peer = peer.parse().unwrap();
        source(call.peer)
    };
    assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    assert_ne!(of("127.0.0.1"), of("127.0.0.2"));
}
