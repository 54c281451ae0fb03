//! `GET /api/newsfeeds/`: the reader's home timeline.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::auth::LoggedIn;
use super::routing::{Access, resource};
use super::window::Params;
use super::{ApiError, conventions};
use crate::config::Config;
use crate::fanout::{Op, Writer};
use crate::hydration::pages::{Hydrator, Shape};
use crate::timeline::TimelineKey;

/// Registers the resource.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        resource("/api/newsfeeds/", Access::Login, "GET, HEAD")
            .route(web::get().to(list))
            .route(web::head().to(list)),
    );
}

async fn list(
    request: HttpRequest,
    LoggedIn(me): LoggedIn,
    hydrator: web::Data<Hydrator>,
    writer: web::Data<Writer>,
    config: web::Data<Config>,
) -> Result<HttpResponse, ApiError> {
    let wanted = Params::parse(request.query_string())?
        .page(config.page_size as usize, config.list_limit as usize)?;
    let key = TimelineKey::Home(me.user_id);
    let viewer = Some(me.user_id);
    let page = hydrator.page(key, viewer, wanted.range, wanted.size, Shape::Entries).await?;
    if !page.orphans.is_empty() {
        remove_orphans(&writer, me.user_id, page.orphans.clone());
    }
    let mut response = HttpResponse::Ok();
    response
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "private, no-cache"));
    if let Some(link) = conventions::next_link(&request, &page) {
        response.insert_header((header::LINK, link));
    }
    Ok(response.body(page.body))
}

/// Entries whose tweet is gone and that no task is about to remove, such as those which a
/// setting has left in the feed of somebody who unfollowed the author. Nobody waits for it.
fn remove_orphans(writer: &Writer, reader: i64, entries: Vec<crate::time::Timestamp>) {
    let writer = writer.clone();
    actix_web::rt::spawn(async move {
        if let Err(error) = writer.submit(Op::Purge { reader, entries }).await {
            tracing::debug!(reader, %error, "entries of deleted tweets stay until the next read");
        }
    });
}
