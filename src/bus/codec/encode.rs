//! News put into parts.

use std::fmt::Write;

use super::VERSION;
use crate::bus::news::{Call, News};
use crate::fanout::{Delivered, Removed};
use crate::timeline::TimelineKey;

/// Postgres takes fewer than 8,000 bytes; the header is below 60.
const PART_BYTES: usize = 7_800;

/// A list of ids goes on in another record after so many bytes.
const LIST_BYTES: usize = 2_000;

/// Parts of one transaction; with more there is nothing worth keeping.
pub(super) const MOST_PARTS: usize = 64;

/// Puts news into parts.
pub fn encode(node: i64, number: u64, news: &News) -> Vec<String> {
    let mut bodies = bodies(news);
    if bodies.len() > MOST_PARTS {
        bodies = self::bodies(&News::of_everything());
    }
    let last = bodies.len().saturating_sub(1);
    let header = |(at, body): (usize, String)| {
        let place = if at == last { 'e' } else { 'm' };
        format!("{VERSION} {node} {number} {place}{body}")
    };
    bodies.into_iter().enumerate().map(header).collect()
}

fn bodies(news: &News) -> Vec<String> {
    let mut out = Parts::default();
    let effects = &news.effects;
    for (key, entry) in &effects.pushes {
        let (kind, user) = named(*key, ["h", "a"]);
        out.fields(kind, &[user, entry.created_at.micros(), entry.tweet_id]);
    }
    for Delivered { entry, readers } in &effects.deliveries {
        out.list("d", &[entry.created_at.micros(), entry.tweet_id], readers);
    }
    for Removed { tweet_id, keys } in &effects.removals {
        out.keys(["H", "A"], &[*tweet_id], keys);
    }
    out.keys(["c", "C"], &[], &effects.changed);
    out.list("x", &[], &effects.dead_tweets);
    for (reader, author) in &effects.friendships {
        out.fields("f", &[*reader, *author]);
    }
    for counts in &news.changes.tweets {
        out.fields("t", &[counts.id, counts.likes, counts.comments, counts.version]);
    }
    for key in &news.changes.uncertain.likes {
        out.fields("l", &[i64::from(key.kind.code()), key.user_id, key.object_id]);
    }
    out.list("u", &[], &news.changes.uncertain.tweets);
    out.flag("U", news.changes.uncertain.any_tweet);
    out.list("p", &[], &news.users);
    for hash in &news.sessions {
        let mut text = String::from("s");
        for byte in hash {
            let _ = write!(text, "{byte:02x}");
        }
        out.record(&text);
    }
    for name in &news.credentials {
        out.record(&format!("b{name}"));
    }
    if let Some(epoch) = news.epoch {
        out.fields("e", &[epoch]);
    }
    match news.call {
        None => {}
        Some(Call::Hello { follows }) => out.record(if follows { "n" } else { "N" }),
        Some(Call::Settled { node }) => out.fields("o", &[node]),
    }
    out.flag("D", news.everything);
    out.finish()
}

fn named<T>(key: TimelineKey, [home, author]: [T; 2]) -> (T, i64) {
    match key {
        TimelineKey::Home(user) => (home, user),
        TimelineKey::Author(user) => (author, user),
    }
}

/// Bodies under construction.
#[derive(Default)]
struct Parts {
    done: Vec<String>,
    open: String,
}

impl Parts {
    fn record(&mut self, text: &str) {
        if self.open.len() + text.len() >= PART_BYTES {
            self.done.push(std::mem::take(&mut self.open));
        }
        self.open.push(';');
        self.open.push_str(text);
    }

    fn flag(&mut self, kind: &str, is_set: bool) {
        if is_set {
            self.record(kind);
        }
    }

    fn fields(&mut self, kind: &str, fields: &[i64]) {
        self.record(&start(kind, fields));
    }

    /// A list of ids after `fields`, in as many records as it takes.
    fn list(&mut self, kind: &str, fields: &[i64], ids: &[i64]) {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let mut text = start(kind, fields);
        let (empty, mut before) = (text.len(), None);
        for id in ids {
            if text.len() > LIST_BYTES {
                self.record(&text);
                text.truncate(empty);
                before = None;
            }
            if text.len() > kind.len() {
                text.push(',');
            }
            let _ = write!(text, "{}", before.map_or(id, |before| id - before));
            before = Some(id);
        }
        if text.len() > empty {
            self.record(&text);
        }
    }

    fn keys(&mut self, kinds: [&str; 2], fields: &[i64], keys: &[TimelineKey]) {
        let mut users: [Vec<i64>; 2] = Default::default();
        for key in keys {
            let (kind, user) = named(*key, [0, 1]);
            users[kind].push(user);
        }
        for (kind, users) in kinds.iter().zip(&users) {
            self.list(kind, fields, users);
        }
    }

    fn finish(mut self) -> Vec<String> {
        if !self.open.is_empty() {
            self.done.push(self.open);
        }
        self.done
    }
}

fn start(kind: &str, fields: &[i64]) -> String {
    let mut text = kind.to_owned();
    for (at, field) in fields.iter().enumerate() {
        let _ = write!(text, "{}{field}", if at == 0 { "" } else { "," });
    }
    text
}
