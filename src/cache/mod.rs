//! In-process caches that are never left stale by a race.

pub mod age;
mod fenced;

pub use fenced::{Fenced, Stamp, Ticket};
