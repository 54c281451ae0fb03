//! How a path answers methods that it does not have.

use actix_web::http::header;
use actix_web::web;
use actix_web::{HttpRequest, HttpResponse, Resource, ResponseError};

use super::{ApiError, auth};

/// Who may use a path at all. It decides which refusal comes first: on a login-only path an
/// anonymous wrong method is 403, on a public one 405.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Some method is open to everybody.
    Public,
    /// Every method needs a login.
    Login,
}

/// A path with its fallback. `allow` lists its methods, as in the `Allow` header.
pub fn resource(path: &str, access: Access, allow: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move |request: HttpRequest| async move {
        if access == Access::Login && auth::identity(&request).await?.is_none() {
            return Err(ApiError::NotAuthenticated);
        }
        Ok(method_not_allowed(&request, allow))
    }))
}

fn method_not_allowed(request: &HttpRequest, allow: &'static str) -> HttpResponse {
    let mut response =
        ApiError::MethodNotAllowed(request.method().as_str().to_owned()).error_response();
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allow));
    response
}
