//! Roost: a home-timeline service whose feeds are owned by actors.
#![forbid(unsafe_code)]

pub mod cache;
pub mod config;
pub mod http;
pub mod store;
pub mod time;
