//! From entries to what a reader sees: tweets, authors, counts, liked flags, friendships.
//!
//! Each kind has an in-process cache that fills from the database in one batched query and is
//! kept right by the writes (see [`crate::cache`] for why a fill cannot go stale).

pub mod followings;
pub mod kept;
pub mod liked;
pub mod pages;
pub mod rendering;
pub mod tweets;
pub mod users;
