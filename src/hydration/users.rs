//! User cards: the object U of the contract, rendered once and then copied into pages.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

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
    pub json: Box<str>,
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

/// What memory has of the cards that are wanted.
#[derive(Default)]
struct Lookup {
    found: HashMap<i64, Arc<UserCard>>,
    /// To be read, in no order, possibly twice.
    missing: Vec<(i64, Ticket)>,
    /// Cards of `missing` that are past their age.
    old: HashMap<i64, Arc<UserCard>>,
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

    /// The cards of those of `ids` that exist; at most one query, whatever is missing.
    ///
    /// # Errors
    /// When cards must be read and the database cannot be reached. A card past its age is then
    /// better than none.
    pub async fn many(&self, ids: &[i64]) -> Result<HashMap<i64, Arc<UserCard>>, StoreError> {
        let Lookup { mut found, mut missing, old } = self.look_up(ids);
        if missing.is_empty() {
            return Ok(found);
        }
        missing.sort_unstable_by_key(|(id, _)| *id);
        missing.dedup_by_key(|(id, _)| *id);
        let wanted: Vec<i64> = missing.iter().map(|(id, _)| *id).collect();
        let asked = Instant::now();
        let read = self.db.read("user_cards", move |conn| Ok(profiles::cards(conn, &wanted)?));
        let rows = match read.await {
            Ok(rows) => rows,
            Err(error) if error.is_outage() && old.len() == missing.len() => {
                tracing::warn!(cards = old.len(), %error, "serving user cards past their age");
                found.extend(old);
                return Ok(found);
            }
            Err(error) => return Err(error),
        };
        let tickets: HashMap<i64, Ticket> = missing.into_iter().collect();
        for row in rows {
            let card = Arc::new(UserCard::from(row));
            if let Some(ticket) = tickets.get(&card.id) {
                self.cards.fill(*ticket, card.id, Cached { card: card.clone(), loaded: asked });
            }
            found.insert(card.id, card);
        }
        Ok(found)
    }

    /// The card of one user, `None` when there is no such user.
    ///
    /// # Errors
    /// As [`Users::many`].
    pub async fn one(&self, id: i64) -> Result<Option<Arc<UserCard>>, StoreError> {
        if let Some(cached) = self.cards.get(&id).filter(|cached| self.is_current(cached)) {
            return Ok(Some(cached.card));
        }
        Ok(self.many(&[id]).await?.remove(&id))
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

    fn look_up(&self, ids: &[i64]) -> Lookup {
        let mut lookup = Lookup { found: HashMap::with_capacity(ids.len()), ..Lookup::default() };
        for &id in ids {
            if lookup.found.contains_key(&id) {
                continue;
            }
            match self.cards.get(&id) {
                Some(cached) if self.is_current(&cached) => {
                    lookup.found.insert(id, cached.card);
                }
                cached => {
                    lookup.missing.push((id, self.cards.ticket(&id)));
                    lookup.old.extend(cached.map(|cached| (id, cached.card)));
                }
            }
        }
        lookup
    }

    fn is_current(&self, cached: &Cached) -> bool {
        cached.loaded.elapsed() < self.max_age
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{TestDb, databases};
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
