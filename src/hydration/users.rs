//! User cards: the object U of the contract, rendered once and then copied into pages.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::tweets::{SeenAuthor, TweetCard};
use crate::bus::{Bus, News};
use crate::cache::{Fenced, Ticket, age};
use crate::store::profiles::{self, Card};
use crate::store::{Conn, Db, Engine, StoreError};

/// A node that shares its database with others reads a card again after so long at most. The
/// others tell it of changes; this is for what is changed by hand.
const SHARED_MAX_AGE: Duration = Duration::from_secs(60);

/// A SQLite file belongs to one process, which knows of every change but one whose commit was
/// given up on and came to pass all the same.
const OWN_MAX_AGE: Duration = Duration::from_secs(600);

/// A user as everybody sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserCard {
    /// The user.
    pub id: i64,
    /// In lower case.
    pub username: String,
    /// What they call themselves.
    pub nickname: Option<String>,
    /// Their picture.
    pub avatar_url: Option<String>,
    /// The object U of the contract, as compact JSON.
    pub json: Arc<str>,
}

impl From<Card> for UserCard {
    fn from(card: Card) -> Self {
        /// U, in the contract's order.
        #[derive(Serialize)]
        struct U<'a> {
            id: i64,
            username: &'a str,
            nickname: Option<&'a str>,
            avatar_url: Option<&'a str>,
        }
        let object = U {
            id: card.id,
            username: &card.username,
            nickname: card.nickname.as_deref(),
            avatar_url: card.avatar_url.as_deref(),
        };
        // Numbers and texts always serialise.
        let json = serde_json::to_string(&object).unwrap_or_default().into();
        let Card { id, username, nickname, avatar_url } = card;
        UserCard { id, username, nickname, avatar_url, json }
    }
}

/// The cards of users, from memory where possible.
pub struct Users {
    db: Db,
    cards: Fenced<i64, Cached>,
    max_age: Duration,
    bus: Bus,
}

#[derive(Clone)]
struct Cached {
    card: Arc<UserCard>,
    loaded: Instant,
}

impl Users {
    /// A cache of about `capacity` cards.
    pub fn new(db: Db, capacity: usize) -> Self {
        let max_age = match db.engine() {
            Engine::Sqlite => OWN_MAX_AGE,
            Engine::Postgres => SHARED_MAX_AGE,
        };
        Users { db, cards: Fenced::new(capacity), max_age, bus: Bus::alone() }
    }

    /// The same on a node that has others to tell.
    pub fn telling(self, bus: Bus) -> Self {
        Users { bus, ..self }
    }

    /// How many changes of cards there have been. As long as it stays the same, so do they.
    pub(super) fn changes(&self) -> u64 {
        self.cards.changes()
    }

    /// The authors of `tweets` as JSON, in their order; `null` for one who does not exist. On
    /// the path of every warm page: each tweet remembers its author as last seen, which spares
    /// a look-up as long as no card of anybody has changed and it is not past its age.
    ///
    /// # Errors
    /// As [`Users::many`].
    pub async fn authors(&self, tweets: &[&TweetCard]) -> Result<Vec<Arc<str>>, StoreError> {
        let (now, changes) = (Instant::now(), self.cards.changes());
        let mut authors = Vec::with_capacity(tweets.len());
        for tweet in tweets {
            let is_current = |seen: &SeenAuthor| {
                seen.changes == changes && self.is_young(tweet.user_id, seen.loaded, now)
            };
            match tweet.author_if(is_current) {
                Some(json) => authors.push(json),
                None => break,
            }
        }
        if authors.len() == tweets.len() {
            return Ok(authors);
        }
        let ids: Vec<i64> = tweets.iter().map(|tweet| tweet.user_id).collect();
        let found = self.many(&ids).await?;
        authors.clear();
        for tweet in tweets {
            let card = found.get(&tweet.user_id);
            authors.push(card.map_or_else(|| "null".into(), |card| card.json.clone()));
            // Only what memory still has: a card that was changed meanwhile is not kept.
            if let Some(Cached { card, loaded }) = self.cards.get(&tweet.user_id) {
                tweet.see_author(SeenAuthor { json: card.json.clone(), loaded, changes });
            }
        }
        Ok(authors)
    }

    /// The cards of `ids`, in their order; `None` for a user who does not exist. At most one
    /// query, whatever is missing.
    async fn in_order(&self, ids: &[i64]) -> Result<Vec<Option<Arc<UserCard>>>, StoreError> {
        let now = Instant::now();
        let mut cards = Vec::with_capacity(ids.len());
        let mut is_complete = true;
        for id in ids {
            let cached = self.cards.get(id).filter(|cached| self.is_young(*id, cached.loaded, now));
            is_complete &= cached.is_some();
            cards.push(cached.map(|cached| cached.card));
        }
        if !is_complete {
            // Boxed, as it is rare and large.
            Box::pin(self.complete(ids, &mut cards)).await?;
        }
        Ok(cards)
    }

    /// The cards of those of `ids` that exist, by id; at most one query, whatever is missing.
    ///
    /// # Errors
    /// When cards must be read and the database cannot be reached. A card past its age is then
    /// better than none.
    pub async fn many(&self, ids: &[i64]) -> Result<HashMap<i64, Arc<UserCard>>, StoreError> {
        let cards = self.in_order(ids).await?;
        Ok(cards.into_iter().flatten().map(|card| (card.id, card)).collect())
    }

    /// Reads the cards that are not there yet.
    async fn complete(
        &self,
        ids: &[i64],
        cards: &mut [Option<Arc<UserCard>>],
    ) -> Result<(), StoreError> {
        let absent = ids.iter().zip(cards.iter()).filter(|(_, card)| card.is_none());
        let mut missing: Vec<(i64, Ticket)> =
            absent.map(|(id, _)| (*id, self.cards.ticket(id))).collect();
        missing.sort_unstable_by_key(|(id, _)| *id);
        missing.dedup_by_key(|(id, _)| *id);
        let wanted: Vec<i64> = missing.iter().map(|(id, _)| *id).collect();
        let asked = Instant::now();
        let read = self.db.read("user_cards", move |conn| Ok(profiles::cards(conn, &wanted)?));
        let rows = match read.await {
            Ok(rows) => rows,
            Err(error) if error.is_outage() => {
                let old = self.past_their_age(&missing).ok_or(error)?;
                put_in_order(ids, cards, &old);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let tickets: HashMap<i64, Ticket> = missing.into_iter().collect();
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let card = Arc::new(UserCard::from(row));
            if let Some(ticket) = tickets.get(&card.id) {
                self.cards.fill(*ticket, card.id, Cached { card: card.clone(), loaded: asked });
            }
            found.insert(card.id, card);
        }
        put_in_order(ids, cards, &found);
        Ok(())
    }

    /// Old cards of all that are missing, or `None` when memory does not have them all.
    fn past_their_age(&self, missing: &[(i64, Ticket)]) -> Option<HashMap<i64, Arc<UserCard>>> {
        let old = missing.iter().map(|(id, _)| Some((*id, self.cards.get(id)?.card)));
        let old: HashMap<i64, Arc<UserCard>> = old.collect::<Option<_>>()?;
        tracing::warn!(cards = old.len(), "serving user cards past their age");
        Some(old)
    }

    /// The card of one user, `None` when there is no such user.
    ///
    /// # Errors
    /// As [`Users::many`].
    pub async fn one(&self, id: i64) -> Result<Option<Arc<UserCard>>, StoreError> {
        Ok(self.in_order(&[id]).await?.pop().flatten())
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.cards.clear();
    }

    /// Tells other nodes of a change of the user's card: the last statement of its transaction.
    ///
    /// # Errors
    /// Those of the statement.
    pub fn announce(&self, conn: &mut Conn<'_>, id: i64) -> Result<(), StoreError> {
        self.bus.announce(conn, &News::of_user(id)).map(|_| ())
    }

    /// To be called after the commit of a change and before it is acknowledged.
    pub fn invalidate(&self, id: i64) {
        self.cards.invalidate(&id);
    }

    fn is_young(&self, id: i64, loaded: Instant, now: Instant) -> bool {
        now.saturating_duration_since(loaded) < age::spread(self.max_age, id)
    }
}

/// Puts cards where there are none yet.
fn put_in_order(
    ids: &[i64],
    cards: &mut [Option<Arc<UserCard>>],
    found: &HashMap<i64, Arc<UserCard>>,
) {
    for (id, card) in ids.iter().zip(cards) {
        if card.is_none() {
            *card = found.get(id).cloned();
        }
    }
}

#[cfg(test)]
mod tests;
