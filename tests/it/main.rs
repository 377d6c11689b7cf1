//! Black-box tests: the real binary, real sockets, scripted origins, an HTTP client that sends exact bytes.
//!
//! [`harness`] has the pieces; every other module is a subject. Each test starts a Farmgate of its own on ports that
//! the system chooses, so tests run side by side. Every wait has a deadline and polls; nothing sleeps to let things
//! settle. A test that measures a deadline allows for a machine that is busy with something else.
//!
//! `queue`, `sessions` and `sticky` ask things of the data plane that no key of the config or call of the API reaches: they run
//! it alone, in this process.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what the harness cannot do is a failed test; its functions are called by tests only"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "origins and clients are threads, and deadlines of a test are taken from the clock that the test sees"
)]

mod harness;

mod acme;
mod admin;
mod affinity;
mod agreement;
mod agreement_of_shapes;
mod apart;
mod audit;
mod bad_input;
mod certificates;
mod entry;
mod explain;
mod guards;
mod h2;
mod h2_servers;
mod health;
mod http;
mod journal;
mod lifecycle;
mod memory;
mod narrow;
mod native;
mod objects;
mod opened;
mod ovh_service;
mod ovh_writes;
mod queue;
mod rare;
mod reload;
mod retry;
mod review;
mod routes;
mod seen;
mod sessions;
mod shares;
mod slow;
mod smuggling;
mod sticky;
mod tcp;
mod tcp_tls;
mod to_servers;
mod traces;
mod udp;
mod unix_servers;
mod upgrade;
mod webhook;
mod why;
mod zenlayer_writes;
