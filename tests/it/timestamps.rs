//! Times: the one form in which they are given, and the forms that are taken.

use chrono::{DateTime, Utc};

use crate::harness::{App, json, on_every_setup, shape, text};

on_every_setup! {
    times_are_in_utc_with_six_digits,
    every_usual_form_of_a_time_is_taken,
    anything_else_is_refused_by_name,
    a_fraction_may_be_short,
}

const FEED: &str = "/api/newsfeeds/";

fn times_are_in_utc_with_six_digits(app: App) {
    let ann = app.sign_up("ann");
    let before = Utc::now();
    let tweet = ann.tweet("what time is it?");
    let created_at = text(&tweet["created_at"]);
    assert!(shape::is_timestamp(&created_at), "{created_at}");
    let created_at: DateTime<Utc> = created_at.parse().unwrap();
    // The client and the server of this test look at the same clock.
    let slack = chrono::Duration::seconds(1);
    assert!(before - slack <= created_at && created_at <= Utc::now() + slack, "{created_at}");
    // Later posts have later times, however fast they come.
    ann.tweets(10);
    let times: Vec<String> = ann.feed().iter().map(|entry| text(&entry["created_at"])).collect();
    assert!(times.is_sorted_by(|newer, older| newer > older), "{times:?}");
}

fn every_usual_form_of_a_time_is_taken(app: App) {
    let ann = app.sign_up("ann");
    ann.tweets(3);
    let entries = ann.feed();
    let middle: DateTime<Utc> = text(&entries[1]["created_at"]).parse().unwrap();
    let east = middle.with_timezone(&chrono::FixedOffset::east_opt(5 * 3600 + 1800).unwrap());
    let west = middle.with_timezone(&chrono::FixedOffset::west_opt(8 * 3600).unwrap());
    let forms = [
        middle.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
        middle.format("%Y-%m-%d %H:%M:%S%.6fZ").to_string(),
        middle.format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string(),
        middle.format("%Y-%m-%d %H:%M:%S%.6f+00:00").to_string(),
        east.format("%Y-%m-%dT%H:%M:%S%.6f+05:30").to_string(),
        west.format("%Y-%m-%dT%H:%M:%S%.6f-08:00").to_string(),
    ];
    for form in forms {
        // `+` means a blank in a query, so it needs its percent form, as blanks do.
        let sent = form.replace('+', "%2B").replace(' ', "%20");
        let older = ann.get(&format!("{FEED}?created_at__lt={sent}")).expect(200);
        assert_eq!(older["results"], json!([entries[2]]), "older than {form}");
        let newer = ann.get(&format!("{FEED}?created_at__gt={sent}")).expect(200);
        assert_eq!(newer["results"], json!([entries[0]]), "newer than {form}");
    }
    let encoded = text(&entries[1]["created_at"]).replace(':', "%3A");
    let older = ann.get(&format!("{FEED}?created_at__lt={encoded}")).expect(200);
    assert_eq!(older["results"], json!([entries[2]]), "colons may be encoded");
}

fn anything_else_is_refused_by_name(app: App) {
    let ann = app.sign_up("ann");
    let tweets = format!("/api/tweets/?user_id={}&", ann.id);
    let long = "9".repeat(10_000);
    let bad = [
        "",
        "x",
        "now",
        "0",
        "1700000000",
        "-1",
        "NaN",
        "infinity",
        "-infinity",
        "2026-01-01",
        "2026-01-01T00:00Zz",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00+00:00",
        "2026-01-01T00:00:00.1234567Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T24:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-06-30T23:59:60Z",
        "2026-01-01T00:00:00%2B25:00",
        "2026-01-01T00:00:00%2B:5:::",
        "2026-01-01T00:00:00%2B::::",
        "2026-01-01T00:00:00%2B%C3%A9%C3%A9",
        "2026-01-01T00:00:00Z%00",
        "%202026-01-01T00:00:00Z",
        "9999-99-99",
        "9999-99-99T00:00:00Z",
        "%2B99999-01-01",
        "%2B99999-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
        "20260101T000000Z",
        "%D9%A2026-01-01T00:00:00Z",
        "'%20OR%201=1--",
        &long,
    ];
    for cursor in ["created_at__lt", "created_at__gt"] {
        for list in [&format!("{FEED}?"), &tweets] {
            for time in bad {
                let body = ann.get(&format!("{list}{cursor}={time}")).blames(&[cursor]);
                assert_eq!(body["message"], "Please check input.", "{time}");
            }
        }
    }
    let both = format!("{FEED}?created_at__lt=x&created_at__gt=y");
    ann.get(&both).blames(&["created_at__lt", "created_at__gt"]);
}

fn a_fraction_may_be_short(app: App) {
    let ann = app.sign_up("ann");
    ann.tweet("now");
    for time in ["2000-01-01T00:00:00Z", "2000-01-01T00:00:00.5Z", "2000-01-01T00:00:00.123Z"] {
        let newer = ann.get(&format!("{FEED}?created_at__gt={time}")).expect(200);
        assert_eq!(newer["results"].as_array().unwrap().len(), 1, "newer than {time}");
        let older = ann.get(&format!("{FEED}?created_at__lt={time}")).expect(200);
        assert_eq!(older["results"], json!([]), "older than {time}");
    }
}
