//! The document and the router say the same.

use std::collections::BTreeSet;
use std::path::Path;

use actix_web::App;
use actix_web::test::{TestRequest, init_service};

use super::operations::Access;
use super::*;
use crate::http;
use crate::http::routing::{self, registry};

/// The settings of a node that was started without any.
fn defaults() -> Config {
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        config: Config,
    }
    Line::parse_from(["roost"]).config
}

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

/// The page for browsers and its files: a client of the API, not a part of it.
const PAGES: [&str; 2] = ["/", "/web/{file}"];

/// Every resource of the API on the main address.
fn registered() -> Vec<(String, routing::Access, &'static str)> {
    let mut resources = registry::resources(|| {
        let _ =
            App::new().configure(http::configure).configure(http::operations::configure_metrics);
    });
    resources.retain(|(path, ..)| !PAGES.contains(&&**path));
    resources
}

#[test]
fn every_route_is_documented_and_no_other() {
    let registered = registered();
    let pairs = registered.iter().flat_map(|(path, _, methods)| {
        let methods = methods.split(", ").filter(|method| *method != "HEAD");
        methods.map(|method| (nameless(path), method.to_owned()))
    });
    let pairs: BTreeSet<(String, String)> = pairs.collect();
    assert!(pairs.len() > 30, "{pairs:?}");
    assert_eq!(documented(), pairs);
}

#[test]
fn a_path_needs_a_login_where_each_of_its_methods_does() {
    for (path, access, _) in registered() {
        let mut methods = OPERATIONS.iter().filter(|one| nameless(one.path) == nameless(&path));
        let all_login = methods.all(|operation| operation.access == Access::Login);
        assert_eq!(access == routing::Access::Login, all_login, "{path}");
    }
}

/// Whatever is not made with `resource` would be unknown to the test above.
#[test]
fn there_is_no_other_way_to_register_a_route() {
    fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => files(&path, found),
                false => found.push(path),
            }
        }
    }
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 100);
    for path in found {
        let name = path.to_string_lossy().into_owned();
        if name.contains("/tests") || name.ends_with("tests.rs") || name.ends_with("routing.rs") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap_or_default();
        // Tests at the end of a file may make what they like.
        let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for other in ["web::resource(", "web::scope(", ".route(\"", "#[get(", "#[post(", "#[route("]
        {
            assert!(!source.contains(other), "{name} has {other}");
        }
    }
}

/// The document as it was last looked at. After a change that is meant:
/// `ROOST_UPDATE_SNAPSHOTS=1 cargo test --lib schema`, and read the difference.
#[test]
fn the_document_is_the_one_in_docs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let now = format!("{:#}\n", document(&defaults()));
    if std::env::var_os("ROOST_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let then = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = now.lines().zip(then.lines()).position(|(now, then)| now != then);
    assert!(now == then, "docs/openapi.json differs from line {differs:?} (counted from 0) on");
}

#[test]
fn limits_are_those_in_force() {
    let mut config = defaults();
    config.tweet_length = "6..140".parse().unwrap();
    config.page_size = 10;
    config.limits.post = "7/77".parse().unwrap();
    let document = document(&config);
    let tweets = &document["paths"]["/api/tweets/"];
    let content = &tweets["post"]["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(content["properties"]["content"]["maxLength"], 140);
    let sizes = tweets["get"]["parameters"].as_array().unwrap();
    let size = sizes.iter().find(|one| one["name"] == "page_size").unwrap();
    assert_eq!((&size["schema"]["default"], &size["schema"]["maximum"]), (&json!(10), &json!(100)));
    assert!(document["info"]["description"].as_str().unwrap().contains("posting 7/77"));
}

#[test]
fn every_parameter_and_field_is_known() {
    let text = document(&defaults()).to_string();
    assert!(!text.contains("null,") || !text.contains("\"parameters\":[null"), "an unknown name");
    let mut ids = BTreeSet::new();
    for operation in OPERATIONS {
        assert!(ids.insert(operation_id(operation)), "{} twice", operation_id(operation));
        for name in operation.parameters {
            assert!(fields::parameter(name, &defaults()).is_object(), "{name}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document(&defaults());
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
}

#[actix_web::test]
async fn the_page_is_its_own_and_the_document_is_revalidated() {
    let app = init_service(
        App::new().app_data(web::Data::new(Document::new(&defaults()))).configure(configure),
    )
    .await;
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
