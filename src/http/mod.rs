//! The HTTP contract: one file per resource, thin handlers.
//!
//! [`configure`] is the list of all resources; a new one is added there and nowhere else.

pub mod accounts;
pub mod admission;
pub mod auth;
pub mod comments;
pub mod compression;
pub mod connection;
pub mod conventions;
pub mod cors;
pub mod csrf;
pub mod debug;
pub mod error;
pub mod fields;
pub mod form;
pub mod friendships;
pub mod idempotency;
pub mod likes;
pub mod media;
pub mod meters;
pub mod middleware;
pub mod newsfeeds;
pub mod notifications;
pub mod operations;
pub mod profiles;
pub mod proxies;
pub mod rate_limits;
pub mod reading;
pub mod routing;
pub mod schema;
pub mod stream;
pub mod tweets;
pub mod web;
pub mod window;

pub use error::ApiError;

/// Registers every resource. The router tries them in this order, and those with a parameter by
/// a regular expression, so what is asked for most comes first.
pub fn configure(cfg: &mut actix_web::web::ServiceConfig) {
    cfg.configure(newsfeeds::configure)
        .configure(tweets::configure)
        .configure(accounts::configure)
        .configure(profiles::configure)
        .configure(stream::configure)
        .configure(friendships::configure)
        .configure(comments::configure)
        .configure(likes::configure)
        .configure(notifications::configure)
        .configure(media::configure)
        .configure(operations::configure)
        .configure(schema::configure)
        .configure(web::configure);
}
