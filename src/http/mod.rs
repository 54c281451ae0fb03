//! The HTTP contract: one file per resource, thin handlers.

pub mod accounts;
pub mod auth;
pub mod csrf;
pub mod error;
pub mod fields;
pub mod profiles;
pub mod proxies;
pub mod media;
pub mod routing;
pub mod window;

pub use error::ApiError;
