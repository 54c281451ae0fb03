//! Rate limits around the API.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError, web};

use super::{ApiError, auth, proxies};
use crate::config::Config;
use crate::limits::{Class, RateLimits, Verdict, Who};

/// The middleware. Login attempts that succeed and requests that end in a 5xx do not count.
///
/// # Errors
/// Passes on what the inner service returns.
pub async fn enforce<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let is_on =
        request.app_data::<web::Data<Config>>().is_some_and(|config| config.rate_limits.is_on());
    let limits = request.app_data::<web::Data<RateLimits>>().cloned();
    let (Some(limits), Some(class), true) = (limits, class_of(&request), is_on) else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    let (class, who) = whose(&request, class).await;
    let verdict = limits.take(class, who);
    if !verdict.allowed {
        metrics::counter!("roost_rate_limited_total", "class" => class.label()).increment(1);
        let retry_after = verdict.wait_ms.div_ceil(1_000).max(1);
        let mut refused = ApiError::TooManyRequests { retry_after }.error_response();
        tell(refused.headers_mut(), class, verdict);
        return Ok(request.into_response(refused).map_into_right_body());
    }
    let mut response = next.call(request).await?;
    let status = response.status();
    if status.is_server_error() || (class == Class::Login && status.is_success()) {
        limits.give_back(class, who);
    }
    tell(response.headers_mut(), class, verdict);
    Ok(response.map_into_left_body())
}

/// The class of a request; `None` for what is not limited.
fn class_of(request: &ServiceRequest) -> Option<Class> {
    let rest = request.path().strip_prefix("/api/")?;
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    match rest.split('/').next()? {
        "schema" | "docs" => None,
        "accounts" => match rest {
            "accounts/signup/" if !is_read => Some(Class::SignUp),
            "accounts/login/" if !is_read => Some(Class::Login),
            "accounts/token/" if *request.method() == Method::POST => Some(Class::Login),
            _ => Some(Class::Read),
        },
        _ if is_read => Some(Class::Read),
        "tweets" => Some(Class::Post),
        "friendships" => Some(Class::Follow),
        _ => Some(Class::Interact),
    }
}

/// The class as it applies to who is asking, and whose bucket that is.
async fn whose(request: &ServiceRequest, class: Class) -> (Class, Who) {
    let request = request.request();
    let address = || {
        let ip = proxies::client_ip(request, proxies::configured(request));
        Who::address(ip)
    };
    if matches!(class, Class::SignUp | Class::Login) {
        return (class, address());
    }
    match (auth::identity(request).await, class) {
        (Ok(Some(me)), _) => (class, Who::User(me.user_id)),
        (_, Class::Read) => (Class::ReadAnonymous, address()),
        _ => (class, address()),
    }
}

fn tell(headers: &mut HeaderMap, class: Class, verdict: Verdict) {
    let values = [
        ("x-ratelimit-limit", u64::from(class.limit().burst)),
        ("x-ratelimit-remaining", u64::from(verdict.remaining)),
        ("x-ratelimit-reset", verdict.wait_ms.div_ceil(1_000)),
    ];
    for (name, value) in values {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
}
