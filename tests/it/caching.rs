//! What may be kept by whom, what is sent again, and how it is packed.

use std::io::Read;

use flate2::read::GzDecoder;

use crate::harness::{App, Client, Reply, Setup, id, json, on_every_setup, photo};

on_every_setup! {
    what_has_not_changed_is_not_sent_again,
    every_answer_says_who_may_keep_it,
    long_lists_link_to_their_next_page,
    pages_are_packed_for_those_who_ask,
}

fn again(client: &Client, path: &str, tag: &str) -> Reply {
    client.request("GET", path).header("If-None-Match", tag).send()
}

/// A tag stands for what this viewer sees, likes of their own included.
fn what_has_not_changed_is_not_sent_again(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&ann.tweet("hello"));
    let list = format!("/api/tweets/?user_id={}", ann.id);
    let detail = format!("/api/tweets/{tweet}/");
    for path in [&list, &detail] {
        let first = bob.get(path);
        let tag = first.header("etag").expect("an ETag").to_owned();
        let same = again(&bob, path, &tag);
        assert_eq!((same.status, same.body.len()), (304, 0), "{}", same.describe());
        assert_eq!(same.header("etag"), Some(&*tag));
        assert!(
            first.headers_of("vary").join(", ").contains("Cookie"),
            "{:?}",
            first.header("vary")
        );
        assert_eq!(again(&bob, path, &format!("\"other\", {tag}")).status, 304);
        assert_eq!(again(&bob, path, "\"other\"").status, 200);

        bob.like("tweet", tweet);
        let liked = again(&bob, path, &tag);
        assert_eq!(liked.status, 200, "{}", liked.describe());
        // The same count, and another answer to has_liked.
        let others = again(&ann, path, liked.header("etag").unwrap());
        assert_eq!(others.status, 200, "{}", others.describe());
        bob.unlike("tweet", tweet);
    }
    let profile = format!("/api/profiles/{}/", ann.id);
    let tag = bob.get(&profile).header("etag").unwrap().to_owned();
    assert_eq!(again(&bob, &profile, &tag).status, 304);
    bob.follow(&ann);
    assert_eq!(again(&bob, &profile, &tag).status, 200);
}

fn every_answer_says_who_may_keep_it(app: App) {
    let ann = app.sign_up("ann");
    let tweet = ann.post_multipart(
        "/api/tweets/",
        &[("content", "hello")],
        &[("files", "a.png", &photo::png())],
    );
    let tweet = tweet.expect(201);
    let anonymous = app.anonymous();
    let kept = |reply: Reply| reply.header("cache-control").unwrap_or_default().to_owned();
    let private = ["/api/newsfeeds/", "/api/notifications/", "/api/accounts/login_status/"];
    for path in private {
        assert_eq!(kept(ann.get(path)), "private, no-cache", "{path}");
    }
    let either = [
        format!("/api/tweets/?user_id={}", ann.id),
        format!("/api/tweets/{}/", id(&tweet)),
        format!("/api/comments/?tweet_id={}", id(&tweet)),
        format!("/api/profiles/{}/", ann.id),
        format!("/api/profiles/?username={}", ann.username),
        format!("/api/friendships/{}/followers/", ann.id),
    ];
    for path in &either {
        assert_eq!(kept(ann.get(path)), "private, no-cache", "{path}");
        assert_eq!(kept(anonymous.get(path)), "public, no-cache", "{path}");
    }
    for path in ["/api/newsfeeds/", "/api/tweets/999/", "/api/nothing/", "/nothing"] {
        assert_eq!(kept(anonymous.get(path)), "no-store", "{path}");
    }
    assert_eq!(kept(ann.post("/api/likes/", json!({}))), "no-store");
    let photo = tweet["photo_urls"][0].as_str().unwrap();
    assert_eq!(kept(anonymous.get(photo)), "public, max-age=31536000, immutable");
}

fn next(reply: &Reply) -> Option<String> {
    let link = reply.header("link")?;
    let (path, rest) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
    assert_eq!(rest, "; rel=\"next\"", "{link}");
    Some(path.to_owned())
}

/// A client that follows the links sees everything once.
fn long_lists_link_to_their_next_page(app: App) {
    let (ann, bob, cid) = (app.sign_up("ann"), app.sign_up("bob"), app.sign_up("cid"));
    let tweets = ann.tweets(5);
    for fan in [&bob, &cid] {
        fan.follow(&ann);
    }
    for n in 0..5 {
        bob.comment(tweets[0], &format!("comment {n}"));
    }
    let walks = [
        (format!("/api/tweets/?user_id={}&page_size=2", ann.id), "results", 5),
        ("/api/newsfeeds/?page_size=2".to_owned(), "results", 5),
        (format!("/api/comments/?tweet_id={}&page_size=2", tweets[0]), "comments", 5),
        (format!("/api/friendships/{}/followers/?size=1", ann.id), "results", 2),
        (
            format!(
                "/api/friendships/{}/followers/?size=1&created_at__lt=2999-01-01T00:00:00Z",
                ann.id
            ),
            "results",
            2,
        ),
    ];
    for (path, field, total) in walks {
        let (mut path, mut seen) = (Some(path), Vec::new());
        while let Some(here) = path {
            let reply = ann.get(&here);
            path = next(&reply);
            let page = reply.expect(200);
            assert_eq!(page["has_next_page"], path.is_some(), "{here}");
            let items = page[field].as_array().unwrap();
            assert!(items.len() <= 2, "{here}");
            seen.extend(items.iter().map(|item| item["created_at"].clone()));
        }
        assert_eq!(seen.len(), total);
        seen.dedup();
        assert_eq!(seen.len(), total);
    }
}

fn pages_are_packed_for_those_who_ask(app: App) {
    let ann = app.sign_up("ann");
    ann.tweets(20);
    let packed = |client: &Client, path: &str, accepts: &str| {
        client.request("GET", path).header("Accept-Encoding", accepts).send_as_is()
    };
    let plain = ann.get("/api/newsfeeds/");
    assert_eq!(plain.header("content-encoding"), None);
    assert!(plain.headers_of("vary").contains(&"Accept-Encoding"));
    let small = packed(&ann, "/api/newsfeeds/", "gzip, deflate, br");
    assert_eq!(small.header("content-encoding"), Some("gzip"));
    assert!(small.headers_of("vary").contains(&"Accept-Encoding"));
    assert!(
        small.body.len() * 3 < plain.body.len(),
        "{} of {}",
        small.body.len(),
        plain.body.len()
    );
    let mut text = Vec::new();
    GzDecoder::new(&small.body[..]).read_to_end(&mut text).expect("gzip");
    assert_eq!(text, plain.body);

    // The tag is the same, however the body travels.
    let list = format!("/api/tweets/?user_id={}", ann.id);
    let tag = packed(&ann, &list, "gzip").header("etag").unwrap().to_owned();
    assert_eq!(again(&ann, &list, &tag).status, 304);

    let refused = packed(&ann, "/api/newsfeeds/", "gzip;q=0, br");
    assert_eq!(refused.header("content-encoding"), None);
    assert_eq!(refused.body, plain.body);
    let short = packed(&ann, "/api/accounts/login_status/", "gzip");
    assert_eq!(short.header("content-encoding"), None, "too short to gain anything");
}

#[test]
fn packing_can_be_left_to_a_proxy() {
    let app = App::on(Setup::Sqlite).env("ROOST_GZIP", "off").start();
    let ann = app.sign_up("ann");
    ann.tweets(20);
    let request = ann.request("GET", "/api/newsfeeds/").header("Accept-Encoding", "gzip");
    let plain = request.send();
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, None));
}
