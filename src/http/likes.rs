//! `/api/likes/`: like and cancel, on tweets and comments.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::ApiError;
use super::auth::WithLogin;
use super::fields::Fields;
use super::routing::{Access, resource};
use crate::counter::{Counter, CounterError, LikeKey, LikeKind, Refusal};
use crate::hydration::users::Users;
use crate::store::Db;
use crate::store::likes;
use crate::time::Timestamp;

/// Likes shown with a tweet.
const SHOWN: i64 = 100;

/// Registers the resources.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/api/likes/", Access::Login, "POST").route(web::post().to(like)))
        .service(
            resource("/api/likes/cancel/", Access::Login, "POST").route(web::post().to(cancel)),
        );
}

async fn like(
    WithLogin(me, fields): WithLogin<Fields>,
    counter: web::Data<Counter>,
    users: web::Data<Users>,
) -> Result<HttpResponse, ApiError> {
    let key = target(me.user_id, &fields)?;
    let liker = users.one(me.user_id).await?.ok_or(ApiError::NotAuthenticated)?;
    let liked = counter.like(key).await.map_err(no_target)?;
    let mut body = Vec::with_capacity(128);
    write_like(&mut body, &liker.json, liked.created_at);
    Ok(HttpResponse::build(StatusCode::CREATED).content_type("application/json").body(body))
}

async fn cancel(
    WithLogin(me, fields): WithLogin<Fields>,
    counter: web::Data<Counter>,
) -> Result<HttpResponse, ApiError> {
    let key = target(me.user_id, &fields)?;
    let was_there = counter.unlike(key).await.map_err(no_target)?;
    Ok(HttpResponse::Ok().json(json!({ "success": true, "deleted": i32::from(was_there) })))
}

fn target(user_id: i64, fields: &Fields) -> Result<LikeKey, ApiError> {
    fields.require(&["content_type", "object_id"])?;
    let kind = match fields.text_or_error("content_type")?.as_deref() {
        Some("tweet") => LikeKind::Tweet,
        Some("comment") => LikeKind::Comment,
        other => {
            let shown: String = other.unwrap_or_default().chars().take(100).collect();
            let complaint = format!("\"{shown}\" is not a valid choice.");
            return Err(ApiError::field("content_type", complaint));
        }
    };
    let object_id = fields.id("object_id").ok_or(ApiError::Missing(vec!["object_id"]))??;
    Ok(LikeKey { user_id, kind, object_id })
}

fn no_target(error: CounterError) -> ApiError {
    match error {
        CounterError::Refused(Refusal::Missing) => {
            ApiError::field("object_id", "Object does not exist")
        }
        other => other.into(),
    }
}

/// Writes L.
fn write_like(out: &mut Vec<u8>, user_json: &str, created_at: Timestamp) {
    out.extend_from_slice(b"{\"user\":");
    out.extend_from_slice(user_json.as_bytes());
    out.extend_from_slice(b",\"created_at\":\"");
    created_at.write_iso(out);
    out.extend_from_slice(b"\"}");
}

/// Writes the latest 100 likes of a tweet as a JSON array, newest first.
///
/// # Errors
/// As [`Db::read`].
pub async fn write_latest(
    out: &mut Vec<u8>,
    db: &Db,
    users: &Users,
    tweet_id: i64,
) -> Result<(), ApiError> {
    let rows = db
        .read("likes.newest_of", move |conn| {
            Ok(likes::newest_of(conn, LikeKind::Tweet, tweet_id, SHOWN)?)
        })
        .await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.user_id).collect();
    let users = users.many(&ids).await?;
    out.push(b'[');
    for (place, row) in rows.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        let user = users.get(&row.user_id).map_or("null", |user| &user.json);
        write_like(out, user, row.created_at);
    }
    out.push(b']');
    Ok(())
}
