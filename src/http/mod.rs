//! The HTTP contract: one file per resource, thin handlers.

pub mod error;

pub use error::ApiError;
