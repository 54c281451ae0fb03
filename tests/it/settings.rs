//! Settings: each is a flag and a variable, shown with its default, refused when bad.

use std::process::Output;

use crate::harness::{App, PASSWORD, Setup, ids, json, on_every_setup, roost_command, text};

on_every_setup! {
    the_references_own_limits_are_settings,
    the_page_size_is_a_setting,
}

fn the_references_own_limits_are_settings(setup: Setup) {
    let app = App::on(setup)
        .env("ROOST_USERNAME_LENGTH", "6..20")
        .env("ROOST_PASSWORD_LENGTH", "6..20")
        .env("ROOST_TWEET_LENGTH", "6..140")
        .env("ROOST_COMMENT_LENGTH", "2..10")
        .start();
    let sign_up = |username: &str, password: &str| {
        let email = format!("{username}@example.com");
        let body = json!({"username": username, "email": email, "password": password});
        app.anonymous().post("/api/accounts/signup/", body)
    };
    sign_up("short", PASSWORD).blames(&["username"]);
    sign_up("sixsix", "12345").blames(&["password"]);
    sign_up("sixsix", &"p".repeat(21)).blames(&["password"]);
    sign_up("sixsix", "123456").expect(201);
    sign_up("sixsix_2", &"p".repeat(20)).expect(201);

    let writer = app.sign_up("writer");
    for content in ["12345", " 12345 ", &"🐔".repeat(141)] {
        writer.post("/api/tweets/", json!({"content": content})).blames(&["content"]);
    }
    writer.tweet("123456");
    let tweet = writer.tweet(&"🐔".repeat(140))["id"].as_i64().unwrap();
    for content in ["1", &"1".repeat(11)] {
        let body = json!({"tweet_id": tweet, "content": content});
        writer.post("/api/comments/", body).blames(&["content"]);
    }
    writer.comment(tweet, "12");
    writer.comment(tweet, &"é".repeat(10));
}

fn the_page_size_is_a_setting(setup: Setup) {
    let app = App::on(setup).env("ROOST_PAGE_SIZE", "3").start();
    let ann = app.sign_up("ann");
    let tweets = ann.tweets(4);
    assert_eq!(ann.feed_ids(), [tweets[3], tweets[2], tweets[1]]);
    assert_eq!(ann.tweets_of(&ann).len(), 3);
    let wider = ann.get("/api/newsfeeds/?page_size=4").expect(200);
    assert_eq!(ids(&wider["results"], "tweet.id").len(), 4);
}

/// Runs the program to its end with these variables and arguments.
fn run(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("make a temporary directory");
    let mut command = roost_command();
    command.env("ROOST_LISTEN", "127.0.0.1:0").env("ROOST_DATA_DIR", folder.path());
    command.envs(environment.iter().copied()).args(arguments);
    command.output().expect("run roost")
}

#[test]
fn a_bad_setting_stops_the_start_with_one_clear_line() {
    let bad = [
        ("ROOST_LISTEN", "nowhere"),
        ("ROOST_LISTEN", "127.0.0.1:99999"),
        ("ROOST_METRICS_LISTEN", "nowhere"),
        ("ROOST_PAGE_SIZE", "0"),
        ("ROOST_PAGE_SIZE", "101"),
        ("ROOST_PAGE_SIZE", "many"),
        ("ROOST_LIST_LIMIT", "0"),
        ("ROOST_LIST_LIMIT", "-1"),
        ("ROOST_LIST_TTL_S", "0"),
        ("ROOST_USERNAME_LENGTH", "20..3"),
        ("ROOST_PASSWORD_LENGTH", "8"),
        ("ROOST_TWEET_LENGTH", "x..y"),
        ("ROOST_COMMENT_LENGTH", "0..140"),
        ("ROOST_RATE_LIMITS", "maybe"),
        ("ROOST_CORS_ORIGINS", "app.example"),
        ("ROOST_CORS_ORIGINS", "https://app.example/"),
        ("ROOST_CORS_ORIGINS", "*,https://app.example"),
        ("ROOST_TESTING", "yes please"),
        ("DATABASE_URL", "mysql://localhost/roost"),
        ("DATABASE_URL", "nonsense"),
        ("REDIS_URL", "http://localhost"),
        ("REDIS_URL", "nonsense"),
    ];
    for (name, value) in bad {
        let output = run(&[(name, value)], &["serve"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code();
        assert!(code.is_some_and(|code| code != 0), "{name}={value}: exit code {code:?}\n{said}");
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        assert_eq!(lines.len(), 1, "{name}={value}: {said}");
        assert!(lines[0].contains(name), "{name}={value}: the line does not name it: {said}");
        assert!(!said.contains("panicked"), "{name}={value}: {said}");
        assert!(output.stdout.is_empty(), "{name}={value} was called ready");
    }
}

#[test]
fn an_address_in_use_stops_the_start_with_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&[("ROOST_LISTEN", &address)], &["serve"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.lines().any(|line| line.contains(&address)), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_password_in_a_url_is_not_printed() {
    let output = run(&[("DATABASE_URL", "postgres://roost:s3cret@127.0.0.1:1/roost")], &["serve"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.is_empty() && !said.contains("s3cret"), "{said}");
}

#[test]
fn help_shows_every_setting_with_its_default() {
    let output = run(&[], &["serve", "--help"]);
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    let settings = [
        ("ROOST_LISTEN", "127.0.0.1:8000"),
        ("ROOST_DATA_DIR", "./data"),
        ("DATABASE_URL", ""),
        ("REDIS_URL", ""),
        ("ROOST_PAGE_SIZE", "20"),
        ("ROOST_LIST_LIMIT", "1000"),
        ("ROOST_LIST_TTL_S", "604800"),
        ("ROOST_USERNAME_LENGTH", "3..20"),
        ("ROOST_PASSWORD_LENGTH", "8..128"),
        ("ROOST_TWEET_LENGTH", "1..255"),
        ("ROOST_COMMENT_LENGTH", "1..140"),
        ("ROOST_RATE_LIMITS", "on"),
        ("ROOST_CORS_ORIGINS", ""),
        ("ROOST_GZIP", "on"),
        ("ROOST_TESTING", ""),
        ("ROOST_METRICS_LISTEN", ""),
    ];
    // One paragraph per setting, however wide the terminal is.
    let flat = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for (name, default) in settings {
        // The value in force is shown, but not of the URLs, which may hold passwords.
        let shown = flat.split_once(&format!("[env: {name}="));
        let hidden = flat.split_once(&format!("[env: {name}]"));
        let (_, after) = shown.or(hidden).unwrap_or_else(|| panic!("{name}: {help}"));
        let next = after.split("[env: ").next().unwrap();
        let shown = default.is_empty() || next.contains(&format!("[default: {default}]"));
        assert!(shown, "{name} does not show its default {default}: {help}");
    }
}

#[test]
fn a_flag_does_what_its_variable_does() {
    for arguments in [["serve", "--page-size", "0"], ["serve", "--tweet-length", "9..1"]] {
        let output = run(&[], &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(said.contains(arguments[1]), "{said}");
    }
    let output = run(&[], &["no-such-command"]);
    assert!(!output.status.success());
}

#[test]
fn migrations_run_by_themselves_and_twice() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roost.sqlite");
    let url = format!("sqlite:{}", file.display());
    for _ in 0..2 {
        let output = run(&[("DATABASE_URL", &url)], &["migrate"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(file.exists(), "sqlite:PATH names the file");
    // A server on the same file finds it ready.
    let app = App::on(Setup::Sqlite).env("DATABASE_URL", &url).start();
    let ann = app.sign_up("ann");
    assert_eq!(text(&ann.tweet("hello")["content"]), "hello");
}

/// The servers behind Roost are nobody else's business, and Roost itself is a proxy's.
#[test]
fn the_compose_file_publishes_roost_alone_and_on_the_loopback() {
    let path = format!("{}/deploy/compose.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let published: Vec<&str> = text
        .lines()
        .skip_while(|line| line.trim() != "ports:")
        .skip(1)
        .take_while(|line| line.trim().starts_with('-'))
        .collect();
    assert_eq!(text.matches("ports:").count(), 1, "{text}");
    assert_eq!(published.len(), 1, "{published:?}");
    assert!(published[0].contains("\"127.0.0.1:8000:8000\""), "{published:?}");
    assert!(!text.contains("network_mode"), "{text}");
}
