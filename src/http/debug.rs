//! What operators may see of a node's memory. Registered on the metrics address only, and only
//! if that is an address of its own; no part of the API, and not in its document.

use actix_web::http::header;
use actix_web::{HttpResponse, web};

use super::routing::{Access, resource};
use crate::timeline::{TimelineKey, Timelines};

/// Registers it.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        resource("/debug/feeds/{reader}/{tweet}", Access::Public, "GET")
            .route(web::get().to(peek_at_feed)),
    );
}

/// What is held of a feed, and whether a tweet is in it: numbers and yes or no, no content.
async fn peek_at_feed(
    path: web::Path<(i64, i64)>,
    timelines: web::Data<Timelines>,
) -> HttpResponse {
    let (reader, tweet) = path.into_inner();
    let peeked = timelines.peek(TimelineKey::Home(reader), tweet).await;
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(peeked)
}
