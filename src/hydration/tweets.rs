//! Tweets, rendered once: a page is put together from these fragments.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::cache::{Fenced, Stamp};
use crate::store::tweets::TweetRow;
use crate::store::{Db, StoreError, tweets};
use crate::time::Timestamp;

/// Counts of a tweet as of a version; a higher version is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TweetCounts {
    /// Likes.
    pub likes: i64,
    /// Comments.
    pub comments: i64,
    /// Moves forward with every change, in the database.
    pub version: i64,
}

/// A tweet in memory. What a page needs of it lies in as few places as possible: a page of twenty
/// waits for memory more than for anything else.
#[derive(Debug)]
pub struct TweetCard {
    /// Its id.
    pub id: i64,
    /// Its author.
    pub user_id: i64,
    /// When it was posted.
    pub created_at: Timestamp,
    /// Its fragments, one after the other: see [`TweetCard::fragments`].
    text: Box<str>,
    /// Where the second and the third begin.
    cuts: [u32; 2],
    likes: AtomicI64,
    comments: AtomicI64,
    version: Mutex<i64>,
    author: Mutex<Option<SeenAuthor>>,
}

/// The author's card as a page has last seen it.
#[derive(Debug, Clone)]
pub(super) struct SeenAuthor {
    /// The object U.
    pub(super) json: Arc<str>,
    /// When it was read from the database.
    pub(super) loaded: Instant,
    /// How many changes of cards there had been before it was looked up.
    pub(super) changes: u64,
}

impl TweetCard {
    /// Renders the fragments of a stored tweet.
    pub fn new(row: &TweetRow) -> TweetCard {
        let mut text = format!("{{\"id\":{},\"user\":", row.id);
        let body = text.len();
        text.push_str(",\"created_at\":\"");
        text.push_str(&row.created_at.to_string());
        text.push_str("\",\"content\":");
        text.push_str(&json_text(&row.content));
        text.push_str(",\"comments_count\":");
        let photos = text.len();
        let urls: Vec<String> = row.photo_urls.iter().map(|url| json_text(url)).collect();
        text.push_str(&format!(",\"photo_urls\":[{}]}}", urls.join(",")));
        TweetCard {
            id: row.id,
            user_id: row.user_id,
            created_at: row.created_at,
            text: text.into(),
            // A tweet's text and its nine addresses have bounds far below 4 GiB.
            cuts: [body as u32, photos as u32],
            likes: AtomicI64::new(row.likes_count.unwrap_or(0)),
            comments: AtomicI64::new(row.comments_count.unwrap_or(0)),
            version: Mutex::new(row.counts_version),
            author: Mutex::new(None),
        }
    }

    /// `{"id":...,"user":` and `,"created_at":...,"content":...,"comments_count":` and
    /// `,"photo_urls":[...]}`.
    pub fn fragments(&self) -> (&str, &str, &str) {
        let [body, photos] = self.cuts.map(|cut| cut as usize);
        (&self.text[..body], &self.text[body..photos], &self.text[photos..])
    }

    /// The author as last seen, if `holds` of it.
    pub(super) fn author_if(&self, holds: impl FnOnce(&SeenAuthor) -> bool) -> Option<Arc<str>> {
        self.author.lock().as_ref().filter(|seen| holds(seen)).map(|seen| seen.json.clone())
    }

    /// Keeps the author for the next page.
    pub(super) fn see_author(&self, seen: SeenAuthor) {
        *self.author.lock() = Some(seen);
    }

    /// Likes now.
    pub fn likes(&self) -> i64 {
        self.likes.load(Ordering::Relaxed)
    }

    /// Comments now.
    pub fn comments(&self) -> i64 {
        self.comments.load(Ordering::Relaxed)
    }

    /// Takes newer counts; older ones, which arrive out of order, change nothing.
    fn apply(&self, counts: TweetCounts) {
        let mut version = self.version.lock();
        if counts.version > *version {
            *version = counts.version;
            self.likes.store(counts.likes, Ordering::Relaxed);
            self.comments.store(counts.comments, Ordering::Relaxed);
        }
    }
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[derive(Clone)]
enum Cached {
    Live(Arc<TweetCard>),
    /// Deleted. Kept so that a page that still names it does not ask the database.
    Gone,
}

/// The cache of tweets.
pub struct Tweets {
    db: Db,
    cards: Fenced<i64, Cached>,
}

impl Tweets {
    /// Keeps about `capacity` tweets.
    pub fn new(db: Db, capacity: usize) -> Self {
        Tweets { db, cards: Fenced::new(capacity) }
    }

    /// The live tweets among `ids`, in their order; `None` for one that is gone. What is not
    /// cached is read in one call, whatever the number.
    ///
    /// # Errors
    /// As [`Db::read`].
    pub async fn many(&self, ids: &[i64]) -> Result<Vec<Option<Arc<TweetCard>>>, StoreError> {
        let mut cards = Vec::with_capacity(ids.len());
        let mut missing = Vec::new();
        for (place, id) in ids.iter().enumerate() {
            cards.push(match self.cards.get(id) {
                Some(Cached::Live(card)) => Some(card),
                Some(Cached::Gone) => None,
                None => {
                    missing.push(place);
                    None
                }
            });
        }
        if !missing.is_empty() {
            let wanted: Vec<i64> = missing.iter().map(|place| ids[*place]).collect();
            // Boxed, as it is rare and large.
            let loaded = Box::pin(self.load(wanted)).await?;
            for place in missing {
                cards[place] = loaded.get(&ids[place]).cloned();
            }
        }
        Ok(cards)
    }

    /// To be taken before [`Tweets::many`] by who keeps something of what that gives.
    pub(super) fn stamp(&self, ids: &[i64]) -> Option<Stamp> {
        self.cards.stamp(ids)
    }

    /// Whether the tweets are as they were when `stamp` was taken.
    pub(super) fn is_current(&self, stamp: &Stamp) -> bool {
        self.cards.is_current(stamp)
    }

    /// One live tweet.
    ///
    /// # Errors
    /// As [`Db::read`].
    pub async fn one(&self, id: i64) -> Result<Option<Arc<TweetCard>>, StoreError> {
        Ok(self.many(&[id]).await?.pop().flatten())
    }

    async fn load(&self, ids: Vec<i64>) -> Result<HashMap<i64, Arc<TweetCard>>, StoreError> {
        let tickets: HashMap<i64, _> = ids.iter().map(|id| (*id, self.cards.ticket(id))).collect();
        let rows =
            self.db.read("tweets.load", move |conn| Ok(tweets::load_counted(conn, &ids)?)).await?;
        let mut loaded = HashMap::with_capacity(rows.len());
        for row in rows {
            let card = Arc::new(TweetCard::new(&row));
            if let Some(ticket) = tickets.get(&row.id) {
                self.cards.fill(*ticket, row.id, Cached::Live(card.clone()));
            }
            loaded.insert(row.id, card);
        }
        Ok(loaded)
    }

    /// Makes known what a Counter transaction has committed.
    pub fn apply_counts(&self, id: i64, counts: TweetCounts) {
        self.cards.update(&id, |cached| {
            if let Cached::Live(card) = &cached {
                card.apply(counts);
            }
            Some(cached)
        });
    }

    /// Whether the tweet was deleted lately: its entries are being removed.
    pub fn is_known_gone(&self, id: i64) -> bool {
        matches!(self.cards.get(&id), Some(Cached::Gone))
    }

    /// Makes known that a tweet has been deleted.
    pub fn bury(&self, id: i64) {
        self.cards.put(id, Cached::Gone);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.cards.clear();
    }

    /// Forgets one tweet, to be read again.
    pub fn invalidate(&self, id: i64) {
        self.cards.invalidate(&id);
    }
}
