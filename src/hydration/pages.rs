//! A page of a timeline as bytes: entries, tweets, authors, counts and liked flags put together.

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use actix_web::http::header::HeaderValue;
use bytes::Bytes;

use super::kept::{Asked, KeptPages, Marks};
use super::liked::LikedFlags;
use super::tweets::{TweetCard, Tweets};
use super::users::Users;
use crate::cache::Stamp;
use crate::store::StoreError;
use crate::store::likes::LikeKind;
use crate::time::Timestamp;
use crate::timeline::{Entry, Range, Revision, TimelineError, TimelineKey, Timelines};

/// Reads that one page may need when entries name tweets that are gone. Each reads twice as
/// many entries as the one before, up to [`LARGEST_READ`]: 14,000 in all.
const MOST_READS: usize = 20;

/// Entries of one read, unless the page itself is larger.
const LARGEST_READ: usize = 1_000;

/// Entries that one page has removed: the writer takes them in one transaction.
const MOST_ORPHANS: usize = 1_000;

/// Bytes of a rendered item, for the first allocation of a body.
const ITEM_BYTES: usize = 512;

/// What the items of a page look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// `{"id","created_at","tweet":T}`, as in a newsfeed.
    Entries,
    /// `T`, as in an author's list.
    Tweets,
}

/// Why a page could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The timeline.
    #[error(transparent)]
    Timeline(#[from] TimelineError),
    /// What its entries stand for.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A page, rendered.
#[derive(Debug)]
pub struct Page {
    /// The JSON body.
    pub body: Bytes,
    /// Whether an older entry exists in the range that was asked for.
    pub has_next: bool,
    /// The time of the last entry, the next page's cursor.
    pub last: Option<Timestamp>,
    /// Entries whose tweets are gone for good and that nothing is about to remove.
    pub orphans: Vec<Timestamp>,
    /// Its entity tag as a header, made by the first who needs it.
    pub tag: OnceLock<HeaderValue>,
    /// The link to the next page, if it can be put into a header, and the path and query that it
    /// was made for.
    pub link: OnceLock<(String, Option<HeaderValue>)>,
    /// When it was begun, and the state of what it was made of if it may be kept.
    pub(super) marks: Option<(Instant, Marks)>,
}

/// The empty page.
impl Default for Page {
    fn default() -> Page {
        Page {
            body: Bytes::from_static(b"{\"has_next_page\":false,\"results\":[]}"),
            has_next: false,
            last: None,
            orphans: Vec::new(),
            tag: OnceLock::new(),
            link: OnceLock::new(),
            marks: None,
        }
    }
}

/// Puts pages together from the caches.
pub struct Hydrator {
    /// Timelines of this node.
    pub timelines: Timelines,
    /// Tweets in memory.
    pub tweets: Arc<Tweets>,
    /// Users in memory.
    pub users: Arc<Users>,
    /// Who likes what, in memory.
    pub liked: Arc<LikedFlags>,
    /// First pages that are kept.
    pub kept: KeptPages,
}

/// The living part of a timeline's page.
struct Items {
    living: Vec<(Entry, Arc<TweetCard>)>,
    has_next: bool,
    orphans: Vec<Timestamp>,
    /// The states of timeline and tweets, when the page may be kept.
    states: Option<(Revision, Stamp)>,
}

impl Hydrator {
    /// At most `size` items of `range`, newest first, as `viewer` sees them.
    ///
    /// # Errors
    /// When the timeline, or what its entries stand for, must be read from the database and
    /// cannot.
    pub async fn page(
        &self,
        key: TimelineKey,
        viewer: Option<i64>,
        range: Range,
        size: usize,
        shape: Shape,
    ) -> Result<Arc<Page>, PageError> {
        let (asked, now) = (Asked { key, viewer, size, shape }, Instant::now());
        if range == Range::ALL
            && let Some(page) = self.kept(&asked, now)
        {
            return Ok(page);
        }
        let users = self.users.changes();
        let likes = viewer.map(|viewer| self.liked.ticket(viewer, LikeKind::Tweet));
        let Items { living, has_next, orphans, states } = self.living(key, range, size).await?;
        if living.is_empty() && !has_next {
            // What most polls find.
            return Ok(Arc::new(Page { orphans, ..Page::default() }));
        }
        let cards: Vec<&TweetCard> = living.iter().map(|(_, card)| card.as_ref()).collect();
        let around = self.surroundings(&cards, viewer).await?;
        let mut body = Vec::with_capacity(64 + living.len() * ITEM_BYTES);
        body.extend_from_slice(b"{\"has_next_page\":");
        body.extend_from_slice(if has_next { b"true" } else { b"false" });
        body.extend_from_slice(b",\"results\":[");
        for (place, (entry, card)) in living.iter().enumerate() {
            if place > 0 {
                body.push(b',');
            }
            match shape {
                Shape::Entries => around.write_entry(&mut body, *entry, card, place),
                Shape::Tweets => around.write_tweet(&mut body, card, place),
            }
        }
        body.extend_from_slice(b"]}");
        let last = living.last().map(|(entry, _)| entry.created_at);
        if states.is_some() {
            body.shrink_to_fit();
        }
        let marks =
            states.map(|(timeline, tweets)| (now, Marks { timeline, tweets, users, likes }));
        let (body, tag, link) = (body.into(), OnceLock::new(), OnceLock::new());
        let page = Arc::new(Page { body, has_next, last, orphans, tag, link, marks });
        if page.marks.is_some() {
            self.kept.put(asked, page.clone());
        }
        Ok(page)
    }

    /// A first page that was put together before, if it would be the same now. Each part is
    /// looked at after the request has come in, so the page is one that could have been put
    /// together then: whoever has been told of a change before gets it with that change.
    fn kept(&self, asked: &Asked, now: Instant) -> Option<Arc<Page>> {
        let page = self.kept.get(asked, now)?;
        let (_, Marks { timeline, tweets, users, likes }) = page.marks.as_ref()?;
        let ticket = asked.viewer.map(|viewer| self.liked.ticket(viewer, LikeKind::Tweet));
        let holds = *users == self.users.changes()
            && *likes == ticket
            && self.tweets.is_current(tweets)
            && self.timelines.is_still_at(asked.key, *timeline, now);
        if !holds {
            return None;
        }
        self.kept.count();
        Some(page)
    }

    /// Single feed entries as items of a page, in their order; `None` for one whose tweet is
    /// gone.
    ///
    /// # Errors
    /// As [`Hydrator::page`].
    pub async fn entries(
        &self,
        entries: &[Entry],
        viewer: i64,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let ids: Vec<i64> = entries.iter().map(|entry| entry.tweet_id).collect();
        let cards = self.tweets.many(&ids).await?;
        let living: Vec<&TweetCard> = cards.iter().flatten().map(Arc::as_ref).collect();
        let around = self.surroundings(&living, Some(viewer)).await?;
        let mut places = 0..living.len();
        let render = |(entry, card): (&Entry, &Option<Arc<TweetCard>>)| {
            let (card, place) = (card.as_ref()?, places.next()?);
            let mut item = Vec::with_capacity(ITEM_BYTES);
            around.write_entry(&mut item, *entry, card, place);
            Some(item)
        };
        Ok(entries.iter().zip(&cards).map(render).collect())
    }

    /// One tweet as `viewer` sees it (T); `None` if it is gone.
    ///
    /// # Errors
    /// As [`Hydrator::page`].
    pub async fn tweet(&self, id: i64, viewer: Option<i64>) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(card) = self.tweets.one(id).await? else { return Ok(None) };
        let around = self.surroundings(&[&card], viewer).await?;
        let mut body = Vec::with_capacity(ITEM_BYTES);
        around.write_tweet(&mut body, &card, 0);
        Ok(Some(body))
    }

    /// Whether `viewer` likes the tweet.
    ///
    /// # Errors
    /// As [`Hydrator::page`].
    pub async fn likes(&self, viewer: Option<i64>, tweet_id: i64) -> Result<bool, StoreError> {
        match viewer {
            Some(viewer) => {
                Ok(self.liked.liked(viewer, LikeKind::Tweet, &[tweet_id]).await?.contains(&true))
            }
            None => Ok(false),
        }
    }

    /// Reads on until the page is full of living tweets or the range has no more: an entry
    /// whose tweet is gone never shortens a page.
    async fn living(
        &self,
        key: TimelineKey,
        range: Range,
        size: usize,
    ) -> Result<Items, PageError> {
        let (living, orphans) = (Vec::new(), Vec::new());
        let mut items = Items { living, has_next: false, orphans, states: None };
        let mut rest = range;
        let mut least = 1;
        for _ in 0..MOST_READS {
            // One more than is shown tells whether there is a next page.
            let wanted = (size + 1 - items.living.len()).max(least);
            least = (wanted * 2).min(LARGEST_READ);
            let slice = self.timelines.page(key, rest, wanted).await?;
            let read = slice.entries.len();
            let ids: Vec<i64> = slice.entries.iter().map(|entry| entry.tweet_id).collect();
            // Told of the first page only. Before the tweets are looked up.
            let stamped = |revision| Some((revision, self.tweets.stamp(&ids)?));
            let states = slice.again.and_then(stamped);
            let cards = self.tweets.many(&ids).await?;
            if let Some(last) = slice.entries.last() {
                rest = rest.below(last.created_at);
            }
            items.living.reserve(read);
            for (entry, card) in slice.entries.into_iter().zip(cards) {
                match card {
                    Some(card) => items.living.push((entry, card)),
                    None if self.tweets.is_known_gone(entry.tweet_id) => {}
                    // The rest goes with a later page.
                    None if items.orphans.len() >= MOST_ORPHANS => {}
                    None => items.orphans.push(entry.created_at),
                }
            }
            // A page over entries whose tweets are gone changes when they are removed.
            items.states = states.filter(|_| items.living.len() == read);
            if read < wanted || items.living.len() > size {
                items.has_next = items.living.len() > size;
                items.living.truncate(size);
                return Ok(items);
            }
        }
        items.has_next = true;
        Ok(items)
    }
}
