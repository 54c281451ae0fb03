//! Requests that are sent before the answers to those before them are there.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use crate::harness::{App, PASSWORD, json, on_every_setup, photo};

on_every_setup! {
    requests_in_one_packet_are_answered_in_order,
    requests_in_many_packets_are_all_answered,
    a_long_answer_does_not_lose_the_request_behind_it,
}

const TWEETS: &str = "/api/tweets/";

fn requests_in_one_packet_are_answered_in_order(app: App) {
    let ann = app.sign_up("ann");
    let head = format!("Host: localhost\r\nCookie: {}\r\n", ann.cookie_header());
    let body = r#"{"content":"first"}"#;
    let post = format!(
        "POST {TWEETS} HTTP/1.1\r\n{head}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let get = format!("GET {TWEETS}?user_id={} HTTP/1.1\r\n{head}\r\n", ann.id);
    let last = format!("GET /api/nothing/ HTTP/1.1\r\n{head}Connection: close\r\n\r\n");
    let answers = ann.raw_bytes(format!("{post}{get}{post}{last}").as_bytes());
    let text = String::from_utf8(answers).unwrap();
    let statuses: Vec<&str> = text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["201", "200", "201", "404"], "{text}");
    // Each sees what those before it have done.
    let listed = text.split("HTTP/1.1 ").nth(2).unwrap();
    assert_eq!(listed.matches("\"content\":\"first\"").count(), 1, "{listed}");
    assert_eq!(app.sql("SELECT count(*) AS n FROM tweets"), 2);
}

/// The statuses of everything that comes back.
fn statuses(answers: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answers);
    text.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].to_owned()).collect()
}

/// More than are kept in a row, and the later ones while the first one still hashes a password.
fn requests_in_many_packets_are_all_answered(app: App) {
    let ann = app.sign_up("ann");
    let body = json!({"username": "ann", "password": PASSWORD}).to_string();
    let length = format!("Content-Length: {}", body.len());
    let headers = ["Content-Type: application/json", &*length];
    let login = app.anonymous().head_of("POST /api/accounts/login/", &headers) + &body;
    let get = ann.head_of("GET /api/newsfeeds/?page_size=1", &[]);
    let last = ann.head_of("GET /api/nothing/", &["Connection: close"]);
    let mut stream = ann.connect();
    stream.set_nodelay(true).unwrap();
    for packet in [login + &get.repeat(40), get.repeat(20), get.repeat(60), last] {
        stream.write_all(packet.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    let statuses = statuses(&answers);
    assert_eq!(statuses.len(), 122, "{statuses:?}");
    assert!(statuses[..121].iter().all(|status| status == "200"), "{statuses:?}");
    assert_eq!(statuses[121], "404");
}

/// A photo is read piece by piece while it is sent, and its last piece is nothing.
fn a_long_answer_does_not_lose_the_request_behind_it(app: App) {
    let ann = app.sign_up("ann");
    let picture = photo::noise(1_000);
    let fields = [("content", "noise")];
    let tweet = ann.post_multipart(TWEETS, &fields, &[("files", "noise.jpg", &picture)]);
    let url = tweet.expect(201)["photo_urls"][0].as_str().unwrap().to_owned();
    let get = ann.head_of(&format!("GET {url}"), &[]);
    let last = ann.head_of("GET /api/nothing/", &["Connection: close"]);
    let answers = ann.raw_bytes((get.repeat(3) + &last).as_bytes());
    let ends = ["200", "200", "200", "404"];
    assert_eq!(statuses(&answers), ends);
    assert!(answers.len() > 3 * picture.len() / 2, "{} bytes", answers.len());
}
