//! Photos: what is taken, what is refused, how they come back.

use image::{GenericImageView, ImageFormat};

use crate::harness::{App, Client, Reply, Value, id, json, on_every_setup, photo, text};

on_every_setup! {
    photos_come_back_in_upload_order,
    four_formats_are_taken,
    nine_photos_and_no_more,
    what_is_not_a_picture_is_refused,
    a_tweet_and_its_photos_are_saved_together_or_not_at_all,
    photos_have_size_limits,
    names_of_files_are_harmless,
    what_a_photo_hides_is_removed,
    media_paths_lead_nowhere_else,
}

const TWEETS: &str = "/api/tweets/";
const MAX_BYTES: usize = 10 * 1024 * 1024;

/// Posts a tweet with files of these names and bytes.
fn post(client: &Client, files: &[(&str, &[u8])]) -> Reply {
    let files: Vec<_> = files.iter().map(|(name, bytes)| ("files", *name, *bytes)).collect();
    client.post_multipart(TWEETS, &[("content", "with photos")], &files)
}

fn urls(tweet: &Value) -> Vec<String> {
    tweet["photo_urls"].as_array().expect("photo_urls").iter().map(text).collect()
}

fn photos_come_back_in_upload_order(app: App) {
    let ann = app.sign_up("ann");
    let png = photo::png();
    let names = ["selfie2.png", "selfie1.png", "selfie3.png"];
    let tweet = post(&ann, &names.map(|name| (name, &png[..]))).expect(201);
    let urls = urls(&tweet);
    for (url, stem) in urls.iter().zip(["selfie2", "selfie1", "selfie3"]) {
        assert!(url.starts_with("/media/") && url.contains(stem), "{url}");
        // What stands between cannot be guessed.
        let random = url["/media/".len()..].split('/').next().unwrap();
        assert!(random.len() >= 16, "{url}");
        let picture = app.anonymous().get(url);
        assert_eq!(picture.status, 200, "{url}");
        assert!(picture.header("content-type").unwrap().starts_with("image/"), "{url}");
        assert_eq!(picture.header("x-content-type-options"), Some("nosniff"));
        let picture = image::load_from_memory(&picture.body).expect("a picture");
        assert_eq!(picture.dimensions(), (8, 6));
    }
    assert_eq!(urls.len(), 3);
    // Every view of the tweet shows the same.
    assert_eq!(ann.feed()[0]["tweet"]["photo_urls"], json!(urls));
    assert_eq!(ann.tweets_of(&ann)[0]["photo_urls"], json!(urls));
    assert_eq!(ann.tweet_page(id(&tweet))["photo_urls"], json!(urls));
    // The same upload again has other addresses.
    let again = post(&ann, &[("selfie2.png", &png)]).expect(201);
    assert_ne!(again["photo_urls"][0], json!(urls[0]));
}

fn four_formats_are_taken(app: App) {
    let ann = app.sign_up("ann");
    let formats = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP]
        .map(photo::picture);
    for bytes in &formats {
        // The bytes decide, not the name.
        let tweet = post(&ann, &[("picture.dat", bytes)]).expect(201);
        let picture = app.anonymous().get(&urls(&tweet)[0]);
        assert!(image::load_from_memory(&picture.body).is_ok(), "{}", picture.describe());
    }
}

fn nine_photos_and_no_more(app: App) {
    let ann = app.sign_up("ann");
    let png = photo::png();
    let files = |number: usize| vec![("p.png", &png[..]); number];
    assert_eq!(urls(&post(&ann, &files(9)).expect(201)).len(), 9);
    let body = post(&ann, &files(10)).expect(400);
    assert_eq!(body["message"], "Please check input.");
    assert_eq!(body["errors"]["message"], json!(["You can only upload at most 9 photos"]));
    assert_eq!(ann.tweets_of(&ann).len(), 1);
}

fn what_is_not_a_picture_is_refused(app: App) {
    let ann = app.sign_up("ann");
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    let cut = &photo::png()[..40];
    let files: [(&str, &[u8]); 5] = [
        ("a.png", b"no picture at all"),
        ("a.svg", svg),
        ("a.png", b""),
        ("a.png", cut),
        ("a.png", b"\x89PNG\r\n\x1a\n<html>"),
    ];
    for file in files {
        let reply = post(&ann, &[file]);
        assert!(matches!(reply.status, 400 | 415), "{}: {}", file.0, reply.describe());
    }
    assert_eq!(ann.tweets_of(&ann).len(), 0);
}

fn a_tweet_and_its_photos_are_saved_together_or_not_at_all(app: App) {
    let ann = app.sign_up("ann");
    let png = photo::png();
    // The last file is bad: the good ones before it leave nothing behind.
    post(&ann, &[("good.png", &png), ("good.png", &png), ("bad.png", b"broken")]).expect(400);
    // The content is bad: so are its photos.
    let blank = ann.post_multipart(TWEETS, &[("content", " ")], &[("files", "a.png", &png)]);
    blank.blames(&["content"]);
    assert_eq!(app.sql("SELECT count(*) AS n FROM tweets"), 0);
    assert_eq!(app.sql("SELECT count(*) AS n FROM tweet_photos"), 0);
    assert_eq!(files_under(&app.data_dir().join("media")), 0);
    post(&ann, &[("good.png", &png)]).expect(201);
    assert_eq!(files_under(&app.data_dir().join("media")), 1);
}

fn files_under(folder: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let count = |path: std::path::PathBuf| if path.is_dir() { files_under(&path) } else { 1 };
    entries.map(|entry| count(entry.expect("an entry").path())).sum()
}

fn photos_have_size_limits(app: App) {
    let ann = app.sign_up("ann");
    post(&ann, &[("full.png", &photo::png_of_length(MAX_BYTES))]).expect(201);
    let reply = post(&ann, &[("over.png", &photo::png_of_length(MAX_BYTES + 1))]);
    assert!(matches!(reply.status, 400 | 413), "{}", reply.describe());

    // 16 million pixels are fine; 25 million are refused, as is a header that only claims so.
    let large = photo::sized(ImageFormat::Png, 4000, 4000);
    post(&ann, &[("large.png", &large)]).expect(201);
    for bytes in [photo::png_claiming(5000, 5000), photo::png_claiming(50_000, 50_000)] {
        let reply = post(&ann, &[("bomb.png", &bytes)]);
        assert!(matches!(reply.status, 400 | 413), "{}", reply.describe());
    }
    assert_eq!(ann.tweets_of(&ann).len(), 2);
}

fn names_of_files_are_harmless(app: App) {
    let ann = app.sign_up("ann");
    let png = photo::png();
    let long = format!("{}.png", "n".repeat(3000));
    let names = [
        "../../etc/passwd.png",
        "a b?c#d%2e.png",
        "x.php",
        "<script>.png",
        "é🐔.png",
        ".png",
        &long,
    ];
    for name in names {
        let tweet = post(&ann, &[(name, &png)]).expect(201);
        let url = &urls(&tweet)[0];
        let safe = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        assert!(url.chars().all(safe) && !url.contains("..") && url.len() < 255, "{name}: {url}");
        assert!(!url.ends_with(".php"), "{url}");
        assert_eq!(app.anonymous().get(url).status, 200, "{url}");
    }
}

fn what_a_photo_hides_is_removed(app: App) {
    let ann = app.sign_up("ann");
    let secret = "GPS 52.5163 N 13.3777 E";
    let jpeg = photo::jpeg_with_exif(secret);
    let polyglot = [photo::png(), b"<script>alert('polyglot')</script>".to_vec()].concat();
    let tweet = post(&ann, &[("home.jpg", &jpeg)]).expect(201);
    let stored = app.anonymous().get(&urls(&tweet)[0]).body;
    assert!(!contains(&stored, secret.as_bytes()), "the position is still in the photo");
    // A picture with something behind its end: refused, or the picture alone.
    let reply = post(&ann, &[("both.png", &polyglot)]);
    if reply.status == 201 {
        let stored = app.anonymous().get(&urls(&reply.json())[0]).body;
        assert!(!contains(&stored, b"<script>"), "the script is still in the photo");
    } else {
        reply.expect(400);
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn media_paths_lead_nowhere_else(app: App) {
    let ann = app.sign_up("ann");
    post(&ann, &[("a.png", &photo::png())]).expect(201);
    let paths = [
        "/media/",
        "/media/nothing.png",
        "/media/..%2froost.db",
        "/media/%2e%2e/roost.db",
        "/media/..%5c..%5cetc/passwd",
        "/media/%00",
        "/media//etc/passwd",
    ];
    for path in paths {
        // By hand, since a decent client would tidy the path up.
        let reply = app.anonymous().raw_request(&format!("GET {path}"), &[], b"");
        assert_eq!(reply.status, 404, "{}", reply.describe());
    }
}
