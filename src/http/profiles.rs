//! Profiles: what others see of a user, and what the owner may change.

use actix_web::web::{self, Data, Path, ServiceConfig};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use serde::Serialize;

use super::auth::{LoggedIn, MaybeLoggedIn};
use super::error::{NOT_FOUND, NOT_YOURS};
use super::fields::{Fields, UploadedFile};
use super::routing::{Access, resource};
use super::window::{Params, path_id};
use super::{ApiError, conventions};
use crate::accounts::rules;
use crate::config::Length;
use crate::hydration::users::Users;
use crate::media::Media;
use crate::store::profiles::{self, Change, Editable, Profile, Who};
use crate::store::{Db, StoreError, friendships};
use crate::text;

/// Length of a nickname, in code points.
pub const NICKNAME: Length = Length { min: 1, max: 200 };

/// Registers the routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(
        resource("/api/profiles/", Access::Public, "GET, HEAD")
            .route(web::get().to(find_by_name))
            .route(web::head().to(find_by_name)),
    )
    .service(
        resource("/api/profiles/{user_id}/", Access::Public, "GET, HEAD, PUT, PATCH")
            .route(web::get().to(show))
            .route(web::head().to(show))
            .route(web::put().to(change))
            .route(web::patch().to(change)),
    );
}

/// The contract's U with what only the profile page shows.
#[derive(Serialize)]
struct ProfileView<'a> {
    id: i64,
    username: &'a str,
    nickname: Option<&'a str>,
    avatar_url: Option<&'a str>,
    followers_count: i64,
    followings_count: i64,
    tweets_count: i64,
    has_followed: bool,
}

#[derive(Serialize)]
struct EditableView<'a> {
    nickname: Option<&'a str>,
    avatar: Option<&'a str>,
}

async fn show(
    request: HttpRequest,
    user_id: Path<String>,
    MaybeLoggedIn(viewer): MaybeLoggedIn,
    db: Data<Db>,
) -> Result<HttpResponse, ApiError> {
    let user_id = path_id(&user_id)?;
    let viewer = viewer.map(|viewer| viewer.user_id);
    let found = db.read("profile", move |conn| look_up(conn, Who::Id(user_id), viewer)).await?;
    render(&request, found, viewer)
}

async fn find_by_name(
    request: HttpRequest,
    MaybeLoggedIn(viewer): MaybeLoggedIn,
    db: Data<Db>,
) -> Result<HttpResponse, ApiError> {
    let params = Params::parse(request.query_string())?;
    let name = params.get("username").ok_or_else(|| ApiError::Missing(vec!["username"]))?;
    let name = rules::fold_username(name);
    if !rules::is_username(&name) {
        return Err(NOT_FOUND);
    }
    let viewer = viewer.map(|viewer| viewer.user_id);
    let found =
        db.read("profile_by_name", move |conn| look_up(conn, Who::Name(&name), viewer)).await?;
    render(&request, found, viewer)
}

/// The body is read last: of a request that is refused it does not matter.
async fn change(
    request: HttpRequest,
    payload: web::Payload,
    user_id: Path<String>,
    LoggedIn(who): LoggedIn,
    (db, users, media): (Data<Db>, Data<Users>, Data<Media>),
) -> Result<HttpResponse, ApiError> {
    let user_id = path_id(&user_id)?;
    if user_id != who.user_id {
        let known =
            db.read("profile_exists", move |conn| Ok(profiles::exists(conn, user_id)?)).await?;
        return Err(if known { NOT_YOURS } else { NOT_FOUND });
    }
    let fields = Fields::from_request(&request, &mut payload.into_inner()).await?;
    let nickname = nickname(&fields)?;
    let avatar_url = match avatar(&fields)? {
        Some(file) => Some(
            media
                .store_photo(&file.file_name, file.bytes.clone())
                .await
                .map_err(|error| error.into_api("avatar"))?,
        ),
        None => None,
    };
    let change = Change { nickname, avatar_url };
    let stored = store(&db, &users, &media, user_id, change).await;
    // Also after an error: the change may have been committed all the same.
    users.invalidate(user_id);
    let stored = stored?.ok_or(NOT_FOUND)?;
    Ok(HttpResponse::Ok().json(EditableView {
        nickname: stored.nickname.as_deref(),
        avatar: stored.avatar_url.as_deref(),
    }))
}

/// Stores the change; if that fails for certain, its picture goes away again.
async fn store(
    db: &Db,
    users: &Data<Users>,
    media: &Media,
    user_id: i64,
    change: Change,
) -> Result<Option<Editable>, StoreError> {
    let picture = change.avatar_url.clone();
    let herald = users.clone();
    let stored = db
        .write("profile_change", move |conn| {
            let stored = profiles::change(conn, user_id, &change)?;
            herald.announce(conn, user_id)?;
            Ok(stored)
        })
        .await;
    let unused = match &stored {
        Ok(found) => found.is_none(),
        Err(StoreError::OutcomeUnknown(_)) => false,
        Err(_) => true,
    };
    if unused {
        media.discard(picture.as_slice()).await;
    }
    stored
}

fn look_up(
    conn: &mut crate::store::Conn<'_>,
    who: Who<'_>,
    viewer: Option<i64>,
) -> Result<Option<(Profile, bool)>, StoreError> {
    let Some(profile) = profiles::profile(conn, who)? else { return Ok(None) };
    let has_followed = match viewer {
        Some(viewer) => friendships::since(conn, viewer, profile.card.id)?.is_some(),
        None => false,
    };
    Ok(Some((profile, has_followed)))
}

fn render(
    request: &HttpRequest,
    found: Option<(Profile, bool)>,
    viewer: Option<i64>,
) -> Result<HttpResponse, ApiError> {
    let (profile, has_followed) = found.ok_or(NOT_FOUND)?;
    let view = ProfileView {
        id: profile.card.id,
        username: &profile.card.username,
        nickname: profile.card.nickname.as_deref(),
        avatar_url: profile.card.avatar_url.as_deref(),
        followers_count: profile.followers_count,
        followings_count: profile.followings_count,
        tweets_count: profile.tweets_count,
        has_followed,
    };
    let body = serde_json::to_vec(&view).map_err(|_| ApiError::Internal)?;
    let response = conventions::revalidated(request, &body, viewer.is_some());
    Ok(conventions::with_body(response, body))
}

fn nickname(fields: &Fields) -> Result<Option<String>, ApiError> {
    let Some(typed) = fields.text_or_error("nickname")? else { return Ok(None) };
    let cleaned = text::clean(&typed, NICKNAME);
    cleaned.map(Some).map_err(|complaint| ApiError::field("nickname", complaint))
}

/// The new picture; of several the last counts, as with all parameters.
fn avatar(fields: &Fields) -> Result<Option<&UploadedFile>, ApiError> {
    if fields.text_or_error("avatar")?.is_some() {
        let complaint = "The submitted data was not a file. Check the encoding type on the form.";
        return Err(ApiError::field("avatar", complaint));
    }
    Ok(fields.files("avatar").last())
}

#[cfg(test)]
mod tests;
