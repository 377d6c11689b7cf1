//! The pieces of a black-box test: a running Farmgate, its config, origins, clients and waits.

pub(crate) mod client;
mod config;
mod farmgate;
pub(crate) mod h2;
mod h2_origin;
mod load;
mod origin;
mod plane;
mod receiver;
mod tcp_origin;
mod wait;

pub(crate) use client::{Client, Fault, Response, find};
pub(crate) use config::{CREW_TOKEN, EYE_TOKEN, FAST, OPS_TOKEN, Server, Setup};
pub(crate) use farmgate::{BINARY, Farmgate, run_to_end};
pub(crate) use h2::{Frames, H2};
pub(crate) use h2_origin::{Asked, H2Origin, Says};
pub(crate) use load::Load;
pub(crate) use origin::{Behaviour, Origin, free_port, place, refused_port};
pub(crate) use plane::InProcess;
pub(crate) use receiver::{Delivery, Does, Receiver};
pub(crate) use tcp_origin::{TcpBehaviour, TcpOrigin};
pub(crate) use wait::{PATIENCE, until, until_within};
