//! Roost: a home-timeline service whose feeds are owned by actors.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail"))]

pub mod cache;
pub mod config;
pub mod http;
pub mod redis_tier;
pub mod store;
pub mod time;
pub mod timeline;
