//! User cards: the object U of the contract, rendered once and then copied into pages.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::tweets::{SeenAuthor, TweetCard};
use crate::bus::{Bus, News};
use crate::cache::{Fenced, Ticket};
use crate::store::profiles::{self, Card};
use crate::store::{Conn, Db, Engine, StoreError};

/// A node that shares its database with others reads a card again after so long. The others
/// tell it of changes; this is for what is changed by hand.
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
        let is_current =
            |seen: &SeenAuthor| seen.changes == changes && self.is_young(seen.loaded, now);
        let mut authors = Vec::with_capacity(tweets.len());
        for tweet in tweets {
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
            let cached = self.cards.get(id).filter(|cached| self.is_young(cached.loaded, now));
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

    fn is_young(&self, loaded: Instant, now: Instant) -> bool {
        now.saturating_duration_since(loaded) < self.max_age
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
mod tests {
    use super::*;
    use crate::store::testing::{TestDb, databases};
    use crate::store::tweets::TweetRow;
    use crate::store::users::{self, NewUser};
    use crate::time::Timestamp;

    fn add(test: &TestDb, name: &str) -> i64 {
        let new = NewUser {
            username: name.into(),
            email: format!("{name}@example.com"),
            password_hash: String::new(),
            created_at: Timestamp(1),
        };
        let id = test.db.write_blocking(|conn| Ok(users::create(conn, &new)?)).unwrap();
        id.expect("a new user")
    }

    fn rename(test: &TestDb, id: i64, nickname: &str) {
        let change = profiles::Change { nickname: Some(nickname.to_owned()), avatar_url: None };
        test.db.write_blocking(|conn| Ok(profiles::change(conn, id, &change)?)).unwrap();
    }

    #[test]
    fn the_json_is_the_contracts_object() {
        let card = Card {
            id: 7,
            username: "ann".into(),
            nickname: Some("Ä \"🐔\"".into()),
            avatar_url: None,
        };
        let expected = r#"{"id":7,"username":"ann","nickname":"Ä \"🐔\"","avatar_url":null}"#;
        assert_eq!(&*UserCard::from(card).json, expected);
    }

    #[tokio::test]
    async fn cards_stay_in_memory_until_a_change() {
        for test in databases() {
            let (ann, bob) = (add(&test, "ann"), add(&test, "bob"));
            let users = Users::new(test.db.clone(), 100);
            let cards = users.many(&[bob, ann, bob, 999_999, ann]).await.unwrap();
            assert_eq!(cards.len(), 2, "{}", test.name);
            assert_eq!(cards[&ann].username, "ann");
            assert_eq!(users.one(999_999).await.unwrap(), None);

            rename(&test, ann, "Anne");
            let cached = users.one(ann).await.unwrap().unwrap();
            assert!(Arc::ptr_eq(&cached, &cards[&ann]), "no second read");
            users.invalidate(ann);
            let current = users.one(ann).await.unwrap().unwrap();
            assert_eq!(current.nickname.as_deref(), Some("Anne"));
            assert!(Arc::ptr_eq(&users.one(bob).await.unwrap().unwrap(), &cards[&bob]));
        }
    }

    fn tweet_of(user_id: i64) -> TweetCard {
        TweetCard::new(&TweetRow {
            id: user_id * 10,
            user_id,
            content: "x".into(),
            created_at: Timestamp(1),
            likes_count: None,
            comments_count: None,
            counts_version: 0,
            photo_urls: vec![],
        })
    }

    /// The copy of the author that a tweet keeps follows every change.
    #[tokio::test]
    async fn a_tweet_remembers_its_author_until_a_card_changes() {
        for test in databases() {
            let (ann, bob) = (add(&test, "ann"), add(&test, "bob"));
            let users = Users::new(test.db.clone(), 100);
            let (one, two, lost) = (tweet_of(ann), tweet_of(bob), tweet_of(999_999));
            let authors = users.authors(&[&one, &two, &one]).await.unwrap();
            assert!(authors[0].contains("ann") && authors[1].contains("bob"), "{}", test.name);
            let again = users.authors(&[&one]).await.unwrap();
            assert!(Arc::ptr_eq(&again[0], &authors[0]), "remembered");
            assert_eq!(&*users.authors(&[&one, &lost]).await.unwrap()[1], "null");

            rename(&test, ann, "Anne");
            let still = users.authors(&[&one]).await.unwrap();
            assert!(Arc::ptr_eq(&still[0], &authors[0]), "nobody has told yet");
            users.invalidate(ann);
            assert!(users.authors(&[&one]).await.unwrap()[0].contains("Anne"));
        }
    }

    #[tokio::test]
    async fn a_remembered_author_past_its_age_is_read_again() {
        for test in databases() {
            let ann = add(&test, "ann");
            let mut users = Users::new(test.db.clone(), 100);
            users.max_age = Duration::ZERO;
            let tweet = tweet_of(ann);
            users.authors(&[&tweet]).await.unwrap();
            rename(&test, ann, "Anne");
            assert!(users.authors(&[&tweet]).await.unwrap()[0].contains("Anne"), "{}", test.name);
        }
    }

    #[tokio::test]
    async fn a_card_past_its_age_is_read_again() {
        for test in databases() {
            let ann = add(&test, "ann");
            let mut users = Users::new(test.db.clone(), 100);
            users.max_age = Duration::ZERO;
            users.one(ann).await.unwrap();
            rename(&test, ann, "Anne");
            let card = users.one(ann).await.unwrap().unwrap();
            assert_eq!(card.nickname.as_deref(), Some("Anne"), "{}", test.name);
        }
    }
}
