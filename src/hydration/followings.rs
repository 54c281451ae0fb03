//! Whom a reader follows, for `has_followed`.

use std::collections::HashSet;
use std::sync::Arc;

use crate::cache::Fenced;
use crate::store::{Db, StoreError, friendships};

/// Sets larger than this are not kept: they are asked for by the few ids on a page instead.
const LARGEST_SET: usize = 5_000;

/// Readers whose sets are kept.
const READERS: usize = 20_000;

#[derive(Clone)]
enum Known {
    All(Arc<HashSet<i64>>),
    TooMany,
}

/// The cache of followings.
pub struct Followings {
    db: Db,
    sets: Fenced<i64, Known>,
}

impl Followings {
    /// Reads from `db`.
    pub fn new(db: Db) -> Self {
        Followings { db, sets: Fenced::new(READERS) }
    }

    /// Which of `targets` the reader follows.
    ///
    /// # Errors
    /// As [`Db::read`].
    pub async fn follows(&self, reader: i64, targets: &[i64]) -> Result<HashSet<i64>, StoreError> {
        if targets.is_empty() {
            return Ok(HashSet::new());
        }
        let known = match self.sets.get(&reader) {
            Some(known) => known,
            None => self.load(reader).await?,
        };
        match known {
            Known::All(set) => Ok(targets.iter().copied().filter(|id| set.contains(id)).collect()),
            Known::TooMany => {
                let targets = targets.to_vec();
                let found = self
                    .db
                    .read("friendships.followed_among", move |conn| {
                        Ok(friendships::followed_among(conn, reader, &targets)?)
                    })
                    .await?;
                Ok(found.into_iter().collect())
            }
        }
    }

    /// Forgets a reader's set after a follow or unfollow.
    pub fn invalidate(&self, reader: i64) {
        self.sets.invalidate(&reader);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.sets.clear();
    }

    async fn load(&self, reader: i64) -> Result<Known, StoreError> {
        let ticket = self.sets.ticket(&reader);
        let ids = self
            .db
            .read("friendships.followings_of", move |conn| {
                Ok(friendships::followings_of(conn, reader, 0, LARGEST_SET + 1)?)
            })
            .await?;
        let known = if ids.len() > LARGEST_SET {
            Known::TooMany
        } else {
            Known::All(Arc::new(ids.into_iter().collect()))
        };
        self.sets.fill(ticket, reader, known.clone());
        Ok(known)
    }
}
