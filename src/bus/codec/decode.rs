//! Parts understood.

use super::VERSION;
use crate::bus::news::{Call, News};
use crate::counter::{LikeKey, LikeKind};
use crate::fanout::{Delivered, Removed};
use crate::store::counts::TweetCounts;
use crate::time::Timestamp;
use crate::timeline::{Entry, TimelineKey};

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

/// Understands a part.
///
/// # Errors
/// When anything in it is not exactly as [`encode`](super::encode()) writes it.
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
