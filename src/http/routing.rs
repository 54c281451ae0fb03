//! How a path answers methods that it does not have.

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, Resource, ResponseError, Route, guard, web};

use super::meters::Meter;
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

/// A path with its meter and its fallback. `allow` lists its methods, as in the `Allow` header.
pub fn resource(path: &'static str, access: Access, allow: &'static str) -> Resource {
    #[cfg(test)]
    registry::note(path, access, allow);
    web::resource(path).app_data(Meter::new(path)).default_service(web::to(
        move |request: HttpRequest| async move {
            if access == Access::Login && auth::identity(&request).await?.is_none() {
                return Err(ApiError::NotAuthenticated);
            }
            Ok(method_not_allowed(&request, allow))
        },
    ))
}

/// A route for GET and HEAD, where pages are read. `web::get` takes down in every request which
/// methods it stands for, with three allocations, for an answer that [`resource`] gives by itself.
pub fn reads() -> Route {
    web::route()
        .guard(guard::fn_guard(|asked| matches!(asked.head().method, Method::GET | Method::HEAD)))
}

fn method_not_allowed(request: &HttpRequest, allow: &'static str) -> HttpResponse {
    let mut response =
        ApiError::MethodNotAllowed(request.method().as_str().to_owned()).error_response();
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allow));
    response
}

/// What was registered on this thread: the router as the tests see it.
#[cfg(test)]
pub mod registry {
    use std::cell::RefCell;

    use super::Access;

    thread_local! {
        static NOTED: RefCell<Vec<(String, Access, &'static str)>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note(path: &str, access: Access, allow: &'static str) {
        NOTED.with_borrow_mut(|noted| noted.push((path.to_owned(), access, allow)));
    }

    /// (path, access, methods) of every resource that `register` makes.
    pub fn resources(register: impl FnOnce()) -> Vec<(String, Access, &'static str)> {
        NOTED.take();
        register();
        NOTED.take()
    }
}
