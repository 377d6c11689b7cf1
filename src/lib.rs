//! Farmgate: a reverse-proxy load balancer that always knows, and tells, why a server is in or out of rotation.
//!
//! The map, in reading order. YAML becomes a [`model::Topology`] ([`config`]); the [`store`] turns it, health and
//! operators' wishes into an immutable table; the data plane ([`proxy`]) reads the table once per request; everybody
//! outside ([`admin`], the CLI) reads one snapshot. Data flows one way and only the Store writes. ARCHITECTURE.md has
//! the layers; `tests/tidy.rs` holds them.

pub mod alarm;
pub mod clock;
pub mod files;
pub mod report;
pub mod trust;

pub mod model;

pub mod balance;
pub mod health;
pub mod routing;

pub mod config;
pub mod farm;
pub mod feed;
pub mod metrics;

pub mod objects;
pub mod store;

pub mod acme;
pub mod journal;
pub mod prober;
pub mod proxy;
pub mod telemetry;
pub mod webhook;

pub mod admin;
pub mod lifecycle;

pub mod app;
pub mod cli;
