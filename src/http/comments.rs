//! `/api/comments/`: write, list, edit, delete.

use std::collections::HashSet;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use serde_json::value::RawValue;

use super::auth::{LoggedIn, MaybeLoggedIn};
use super::error::{NOT_FOUND, NOT_YOURS};
use super::fields::Fields;
use super::routing::{Access, resource};
use super::window::{Params, path_id};
use super::{ApiError, idempotency};
use crate::config::Config;
use crate::counter::{
    Commented, Counter, CounterError, Idempotent, LikeKind, NewComment, Refusal,
};
use crate::hydration::liked::LikedFlags;
use crate::hydration::pages::Hydrator;
use crate::hydration::users::{UserCard, Users};
use crate::store::comments::CommentRow;
use crate::store::{Db, comments};
use crate::text;
use crate::time::Timestamp;

/// Comments on a page, and on a tweet's own page.
const PAGE_SIZE: usize = 100;

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

async fn create(
    request: HttpRequest,
    LoggedIn(me): LoggedIn,
    fields: Fields,
    counter: web::Data<Counter>,
    users: web::Data<Users>,
    config: web::Data<Config>,
) -> Result<HttpResponse, ApiError> {
    fields.require(&["tweet_id", "content"])?;
    let tweet_id = fields.id("tweet_id").unwrap_or(Err(NOT_FOUND))?;
    let content = content(&fields, &config)?;
    let author = users.one(me.user_id).await?.ok_or(ApiError::NotAuthenticated)?;
    let for_render = author.clone();
    let idempotency = idempotency::key(&request, &fields)?.map(|key| Idempotent {
        key,
        render: Box::new(move |row: &CommentRow| new_comment(row, &for_render)),
    });
    let new = NewComment { user_id: me.user_id, tweet_id, content, idempotency };
    let body = match counter.add_comment(new).await.map_err(on_tweet)? {
        Commented::Row(row) => new_comment(&row, &author),
        Commented::Body(body) => body,
    };
    Ok(HttpResponse::build(StatusCode::CREATED).content_type("application/json").body(body))
}

fn content(fields: &Fields, config: &Config) -> Result<String, ApiError> {
    let raw = fields.text_or_error("content")?.unwrap_or_default();
    text::clean(&raw, config.comment_length)
        .map_err(|complaint| ApiError::field("content", complaint))
}

fn on_tweet(error: CounterError) -> ApiError {
    match error {
        CounterError::Refused(Refusal::Missing) => {
            ApiError::field("message", "tweet does not exist")
        }
        other => other.into(),
    }
}

/// C of a comment that nobody can have liked yet.
fn new_comment(row: &CommentRow, author: &Arc<UserCard>) -> String {
    CommentView::new(row, author, false)
        .and_then(|view| serde_json::to_string(&view).map_err(|_| ApiError::Internal))
        .unwrap_or_default()
}

async fn list(
    request: HttpRequest,
    MaybeLoggedIn(viewer): MaybeLoggedIn,
    db: web::Data<Db>,
    users: web::Data<Users>,
    liked: web::Data<LikedFlags>,
) -> Result<HttpResponse, ApiError> {
    let params = Params::parse(request.query_string())?;
    let tweet_id = params.required_id("tweet_id")?;
    let after = params.cursor("created_at__gt")?;
    let mut rows = load(&db, tweet_id, after, PAGE_SIZE + 1).await?;
    let has_next_page = rows.len() > PAGE_SIZE;
    rows.truncate(PAGE_SIZE);
    let viewer = viewer.map(|viewer| viewer.user_id);
    let comments = views(&rows, &users, &liked, viewer).await?;
    Ok(HttpResponse::Ok().json(json!({ "comments": comments, "has_next_page": has_next_page })))
}

async fn edit(
    path: web::Path<String>,
    LoggedIn(me): LoggedIn,
    fields: Fields,
    db: web::Data<Db>,
    users: web::Data<Users>,
    liked: web::Data<LikedFlags>,
    config: web::Data<Config>,
) -> Result<HttpResponse, ApiError> {
    let id = path_id(&path)?;
    own(&db, id, me.user_id).await?;
    fields.require(&["content"])?;
    let content = content(&fields, &config)?;
    let row = db
        .write("comments.set_content", move |conn| {
            comments::set_content(conn, id, &content)?;
            Ok(comments::find(conn, id)?)
        })
        .await?
        .ok_or(NOT_FOUND)?;
    let rows = [row];
    let mut shown = views(&rows, &users, &liked, Some(me.user_id)).await?;
    Ok(HttpResponse::Ok().json(shown.pop().ok_or(NOT_FOUND)?))
}

/// The comment, if it is there and the user's own.
async fn own(db: &Db, id: i64, user_id: i64) -> Result<CommentRow, ApiError> {
    let found = db.read("comments.find", move |conn| Ok(comments::find(conn, id)?)).await?;
    match found {
        None => Err(NOT_FOUND),
        Some(row) if row.user_id != user_id => Err(NOT_YOURS),
        Some(row) => Ok(row),
    }
}

async fn delete(
    path: web::Path<String>,
    LoggedIn(me): LoggedIn,
    counter: web::Data<Counter>,
) -> Result<HttpResponse, ApiError> {
    let id = path_id(&path)?;
    counter.delete_comment(me.user_id, id).await?;
    Ok(HttpResponse::Ok().json(json!({ "success": true })))
}

/// C
#[derive(serde::Serialize)]
struct CommentView<'a> {
    id: i64,
    tweet_id: i64,
    user: Box<RawValue>,
    content: &'a str,
    created_at: Timestamp,
    likes_count: i64,
    has_liked: bool,
}

impl<'a> CommentView<'a> {
    fn new(row: &'a CommentRow, author: &UserCard, has_liked: bool) -> Result<Self, ApiError> {
        Ok(CommentView {
            id: row.id,
            tweet_id: row.tweet_id,
            user: RawValue::from_string(author.json.to_string())
                .map_err(|_| ApiError::Internal)?,
            content: &row.content,
            created_at: row.created_at,
            likes_count: row.likes_count,
            has_liked,
        })
    }
}

async fn load(
    db: &Db,
    tweet_id: i64,
    after: Option<Timestamp>,
    limit: usize,
) -> Result<Vec<CommentRow>, ApiError> {
    let rows = db
        .read("comments.page", move |conn| {
            Ok(comments::page(conn, tweet_id, after, limit as i64)?)
        })
        .await?;
    Ok(rows)
}

/// Rows with their authors and the viewer's likes, each from one batched look-up.
async fn views<'a>(
    rows: &'a [CommentRow],
    users: &Users,
    liked: &LikedFlags,
    viewer: Option<i64>,
) -> Result<Vec<CommentView<'a>>, ApiError> {
    let authors: Vec<i64> = rows.iter().map(|row| row.user_id).collect();
    let authors = users.many(&authors).await?;
    let liked = match viewer {
        Some(viewer) => {
            let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
            liked.liked(viewer, LikeKind::Comment, &ids).await?
        }
        None => HashSet::new(),
    };
    rows.iter()
        .filter_map(|row| {
            let author = authors.get(&row.user_id)?;
            Some(CommentView::new(row, author, liked.contains(&row.id)))
        })
        .collect()
}

/// Writes the first comments of a tweet, oldest first, as a JSON list.
///
/// # Errors
/// When the database is needed and cannot be read.
pub async fn write_first(
    body: &mut Vec<u8>,
    db: &Db,
    hydrator: &Hydrator,
    tweet_id: i64,
    viewer: Option<i64>,
) -> Result<(), ApiError> {
    let rows = load(db, tweet_id, None, PAGE_SIZE).await?;
    let shown = views(&rows, &hydrator.users, &hydrator.liked, viewer).await?;
    serde_json::to_writer(body, &shown).map_err(|_| ApiError::Internal)
}
