//! What the log tells of a request on its way down to the database, and what becomes of the
//! service when nobody reads it.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use diesel::Connection;
use diesel::connection::SimpleConnection;

use crate::harness::{App, Client, Setup, Value, id, json, roost_command};

/// Longer than a query may take without a line in the log.
const SLOW: Duration = Duration::from_millis(400);

// A wait can be seen from outside on PostgreSQL only; the code is the same on both engines.
#[test]
fn a_slow_query_names_its_request() {
    slow_queries_name_their_requests(Setup::Postgres);
}

#[test]
fn a_slow_query_names_its_request_beside_redis() {
    slow_queries_name_their_requests(Setup::PostgresRedis);
}

fn slow_queries_name_their_requests(setup: Setup) {
    let app = App::on(setup).start();
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&ann.tweet("wait for it"));
    app.quiesce();
    // Through the handler, the actor of a timeline, the ordered writer, and the counter.
    let like = json!({"content_type": "tweet", "object_id": tweet});
    let requests = [
        ("GET", format!("/api/profiles/{}/", bob.id), "profiles", "plain-1", None),
        ("GET", "/api/newsfeeds/".to_owned(), "newsfeeds", "load-1", None),
        ("POST", "/api/tweets/".to_owned(), "tweets", "post-1", Some(json!({"content": "x"}))),
        ("POST", "/api/likes/".to_owned(), "likes", "like-1", Some(like)),
    ];
    for (method, path, table, name, body) in requests {
        let mut link = app.session();
        link.transaction(|link| {
            link.batch_execute(&format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))?;
            thread::scope(|scope| {
                scope.spawn(|| {
                    let request = bob.request(method, &path).header("X-Request-Id", name);
                    match &body {
                        Some(body) => request.json(body).send(),
                        None => request.send(),
                    }
                });
                wait_for_the_lock(&app);
                thread::sleep(SLOW);
                link.batch_execute("ROLLBACK; BEGIN")
            })
        })
        .expect("the lock");
        let is_told = |line: &str| line.contains("slow query") && line.contains(name);
        app.wait_for_log(|log| log.lines().any(is_told));
    }
}

/// Waits until somebody waits for a lock.
fn wait_for_the_lock(app: &App) {
    let begun = Instant::now();
    let waiting = "SELECT count(*) AS n FROM pg_locks WHERE NOT granted \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while app.sql(waiting) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing waits for the table");
        thread::sleep(Duration::from_millis(5));
    }
}

// The store has no part in the form of a line.
#[test]
fn a_log_for_machines_is_one_object_a_line() {
    let app = App::on(Setup::Sqlite)
        .env("ROOST_LOG_FORMAT", "json")
        .env("ROOST_LOG", "roost=debug")
        .start();
    let ann = app.sign_up("ann");
    ann.request("GET", "/api/newsfeeds/").header("X-Request-Id", "look-for-me").send().expect(200);
    let log = app.wait_for_log(|log| log.contains("look-for-me") && log.ends_with('\n'));
    let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let lines: Vec<Value> = log.lines().map(read).collect();
    for line in &lines {
        for name in ["timestamp", "level", "target", "message"] {
            assert!(line[name].is_string(), "no {name}: {line}");
        }
    }
    let line = lines.iter().find(|line| line["request_id"] == "look-for-me").expect(&log);
    let told = ["level", "message", "method", "route", "status", "user_id"].map(|name| &line[name]);
    let expected = [
        "DEBUG".into(),
        "request".into(),
        "GET".into(),
        "/api/newsfeeds/".into(),
        json!(200),
        json!(ann.id),
    ];
    assert_eq!(told, expected.each_ref());
}

/// Asks until the log has no room for more: neither the pipe nor the process.
fn fill_the_log(app: &App, who: &Client) {
    let begun = Instant::now();
    while app.metric("roost_log_lines_lost_total") == Some(0.0) {
        assert!(begun.elapsed() < Duration::from_secs(60), "there is room for everything");
        for _ in 0..50 {
            who.get("/api/newsfeeds/").expect(200);
        }
    }
}

fn with_unread_log() -> (App, PipeReader) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let app = App::on(Setup::Sqlite)
        .env("ROOST_LOG", "trace")
        .env("ROOST_LOG_FORMAT", "json")
        .log_into(writer)
        .start();
    (app, reader)
}

/// Standard error is a pipe that nobody empties for a while: requests go on, what is lost is
/// counted, and what comes out afterwards are whole lines that say so.
#[test]
fn a_log_that_nobody_reads_stops_nobody() {
    let (mut app, reader) = with_unread_log();
    let ann = app.sign_up("ann");
    fill_the_log(&app, &ann);
    for _ in 0..50 {
        let asked = Instant::now();
        ann.tweet("unheard");
        ann.get("/api/newsfeeds/").expect(200);
        assert!(asked.elapsed() < Duration::from_secs(2), "it took {:?}", asked.elapsed());
    }
    assert_eq!(app.sql("SELECT count(*) AS n FROM tweets"), 50);

    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let hearing = heard.clone();
    let reading = thread::spawn(move || {
        for line in BufReader::new(reader).lines() {
            hearing.lock().unwrap().push(line.expect("a line"));
        }
    });
    let begun = Instant::now();
    let is_told = || heard.lock().unwrap().iter().any(|line| line.contains("were lost"));
    while !is_told() {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing tells of the loss");
        thread::sleep(Duration::from_millis(5));
    }
    let request = ann.request("GET", "/api/newsfeeds/").header("X-Request-Id", "heard-again");
    request.send().expect(200);
    assert_eq!(app.sigterm(), Some(0));
    reading.join().unwrap();
    let heard = heard.lock().unwrap();
    let read = |line: &String| -> Value {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    let lines: Vec<Value> = heard.iter().map(read).collect();
    let told = |line: &&Value| line["message"] == "lines of the log were lost";
    let lost: u64 = lines.iter().filter(told).map(|line| line["lines"].as_u64().unwrap()).sum();
    assert!(lost > 0, "{lost} lines were lost");
    assert!(lines.iter().any(|line| line["request_id"] == "heard-again"), "not heard again");
    assert!(lines.iter().any(|line| line["message"] == "stopped"), "the last line is missing");
}

#[test]
fn a_log_that_is_stuck_does_not_keep_the_process() {
    let (mut app, _reader) = with_unread_log();
    let ann = app.sign_up("ann");
    fill_the_log(&app, &ann);
    let asked = Instant::now();
    assert_eq!(app.sigterm(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    app.start_again();
    ann.tweet("here again");
}

/// It ends like this when nobody can be told where it listens.
#[test]
fn a_panic_is_a_line_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let output = roost_command()
        .arg("serve")
        .env("ROOST_LISTEN", "127.0.0.1:0")
        .env("ROOST_DATA_DIR", folder.path())
        .env("ROOST_LOG_FORMAT", "json")
        .stdout(File::options().write(true).open("/dev/full").expect("/dev/full"))
        .output()
        .expect("run roost");
    assert_eq!(output.status.code(), Some(101));
    let log = String::from_utf8(output.stderr).unwrap();
    let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let lines: Vec<Value> = log.lines().map(read).collect();
    let message = |line: &Value| line["message"].as_str().unwrap_or_default().to_owned();
    let panics: Vec<&Value> = lines
        .iter()
        .filter(|line| message(line).starts_with("panicked: failed printing"))
        .collect();
    assert_eq!(panics.len(), 1, "{log}");
    assert_eq!((&panics[0]["level"], &panics[0]["thread"]), (&json!("ERROR"), &json!("main")));
    assert!(panics[0]["place"].as_str().unwrap().contains("stdio.rs"), "{log}");
}
