//! Who a request is from: the extractors [`LoggedIn`], [`MaybeLoggedIn`] and [`WithLogin`].
//!
//! `Authorization` (Basic or Bearer) goes before the cookie: it was put there on purpose, a
//! browser sends the cookie by itself. Wrong credentials are refused even where none are needed;
//! a cookie that means nothing any more is no credential.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use futures_util::future::{Either, FutureExt, LocalBoxFuture};

use super::{ApiError, csrf};
use crate::accounts::{AccountError, Accounts, Kind, TokenHash, token_hash};

pub use super::proxies::{TrustedProxies, client_ip};
pub use crate::accounts::{AuthMethod, Identity};

/// Name of the session cookie.
pub const COOKIE: &str = "sessionid";

const WRONG_PASSWORD: ApiError = ApiError::BadCredentials("Invalid username/password.");
const WRONG_TOKEN: ApiError = ApiError::BadCredentials("Invalid token.");

/// Clients disagree about padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Somebody is logged in; otherwise the request is answered with 403.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn(pub Identity);

/// Who is logged in, if anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaybeLoggedIn(pub Option<Identity>);

/// Somebody is logged in, and then `T`, in this order: the body of a request that is refused is
/// not read, and the answer does not depend on what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithLogin<T>(pub Identity, pub T);

/// The answer, kept with the request: it is found out once, whoever asks.
#[derive(Clone)]
struct Resolved(Result<Option<Identity>, ApiError>);

/// What a request shows to prove who it is from.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    Token(Kind, TokenHash),
    Password(String, String),
    Nonsense(ApiError),
}

/// Who the request is from, found out at most once per request.
///
/// # Errors
/// 403 for wrong credentials and for what another site has caused, 503 when the database is
/// needed and cannot be asked.
pub async fn identity(request: &HttpRequest) -> Result<Option<Identity>, ApiError> {
    match from_memory(request) {
        Some(result) => result,
        None => from_database(request).await,
    }
}

/// The user whom the request was found to be from, if anything has asked; for logs.
pub fn known_user(request: &HttpRequest) -> Option<i64> {
    match request.extensions().get::<Resolved>() {
        Some(Resolved(Ok(Some(who)))) => Some(who.user_id),
        _ => None,
    }
}

/// The user name whose password must be checked to find out who the request is from, if that
/// is what it takes.
pub fn unchecked_name(request: &HttpRequest) -> Option<String> {
    match (from_memory(request), shown(request)) {
        (None, Shown::Password(name, _)) => Some(name),
        _ => None,
    }
}

/// The answer without a query, if memory has it.
fn from_memory(request: &HttpRequest) -> Option<Result<Option<Identity>, ApiError>> {
    if let Some(Resolved(result)) = request.extensions().get::<Resolved>() {
        return Some(result.clone());
    }
    let result = match shown(request) {
        Shown::Nothing => return Some(Ok(None)),
        Shown::Nonsense(error) => return Some(Err(error)),
        Shown::Token(kind, hash) => accounts(request).map(|all| all.cached_session(kind, &hash)),
        Shown::Password(name, password) => {
            accounts(request).map(|all| all.cached_basic(&name, &password))
        }
    };
    match result {
        Ok(None) => None,
        found => Some(settle(request, found)),
    }
}

async fn from_database(request: &HttpRequest) -> Result<Option<Identity>, ApiError> {
    let result = match shown(request) {
        Shown::Nothing => Ok(None),
        Shown::Nonsense(error) => Err(error),
        Shown::Token(kind, hash) => find_session(accounts(request)?, kind, hash).await,
        Shown::Password(name, password) => match accounts(request)?.basic(&name, &password).await {
            Ok(identity) => Ok(Some(identity)),
            Err(AccountError::Mismatch) => Err(WRONG_PASSWORD),
            Err(error) => Err(error.into()),
        },
    };
    settle(request, result)
}

async fn find_session(
    accounts: &Accounts,
    kind: Kind,
    hash: TokenHash,
) -> Result<Option<Identity>, ApiError> {
    match (accounts.session(kind, hash).await?, kind) {
        (None, Kind::Bearer) => Err(WRONG_TOKEN),
        (found, _) => Ok(found),
    }
}

/// Adds what is true of every answer, and keeps it with the request.
fn settle(
    request: &HttpRequest,
    result: Result<Option<Identity>, ApiError>,
) -> Result<Option<Identity>, ApiError> {
    let result = result.and_then(|found| {
        if found.as_ref().is_some_and(|who| who.method == AuthMethod::Cookie) {
            csrf::check(request)?;
        }
        Ok(found)
    });
    request.extensions_mut().insert(Resolved(result.clone()));
    result
}

fn accounts(request: &HttpRequest) -> Result<&Accounts, ApiError> {
    match request.app_data::<web::Data<Accounts>>() {
        Some(accounts) => Ok(accounts),
        None => {
            tracing::error!("the application has no accounts");
            Err(ApiError::Internal)
        }
    }
}

fn shown(request: &HttpRequest) -> Shown {
    let authorization = request.headers().get(header::AUTHORIZATION);
    if let Some(line) = authorization.and_then(|line| line.to_str().ok()) {
        let (scheme, rest) = line.split_once(' ').unwrap_or((line, ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            return match token_hash(rest.trim()) {
                Some(hash) => Shown::Token(Kind::Bearer, hash),
                None => Shown::Nonsense(WRONG_TOKEN),
            };
        }
        if scheme.eq_ignore_ascii_case("basic") {
            return basic(rest.trim()).unwrap_or(Shown::Nonsense(WRONG_PASSWORD));
        }
    }
    match cookie(request).and_then(token_hash) {
        Some(hash) => Shown::Token(Kind::Cookie, hash),
        None => Shown::Nothing,
    }
}

/// RFC 7617: user, colon, password, in base64; the password may hold colons itself.
fn basic(encoded: &str) -> Option<Shown> {
    let text = String::from_utf8(BASE64.decode(encoded).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some(Shown::Password(name.to_owned(), password.to_owned()))
}

/// The value of the session cookie. Read here and not by actix, which would parse and keep all
/// cookies of every request.
pub fn cookie(request: &HttpRequest) -> Option<&str> {
    let lines = request.headers().get_all(header::COOKIE).map(header::HeaderValue::as_bytes);
    let value = lines.flat_map(|line| line.split(|byte| *byte == b';')).find_map(|pair| {
        let rest = pair.trim_ascii_start().strip_prefix(COOKIE.as_bytes())?;
        Some(rest.trim_ascii_start().strip_prefix(b"=")?.trim_ascii())
    })?;
    Some(std::str::from_utf8(value).ok()?.trim_matches('"'))
}

/// Ready at once where memory has the answer; a box only on the way to the database.
type Answer<T> = Either<Ready<Result<T, ApiError>>, LocalBoxFuture<'static, Result<T, ApiError>>>;

fn answer<T: 'static>(
    request: &HttpRequest,
    then: fn(Option<Identity>) -> Result<T, ApiError>,
) -> Answer<T> {
    match from_memory(request) {
        Some(result) => Either::Left(ready(result.and_then(then))),
        None => {
            let request = request.clone();
            let asked = async move { from_database(&request).await.and_then(then) };
            Either::Right(asked.boxed_local())
        }
    }
}

fn require(found: Option<Identity>) -> Result<LoggedIn, ApiError> {
    found.map(LoggedIn).ok_or(ApiError::NotAuthenticated)
}

impl FromRequest for LoggedIn {
    type Error = ApiError;
    type Future = Answer<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        answer(request, require)
    }
}

impl FromRequest for MaybeLoggedIn {
    type Error = ApiError;
    type Future = Answer<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        answer(request, |found| Ok(MaybeLoggedIn(found)))
    }
}

impl<T> FromRequest for WithLogin<T>
where
    T: FromRequest + 'static,
{
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        async move {
            let LoggedIn(who) = require(identity(&request).await?)?;
            let rest = T::from_request(&request, &mut payload).await.map_err(Into::into)?;
            Ok(WithLogin(who, rest))
        }
        .boxed_local()
    }
}

#[cfg(test)]
mod tests;
