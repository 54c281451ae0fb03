//! What others see of a user.

use diesel::prelude::*;

use super::schema::{profiles, users};
use super::{Conn, ROWS_PER_STATEMENT, on};

/// A user as everybody sees them beside a tweet.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Card {
    /// The user.
    pub id: i64,
    /// In lower case.
    pub username: String,
    /// What they call themselves.
    pub nickname: Option<String>,
    /// Their picture.
    pub avatar_url: Option<String>,
}

/// A profile page.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Profile {
    /// The user.
    pub card: Card,
    /// How many follow them.
    pub followers_count: i64,
    /// How many they follow.
    pub followings_count: i64,
    /// How many tweets they have.
    pub tweets_count: i64,
}

/// What the owner changes; `None` leaves a value as it is.
#[derive(Debug, Clone, Default, AsChangeset)]
#[diesel(table_name = profiles)]
pub struct Change {
    /// The new nickname.
    pub nickname: Option<String>,
    /// The new picture.
    pub avatar_url: Option<String>,
}

/// The two things that an owner may change, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Editable {
    /// What they call themselves.
    pub nickname: Option<String>,
    /// Their picture.
    pub avatar_url: Option<String>,
}

/// Whom to look up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who<'a> {
    /// By number.
    Id(i64),
    /// By name, in lower case.
    Name(&'a str),
}

/// The cards of those of `ids` that exist, in no order.
pub fn cards(conn: &mut Conn<'_>, ids: &[i64]) -> QueryResult<Vec<Card>> {
    let mut cards = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(ROWS_PER_STATEMENT) {
        let rows: Vec<Card> = on!(conn, |c| users::table
            .inner_join(profiles::table.on(profiles::user_id.eq(users::id)))
            .filter(users::id.eq_any(chunk.iter().copied()))
            .select((users::id, users::username, profiles::nickname, profiles::avatar_url))
            .load(c))?;
        cards.extend(rows);
    }
    Ok(cards)
}

/// One profile page.
pub fn profile(conn: &mut Conn<'_>, who: Who<'_>) -> QueryResult<Option<Profile>> {
    macro_rules! first {
        ($condition:expr) => {
            on!(conn, |c| users::table
                .inner_join(profiles::table.on(profiles::user_id.eq(users::id)))
                .filter($condition)
                .select((
                    (users::id, users::username, profiles::nickname, profiles::avatar_url),
                    profiles::followers_count,
                    profiles::followings_count,
                    profiles::tweets_count,
                ))
                .first(c)
                .optional())
        };
    }
    match who {
        Who::Id(id) => first!(users::id.eq(id)),
        Who::Name(name) => first!(users::username.eq(name)),
    }
}

/// Whether there is a profile of this user.
pub fn exists(conn: &mut Conn<'_>, user_id: i64) -> QueryResult<bool> {
    on!(conn, |c| diesel::select(diesel::dsl::exists(profiles::table.find(user_id))).get_result(c))
}

/// Changes a profile; what it is then, or `None` when there is none.
pub fn change(conn: &mut Conn<'_>, user_id: i64, change: &Change) -> QueryResult<Option<Editable>> {
    let both = (profiles::nickname, profiles::avatar_url);
    // Diesel refuses an UPDATE that sets nothing.
    if change.nickname.is_none() && change.avatar_url.is_none() {
        return on!(conn, |c| profiles::table.find(user_id).select(both).first(c).optional());
    }
    on!(conn, |c| diesel::update(profiles::table.find(user_id))
        .set(change)
        .returning(both)
        .get_result(c)
        .optional())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::databases;
    use crate::store::users::{self, NewUser};
    use crate::time::Timestamp;

    fn user(conn: &mut Conn<'_>, name: &str) -> QueryResult<i64> {
        let new = NewUser {
            username: name.into(),
            email: format!("{name}@example.com"),
            password_hash: String::new(),
            created_at: Timestamp(1),
        };
        Ok(users::create(conn, &new)?.expect("a new user"))
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        for test in databases() {
            test.db
                .write_blocking(|conn| {
                    let ann = user(conn, "ann")?;
                    let text = |text: &str| Some(text.to_owned());
                    let named = Change { nickname: text("Ännchen 🐔"), avatar_url: None };
                    let expected = Editable { nickname: text("Ännchen 🐔"), avatar_url: None };
                    assert_eq!(change(conn, ann, &named)?, Some(expected));
                    let pictured = Change { nickname: None, avatar_url: text("/media/x/a.jpg") };
                    change(conn, ann, &pictured)?;
                    let both = Editable {
                        nickname: text("Ännchen 🐔"),
                        avatar_url: text("/media/x/a.jpg"),
                    };
                    assert_eq!(change(conn, ann, &Change::default())?, Some(both), "{}", test.name);
                    assert_eq!(change(conn, ann + 1, &named)?, None);
                    assert_eq!(change(conn, ann + 1, &Change::default())?, None);
                    Ok(())
                })
                .unwrap();
        }
    }

    #[test]
    fn profiles_are_found_by_number_and_by_name() {
        for test in databases() {
            test.db
                .write_blocking(|conn| {
                    let ann = user(conn, "ann")?;
                    let by_id = profile(conn, Who::Id(ann))?.expect("ann");
                    assert_eq!(profile(conn, Who::Name("ann"))?, Some(by_id.clone()));
                    assert_eq!(by_id.card.username, "ann");
                    assert_eq!(by_id.followers_count, 0);
                    assert_eq!(profile(conn, Who::Name("an_"))?, None, "no pattern");
                    assert_eq!(profile(conn, Who::Id(ann + 1))?, None);
                    assert!(exists(conn, ann)?);
                    assert!(!exists(conn, ann + 1)?);
                    Ok(())
                })
                .unwrap();
        }
    }

    #[test]
    fn cards_come_for_more_ids_than_a_statement_has_binds() {
        for test in databases() {
            test.db
                .write_blocking(|conn| {
                    let (ann, bob) = (user(conn, "ann")?, user(conn, "bob")?);
                    let mut ids: Vec<i64> = (1_000_000..1_040_000).collect();
                    ids[0] = ann;
                    ids[39_999] = bob;
                    let mut found = cards(conn, &ids)?;
                    found.sort_unstable_by_key(|card| card.id);
                    let names: Vec<_> = found.iter().map(|card| card.username.as_str()).collect();
                    assert_eq!(names, ["ann", "bob"], "{}", test.name);
                    assert!(cards(conn, &[])?.is_empty());
                    Ok(())
                })
                .unwrap();
        }
    }
}
