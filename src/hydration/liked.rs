//! Who likes what, for `has_liked`.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::cache::{Fenced, Ticket};
use crate::counter::{Changes, CountSink};
use crate::store::likes::{self, LikeKey, LikeKind};
use crate::store::{Db, Engine, StoreError};

/// A node that shares its database with others reads a flag again after so long. The others
/// tell it of changes; this is for what is changed by hand.
const SHARED_MAX_AGE: Duration = Duration::from_secs(60);

/// The cache of liked flags: one per viewer and object, also for "does not like".
pub struct LikedFlags {
    db: Db,
    flags: Fenced<LikeKey, Flag>,
    started: Instant,
    /// In seconds; `None`: all likes pass through this process.
    max_age: Option<u32>,
}

/// Eight bytes, since there are many.
#[derive(Debug, Clone, Copy)]
struct Flag {
    liked: bool,
    /// When it was asked for, in seconds after the start.
    known_at: u32,
}

impl LikedFlags {
    /// A cache of about `capacity` flags, filled from `db`.
    pub fn new(db: Db, capacity: usize) -> Self {
        // A SQLite file belongs to one process.
        let max_age = match db.engine() {
            Engine::Sqlite => None,
            Engine::Postgres => Some(SHARED_MAX_AGE.as_secs() as u32),
        };
        LikedFlags { db, flags: Fenced::new(capacity), started: Instant::now(), max_age }
    }

    /// Those of `ids` that `viewer` likes. What is not cached is read in one query.
    ///
    /// # Errors
    /// As [`Db::read`].
    pub async fn liked(
        &self,
        viewer: i64,
        kind: LikeKind,
        ids: &[i64],
    ) -> Result<HashSet<i64>, StoreError> {
        let now = self.now();
        let mut liked = HashSet::new();
        let mut missing: Vec<(i64, Ticket)> = Vec::new();
        for &object_id in ids {
            let key = LikeKey { user_id: viewer, kind, object_id };
            match self.flags.get(&key).filter(|flag| self.is_current(flag, now)) {
                Some(flag) if flag.liked => {
                    liked.insert(object_id);
                }
                Some(_) => {}
                None => missing.push((object_id, self.flags.ticket(&key))),
            }
        }
        if missing.is_empty() {
            return Ok(liked);
        }
        let wanted: Vec<i64> = missing.iter().map(|(id, _)| *id).collect();
        let found = self
            .db
            .read("likes.liked_among", move |conn| {
                Ok(likes::liked_among(conn, viewer, kind, &wanted)?)
            })
            .await?;
        liked.extend(found);
        for (object_id, ticket) in missing {
            let key = LikeKey { user_id: viewer, kind, object_id };
            let flag = Flag { liked: liked.contains(&object_id), known_at: now };
            self.flags.fill(ticket, key, flag);
        }
        Ok(liked)
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.flags.clear();
    }

    fn now(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX)
    }

    fn is_current(&self, flag: &Flag, now: u32) -> bool {
        self.max_age.is_none_or(|limit| now.saturating_sub(flag.known_at) < limit)
    }
}

impl CountSink for LikedFlags {
    fn apply(&self, changes: &Changes) {
        let known_at = self.now();
        for (key, liked) in &changes.likes {
            // Also when it is not cached: the liker is about to look.
            self.flags.put(*key, Flag { liked: *liked, known_at });
        }
        for key in &changes.uncertain.likes {
            self.flags.invalidate(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter::Uncertain;
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
        let mut liked: Vec<i64> = liked.into_iter().collect();
        liked.sort();
        liked
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
            assert_eq!(ask(&flags, &[7, 8]).await, [8], "read again");
        }
    }

    #[tokio::test]
    async fn a_flag_past_its_age_is_read_again() {
        for test in databases() {
            let mut flags = LikedFlags::new(test.db.clone(), 100);
            flags.max_age = Some(0);
            assert_eq!(ask(&flags, &[7]).await, [] as [i64; 0]);
            insert(&test, key(1, 7));
            assert_eq!(ask(&flags, &[7]).await, [7], "{}", test.name);
        }
    }
}
