//! In-process caches that are never left stale by a race.

mod fenced;

pub use fenced::{Fenced, Stamp, Ticket};
