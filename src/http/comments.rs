//! `/api/comments/`: write, list, edit, delete.

use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::auth::{LoggedIn, MaybeLoggedIn, WithLogin};
use super::error::{NOT_FOUND, NOT_YOURS};
use super::fields::Fields;
use super::routing::{Access, resource};
use super::window::{Params, path_id};
use super::{ApiError, conventions, idempotency};
use crate::config::Config;
use crate::counter::{Commented, Counter, CounterError, Idempotent, LikeKind, NewComment, Refusal};
use crate::hydration::pages::Hydrator;
use crate::hydration::users::UserCard;
use crate::store::Db;
use crate::store::comments::{self, CommentRow};
use crate::text;

/// Comments on a page unless the client asks for fewer; also the most.
pub const PAGE_SIZE: usize = 100;

/// Registers the resources.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        resource("/api/comments/", Access::Public, "GET, HEAD, POST")
            .route(web::get().to(list))
            .route(web::head().to(list))
            .route(web::post().to(create)),
    )
    .service(
        resource("/api/comments/{id}/", Access::Login, "PUT, DELETE")
            .route(web::put().to(edit))
            .route(web::delete().to(delete)),
    );
}

async fn list(
    request: HttpRequest,
    MaybeLoggedIn(viewer): MaybeLoggedIn,
    hydrator: web::Data<Hydrator>,
    db: web::Data<Db>,
) -> Result<HttpResponse, ApiError> {
    let params = Params::parse(request.query_string())?;
    let tweet_id = params.required_id("tweet_id")?;
    let after = params.cursor("created_at__gt")?;
    let size = match params.number("page_size")? {
        Some(size) if size > PAGE_SIZE => {
            return Err(ApiError::field("page_size", "At most 100."));
        }
        Some(size) => size,
        None => PAGE_SIZE,
    };
    let viewer = viewer.map(|viewer| viewer.user_id);
    // One more than is shown tells whether there is a next page.
    let mut rows = db
        .read("comments.page", move |conn| {
            Ok(comments::page(conn, tweet_id, after, size as i64 + 1)?)
        })
        .await?;
    let has_next = rows.len() > size;
    rows.truncate(size);
    let mut body = b"{\"comments\":".to_vec();
    write_comments(&mut body, &hydrator, &rows, viewer).await?;
    body.extend_from_slice(b",\"has_next_page\":");
    body.extend_from_slice(if has_next { b"true}" } else { b"false}" });
    let mut response = conventions::revalidated(&request, &body, viewer.is_some());
    if let Some(last) = rows.last().filter(|_| has_next) {
        let link = conventions::link(&request, "created_at__gt", last.created_at);
        response.insert_header((header::LINK, link));
    }
    Ok(conventions::with_body(response, body))
}

async fn create(
    request: HttpRequest,
    WithLogin(me, fields): WithLogin<Fields>,
    hydrator: web::Data<Hydrator>,
    counter: web::Data<Counter>,
    config: web::Data<Config>,
) -> Result<HttpResponse, ApiError> {
    fields.require(&["tweet_id", "content"])?;
    let tweet_id = fields.id("tweet_id").ok_or(ApiError::Missing(vec!["tweet_id"]))?;
    let (tweet_id, content) = both(tweet_id, content(&fields, &config))?;
    let key = idempotency::key(&request, &fields)?;
    let author = hydrator.users.one(me.user_id).await?.ok_or(ApiError::NotAuthenticated)?;
    let renderer = author.clone();
    let idempotency =
        key.map(|key| Idempotent { key, render: Box::new(move |row| render_new(row, &renderer)) });
    let new = NewComment { user_id: me.user_id, tweet_id, content, idempotency };
    let body = match counter.add_comment(new).await {
        Ok(Commented::Row(row)) => render_new(&row, &author),
        Ok(Commented::Body(body)) => body,
        Err(CounterError::Refused(Refusal::Missing)) => {
            return Err(ApiError::field("message", "tweet does not exist"));
        }
        Err(error) => return Err(error.into()),
    };
    Ok(HttpResponse::build(StatusCode::CREATED).content_type("application/json").body(body))
}

async fn edit(
    path: web::Path<String>,
    WithLogin(me, fields): WithLogin<Fields>,
    hydrator: web::Data<Hydrator>,
    db: web::Data<Db>,
    config: web::Data<Config>,
) -> Result<HttpResponse, ApiError> {
    let id = path_id(&path)?;
    let row = db.read("comments.find", move |conn| Ok(comments::find(conn, id)?)).await?;
    if row.ok_or(NOT_FOUND)?.user_id != me.user_id {
        return Err(NOT_YOURS);
    }
    fields.require(&["content"])?;
    let content = content(&fields, &config)?;
    // The owner never changes, so only the comment's being there is checked again.
    let row = db
        .write("comments.edit", move |conn| {
            if !comments::set_content(conn, id, &content)? {
                return Ok(None);
            }
            Ok(comments::find(conn, id)?)
        })
        .await?
        .ok_or(NOT_FOUND)?;
    let mut list = Vec::with_capacity(512);
    write_comments(&mut list, &hydrator, &[row], Some(me.user_id)).await?;
    let one = list[1..list.len() - 1].to_vec();
    Ok(HttpResponse::Ok().content_type("application/json").body(one))
}

async fn delete(
    path: web::Path<String>,
    LoggedIn(me): LoggedIn,
    counter: web::Data<Counter>,
) -> Result<HttpResponse, ApiError> {
    counter.delete_comment(me.user_id, path_id(&path)?).await?;
    Ok(HttpResponse::Ok().json(json!({ "success": true })))
}

fn content(fields: &Fields, config: &Config) -> Result<String, ApiError> {
    let raw = fields.text_or_error("content")?.unwrap_or_default();
    text::clean(&raw, config.comment_length)
        .map_err(|complaint| ApiError::field("content", complaint))
}

/// Both values, or the complaints about both.
fn both<A, B>(one: Result<A, ApiError>, other: Result<B, ApiError>) -> Result<(A, B), ApiError> {
    match (one, other) {
        (Err(ApiError::Validation(mut all)), Err(ApiError::Validation(more))) => {
            all.extend(more);
            Err(ApiError::Validation(all))
        }
        (one, other) => Ok((one?, other?)),
    }
}

/// C of a comment that has just been written: nobody has liked it yet.
fn render_new(row: &CommentRow, author: &Arc<UserCard>) -> String {
    let mut body = Vec::with_capacity(512);
    write_comment(&mut body, row, &author.json, false);
    String::from_utf8_lossy(&body).into_owned()
}

/// Writes C.
fn write_comment(out: &mut Vec<u8>, row: &CommentRow, user_json: &str, has_liked: bool) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"{\"id\":");
    out.extend_from_slice(digits.format(row.id).as_bytes());
    out.extend_from_slice(b",\"tweet_id\":");
    out.extend_from_slice(digits.format(row.tweet_id).as_bytes());
    out.extend_from_slice(b",\"user\":");
    out.extend_from_slice(user_json.as_bytes());
    out.extend_from_slice(b",\"content\":");
    out.extend_from_slice(serde_json::Value::from(row.content.as_str()).to_string().as_bytes());
    out.extend_from_slice(b",\"created_at\":\"");
    row.created_at.write_iso(out);
    out.extend_from_slice(b"\",\"likes_count\":");
    out.extend_from_slice(digits.format(row.likes_count).as_bytes());
    out.extend_from_slice(b",\"has_liked\":");
    out.extend_from_slice(if has_liked { b"true}" } else { b"false}" });
}

/// Writes comments as a JSON array, as `viewer` sees them.
async fn write_comments(
    out: &mut Vec<u8>,
    hydrator: &Hydrator,
    rows: &[CommentRow],
    viewer: Option<i64>,
) -> Result<(), ApiError> {
    let authors: Vec<i64> = rows.iter().map(|row| row.user_id).collect();
    let users = hydrator.users.many(&authors).await?;
    let liked = match viewer {
        Some(viewer) => {
            let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
            hydrator.liked.liked(viewer, LikeKind::Comment, &ids).await?
        }
        None => Default::default(),
    };
    out.push(b'[');
    for (place, row) in rows.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        let user = users.get(&row.user_id).map_or("null", |user| &user.json);
        write_comment(out, row, user, liked.get(place).copied().unwrap_or(false));
    }
    out.push(b']');
    Ok(())
}

/// Writes the first 100 comments of a tweet as a JSON array, oldest first.
///
/// # Errors
/// As [`Db::read`].
pub async fn write_first(
    out: &mut Vec<u8>,
    db: &Db,
    hydrator: &Hydrator,
    tweet_id: i64,
    viewer: Option<i64>,
) -> Result<(), ApiError> {
    let rows = db
        .read("comments.page", move |conn| {
            Ok(comments::page(conn, tweet_id, None, PAGE_SIZE as i64)?)
        })
        .await?;
    write_comments(out, hydrator, &rows, viewer).await
}
