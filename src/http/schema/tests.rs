//! The document and the router say the same.

use std::collections::BTreeSet;

use actix_web::App;
use actix_web::test::{TestRequest, init_service};

use super::*;

/// Handler files; each registers its paths with `resource("...", access, "METHODS")`.
const HANDLERS: [&str; 13] = [
    include_str!("../accounts.rs"),
    include_str!("../profiles.rs"),
    include_str!("../tweets.rs"),
    include_str!("../newsfeeds.rs"),
    include_str!("../stream.rs"),
    include_str!("../friendships.rs"),
    include_str!("../comments.rs"),
    include_str!("../likes.rs"),
    include_str!("../notifications.rs"),
    include_str!("../media.rs"),
    include_str!("../operations.rs"),
    include_str!("mod.rs"),
    include_str!("../mod.rs"),
];

/// Parameter names differ between router and document; places do not.
fn nameless(path: &str) -> String {
    let parts: Vec<&str> =
        path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect();
    parts.join("/")
}

fn documented() -> BTreeSet<(String, String)> {
    OPERATIONS
        .iter()
        .map(|operation| (nameless(operation.path), operation.method.to_uppercase()))
        .collect()
}

/// (path, method) pairs by the literals of the handler files.
fn registered() -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    for source in HANDLERS {
        for call in source.split("resource(").skip(1) {
            let mut literals = call.split('"');
            let (Some(path), Some(methods)) = (literals.nth(1), literals.nth(1)) else { continue };
            if !path.starts_with('/') {
                continue;
            }
            for method in methods.split(", ").filter(|method| *method != "HEAD") {
                all.insert((nameless(path), method.to_owned()));
            }
        }
    }
    all
}

#[test]
fn every_route_is_documented_and_no_other() {
    let (documented, registered) = (documented(), registered());
    assert!(registered.len() > 30, "the handler files have changed their form: {registered:?}");
    assert_eq!(documented, registered);
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
}

#[actix_web::test]
async fn the_page_is_its_own_and_the_document_is_revalidated() {
    let app = init_service(App::new().configure(configure)).await;
    let page = TestRequest::get().uri("/api/docs/").send_request(&app).await;
    let policy = page.headers().get("content-security-policy").unwrap().to_str().unwrap();
    assert!(policy.contains("script-src 'self'"), "{policy}");
    let first = TestRequest::get().uri("/api/schema/").send_request(&app).await;
    let tag = first.headers().get("etag").unwrap().clone();
    let again = TestRequest::get()
        .uri("/api/schema/")
        .insert_header(("if-none-match", tag))
        .send_request(&app)
        .await;
    assert_eq!(again.status(), 304);
}
