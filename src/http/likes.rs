//! `/api/likes/`: like a tweet or a comment, and take it back.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;
use serde_json::value::RawValue;

use super::ApiError;
use super::auth::LoggedIn;
use super::fields::Fields;
use super::routing::{Access, resource};
use crate::counter::{Counter, CounterError, LikeKey, LikeKind, Refusal};
use crate::hydration::users::{UserCard, Users};
use crate::store::{Db, likes};
use crate::time::Timestamp;

/// Likes shown on a tweet's page.
const SHOWN_WITH_TWEET: i64 = 100;

/// Registers the resources.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/api/likes/", Access::Login, "POST").route(web::post().to(create)))
        .service(
            resource("/api/likes/cancel/", Access::Login, "POST").route(web::post().to(cancel)),
        );
}

async fn create(
    LoggedIn(me): LoggedIn,
    fields: Fields,
    counter: web::Data<Counter>,
    users: web::Data<Users>,
) -> Result<HttpResponse, ApiError> {
    let key = target(me.user_id, &fields)?;
    let user = users.one(me.user_id).await?.ok_or(ApiError::NotAuthenticated)?;
    let liked = counter.like(key).await.map_err(on_target)?;
    let view = LikeView::new(&user, liked.created_at)?;
    Ok(HttpResponse::build(StatusCode::CREATED).json(view))
}

async fn cancel(
    LoggedIn(me): LoggedIn,
    fields: Fields,
    counter: web::Data<Counter>,
) -> Result<HttpResponse, ApiError> {
    let key = target(me.user_id, &fields)?;
    let deleted = i32::from(counter.unlike(key).await.map_err(on_target)?);
    Ok(HttpResponse::Ok().json(json!({ "success": true, "deleted": deleted })))
}

/// What the request is about.
fn target(user_id: i64, fields: &Fields) -> Result<LikeKey, ApiError> {
    fields.require(&["content_type", "object_id"])?;
    let kind = match fields.text_or_error("content_type")?.as_deref() {
        Some("tweet") => LikeKind::Tweet,
        Some("comment") => LikeKind::Comment,
        _ => {
            return Err(ApiError::field(
                "content_type",
                "Select a valid choice: tweet or comment.",
            ));
        }
    };
    let absent = || Err(ApiError::Missing(vec!["object_id"]));
    let object_id = fields.id("object_id").unwrap_or_else(absent)?;
    Ok(LikeKey { user_id, kind, object_id })
}

fn on_target(error: CounterError) -> ApiError {
    match error {
        CounterError::Refused(Refusal::Missing) => {
            ApiError::field("object_id", "Object does not exist")
        }
        other => other.into(),
    }
}

/// L
#[derive(serde::Serialize)]
struct LikeView {
    user: Box<RawValue>,
    created_at: Timestamp,
}

impl LikeView {
    fn new(user: &UserCard, created_at: Timestamp) -> Result<LikeView, ApiError> {
        let user =
            RawValue::from_string(user.json.to_string()).map_err(|_| ApiError::Internal)?;
        Ok(LikeView { user, created_at })
    }
}

/// Writes the newest likes of a tweet, newest first, as a JSON list.
///
/// # Errors
/// When the database is needed and cannot be read.
pub async fn write_latest(
    body: &mut Vec<u8>,
    db: &Db,
    users: &Users,
    tweet_id: i64,
) -> Result<(), ApiError> {
    let rows = db
        .read("likes.newest_of", move |conn| {
            Ok(likes::newest_of(conn, LikeKind::Tweet, tweet_id, SHOWN_WITH_TWEET)?)
        })
        .await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.user_id).collect();
    let cards = users.many(&ids).await?;
    let views: Vec<LikeView> = rows
        .iter()
        .filter_map(|row| Some(LikeView::new(cards.get(&row.user_id)?, row.created_at)))
        .collect::<Result<_, _>>()?;
    serde_json::to_writer(body, &views).map_err(|_| ApiError::Internal)
}
