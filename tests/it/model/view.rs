//! What one reader has been shown, and what that promises about every later page.

use std::collections::{BTreeMap, BTreeSet};

use super::world::Fate;

/// An entry of a feed as a page shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its time in microseconds, which is its id.
    pub at: i64,
    pub tweet: i64,
    pub author: i64,
}

/// A page, and what was asked for.
#[derive(Clone, Debug)]
pub struct Page {
    /// Strictly older than this.
    pub older: Option<i64>,
    /// Strictly newer than this.
    pub newer: Option<i64>,
    pub size: usize,
    pub entries: Vec<Shown>,
    pub has_next: bool,
}

impl Page {
    /// The oldest moment that the page tells everything from.
    fn from(&self) -> i64 {
        match self.entries.last() {
            Some(last) if self.has_next => last.at,
            _ => self.newer.map_or(i64::MIN, |newer| newer + 1),
        }
    }

    /// Whether the page must show what is visible at `at`.
    pub fn covers(&self, at: i64) -> bool {
        at >= self.from() && self.older.is_none_or(|older| at < older)
    }

    /// Its shape, whatever else is true.
    pub fn check(&self) -> Result<(), String> {
        let entries = &self.entries;
        let tweets: BTreeSet<i64> = entries.iter().map(|entry| entry.tweet).collect();
        let inside = |entry: &Shown| {
            self.older.is_none_or(|older| entry.at < older)
                && self.newer.is_none_or(|newer| entry.at > newer)
        };
        if entries.len() > self.size {
            Err(format!("more than {} entries", self.size))
        } else if self.has_next && entries.len() < self.size {
            Err(format!("{} entries, and yet there is a next page", entries.len()))
        } else if !entries.is_sorted_by(|newer, older| newer.at > older.at) {
            Err("not in order".into())
        } else if tweets.len() < entries.len() {
            Err("a tweet twice".into())
        } else if !entries.iter().all(inside) {
            Err("an entry outside of what was asked for".into())
        } else {
            Ok(())
        }
    }
}

/// Everything the reader knows of one stretch of the feed.
#[derive(Debug, Default)]
pub struct View {
    known: BTreeMap<i64, Shown>,
    /// The stretch: from, inclusive, to, exclusive.
    span: Option<(i64, i64)>,
}

impl View {
    /// The newest moment of which the reader has seen everything.
    pub fn newest(&self) -> Option<i64> {
        self.span.map(|(_, to)| to - 1)
    }

    /// Times of known entries, for cursors.
    pub fn times(&self) -> Vec<i64> {
        self.known.keys().copied().collect()
    }

    /// A follow puts entries into the past: what was known tells nothing any more.
    pub fn clear(&mut self) {
        *self = View::default();
    }

    /// An unfollow takes the author's entries out.
    pub fn forget(&mut self, author: i64) {
        self.known.retain(|_, entry| entry.author != author);
    }

    /// Takes a page in. Whatever was shown stays, unless its tweet goes, and whatever comes
    /// is newer than all that was shown.
    pub fn take(&mut self, page: &Page, fate: impl Fn(i64) -> Fate) -> Result<(), String> {
        page.check()?;
        let now: BTreeMap<i64, Shown> =
            page.entries.iter().map(|entry| (entry.at, *entry)).collect();
        for (at, known) in &self.known {
            let there = now.get(at);
            if there.is_some_and(|there| there != known) {
                return Err(format!("{known:?} has become {there:?}"));
            }
            if there.is_none() && page.covers(*at) && fate(known.tweet) == Fate::There {
                return Err(format!("{known:?} was shown before and is missing"));
            }
        }
        for entry in &page.entries {
            let is_known = self.known.contains_key(&entry.at);
            if !is_known && self.span.is_some_and(|(from, to)| (from..to).contains(&entry.at)) {
                return Err(format!("{entry:?} has come later than newer ones"));
            }
            if fate(entry.tweet) == Fate::Gone {
                return Err(format!("{entry:?} was deleted before"));
            }
        }
        self.extend(page, now);
        Ok(())
    }

    fn extend(&mut self, page: &Page, now: BTreeMap<i64, Shown>) {
        let to = match (page.older, page.entries.first()) {
            (Some(older), _) => older,
            (None, Some(first)) => first.at + 1,
            // What is not visible yet has a time that nobody knows.
            (None, None) => return,
        };
        let from = page.from();
        match self.span {
            Some((known_from, known_to)) if from <= known_to && known_from <= to => {
                self.span = Some((from.min(known_from), to.max(known_to)));
                self.known.extend(now);
            }
            Some((_, known_to)) if to < known_to => {}
            _ => (self.known, self.span) = (now, Some((from, to))),
        }
    }
}

/// The checks notice what they are for.
mod checks {
    use super::*;

    fn shown(times: &[i64]) -> Vec<Shown> {
        times.iter().map(|at| Shown { at: *at, tweet: at * 10, author: 1 }).collect()
    }

    fn first(times: &[i64], has_next: bool) -> Page {
        let size = if has_next { times.len() } else { 100 };
        Page { older: None, newer: None, size, entries: shown(times), has_next }
    }

    fn there(_: i64) -> Fate {
        Fate::There
    }

    #[test]
    fn what_grows_at_the_top_is_accepted() {
        let mut view = View::default();
        view.take(&first(&[5, 4, 3], true), there).unwrap();
        view.take(&first(&[7, 6, 5], true), there).unwrap();
        let older = Page { older: Some(3), ..first(&[2, 1], false) };
        view.take(&older, there).unwrap();
        assert_eq!(view.times(), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(view.newest(), Some(7));
    }

    #[test]
    fn a_lie_is_noticed() {
        let lies: [(&str, Page); 8] = [
            ("a lost entry", first(&[6, 5, 3], false)),
            ("an entry that comes late", first(&[6, 5, 4, 3, 2], false)),
            ("an entry twice", first(&[6, 6, 5, 4, 3, 1], false)),
            ("a wrong order", first(&[5, 6, 4, 3, 1], false)),
            ("an empty feed", first(&[], false)),
            ("a short page", Page { size: 9, ..first(&[6, 5], true) }),
            ("a page too long", Page { size: 1, ..first(&[6, 5, 4, 3, 1], false) }),
            ("an entry past the cursor", Page { older: Some(5), ..first(&[5, 4, 3, 1], false) }),
        ];
        for (lie, page) in lies {
            let mut view = View::default();
            view.take(&first(&[5, 4, 3, 1], false), there).unwrap();
            assert!(view.take(&page, there).is_err(), "{lie}");
        }
        let mut view = View::default();
        let gone = |tweet| if tweet == 40 { Fate::Gone } else { Fate::There };
        assert!(view.take(&first(&[5, 4, 3], false), gone).is_err(), "a ghost");
        view.take(&first(&[5, 3], false), gone).unwrap();
        view.forget(1);
        view.take(&first(&[], false), there).expect("nothing of an author left behind");
    }
}
