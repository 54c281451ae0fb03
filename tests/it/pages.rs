//! The pages that the binary brings along: how they are served. What they do is tried in a real
//! browser, see [`crate::browser`].

use crate::harness::{App, json, on_every_setup};

on_every_setup! {
    the_page_comes_with_all_its_files,
    pages_run_their_own_scripts_only,
}

/// Addresses in a text, such as `"/web/main.js"` or `from "./api.js"`.
fn addresses(text: &str, before: &str) -> Vec<String> {
    let rest = text.split(before).skip(1);
    rest.filter_map(|rest| rest.split('"').next()).map(|name| format!("/web/{name}")).collect()
}

fn the_page_comes_with_all_its_files(app: App) {
    let anonymous = app.anonymous();
    let page = anonymous.get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let mut asked = addresses(&page.expect_text(200), "\"/web/");
    let mut seen: Vec<String> = Vec::new();
    while let Some(path) = asked.pop() {
        if seen.contains(&path) {
            continue;
        }
        let file = anonymous.get(&path);
        let kind = match path.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!(file.header("content-type"), Some(kind), "{path}");
        let tag = file.header("etag").expect("an ETag").to_owned();
        assert_eq!(file.header("cache-control"), Some("public, no-cache"));
        asked.extend(addresses(&file.expect_text(200), "from \"./"));
        let again = anonymous.request("GET", &path).header("If-None-Match", &tag).send();
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        seen.push(path);
    }
    assert!(seen.len() > 10, "{seen:?}");
    anonymous.get("/web/nothing.js").refused(404, "Not found.");
    anonymous.get("/web/../Cargo.toml").refused(404, "Not found.");
    anonymous.post("/", json!({})).refused(405, "Method \"POST\" not allowed.");
}

fn pages_run_their_own_scripts_only(app: App) {
    for path in ["/", "/web/main.js", "/api/docs/", "/api/docs/docs.js"] {
        let reply = app.anonymous().get(path);
        let policy = reply.header("content-security-policy").expect("a policy");
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
    }
}
