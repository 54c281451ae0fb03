//! `GET /api/newsfeeds/`: the reader's home timeline.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::auth::LoggedIn;
use super::reading::Reading;
use super::routing::{Access, reads, resource};
use super::window::Params;
use super::{ApiError, conventions};
use crate::fanout::{Op, Writer};
use crate::hydration::pages::Shape;
use crate::timeline::TimelineKey;

/// Registers the resource.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/api/newsfeeds/", Access::Login, "GET, HEAD").route(reads().to(list)));
}

async fn list(
    request: HttpRequest,
    LoggedIn(me): LoggedIn,
    reading: web::Data<Reading>,
) -> Result<HttpResponse, ApiError> {
    let params = Params::parse(request.query_string())?;
    let wanted = params.page(reading.page_size, reading.list_limit)?;
    let (key, viewer) = (TimelineKey::Home(me.user_id), Some(me.user_id));
    let hydrator = &reading.hydrator;
    let page = hydrator.page(key, viewer, wanted.range, wanted.size, Shape::Entries).await?;
    if !page.orphans.is_empty() {
        remove_orphans(&reading.writer, me.user_id, page.orphans.clone());
    }
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, conventions::JSON))
        .insert_header((header::CACHE_CONTROL, conventions::cache_control(true)));
    if let Some(link) = conventions::next_link(&request, &page) {
        response.insert_header((header::LINK, link));
    }
    Ok(response.body(page.body.clone()))
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
