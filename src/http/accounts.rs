//! Signing up, logging in and out, tokens.

use actix_web::cookie::time::Duration as CookieAge;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::ApiError;
use super::auth::{self, AuthMethod, Identity, LoggedIn, MaybeLoggedIn};
use super::csrf::OwnSite;
use super::error::{NOT_FOUND, RETRY_AFTER_S};
use super::fields::Fields;
use super::proxies::{self, client_ip};
use super::rate_limits::Guess;
use super::routing::{Access, resource};
use crate::accounts::passwords::PasswordError;
use crate::accounts::{AccountError, Accounts, Kind, LIFETIME, LogIn};
use crate::time::Timestamp;

const USERNAME_TAKEN: &str = "This username has been occupied.";
const EMAIL_TAKEN: &str = "This email address has been occupied.";

/// Registers the routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(
        resource("/api/accounts/signup/", Access::Public, "POST").route(web::post().to(sign_up)),
    )
    .service(resource("/api/accounts/login/", Access::Public, "POST").route(web::post().to(log_in)))
    .service(
        resource("/api/accounts/logout/", Access::Public, "POST").route(web::post().to(log_out)),
    )
    .service(
        resource("/api/accounts/login_status/", Access::Public, "GET, HEAD")
            .route(web::get().to(login_status))
            .route(web::head().to(login_status)),
    )
    .service(
        resource("/api/accounts/token/", Access::Public, "POST, DELETE")
            .route(web::post().to(make_token))
            .route(web::delete().to(delete_token)),
    );
}

/// The contract's u.
#[derive(Serialize)]
struct ShortUser<'a> {
    id: i64,
    username: &'a str,
}

#[derive(Serialize)]
struct Welcome<'a> {
    success: bool,
    user: ShortUser<'a>,
}

#[derive(Serialize)]
struct Done {
    success: bool,
}

#[derive(Serialize)]
struct LoginStatus<'a> {
    has_logged_in: bool,
    ip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<ShortUser<'a>>,
}

#[derive(Serialize)]
struct Token<'a> {
    token: &'a str,
    expires_at: Timestamp,
}

async fn sign_up(
    request: HttpRequest,
    _: OwnSite,
    fields: Fields,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, ApiError> {
    fields.require(&["username", "email", "password"])?;
    let text = |name| fields.text_or_error(name).map(Option::unwrap_or_default);
    let (username, email, password) = (text("username")?, text("email")?, text("password")?);
    let log_in = accounts.sign_up(&username, &email, &password).await?;
    Ok(welcome(HttpResponse::Created(), &request, log_in))
}

async fn log_in(
    request: HttpRequest,
    _: OwnSite,
    fields: Fields,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, ApiError> {
    let log_in = check_password(&request, &fields, &accounts, Kind::Cookie).await?;
    Ok(welcome(HttpResponse::Ok(), &request, log_in))
}

async fn log_out(
    request: HttpRequest,
    MaybeLoggedIn(who): MaybeLoggedIn,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, ApiError> {
    if let Some(session) = who.and_then(|who| who.session) {
        accounts.log_out(session).await?;
    }
    let mut response = HttpResponse::Ok();
    if auth::cookie(&request).is_some() {
        let mut removal = session_cookie(&request, String::new());
        removal.make_removal();
        response.cookie(removal);
    }
    Ok(response.json(Done { success: true }))
}

async fn login_status(
    request: HttpRequest,
    MaybeLoggedIn(who): MaybeLoggedIn,
) -> Result<HttpResponse, ApiError> {
    let user = who.as_ref().map(|who| ShortUser { id: who.user_id, username: &who.username });
    let ip = client_ip(&request, proxies::configured(&request)).to_string();
    Ok(HttpResponse::Ok().json(LoginStatus { has_logged_in: user.is_some(), ip, user }))
}

async fn make_token(
    request: HttpRequest,
    fields: Fields,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, ApiError> {
    let checked = check_password(&request, &fields, &accounts, Kind::Bearer).await?;
    let LogIn { token, expires_at, .. } = checked;
    Ok(HttpResponse::Created().json(Token { token: &token, expires_at }))
}

/// Ends the token that the request came with; with a cookie or password, which name no token,
/// all of the user's tokens.
async fn delete_token(
    LoggedIn(who): LoggedIn,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, ApiError> {
    match who {
        Identity { method: AuthMethod::Bearer, session: Some(token), .. } => {
            accounts.log_out(token).await?;
        }
        Identity { user_id, .. } => accounts.revoke_tokens(user_id).await?,
    }
    Ok(HttpResponse::Ok().json(Done { success: true }))
}

async fn check_password(
    request: &HttpRequest,
    fields: &Fields,
    accounts: &Accounts,
    kind: Kind,
) -> Result<LogIn, ApiError> {
    fields.require(&["username", "password"])?;
    let text = |name| fields.text_or_error(name).map(Option::unwrap_or_default);
    let (username, password) = (text("username")?, text("password")?);
    let guess = Guess::at(request, &username).await?;
    let result = accounts.log_in(&username, &password, kind).await;
    if !matches!(result, Err(AccountError::Mismatch)) {
        guess.forgive().await;
    }
    Ok(result?)
}

fn welcome(
    mut response: actix_web::HttpResponseBuilder,
    request: &HttpRequest,
    log_in: LogIn,
) -> HttpResponse {
    let user = ShortUser { id: log_in.user_id, username: &log_in.username };
    response.cookie(session_cookie(request, log_in.token)).json(Welcome { success: true, user })
}

fn session_cookie(request: &HttpRequest, token: String) -> Cookie<'static> {
    Cookie::build(auth::COOKIE, token)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(proxies::is_tls(request, proxies::configured(request)))
        .max_age(CookieAge::seconds(LIFETIME.as_secs() as i64))
        .finish()
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Invalid(complaints) => ApiError::Validation(complaints),
            AccountError::Taken(taken) => {
                let username = taken.username.then_some(("username", USERNAME_TAKEN));
                let email = taken.email.then_some(("email", EMAIL_TAKEN));
                let told = username.into_iter().chain(email);
                // Once under the field, and once where old clients look.
                let again = told.clone().map(|(_, text)| ("message", text));
                let pairs = told.chain(again).map(|(field, text)| (field, text.into()));
                ApiError::Validation(pairs.collect())
            }
            AccountError::Mismatch => ApiError::Refused("Username and password does not match."),
            AccountError::UnknownUser => NOT_FOUND,
            AccountError::Password(PasswordError::TooLong) => {
                ApiError::field("password", PasswordError::TooLong.to_string())
            }
            AccountError::Password(PasswordError::Overloaded) => {
                ApiError::Unavailable { retry_after: RETRY_AFTER_S }
            }
            AccountError::Password(PasswordError::Failed(_)) | AccountError::Randomness(_) => {
                tracing::error!(%error, "this machine cannot make secrets");
                ApiError::Unavailable { retry_after: RETRY_AFTER_S }
            }
            AccountError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests;
