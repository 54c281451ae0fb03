//! Accounts: names, addresses and password hashes.

use diesel::prelude::*;

use super::schema::{profiles, users};
use super::{Conn, on};
use crate::time::Timestamp;

/// A user to be added. Name and address are in lower case.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = users, treat_none_as_default_value = false)]
pub struct NewUser {
    /// Unique.
    pub username: String,
    /// Unique.
    pub email: String,
    /// In PHC form.
    pub password_hash: String,
    /// Now.
    pub created_at: Timestamp,
}

/// Which of a new user's names belong to somebody already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// The user name.
    pub username: bool,
    /// The address.
    pub email: bool,
}

/// What a login is checked against.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Credentials {
    /// The user.
    pub user_id: i64,
    /// As stored, in lower case.
    pub username: String,
    /// In PHC form.
    pub password_hash: String,
    /// Whether the account is locked.
    pub disabled: bool,
}

/// An account as its operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Account {
    /// The user.
    pub id: i64,
    /// In lower case.
    pub username: String,
    /// Whether the account is locked.
    pub disabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The account with this name, or else with this id: a name may be all digits.
pub fn find(conn: &mut Conn<'_>, name_or_id: &str) -> QueryResult<Option<Account>> {
    let columns = (users::id, users::username, users::disabled, users::created_at);
    let named = on!(conn, |c| users::table
        .filter(users::username.eq(name_or_id))
        .select(columns)
        .first(c)
        .optional())?;
    match (named, name_or_id.parse::<i64>()) {
        (None, Ok(id)) => {
            on!(conn, |c| users::table.find(id).select(columns).first(c).optional())
        }
        (named, _) => Ok(named),
    }
}

/// Adds the user and the profile. `None` when name or address are taken; [`taken`] says which.
pub fn create(conn: &mut Conn<'_>, new: &NewUser) -> QueryResult<Option<i64>> {
    // Not an error that is caught: in Postgres it would void the transaction, in which the
    // caller wants to ask which of the two it was.
    let id: Option<i64> = on!(conn, |c| diesel::insert_into(users::table)
        .values(new)
        .on_conflict_do_nothing()
        .returning(users::id)
        .get_result(c)
        .optional())?;
    if let Some(id) = id {
        on!(conn, |c| diesel::insert_into(profiles::table)
            .values(profiles::user_id.eq(id))
            .execute(c))?;
    }
    Ok(id)
}

/// Which of the two belong to somebody.
pub fn taken(conn: &mut Conn<'_>, username: &str, email: &str) -> QueryResult<Taken> {
    let rows: Vec<(String, String)> = on!(conn, |c| users::table
        .filter(users::username.eq(username).or(users::email.eq(email)))
        .select((users::username, users::email))
        .load(c))?;
    Ok(Taken {
        username: rows.iter().any(|(name, _)| name == username),
        email: rows.iter().any(|(_, address)| address == email),
    })
}

/// What a login under this name is checked against.
pub fn credentials(conn: &mut Conn<'_>, username: &str) -> QueryResult<Option<Credentials>> {
    on!(conn, |c| users::table
        .filter(users::username.eq(username))
        .select((users::id, users::username, users::password_hash, users::disabled))
        .first(c)
        .optional())
}

/// Whether the account is open and its password still the one that was checked. If so it stays
/// that way until this transaction ends: a concurrent change of password waits, and then
/// finds, and revokes, what this transaction has added.
pub fn hold_unchanged(conn: &mut Conn<'_>, checked: &Credentials) -> QueryResult<bool> {
    let same = users::table
        .filter(users::id.eq(checked.user_id))
        .filter(users::password_hash.eq(&checked.password_hash))
        .filter(users::disabled.eq(false))
        .select(users::id);
    let found: Option<i64> = match conn {
        Conn::Pg(c) => same.for_share().first(&mut **c).optional(),
        // A write transaction of SQLite is the only one.
        Conn::Sqlite(c) => same.first(&mut **c).optional(),
    }?;
    Ok(found.is_some())
}

/// Replaces the password hash. The user's name, or `None` when there is no such user.
pub fn set_password(
    conn: &mut Conn<'_>,
    user_id: i64,
    password_hash: &str,
) -> QueryResult<Option<String>> {
    on!(conn, |c| diesel::update(users::table.find(user_id))
        .set(users::password_hash.eq(password_hash))
        .returning(users::username)
        .get_result(c)
        .optional())
}

/// Locks or opens the account. The user's name, or `None` when there is no such user.
pub fn set_disabled(
    conn: &mut Conn<'_>,
    user_id: i64,
    disabled: bool,
) -> QueryResult<Option<String>> {
    on!(conn, |c| diesel::update(users::table.find(user_id))
        .set(users::disabled.eq(disabled))
        .returning(users::username)
        .get_result(c)
        .optional())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::store::sessions;
    use crate::store::testing::databases;

    fn new(username: &str, email: &str) -> NewUser {
        NewUser {
            username: username.into(),
            email: email.into(),
            password_hash: "hash".into(),
            created_at: Timestamp(1),
        }
    }

    #[test]
    fn a_user_comes_with_a_profile_and_only_once() {
        for test in databases() {
            test.db
                .write_blocking(|conn| {
                    let ann = new("ann", "ann@example.com");
                    let id = create(conn, &ann)?.expect("a new user");
                    assert_eq!(create(conn, &ann)?, None);
                    assert_eq!(create(conn, &new("ann", "other@example.com"))?, None);
                    assert_eq!(create(conn, &new("other", "ann@example.com"))?, None);
                    let count: i64 = on!(conn, |c| profiles::table
                        .filter(profiles::user_id.eq(id))
                        .count()
                        .get_result(c))?;
                    assert_eq!(count, 1, "{}", test.name);

                    let both = Taken { username: true, email: true };
                    assert_eq!(taken(conn, "ann", "ann@example.com")?, both);
                    let name = Taken { username: true, email: false };
                    assert_eq!(taken(conn, "ann", "x@example.com")?, name);
                    assert_eq!(taken(conn, "x", "x@example.com")?, Taken::default());
                    Ok(())
                })
                .unwrap();
        }
    }

    #[test]
    fn an_account_is_found_by_name_before_id() {
        for test in databases() {
            test.db
                .write_blocking(|conn| {
                    let ann = create(conn, &new("ann", "ann@example.com"))?.expect("ann");
                    // Somebody whose name is the id of somebody else.
                    let name = ann.to_string();
                    let digits = create(conn, &new(&name, "d@example.com"))?.expect("digits");
                    let mut id_of = |what: &str| {
                        Ok::<_, diesel::result::Error>(find(conn, what)?.map(|found| found.id))
                    };
                    assert_eq!(id_of("ann")?, Some(ann), "{}", test.name);
                    assert_eq!(id_of(&name)?, Some(digits));
                    assert_eq!(id_of(&digits.to_string())?, Some(digits));
                    assert_eq!(id_of("nobody")?, None);
                    assert_eq!(id_of("999999")?, None);
                    Ok(())
                })
                .unwrap();
        }
    }

    #[test]
    fn a_login_holds_only_what_it_has_checked() {
        for test in databases() {
            test.db
                .write_blocking(|conn| {
                    let id = create(conn, &new("ann", "ann@example.com"))?.expect("a new user");
                    assert_eq!(credentials(conn, "nobody")?, None);
                    let checked = credentials(conn, "ann")?.expect("ann");
                    assert_eq!((checked.user_id, checked.disabled), (id, false));
                    assert!(hold_unchanged(conn, &checked)?);

                    assert_eq!(set_disabled(conn, id, true)?.as_deref(), Some("ann"));
                    assert!(!hold_unchanged(conn, &checked)?, "{}", test.name);
                    set_disabled(conn, id, false)?;
                    assert_eq!(set_password(conn, id, "new hash")?.as_deref(), Some("ann"));
                    assert!(!hold_unchanged(conn, &checked)?, "{}", test.name);
                    assert_eq!(set_password(conn, id + 1, "x")?, None);
                    Ok(())
                })
                .unwrap();
        }
    }

    #[test]
    fn a_new_password_waits_for_a_login_that_has_checked_the_old_one() {
        for test in databases() {
            let id = test
                .db
                .write_blocking(|conn| Ok(create(conn, &new("ann", "ann@example.com"))?))
                .unwrap()
                .expect("a new user");
            let (done, wait) = mpsc::channel();
            let resetting = test
                .db
                .write_blocking(|conn| {
                    let checked = credentials(conn, "ann")?.expect("ann");
                    assert!(hold_unchanged(conn, &checked)?);
                    let (db, done) = (test.db.clone(), done.clone());
                    let resetting = std::thread::spawn(move || {
                        let ended = db.write_blocking(|conn| {
                            set_password(conn, id, "new hash")?;
                            Ok(sessions::delete_of_user(conn, id, None)?)
                        });
                        let _ = done.send(());
                        ended.unwrap()
                    });
                    // Time enough for it to get through, if nothing held it back.
                    let passed = wait.recv_timeout(Duration::from_millis(200));
                    assert_eq!(passed, Err(mpsc::RecvTimeoutError::Timeout), "{}", test.name);
                    let session = sessions::NewSession {
                        token_hash: [7; 32],
                        user_id: id,
                        kind: sessions::Kind::Cookie,
                        created_at: Timestamp(1),
                        expires_at: Timestamp(100),
                    };
                    sessions::insert(conn, &session)?;
                    Ok(resetting)
                })
                .unwrap();
            assert_eq!(resetting.join().unwrap(), [[7; 32]], "{}", test.name);
        }
    }
}
