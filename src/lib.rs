//! Roost: a home-timeline service whose feeds are owned by actors.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail"))]

pub mod accounts;
pub mod actors;
pub mod app;
pub mod bus;
pub mod cache;
pub mod cli;
pub mod config;
pub mod counter;
pub mod fanout;
pub mod http;
pub mod hydration;
pub mod limits;
pub mod logging;
pub mod media;
pub mod notifications;
pub mod origin;
#[cfg(any(test, feature = "fuzzing"))]
pub mod probes;
pub mod redis_tier;
pub mod store;
pub mod text;
pub mod time;
pub mod timeline;
