//! First pages as bytes, shown again as long as nothing on them has changed.
//!
//! Nobody tells a kept page that it is void: a tweet stands on the pages of thousands. Instead a
//! page remembers the state of everything that it was made of, and is held against it each time:
//! the revision of the timeline, and of the caches how often its tweets, its viewer's likes and
//! the cards of users have been written to. That is some twenty numbers which lie close together,
//! where putting the page together again reads twenty tweets from all over memory.
//!
//! A page is kept when it is put together for the second time in the same state of its timeline:
//! most pages are looked at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{Counter, counter};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::pages::{Page, Shape};
use crate::cache::{Stamp, Ticket};
use crate::timeline::{Revision, TimelineKey};

/// What was changed by hand in the database shows after the age of the caches, and so much.
const LONGEST: Duration = Duration::from_secs(10);

/// What a kept page takes besides its body: its key, its marks, and its place in the cache.
const OVERHEAD: u64 = 600;

/// Of a page of twenty items; only a hint for the cache's first allocation.
const USUAL_BYTES: u64 = 8 * 1024;

/// What page is asked for: the first one of a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) key: TimelineKey,
    pub(super) viewer: Option<i64>,
    pub(super) size: usize,
    pub(super) shape: Shape,
}

/// The state of everything that a page was made of, taken before it was made.
#[derive(Debug)]
pub(super) struct Marks {
    pub(super) timeline: Revision,
    pub(super) tweets: Stamp,
    /// Changes of cards of any user, which are rare.
    pub(super) users: u64,
    /// Of a viewer.
    pub(super) likes: Option<Ticket>,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Asked, Arc<Page>> for Bytes {
    fn weight(&self, _: &Asked, page: &Arc<Page>) -> u64 {
        page.body.len() as u64 + OVERHEAD
    }
}

/// The pages that are kept.
pub struct KeptPages {
    /// `None`: none are.
    pages: Option<Cache<Asked, Arc<Page>, Bytes>>,
    /// How often one was shown, looked up once.
    shown: Counter,
}

impl KeptPages {
    /// Keeps pages of `bytes` in all; the least used ones go first.
    pub fn new(bytes: u64) -> Self {
        let estimate = (bytes / USUAL_BYTES) as usize;
        let pages = (bytes > 0).then(|| Cache::with_weighter(estimate.max(1), bytes, Bytes));
        KeptPages { pages, shown: counter!("roost_kept_pages_total") }
    }

    /// A page that is young enough; whether it holds is for the caller to see from its marks.
    pub(super) fn get(&self, asked: &Asked, now: Instant) -> Option<Arc<Page>> {
        let is_young = |page: &Arc<Page>| {
            let age = page.marks.as_ref().map(|(begun, _)| now.saturating_duration_since(*begun));
            age.is_some_and(|age| age < LONGEST)
        };
        self.pages.as_ref()?.get(asked).filter(is_young)
    }

    /// Counts a page that is shown again.
    pub(super) fn count(&self) {
        self.shown.increment(1);
    }

    /// Memory that the kept pages take.
    pub fn bytes(&self) -> u64 {
        self.pages.as_ref().map_or(0, |pages| pages.weight())
    }

    /// Keeps a page that has its marks.
    pub(super) fn put(&self, asked: Asked, page: Arc<Page>) {
        if let Some(pages) = &self.pages {
            pages.insert(asked, page);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;
    use crate::cache::Fenced;
    use crate::time::Timestamp;

    const ASKED: Asked =
        Asked { key: TimelineKey::Home(1), viewer: Some(1), size: 20, shape: Shape::Entries };

    fn put(pages: &KeptPages, asked: Asked, bytes: usize, made: Instant) {
        let (body, last) = (vec![b' '; bytes].into(), Some(Timestamp(1)));
        let (orphans, tag, link) = (Vec::new(), OnceLock::new(), OnceLock::new());
        let tweets = Fenced::<i64, ()>::new(1).stamp(&[]).unwrap();
        let marks = Marks { timeline: Revision::default(), tweets, users: 0, likes: None };
        let marks = Some((made, marks));
        let page = Page { body, has_next: false, last, orphans, tag, link, marks };
        pages.put(asked, Arc::new(page));
    }

    #[test]
    fn a_page_is_kept_for_a_while() {
        let (pages, now) = (KeptPages::new(1 << 20), Instant::now());
        put(&pages, ASKED, 8_000, now);
        assert!(pages.get(&ASKED, now).is_some());
        assert!(pages.get(&Asked { size: 10, ..ASKED }, now).is_none());
        assert!(pages.get(&Asked { viewer: None, ..ASKED }, now).is_none());
        assert!(pages.get(&ASKED, now + LONGEST).is_none(), "too old");
    }

    #[test]
    fn pages_take_no_more_memory_than_they_may() {
        let (all, bytes, now) = (1 << 20, 8_000, Instant::now());
        let pages = KeptPages::new(all);
        for user in 1..2_000 {
            put(&pages, Asked { viewer: Some(user), ..ASKED }, bytes, now);
        }
        let kept = pages.pages.as_ref().unwrap();
        assert!(pages.bytes() <= all, "{}", pages.bytes());
        assert!(kept.len() * 2 > all as usize / (bytes + OVERHEAD as usize), "{}", kept.len());

        let none = KeptPages::new(0);
        put(&none, ASKED, bytes, now);
        assert!(none.get(&ASKED, now).is_none());
        assert_eq!(none.bytes(), 0);
    }
}
