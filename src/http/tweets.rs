//! `/api/tweets/`: post, read, list by author, delete.

use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};

use super::auth::{LoggedIn, MaybeLoggedIn, WithLogin};
use super::error::NOT_FOUND;
use super::fields::Fields;
use super::idempotency;
use super::reading::Reading;
use super::routing::{Access, reads, resource};
use super::window::{Params, path_id};
use super::{ApiError, comments, conventions, likes};
use crate::config::Config;
use crate::fanout::{Idempotent, Op, Outcome, Post, Posted, Writer};
use crate::hydration::pages::{Hydrator, Shape};
use crate::hydration::rendering::write_tweet;
use crate::hydration::tweets::TweetCard;
use crate::hydration::users::UserCard;
use crate::media::Media;
use crate::store::Db;
use crate::store::tweets::TweetRow;
use crate::text;
use crate::timeline::TimelineKey;

/// Photos of one tweet.
pub const MOST_PHOTOS: usize = 9;

/// Registers the resources.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        resource("/api/tweets/", Access::Public, "GET, HEAD, POST")
            .route(reads().to(list))
            .route(web::post().to(create)),
    )
    .service(
        resource("/api/tweets/{id}/", Access::Public, "GET, HEAD, DELETE")
            .route(reads().to(detail))
            .route(web::delete().to(delete)),
    );
}

async fn list(
    request: HttpRequest,
    MaybeLoggedIn(viewer): MaybeLoggedIn,
    reading: web::Data<Reading>,
) -> Result<HttpResponse, ApiError> {
    let params = Params::parse(request.query_string())?;
    let author = params.required_id("user_id")?;
    let wanted = params.page(reading.page_size, reading.list_limit)?;
    let viewer = viewer.map(|viewer| viewer.user_id);
    let key = TimelineKey::Author(author);
    let hydrator = &reading.hydrator;
    let page = hydrator.page(key, viewer, wanted.range, wanted.size, Shape::Tweets).await?;
    // Once per page, however often it is shown.
    let tag = page.tag.get_or_init(|| conventions::tag(&page.body));
    let mut response = conventions::revalidated_by(&request, tag.clone(), viewer.is_some());
    if let Some(link) = conventions::next_link(&request, &page) {
        response.insert_header((header::LINK, link));
    }
    Ok(conventions::with_body(response, page.body.clone()))
}

async fn create(
    request: HttpRequest,
    WithLogin(me, mut fields): WithLogin<Fields>,
    hydrator: web::Data<Hydrator>,
    writer: web::Data<Writer>,
    media: web::Data<Media>,
    config: web::Data<Config>,
) -> Result<HttpResponse, ApiError> {
    fields.require(&["content"])?;
    let raw = fields.text_or_error("content")?.unwrap_or_default();
    let content = text::clean(&raw, config.tweet_length)
        .map_err(|complaint| ApiError::field("content", complaint))?;
    let key = idempotency::key(&request, &fields)?;
    let files = fields.take_files("files");
    if files.len() > MOST_PHOTOS {
        return Err(ApiError::field("message", "You can only upload at most 9 photos"));
    }
    let author = hydrator.users.one(me.user_id).await?.ok_or(ApiError::NotAuthenticated)?;
    let uploads = files.iter().map(|file| (file.file_name.as_str(), file.bytes.clone()));
    let photo_urls = media.store_photos(uploads).await.map_err(|error| error.into_api("files"))?;
    let view = NewTweetView { author, content: content.clone(), photo_urls: photo_urls.clone() };
    let idempotent = key.map(|key| {
        let view = view.clone();
        Idempotent { key, render: Box::new(move |posted: &Posted| view.render(posted)) }
    });
    let post = Post { user_id: me.user_id, content, photo_urls: photo_urls.clone(), idempotent };
    match writer.submit(Op::Post(post)).await {
        Ok(Outcome::Posted(posted)) => Ok(created(view.render(&posted))),
        Ok(Outcome::Replayed(response)) => {
            media.discard(&photo_urls).await;
            Ok(created(response))
        }
        Ok(Outcome::KeyConflict) => {
            media.discard(&photo_urls).await;
            Err(ApiError::IdempotencyConflict)
        }
        // Photos stay when the outcome is unknown: the tweet may have been stored.
        Ok(_) => Err(ApiError::Internal),
        Err(error) => Err(error.into()),
    }
}

/// T as it is at the moment of posting: nobody has liked or commented yet.
#[derive(Clone)]
struct NewTweetView {
    author: Arc<UserCard>,
    content: String,
    photo_urls: Vec<String>,
}

impl NewTweetView {
    fn render(&self, posted: &Posted) -> String {
        let card = TweetCard::new(&TweetRow {
            id: posted.tweet_id,
            user_id: self.author.id,
            content: self.content.clone(),
            created_at: posted.created_at,
            likes_count: Some(0),
            comments_count: Some(0),
            counts_version: 0,
            photo_urls: self.photo_urls.clone(),
        });
        let mut body = Vec::new();
        write_tweet(&mut body, &card, &self.author.json, false);
        String::from_utf8_lossy(&body).into_owned()
    }
}

fn created(body: String) -> HttpResponse {
    HttpResponse::build(StatusCode::CREATED).content_type("application/json").body(body)
}

async fn detail(
    request: HttpRequest,
    path: web::Path<String>,
    MaybeLoggedIn(viewer): MaybeLoggedIn,
    hydrator: web::Data<Hydrator>,
    db: web::Data<Db>,
) -> Result<HttpResponse, ApiError> {
    let id = path_id(&path)?;
    let viewer = viewer.map(|viewer| viewer.user_id);
    let card = hydrator.tweets.one(id).await?.ok_or(NOT_FOUND)?;
    let author = hydrator.users.one(card.user_id).await?.ok_or(NOT_FOUND)?;
    let short = serde_json::json!({ "id": author.id, "username": author.username }).to_string();
    let mut body = Vec::with_capacity(1024);
    write_tweet(&mut body, &card, &short, hydrator.likes(viewer, id).await?);
    // T's closing brace gives way to the two lists.
    body.pop();
    body.extend_from_slice(b",\"comments\":");
    comments::write_first(&mut body, &db, &hydrator, id, viewer).await?;
    body.extend_from_slice(b",\"likes\":");
    likes::write_latest(&mut body, &db, &hydrator.users, id).await?;
    body.push(b'}');
    let response = conventions::revalidated(&request, &body, viewer.is_some());
    Ok(conventions::with_body(response, body))
}

async fn delete(
    path: web::Path<String>,
    LoggedIn(me): LoggedIn,
    writer: web::Data<Writer>,
) -> Result<HttpResponse, ApiError> {
    let tweet_id = path_id(&path)?;
    match writer.submit(Op::Delete { user_id: me.user_id, tweet_id }).await? {
        Outcome::Deleted => Ok(HttpResponse::Ok().json(serde_json::json!({ "success": true }))),
        Outcome::NotFound => Err(NOT_FOUND),
        Outcome::Forbidden => Err(super::error::NOT_YOURS),
        _ => Err(ApiError::Internal),
    }
}
