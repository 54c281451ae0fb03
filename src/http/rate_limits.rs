//! Rate limits around the API: per address and per account.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, ResponseError, web};

use super::{ApiError, auth, proxies};
use crate::accounts::rules::fold_username;
use crate::config::Config;
use crate::limits::{Class, RateLimits, Told, Who};

/// The headers that every limited answer carries.
pub const HEADERS: [&str; 3] = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];

/// Passes a request on when `limits` allow it. Login attempts that succeed and requests that end
/// in a 5xx do not count.
///
/// # Errors
/// Passes on what the inner service returns.
pub async fn enforce(
    limits: &RateLimits,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    let Some(class) = class_of(&request) else { return next.call(request).await };
    let (class, who) = match whose(request.request(), class, limits).await {
        Ok(whose) => whose,
        Err(told) => return Ok(refuse(request, told)),
    };
    let told = limits.take(class, &who).await;
    if !told.verdict.allowed {
        return Ok(refuse(request, told));
    }
    let mut response = next.call(request).await?;
    let status = response.status();
    if status.is_server_error() || (class == Class::Login && status.is_success()) {
        limits.give_back(class, &who).await;
    }
    // What a handler was told leaves less, if it was told anything.
    let inner = response.request().extensions().get::<Told>().copied();
    tell(response.headers_mut(), inner.map_or(told, |inner| inner.min(told)));
    Ok(response)
}

/// The limits, unless they are off.
fn in_force(request: &HttpRequest) -> Option<&RateLimits> {
    let config = request.app_data::<web::Data<Config>>()?;
    let limits = request.app_data::<web::Data<RateLimits>>()?;
    config.rate_limits.is_on().then_some(limits.as_ref())
}

/// Answers with 429.
fn refuse(request: ServiceRequest, told: Told) -> ServiceResponse {
    let mut refused = refusal(told).error_response();
    tell(refused.headers_mut(), told);
    request.into_response(refused)
}

fn refusal(told: Told) -> ApiError {
    metrics::counter!("roost_rate_limited_total", "class" => told.class.label()).increment(1);
    ApiError::TooManyRequests { retry_after: told.verdict.wait_ms.div_ceil(1_000).max(1) }
}

/// An attempt to log in to one account, from wherever. The address's own limit is the
/// middleware's business.
pub struct Guess(Option<(RateLimits, Who)>);

impl Guess {
    /// Takes a token of the account's bucket before its password is looked at. The same for a
    /// name that nobody has.
    ///
    /// # Errors
    /// 429.
    pub async fn at(request: &HttpRequest, username: &str) -> Result<Guess, ApiError> {
        let Some(limits) = in_force(request) else { return Ok(Guess(None)) };
        let name = Who::name(&fold_username(username));
        let told = limits.take(Class::Login, &[name]).await;
        request.extensions_mut().insert(told);
        if told.verdict.allowed {
            Ok(Guess(Some((limits.clone(), name))))
        } else {
            Err(refusal(told))
        }
    }

    /// It was no wrong guess: it does not count.
    pub async fn forgive(self) {
        if let Guess(Some((limits, name))) = self {
            limits.give_back(Class::Login, &[name]).await;
        }
    }
}

/// The class of a request; `None` for what is not limited.
fn class_of(request: &ServiceRequest) -> Option<Class> {
    // The path as the router sees it, decoded: `%6Cogin` is `login`.
    let rest = request.match_info().as_str().strip_prefix("/api/")?;
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    match rest.split('/').next()? {
        "schema" | "docs" => None,
        _ if is_read => Some(Class::Read),
        "accounts" => match rest {
            "accounts/signup/" => Some(Class::SignUp),
            "accounts/login/" => Some(Class::Login),
            "accounts/token/" if *request.method() == Method::POST => Some(Class::Login),
            _ => Some(Class::Write),
        },
        "tweets" => Some(Class::Post),
        "friendships" => Some(Class::Follow),
        "likes" => Some(Class::Like),
        _ => Some(Class::Write),
    }
}

/// The class as it applies to who is asking, and whose buckets those are: the account's and its
/// address's. A password that comes with the request (HTTP Basic) and has not been verified
/// lately is a login attempt: it is not even looked at when there have been too many.
///
/// # Errors
/// What such an attempt is told that may not be made.
async fn whose(
    request: &HttpRequest,
    class: Class,
    limits: &RateLimits,
) -> Result<(Class, Vec<Who>), Told> {
    let address = Who::address(proxies::client_ip(request, proxies::configured(request)));
    if matches!(class, Class::SignUp | Class::Login) {
        return Ok((class, vec![address]));
    }
    let guess = auth::unchecked_name(request)
        .map(|username| [address, Who::name(&fold_username(&username))]);
    if let Some(guess) = guess {
        // Taken before the check and given back after it, so that guesses made at the same
        // time do not all see the same last token.
        let told = limits.take(Class::Login, &guess).await;
        if !told.verdict.allowed {
            return Err(told);
        }
    }
    let found = auth::identity(request).await;
    if let Some(guess) = guess
        && !matches!(found, Err(ApiError::BadCredentials(_)))
    {
        limits.give_back(Class::Login, &guess).await;
    }
    Ok(match (found, class) {
        (Ok(Some(me)), _) => (class, vec![Who::User(me.user_id), address]),
        (_, Class::Read) => (Class::ReadAnonymous, vec![address]),
        _ => (class, vec![address]),
    })
}

fn tell(headers: &mut HeaderMap, told: Told) {
    let Told { limit, verdict, .. } = told;
    let values =
        [u64::from(limit.burst), u64::from(verdict.remaining), verdict.wait_ms.div_ceil(1_000)];
    for (name, value) in HEADERS.into_iter().zip(values) {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
}
