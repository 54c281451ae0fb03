//! The HTTP contract: one file per resource, thin handlers.

pub mod error;
pub mod fields;
pub mod media;
pub mod routing;

pub use error::ApiError;
