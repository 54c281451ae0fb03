//! `/api/notifications/`: what others did with one's tweets and comments.

use std::ops::Range;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::json;

use super::ApiError;
use super::auth::{LoggedIn, WithLogin};
use super::error::NOT_FOUND;
use super::fields::Fields;
use super::proxies;
use super::routing::{Access, resource};
use super::window::{Params, path_id};
use crate::store::notifications::{self as store, Filter, Notification, Verb};
use crate::store::{Db, StoreError};
use crate::time::Timestamp;

/// Notifications on a page.
pub const PAGE_SIZE: i64 = 10;

/// Rows that one transaction marks as read.
const MARK_STEP: usize = 5_000;

/// Registers the resources.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        resource("/api/notifications/", Access::Login, "GET, HEAD")
            .route(web::get().to(list))
            .route(web::head().to(list)),
    )
    .service(
        resource("/api/notifications/unread-count/", Access::Login, "GET, HEAD")
            .route(web::get().to(unread_count))
            .route(web::head().to(unread_count)),
    )
    .service(
        resource("/api/notifications/mark-all-as-read/", Access::Login, "POST")
            .route(web::post().to(mark_all_as_read)),
    )
    .service(
        resource("/api/notifications/{id}/", Access::Login, "PUT").route(web::put().to(update)),
    );
}

/// A notification as the contract has it.
#[derive(Serialize)]
struct View {
    id: i64,
    actor_content_type: &'static str,
    actor_object_id: String,
    verb: &'static str,
    action_object_content_type: Option<&'static str>,
    action_object_object_id: Option<String>,
    target_content_type: &'static str,
    target_object_id: String,
    timestamp: Timestamp,
    unread: bool,
}

impl View {
    /// `None` for a verb that only a newer version of Roost knows.
    fn of(row: &Notification) -> Option<View> {
        let verb = Verb::from_code(row.verb)?;
        Some(View {
            id: row.id,
            actor_content_type: "user",
            actor_object_id: row.actor_id.to_string(),
            verb: verb.words(),
            action_object_content_type: None,
            action_object_object_id: None,
            target_content_type: verb.target_type(),
            target_object_id: row.target_id.to_string(),
            timestamp: row.created_at,
            unread: row.unread,
        })
    }
}

async fn list(
    request: HttpRequest,
    LoggedIn(me): LoggedIn,
    db: web::Data<Db>,
) -> Result<HttpResponse, ApiError> {
    const INVALID: ApiError = ApiError::NotFound("Invalid page.");
    let params = Params::parse(request.query_string())?;
    let filter = filter(&params)?;
    let number = params.number("page").map_err(|_| INVALID)?.unwrap_or(1) as i64;
    let skip = (number - 1) * PAGE_SIZE;
    let (count, rows) = db
        .read("notifications_page", move |conn| {
            let count = store::count(conn, me.user_id, filter)?;
            if skip >= count {
                return Ok((count, Vec::new()));
            }
            Ok((count, store::page(conn, me.user_id, filter, skip, PAGE_SIZE)?))
        })
        .await?;
    if skip >= count && number > 1 {
        return Err(INVALID);
    }
    let pages = 1..(count.max(1) + PAGE_SIZE - 1) / PAGE_SIZE + 1;
    let link = |number| page_url(&request, filter, &pages, number);
    Ok(private().json(json!({
        "count": count,
        "next": link(number + 1),
        "previous": link(number - 1),
        "results": rows.iter().filter_map(View::of).collect::<Vec<_>>(),
    })))
}

async fn unread_count(LoggedIn(me): LoggedIn, db: web::Data<Db>) -> Result<HttpResponse, ApiError> {
    let count = db
        .read("notifications_unread", move |conn| {
            Ok(store::count(conn, me.user_id, Filter::Unread)?)
        })
        .await?;
    Ok(private().json(json!({ "unread_count": count })))
}

/// Marks what has been there when it was called, in short transactions.
async fn mark_all_as_read(
    LoggedIn(me): LoggedIn,
    db: web::Data<Db>,
) -> Result<HttpResponse, ApiError> {
    let me = me.user_id;
    let newest =
        db.read("notifications_newest", move |conn| Ok(store::newest_id(conn, me)?)).await?;
    let mut marked = 0;
    loop {
        let step = db
            .write("notifications_mark", move |conn| {
                Ok(store::mark_read(conn, me, newest, MARK_STEP)?)
            })
            .await?;
        marked += step;
        if step < MARK_STEP {
            return Ok(private().json(json!({ "marked_count": marked })));
        }
    }
}

async fn update(
    path: web::Path<String>,
    WithLogin(me, fields): WithLogin<Fields>,
    db: web::Data<Db>,
) -> Result<HttpResponse, ApiError> {
    let id = path_id(&path)?;
    fields.require(&["unread"])?;
    let unread = fields.flag("unread").ok_or(ApiError::Missing(vec!["unread"]))??;
    let row: Result<_, StoreError> = db
        .write("notifications_update", move |conn| {
            Ok(store::set_unread(conn, me.user_id, id, unread)?)
        })
        .await;
    let view = row?.as_ref().and_then(View::of).ok_or(NOT_FOUND)?;
    Ok(private().json(view))
}

fn filter(params: &Params<'_>) -> Result<Filter, ApiError> {
    match params.get("unread") {
        None | Some("") => Ok(Filter::All),
        Some(text) if text.eq_ignore_ascii_case("true") || text == "1" => Ok(Filter::Unread),
        Some(text) if text.eq_ignore_ascii_case("false") || text == "0" => Ok(Filter::Read),
        Some(_) => Err(ApiError::field("unread", "Must be a valid boolean.")),
    }
}

/// The address of another page, `None` if there is no such page.
///
/// Absolute, as clients of the reference expect, with the scheme and host that the client used
/// itself. `Host` is the client's own word and goes back to nobody else; still, one with any
/// odd character is left out, and the address is then relative to the host.
fn page_url(
    request: &HttpRequest,
    filter: Filter,
    pages: &Range<i64>,
    number: i64,
) -> Option<String> {
    if !pages.contains(&number) {
        return None;
    }
    let mut query = Vec::with_capacity(2);
    match filter {
        Filter::All => {}
        Filter::Unread => query.push("unread=true".to_owned()),
        Filter::Read => query.push("unread=false".to_owned()),
    }
    if number > 1 {
        query.push(format!("page={number}"));
    }
    let mark = if query.is_empty() { "" } else { "?" };
    Some(format!("{}{}{mark}{}", origin(request), request.path(), query.join("&")))
}

fn origin(request: &HttpRequest) -> String {
    let trusted = proxies::configured(request);
    let plain = |host: &&str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
        !host.is_empty() && host.len() <= 255 && host.bytes().all(allowed)
    };
    let scheme = if proxies::is_tls(request, trusted) { "https" } else { "http" };
    match proxies::host(request, trusted).filter(plain) {
        Some(host) => format!("{scheme}://{host}"),
        None => String::new(),
    }
}

fn private() -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "private, no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn url(host: &str, filter: Filter, number: i64) -> Option<String> {
        let request = TestRequest::with_uri("/api/notifications/?page=2&evil=1")
            .insert_header((header::HOST, host))
            .to_http_request();
        page_url(&request, filter, &(1..4), number)
    }

    #[test]
    fn addresses_of_pages_are_absolute_and_end_with_the_list() {
        let base = "http://roost.example:8000/api/notifications/";
        let at = |filter, number| url("roost.example:8000", filter, number);
        assert_eq!(at(Filter::All, 1).as_deref(), Some(base));
        assert_eq!(at(Filter::All, 3), Some(format!("{base}?page=3")));
        assert_eq!(at(Filter::Unread, 2), Some(format!("{base}?unread=true&page=2")));
        assert_eq!(at(Filter::Read, 1), Some(format!("{base}?unread=false")));
        assert_eq!(at(Filter::All, 0), None);
        assert_eq!(at(Filter::All, 4), None);
    }

    #[test]
    fn an_odd_host_is_not_repeated() {
        for odd in ["a/b", "a\"b", "user@host", "a?b", "a b"] {
            assert_eq!(url(odd, Filter::All, 1).as_deref(), Some("/api/notifications/"), "{odd}");
        }
    }

    #[test]
    fn the_filter_takes_booleans_only() {
        let parse = |query: &str| filter(&Params::parse(query).unwrap());
        assert_eq!(parse(""), Ok(Filter::All));
        assert_eq!(parse("unread="), Ok(Filter::All));
        assert_eq!(parse("unread=True"), Ok(Filter::Unread));
        assert_eq!(parse("unread=0"), Ok(Filter::Read));
        assert!(parse("unread=maybe").is_err());
    }
}
