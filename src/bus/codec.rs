//! The form of news on the wire: compact text, in parts that fit a notification.
//!
//! A part is a header and records, separated by semicolons; fields by commas. Numbers are
//! decimal; a list of ids is ascending, each after the first as the distance to the one before.
//! Each part can be understood alone, and parts are applied in their order.
//!
//! ```text
//! roost1 NODE NUMBER m|e      m: more parts follow, e: the last one
//! h|a USER,AT,TWEET           an entry new in the feed or list of a user
//! d   AT,TWEET,READERS        an entry new in many feeds
//! H|A TWEET,USERS             a tweet gone from feeds or lists
//! c|C USERS                   feeds or lists changed in their past
//! x   TWEETS                  tweets that are gone
//! f   READER,AUTHOR           a friendship that began or ended
//! t   TWEET,LIKES,COMMENTS,VERSION
//! l   KIND,USER,TWEET         a like in doubt
//! u   TWEETS                  counts in doubt
//! U                           counts of unknown tweets in doubt
//! p   USERS                   cards changed
//! s   HASH                    a session ended (hexadecimal)
//! b   NAME                    credentials changed
//! e   EPOCH
//! n|N                         hello, with a Redis that follows or without
//! o   NODE                    the answer to its hello
//! D                           distrust everything
//! ```

use std::fmt::Write;

use super::news::{Call, News};
use crate::counter::{LikeKey, LikeKind};
use crate::fanout::{Delivered, Removed};
use crate::store::counts::TweetCounts;
use crate::time::Timestamp;
use crate::timeline::{Entry, TimelineKey};

/// Postgres takes fewer than 8,000 bytes; the header is below 60.
const PART_BYTES: usize = 7_800;

/// A list of ids goes on in another record after so many bytes.
const LIST_BYTES: usize = 2_000;

/// Parts of one transaction; with more there is nothing worth keeping.
const MOST_PARTS: usize = 64;

/// The version of this form.
const VERSION: &str = "roost1";

/// One part as it was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Who says it.
    pub node: i64,
    /// Which of the node's transactions.
    pub number: u64,
    /// Whether this is the last part of it.
    pub is_last: bool,
    /// What it says.
    pub news: News,
}

/// Why a part cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    /// Another version of Roost, or something else altogether, speaks.
    #[error("not a header of this version")]
    Header,
    /// A record of no known form.
    #[error("a record of no known form")]
    Record,
}

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

/// Understands a part.
///
/// # Errors
/// When anything in it is not exactly as [`encode`] writes it.
pub fn decode(text: &str) -> Result<Heard, Garbled> {
    let mut pieces = text.split(';');
    let header: Vec<&str> = pieces.next().unwrap_or_default().split(' ').collect();
    let [VERSION, node, number, place] = header[..] else { return Err(Garbled::Header) };
    let is_last = match place {
        "e" => true,
        "m" => false,
        _ => return Err(Garbled::Header),
    };
    let node = parse(node).ok_or(Garbled::Header)?;
    let number = parse(number).and_then(|n| u64::try_from(n).ok()).ok_or(Garbled::Header)?;
    let mut news = News::default();
    for piece in pieces {
        record(piece, &mut news).ok_or(Garbled::Record)?;
    }
    Ok(Heard { node, number, is_last, news })
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

/// A number in its one spelling.
fn parse(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    let plain = !text.starts_with('+') && (text == "0" || !text.starts_with('0')) && text != "-0";
    (plain && !text.starts_with("-0")).then_some(number)
}

/// Takes one record over into `news`.
fn record(text: &str, news: &mut News) -> Option<()> {
    let kind = text.chars().next()?;
    let rest = &text[kind.len_utf8()..];
    match kind {
        's' => news.sessions.push(hash(rest)?),
        'b' => news.credentials.push(name(rest)?),
        'n' | 'N' if rest.is_empty() => news.call = Some(Call::Hello { follows: kind == 'n' }),
        'D' if rest.is_empty() => news.everything = true,
        'U' if rest.is_empty() => news.changes.uncertain.any_tweet = true,
        _ => {
            let numbers: Vec<i64> = rest.split(',').map(parse).collect::<Option<_>>()?;
            numbered(kind, &numbers, news)?;
        }
    }
    Some(())
}

fn numbered(kind: char, numbers: &[i64], news: &mut News) -> Option<()> {
    let (effects, changes) = (&mut news.effects, &mut news.changes);
    match (kind, numbers) {
        ('h', [user, at, tweet]) => {
            effects.pushes.push((TimelineKey::Home(*user), entry(at, tweet)))
        }
        ('a', [user, at, tweet]) => {
            effects.pushes.push((TimelineKey::Author(*user), entry(at, tweet)));
        }
        ('d', [at, tweet, readers @ ..]) => {
            let delivered = Delivered { entry: entry(at, tweet), readers: ids(readers)? };
            effects.deliveries.push(delivered);
        }
        ('H', [tweet, users @ ..]) => {
            effects.removals.push(removed(*tweet, users, TimelineKey::Home)?)
        }
        ('A', [tweet, users @ ..]) => {
            effects.removals.push(removed(*tweet, users, TimelineKey::Author)?);
        }
        ('c', users) => effects.changed.extend(ids(users)?.into_iter().map(TimelineKey::Home)),
        ('C', users) => effects.changed.extend(ids(users)?.into_iter().map(TimelineKey::Author)),
        ('x', tweets) => effects.dead_tweets.extend(ids(tweets)?),
        ('f', [reader, author]) => effects.friendships.push((*reader, *author)),
        ('t', [id, likes, comments, version]) => {
            let (id, likes, comments, version) = (*id, *likes, *comments, *version);
            changes.tweets.push(TweetCounts { id, likes, comments, version });
        }
        ('l', [kind, user_id, object_id]) => {
            let kind = [LikeKind::Tweet, LikeKind::Comment]
                .into_iter()
                .find(|known| i64::from(known.code()) == *kind)?;
            let key = LikeKey { user_id: *user_id, kind, object_id: *object_id };
            changes.uncertain.likes.push(key);
        }
        ('u', tweets) => changes.uncertain.tweets.extend(ids(tweets)?),
        ('p', users) => news.users.extend(ids(users)?),
        ('e', [epoch]) => news.epoch = Some(*epoch),
        ('o', [node]) => news.call = Some(Call::Settled { node: *node }),
        _ => return None,
    }
    Some(())
}

fn entry(at: &i64, tweet: &i64) -> Entry {
    Entry { created_at: Timestamp(*at), tweet_id: *tweet }
}

fn removed(tweet_id: i64, users: &[i64], key: impl Fn(i64) -> TimelineKey) -> Option<Removed> {
    Some(Removed { tweet_id, keys: ids(users)?.into_iter().map(key).collect() })
}

/// At least one id, ascending.
fn ids(distances: &[i64]) -> Option<Vec<i64>> {
    let (first, rest) = distances.split_first()?;
    let mut ids = vec![*first];
    let mut last = *first;
    for distance in rest {
        last = last.checked_add(*distance).filter(|next| *next > last)?;
        ids.push(last);
    }
    Some(ids)
}

fn hash(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return None;
    }
    for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(hash)
}

fn name(text: &str) -> Option<String> {
    crate::accounts::rules::is_username(text).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
