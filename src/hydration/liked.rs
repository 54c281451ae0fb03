//! Who likes what, for `has_liked`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cache::{Fenced, Ticket, age};
use crate::counter::{Changes, CountSink};
use crate::store::likes::{self, LikeKind};
use crate::store::{Db, Engine, StoreError};

/// A node that shares its database with others reads a flag again after so long at most. The
/// others tell it of changes; this is for what is changed by hand.
const SHARED_MAX_AGE: Duration = Duration::from_secs(60);

/// Likes kept per viewer and kind, those of the highest ids, which are the newest objects. Most
/// people never like so much. 8 bytes each.
const MOST: usize = 500;

/// The cache of what viewers like: one set per viewer and kind of object. One look-up tells for
/// a whole page, also what the viewer does not like.
pub struct LikedFlags {
    db: Db,
    sets: Fenced<(i64, LikeKind), Known>,
    started: Instant,
    /// `None`: all likes pass through this process.
    max_age: Option<Duration>,
}

#[derive(Debug, Clone)]
struct Known {
    set: Arc<LikedSet>,
    /// When it was asked for, in seconds after the start.
    known_at: u32,
}

/// What a viewer likes, as far as it is known.
#[derive(Debug, PartialEq, Eq)]
struct LikedSet {
    /// Sorted.
    ids: Vec<i64>,
    /// Of objects with lower ids nothing is known.
    floor: i64,
}

impl LikedSet {
    /// From at most [`MOST`] + 1 ids, highest first; with fewer there are no others.
    fn new(mut highest: Vec<i64>) -> LikedSet {
        let floor = match highest.get(MOST) {
            Some(unknown) => unknown + 1,
            None => i64::MIN,
        };
        highest.truncate(MOST);
        highest.reverse();
        LikedSet { ids: highest, floor }
    }

    /// Whether the object is liked, if that is known.
    fn has(&self, id: i64) -> Option<bool> {
        (id >= self.floor).then(|| self.ids.binary_search(&id).is_ok())
    }

    /// The set after a change.
    fn with(&self, id: i64, liked: bool) -> LikedSet {
        let (mut ids, mut floor) = (self.ids.clone(), self.floor);
        match ids.binary_search(&id) {
            Err(place) if liked && id >= floor => ids.insert(place, id),
            Ok(place) if !liked => {
                ids.remove(place);
            }
            _ => {}
        }
        if ids.len() > MOST {
            floor = ids.remove(0) + 1;
        }
        LikedSet { ids, floor }
    }
}

impl LikedFlags {
    /// A cache of about `capacity` sets, filled from `db`.
    pub fn new(db: Db, capacity: usize) -> Self {
        // A SQLite file belongs to one process.
        let max_age = match db.engine() {
            Engine::Sqlite => None,
            Engine::Postgres => Some(SHARED_MAX_AGE),
        };
        LikedFlags { db, sets: Fenced::new(capacity), started: Instant::now(), max_age }
    }

    /// Whether `viewer` likes them, in the order of `ids`. On the path of every warm page. What
    /// is not known is read in one query: the viewer's set, or objects so old that the viewer
    /// has liked [`MOST`] newer ones.
    ///
    /// # Errors
    /// As [`Db::read`]. While the database cannot be reached, a set past its age is better than
    /// none.
    pub async fn liked(
        &self,
        viewer: i64,
        kind: LikeKind,
        ids: &[i64],
    ) -> Result<Vec<bool>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let cached = self.sets.get(&(viewer, kind));
        let set = match cached {
            Some(known) if self.is_current(viewer, &known) => known.set,
            // Boxed, as it is rare and large.
            old => match Box::pin(self.load(viewer, kind)).await {
                Err(error) if error.is_outage() => old.ok_or(error)?.set,
                loaded => loaded?,
            },
        };
        let mut unknown = Vec::new();
        let known = ids.iter().map(|id| {
            set.has(*id).unwrap_or_else(|| {
                unknown.push(*id);
                false
            })
        });
        let mut liked: Vec<bool> = known.collect();
        if !unknown.is_empty() {
            let read = self.db.read("likes.liked_among", move |conn| {
                Ok(likes::liked_among(conn, viewer, kind, &unknown)?)
            });
            let found: HashSet<i64> = Box::pin(read).await?.into_iter().collect();
            for (liked, id) in liked.iter_mut().zip(ids) {
                *liked |= found.contains(id);
            }
        }
        Ok(liked)
    }

    /// As long as it stays the same, so does what `viewer` likes.
    pub(super) fn ticket(&self, viewer: i64, kind: LikeKind) -> Ticket {
        self.sets.ticket(&(viewer, kind))
    }

    async fn load(&self, viewer: i64, kind: LikeKind) -> Result<Arc<LikedSet>, StoreError> {
        let (ticket, known_at) = (self.sets.ticket(&(viewer, kind)), self.now());
        let read = self.db.read("likes.highest_liked", move |conn| {
            Ok(likes::highest_liked(conn, viewer, kind, MOST as i64 + 1)?)
        });
        let set = Arc::new(LikedSet::new(read.await?));
        self.sets.fill(ticket, (viewer, kind), Known { set: set.clone(), known_at });
        Ok(set)
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.sets.clear();
    }

    fn now(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX)
    }

    fn is_current(&self, viewer: i64, known: &Known) -> bool {
        let age = Duration::from_secs(self.now().saturating_sub(known.known_at).into());
        self.max_age.is_none_or(|limit| age < age::spread(limit, viewer))
    }
}

impl CountSink for LikedFlags {
    fn apply(&self, changes: &Changes) {
        for (key, liked) in &changes.likes {
            self.sets.update(&(key.user_id, key.kind), |known| {
                let set = Arc::new(known.set.with(key.object_id, *liked));
                Some(Known { set, ..known })
            });
        }
        for key in &changes.uncertain.likes {
            self.sets.invalidate(&(key.user_id, key.kind));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::counter::{LikeKey, Uncertain};
    use crate::store::testing::{TestDb, databases};
    use crate::time::Timestamp;

    fn key(user_id: i64, object_id: i64) -> LikeKey {
        LikeKey { user_id, kind: LikeKind::Tweet, object_id }
    }

    fn insert(test: &TestDb, key: LikeKey) {
        let row = [(key, Timestamp(1))];
        test.db.write_blocking(|conn| Ok(likes::insert(conn, &row)?)).unwrap();
    }

    async fn ask(flags: &LikedFlags, ids: &[i64]) -> Vec<i64> {
        let liked = flags.liked(1, LikeKind::Tweet, ids).await.unwrap();
        assert_eq!(liked.len(), ids.len());
        ids.iter().zip(liked).filter(|(_, liked)| *liked).map(|(id, _)| *id).collect()
    }

    #[tokio::test]
    async fn flags_are_read_once_and_follow_the_counter() {
        for test in databases() {
            insert(&test, key(1, 7));
            insert(&test, key(2, 8));
            let flags = LikedFlags::new(test.db.clone(), 100);
            assert_eq!(ask(&flags, &[7, 8, 9]).await, [7], "{}", test.name);
            // Behind the counter's back, so that a second read would show.
            insert(&test, key(1, 8));
            assert_eq!(ask(&flags, &[7, 8, 9]).await, [7]);
            assert_eq!(ask(&flags, &[]).await, [] as [i64; 0]);

            let likes = vec![(key(1, 9), true), (key(1, 7), false), (key(1, 10), true)];
            flags.apply(&Changes { likes, ..Changes::default() });
            assert_eq!(ask(&flags, &[7, 8, 9, 10]).await, [9, 10]);
            let uncertain = Uncertain { likes: vec![key(1, 8)], ..Uncertain::default() };
            flags.apply(&Changes { uncertain, ..Changes::default() });
            assert_eq!(ask(&flags, &[7, 8]).await, [7, 8], "read again, as the database has it");
        }
    }

    #[tokio::test]
    async fn a_flag_past_its_age_is_read_again() {
        for test in databases() {
            let mut flags = LikedFlags::new(test.db.clone(), 100);
            flags.max_age = Some(Duration::ZERO);
            assert_eq!(ask(&flags, &[7]).await, [] as [i64; 0]);
            insert(&test, key(1, 7));
            assert_eq!(ask(&flags, &[7]).await, [7], "{}", test.name);
        }
    }

    #[tokio::test]
    async fn a_flag_past_its_age_is_better_than_none() {
        for test in databases() {
            let mut flags = LikedFlags::new(test.db.clone(), 100);
            flags.max_age = Some(Duration::ZERO);
            insert(&test, key(1, 7));
            assert_eq!(ask(&flags, &[7]).await, [7], "{}", test.name);
            flags.db = test.unreachable();
            assert_eq!(ask(&flags, &[7, 8]).await, [7], "{}", test.name);
            let stranger = flags.liked(2, LikeKind::Tweet, &[7]).await;
            assert!(stranger.is_err_and(|error| error.is_outage()), "{}", test.name);
        }
    }

    /// A change that comes while the set is being read must not be lost.
    #[tokio::test]
    async fn a_like_during_a_load_is_not_overwritten() {
        for test in databases() {
            let flags = LikedFlags::new(test.db.clone(), 100);
            let ticket = flags.sets.ticket(&(1, LikeKind::Tweet));
            let old = Known { set: Arc::new(LikedSet::new(vec![])), known_at: 0 };
            insert(&test, key(1, 7));
            flags.apply(&Changes { likes: vec![(key(1, 7), true)], ..Changes::default() });
            flags.sets.fill(ticket, (1, LikeKind::Tweet), old);
            assert_eq!(ask(&flags, &[7]).await, [7], "{}", test.name);
        }
    }

    #[tokio::test]
    async fn who_likes_more_than_is_kept_is_told_right_of_old_objects_too() {
        for test in databases() {
            let many = MOST as i64 + 20;
            let rows: Vec<_> = (1..=many).map(|id| (key(1, id * 2), Timestamp(id))).collect();
            test.db.write_blocking(|conn| Ok(likes::insert(conn, &rows)?)).unwrap();
            let flags = LikedFlags::new(test.db.clone(), 100);
            let asked: Vec<i64> = (1..=2 * many + 1).collect();
            let even: Vec<i64> = (1..=many).map(|id| id * 2).collect();
            assert_eq!(ask(&flags, &asked).await, even, "{}", test.name);
        }
    }

    proptest! {
        /// A set says the truth of what it knows, whatever has changed.
        #[test]
        fn a_set_equals_a_naive_one(
            before in prop::collection::btree_set(0_i64..2_000, 0..700),
            changes in prop::collection::vec((0_i64..2_000, any::<bool>()), 0..60),
        ) {
            let highest: Vec<i64> = before.iter().rev().take(MOST + 1).copied().collect();
            let mut set = LikedSet::new(highest);
            let mut naive = before;
            for (id, liked) in changes {
                set = set.with(id, liked);
                if liked { naive.insert(id) } else { naive.remove(&id) };
                prop_assert!(set.ids.len() <= MOST);
            }
            for id in 0..2_000 {
                if let Some(liked) = set.has(id) {
                    prop_assert_eq!(liked, naive.contains(&id), "{}", id);
                }
            }
        }
    }
}
