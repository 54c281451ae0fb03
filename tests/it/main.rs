//! The black-box suite: the real binary, real databases, requests over real sockets.
//!
//! Nothing in here knows how Roost works inside. Every test starts its own process on
//! a free port with a fresh database, plays a story through the public API, and checks
//! what a client (or an operator) can see. Run it with `./scripts/test`, which brings
//! the PostgreSQL and Redis servers that the tests insist on.
//!
//! One file per resource, in the contract's order; [`harness`] holds the machinery.

// A test that cannot get what it needs has failed: panicking is how it says so.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod harness;

mod accounts;
mod administration;
mod authorization;
mod browser;
mod caching;
mod comments;
mod conventions;
mod costs;
mod counter_modes;
mod counter_storm;
mod cross_origin;
mod crowd;
mod default_limits;
mod differential;
mod fanout;
mod fanout_kills;
mod faults;
mod friendships;
mod hostile_input;
mod idempotency;
mod identifiers;
mod last_lines;
mod likes;
mod logs;
mod model;
mod newsfeeds;
mod nodes;
mod notifications;
mod operations;
mod pages;
mod pagination;
mod photos;
mod pipelining;
mod profiles;
mod races;
mod rate_limits;
mod retention;
mod secrets;
mod sessions;
mod settings;
mod start_stop;
mod stream;
mod stream_scale;
mod supply_chain;
mod timestamps;
mod tokens;
mod tour;
mod tweets;
mod upgrade;
mod why;
