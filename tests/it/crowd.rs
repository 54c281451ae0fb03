//! Eight writers post to audiences that overlap while eight readers page down and poll: every
//! reader sees every entry exactly once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::harness::{App, Client, Setup, Value, effort, ids, json, on_every_setup, text};

on_every_setup! {
    every_reader_sees_every_entry_exactly_once,
}

const CROWD: usize = 8;
/// Tweets of each writer in a round.
const POSTS: usize = 12;
const FEED: &str = "/api/newsfeeds/?";

/// One client of a reader: began some time, pages down to the end, and polls from then on.
struct Session {
    /// Tweets in the order in which they were shown.
    seen: Vec<i64>,
    /// The time of the newest entry that was shown.
    newest: Option<String>,
}

impl Session {
    fn begin(reader: &Client, size: usize) -> Session {
        let items = reader.walk(&format!("{FEED}page_size={size}"));
        let newest = items.first().map(|item| text(&item["created_at"]));
        Session { seen: tweets(&items), newest }
    }

    /// What is newer than all that was seen; the rest of a long answer with both cursors.
    fn poll(&mut self, reader: &Client) {
        let since = match &self.newest {
            Some(newest) => format!("created_at__gt={newest}"),
            None => "created_at__gt=0001-01-01T00:00:00Z".to_owned(),
        };
        let mut page = reader.get(&format!("{FEED}{since}")).expect(200);
        let first = page["results"].get(0).map(|item| text(&item["created_at"]));
        loop {
            let items = page["results"].as_array().expect("results").clone();
            self.seen.extend(tweets(&items));
            if page["has_next_page"] == false {
                break;
            }
            let last = text(&items.last().expect("a full page")["created_at"]);
            page = reader.get(&format!("{FEED}{since}&created_at__lt={last}")).expect(200);
        }
        self.newest = first.or(self.newest.take());
    }
}

fn tweets(items: &[Value]) -> Vec<i64> {
    ids(&Value::Array(items.to_vec()), "tweet.id")
}

fn every_reader_sees_every_entry_exactly_once(setup: Setup) {
    // A short list, so that walks and polls cross its end; room for three timelines.
    let builder = App::on(setup).env("ROOST_LIST_LIMIT", "20").env("ROOST_LIST_TTL_S", "1");
    let app = builder.env("ROOST_RESIDENT_ENTRIES", "348").start();
    let mut dice = StdRng::seed_from_u64(effort::seed("a crowd that writes and reads"));
    let crowd = |kind: &str| -> Vec<Client> {
        (0..CROWD).map(|n| app.sign_up(&format!("{kind}{n}"))).collect()
    };
    let (writers, readers) = (crowd("writer"), crowd("reader"));
    for (place, reader) in readers.iter().enumerate() {
        for (other, writer) in writers.iter().enumerate() {
            // Each reads half of them at least, and no two the same.
            if (place + other) % 2 == 0 || dice.random_bool(0.5) {
                reader.follow(writer);
            }
        }
    }
    let posts = POSTS * effort::rounds(1);
    let writing = AtomicUsize::new(CROWD);
    thread::scope(|scope| {
        for writer in &writers {
            let writing = &writing;
            scope.spawn(move || {
                for n in 0..posts {
                    writer.tweet(&format!("number {n}"));
                }
                writing.fetch_sub(1, Ordering::SeqCst);
            });
        }
        for reader in &readers {
            let (app, writing) = (&app, &writing);
            let dice = StdRng::seed_from_u64(dice.next_u64());
            scope.spawn(move || read(app, reader, writing, dice));
        }
    });
    assert_eq!(app.sql("SELECT count(*) AS n FROM tweets"), (CROWD * posts) as i64);
}

/// Reads until the writers are done, and then once more.
fn read(app: &App, reader: &Client, writing: &AtomicUsize, mut dice: StdRng) {
    let mut redis = app.redis();
    let mut sessions: Vec<Session> = Vec::new();
    loop {
        // Asked before the reads: all that was posted by then is in them.
        let is_last = writing.load(Ordering::SeqCst) == 0;
        if is_last {
            app.quiesce();
        }
        if sessions.len() < 5 {
            sessions.push(Session::begin(reader, dice.random_range(1..=25)));
        }
        sessions.iter_mut().for_each(|session| session.poll(reader));
        if is_last {
            break;
        }
        if let Some(redis) = &mut redis {
            let key = format!("user_newsfeeds:{}", reader.id);
            redis::cmd("DEL").arg(key).exec(redis).expect("DEL");
        }
    }
    let mut truth = app.sql_list(&format!(
        "SELECT tweet_id AS n FROM newsfeeds WHERE user_id = {} ORDER BY tweet_id",
        reader.id
    ));
    truth.sort_unstable();
    for session in sessions {
        let mut seen = session.seen;
        seen.sort_unstable();
        assert_eq!(
            json!(seen),
            json!(truth),
            "{} saw something twice or not at all",
            reader.username
        );
    }
}
