//! What pages are filled with: small caches in memory, filled from the database in one batched
//! query per kind, never one per item.

pub mod users;
