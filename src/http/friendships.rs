//! `/api/friendships/`: follow, unfollow, followers, followings.

use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::auth::{LoggedIn, MaybeLoggedIn};
use super::error::NOT_FOUND;
use super::routing::{Access, resource};
use super::window::{Params, path_id};
use super::{ApiError, conventions};
use crate::fanout::{Op, Outcome, Writer};
use crate::hydration::followings::Followings;
use crate::hydration::users::Users;
use crate::store::friendships::{Friend, Side};
use crate::store::{Db, follow_spans, friendships};
use crate::time::Timestamp;

/// Users on a page unless the client asks for fewer; also the most.
pub const PAGE_SIZE: usize = 20;

/// Registers the resources.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        resource("/api/friendships/{id}/follow/", Access::Login, "POST")
            .route(web::post().to(follow)),
    )
    .service(
        resource("/api/friendships/{id}/unfollow/", Access::Login, "POST")
            .route(web::post().to(unfollow)),
    )
    .service(
        resource("/api/friendships/{id}/followers/", Access::Public, "GET, HEAD")
            .route(web::get().to(followers))
            .route(web::head().to(followers)),
    )
    .service(
        resource("/api/friendships/{id}/followings/", Access::Public, "GET, HEAD")
            .route(web::get().to(followings))
            .route(web::head().to(followings)),
    );
}

async fn follow(
    path: web::Path<String>,
    LoggedIn(me): LoggedIn,
    writer: web::Data<Writer>,
    users: web::Data<Users>,
) -> Result<HttpResponse, ApiError> {
    let to = path_id(&path)?;
    if to == me.user_id {
        return Err(ApiError::Refused("from_user_id and to_user_id should be different"));
    }
    users.one(to).await?.ok_or(NOT_FOUND)?;
    let body = match writer.submit(Op::Follow { from: me.user_id, to }).await? {
        Outcome::Followed(true) => json!({ "success": true }),
        _ => json!({ "success": true, "duplicate": true }),
    };
    Ok(HttpResponse::build(StatusCode::CREATED).json(body))
}

async fn unfollow(
    path: web::Path<String>,
    LoggedIn(me): LoggedIn,
    writer: web::Data<Writer>,
    users: web::Data<Users>,
) -> Result<HttpResponse, ApiError> {
    let to = path_id(&path)?;
    if to == me.user_id {
        return Err(ApiError::Refused("You cannot unfollow yourself."));
    }
    users.one(to).await?.ok_or(NOT_FOUND)?;
    let outcome = writer.submit(Op::Unfollow { from: me.user_id, to }).await?;
    let deleted = i32::from(outcome == Outcome::Unfollowed(true));
    Ok(HttpResponse::Ok().json(json!({ "success": true, "deleted": deleted })))
}

async fn followers(
    request: HttpRequest,
    path: web::Path<String>,
    MaybeLoggedIn(viewer): MaybeLoggedIn,
    lists: web::Data<FriendLists>,
) -> Result<HttpResponse, ApiError> {
    let viewer = viewer.map(|viewer| viewer.user_id);
    lists.page(&request, path_id(&path)?, Side::Followers, viewer).await
}

async fn followings(
    request: HttpRequest,
    path: web::Path<String>,
    MaybeLoggedIn(viewer): MaybeLoggedIn,
    lists: web::Data<FriendLists>,
) -> Result<HttpResponse, ApiError> {
    let viewer = viewer.map(|viewer| viewer.user_id);
    lists.page(&request, path_id(&path)?, Side::Followings, viewer).await
}

/// What the two lists need.
pub struct FriendLists {
    /// The database.
    pub db: Db,
    /// Users in memory.
    pub users: Arc<Users>,
    /// Who follows whom, in memory.
    pub followings: Arc<Followings>,
}

/// A page of friends and where it stands in the list.
struct FriendPage {
    total: u64,
    number: usize,
    has_next: bool,
    rows: Vec<Friend>,
}

impl FriendLists {
    /// A numbered page, or one by the cursor `created_at__lt`, which costs the same at any
    /// depth.
    async fn page(
        &self,
        request: &HttpRequest,
        user: i64,
        side: Side,
        viewer: Option<i64>,
    ) -> Result<HttpResponse, ApiError> {
        let params = Params::parse(request.query_string())?;
        let older_than = params.cursor("created_at__lt")?;
        let size = params.number("size")?.unwrap_or(PAGE_SIZE).min(PAGE_SIZE);
        let page = match older_than {
            Some(older_than) => self.by_cursor(user, side, older_than, size).await?,
            None => {
                const INVALID: ApiError = ApiError::NotFound("Invalid page.");
                let number = params.number("page").map_err(|_| INVALID)?.unwrap_or(1);
                let page = self.by_number(user, side, number, size).await?;
                if page.rows.is_empty() && number > 1 {
                    return Err(INVALID);
                }
                page
            }
        };
        let ids: Vec<i64> = page.rows.iter().map(|friend| friend.user_id).collect();
        let cards = self.users.many(&ids).await?;
        let followed = match viewer {
            Some(viewer) => self.followings.follows(viewer, &ids).await?,
            None => Default::default(),
        };
        let mut results = Vec::with_capacity(page.rows.len());
        for friend in &page.rows {
            let Some(card) = cards.get(&friend.user_id) else { continue };
            results.push(FriendView {
                user: serde_json::from_str(&card.json).map_err(|_| ApiError::Internal)?,
                created_at: friend.created_at,
                has_followed: followed.contains(&friend.user_id),
            });
        }
        let body = json!({
            "total_results": page.total,
            "total_pages": page.total.div_ceil(size as u64).max(1),
            "page_number": page.number,
            "has_next_page": page.has_next,
            "results": results,
        });
        let body = body.to_string().into_bytes();
        let mut response = conventions::revalidated(request, &body, viewer.is_some());
        if let Some(last) = page.rows.last().filter(|_| page.has_next) {
            let link = match older_than {
                Some(_) => conventions::link(request, "created_at__lt", last.created_at),
                None => conventions::link(request, "page", page.number + 1),
            };
            response.insert_header((header::LINK, link));
        }
        Ok(conventions::with_body(response, body))
    }

    async fn by_number(
        &self,
        user: i64,
        side: Side,
        number: usize,
        size: usize,
    ) -> Result<FriendPage, ApiError> {
        let skip = (number as u64 - 1) * size as u64;
        let (total, rows) = self
            .db
            .read("friendships.numbered_page", move |conn| {
                Ok(follow_spans::numbered_page(conn, user, side, skip, size)?)
            })
            .await?;
        let has_next = skip + (rows.len() as u64) < total;
        Ok(FriendPage { total, number, has_next, rows })
    }

    async fn by_cursor(
        &self,
        user: i64,
        side: Side,
        older_than: Timestamp,
        size: usize,
    ) -> Result<FriendPage, ApiError> {
        let (total, mut rows) = self
            .db
            .read("friendships.cursor_page", move |conn| {
                let total = follow_spans::total(conn, user, side)?;
                Ok((total, friendships::page(conn, user, side, older_than, 0, size + 1)?))
            })
            .await?;
        let has_next = rows.len() > size;
        rows.truncate(size);
        Ok(FriendPage { total, number: 1, has_next, rows })
    }
}

/// One follower or following.
#[derive(serde::Serialize)]
struct FriendView {
    user: Box<serde_json::value::RawValue>,
    created_at: Timestamp,
    has_followed: bool,
}
