//! Sessions and tokens. Only the SHA-256 of a token is stored.

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::schema::{sessions, users};
use super::{Conn, on};
use crate::time::Timestamp;

/// What a token was given out as. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum Kind {
    /// The cookie of a browser.
    Cookie = 1,
    /// A bearer token of an API client.
    Bearer = 2,
}

/// A session to be added.
#[derive(Debug, Clone, Copy)]
pub struct NewSession {
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// Whose.
    pub user_id: i64,
    /// As what.
    pub kind: Kind,
    /// Now.
    pub created_at: Timestamp,
    /// From then on it is dead.
    pub expires_at: Timestamp,
}

/// A session that is alive.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Session {
    /// Whose.
    pub user_id: i64,
    /// The user's name.
    pub username: String,
    /// From then on it is dead.
    pub expires_at: Timestamp,
}

/// Adds a session.
pub fn insert(conn: &mut Conn<'_>, new: &NewSession) -> QueryResult<()> {
    on!(conn, |c| diesel::insert_into(sessions::table)
        .values((
            sessions::token_hash.eq(&new.token_hash[..]),
            sessions::user_id.eq(new.user_id),
            sessions::kind.eq(new.kind as i16),
            sessions::created_at.eq(new.created_at),
            sessions::expires_at.eq(new.expires_at),
        ))
        .execute(c))?;
    Ok(())
}

/// The session of a token, unless it is of another kind, has expired or its user is locked out.
pub fn find(
    conn: &mut Conn<'_>,
    token_hash: &[u8; 32],
    kind: Kind,
    now: Timestamp,
) -> QueryResult<Option<Session>> {
    on!(conn, |c| sessions::table
        .inner_join(users::table.on(users::id.eq(sessions::user_id)))
        .filter(sessions::token_hash.eq(&token_hash[..]))
        .filter(sessions::kind.eq(kind as i16))
        .filter(sessions::expires_at.gt(now))
        .filter(users::disabled.eq(false))
        .select((sessions::user_id, users::username, sessions::expires_at))
        .first(c)
        .optional())
}

/// Ends a session.
pub fn delete(conn: &mut Conn<'_>, token_hash: &[u8; 32]) -> QueryResult<()> {
    on!(conn, |c| diesel::delete(sessions::table.find(&token_hash[..])).execute(c))?;
    Ok(())
}

/// Ends all sessions of a user, or those of one kind, and says which they were.
pub fn delete_of_user(
    conn: &mut Conn<'_>,
    user_id: i64,
    kind: Option<Kind>,
) -> QueryResult<Vec<[u8; 32]>> {
    let kinds: &[i16] = match kind {
        None => &[Kind::Cookie as i16, Kind::Bearer as i16],
        Some(Kind::Cookie) => &[Kind::Cookie as i16],
        Some(Kind::Bearer) => &[Kind::Bearer as i16],
    };
    let deleted: Vec<Vec<u8>> = on!(conn, |c| diesel::delete(
        sessions::table
            .filter(sessions::user_id.eq(user_id))
            .filter(sessions::kind.eq_any(kinds.iter().copied()))
    )
    .returning(sessions::token_hash)
    .get_results(c))?;
    Ok(deleted.iter().filter_map(|hash| hash.as_slice().try_into().ok()).collect())
}

/// Removes at most `limit` sessions that expired before `now`, the oldest first.
pub fn delete_expired(conn: &mut Conn<'_>, now: Timestamp, limit: usize) -> QueryResult<usize> {
    on!(conn, |c| diesel::sql_query(
        "DELETE FROM sessions WHERE token_hash IN \
         (SELECT token_hash FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)"
    )
    .bind::<BigInt, _>(now)
    .bind::<BigInt, _>(limit as i64)
    .execute(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::databases;
    use crate::store::users;

    fn user(conn: &mut Conn<'_>, name: &str) -> QueryResult<i64> {
        let new = users::NewUser {
            username: name.into(),
            email: format!("{name}@example.com"),
            password_hash: String::new(),
            created_at: Timestamp(1),
        };
        Ok(users::create(conn, &new)?.expect("a new user"))
    }

    fn session(token: u8, user_id: i64, kind: Kind, expires: i64) -> NewSession {
        NewSession {
            token_hash: [token; 32],
            user_id,
            kind,
            created_at: Timestamp(1),
            expires_at: Timestamp(expires),
        }
    }

    #[test]
    fn a_session_is_found_while_it_is_alive() {
        for test in databases() {
            test.db
                .write_blocking(|conn| {
                    let ann = user(conn, "ann")?;
                    insert(conn, &session(1, ann, Kind::Cookie, 100))?;
                    let at = Timestamp;
                    let found = find(conn, &[1; 32], Kind::Cookie, at(99))?.expect("alive");
                    assert_eq!((found.user_id, found.username.as_str()), (ann, "ann"));
                    assert_eq!(found.expires_at, at(100));
                    assert_eq!(find(conn, &[1; 32], Kind::Cookie, at(100))?, None, "expired");
                    assert_eq!(find(conn, &[1; 32], Kind::Bearer, at(99))?, None, "other kind");
                    assert_eq!(find(conn, &[2; 32], Kind::Cookie, at(99))?, None, "unknown");

                    users::set_disabled(conn, ann, true)?;
                    assert_eq!(find(conn, &[1; 32], Kind::Cookie, at(99))?, None, "locked out");
                    users::set_disabled(conn, ann, false)?;
                    delete(conn, &[1; 32])?;
                    assert_eq!(find(conn, &[1; 32], Kind::Cookie, at(99))?, None, "deleted");
                    Ok(())
                })
                .unwrap();
        }
    }

    #[test]
    fn all_sessions_of_one_user_end_and_nobody_elses() {
        for test in databases() {
            test.db
                .write_blocking(|conn| {
                    let (ann, bob) = (user(conn, "ann")?, user(conn, "bob")?);
                    insert(conn, &session(1, ann, Kind::Cookie, 100))?;
                    insert(conn, &session(2, ann, Kind::Bearer, 100))?;
                    insert(conn, &session(3, ann, Kind::Bearer, 100))?;
                    insert(conn, &session(4, bob, Kind::Bearer, 100))?;
                    let mut bearers = delete_of_user(conn, ann, Some(Kind::Bearer))?;
                    bearers.sort_unstable();
                    assert_eq!(bearers, [[2; 32], [3; 32]], "{}", test.name);
                    assert_eq!(delete_of_user(conn, ann, None)?, [[1; 32]]);
                    assert!(find(conn, &[4; 32], Kind::Bearer, Timestamp(1))?.is_some());
                    Ok(())
                })
                .unwrap();
        }
    }

    #[test]
    fn expired_sessions_go_in_bounded_steps_and_live_ones_stay() {
        for test in databases() {
            test.db
                .write_blocking(|conn| {
                    let ann = user(conn, "ann")?;
                    for token in 1..=5 {
                        insert(conn, &session(token, ann, Kind::Cookie, i64::from(token) * 10))?;
                    }
                    assert_eq!(delete_expired(conn, Timestamp(40), 3)?, 3, "{}", test.name);
                    assert_eq!(delete_expired(conn, Timestamp(40), 3)?, 1);
                    assert_eq!(delete_expired(conn, Timestamp(40), 3)?, 0);
                    assert!(find(conn, &[5; 32], Kind::Cookie, Timestamp(40))?.is_some());
                    Ok(())
                })
                .unwrap();
        }
    }
}
