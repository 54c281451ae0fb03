//! Which rows a statement has gone through on SQLite, for less than `RETURNING` costs.
//!
//! SQLite keeps the rows of a `RETURNING` clause in a table of their own until the statement
//! has ended, and then hands them out one by one: as much work again as the delivery of a feed
//! entry. A function of ours, called for each row on its way, writes the id down and is done.
//!
//! For statements that take their rows as an index has them: before a sort, SQLite would call the
//! function for rows that a LIMIT then leaves out.

use std::cell::RefCell;

use diesel::sql_types::BigInt;
use diesel::{QueryResult, SqliteConnection};

thread_local! {
    /// SQLite calls the function on the thread that runs the statement.
    static NOTED: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
}

#[diesel::declare_sql_function]
extern "SQL" {
    /// Writes the id of a row down, and is that id.
    fn noted(id: BigInt) -> BigInt;
}

/// Makes a connection know the function `noted`.
pub(super) fn teach(conn: &mut SqliteConnection) -> QueryResult<()> {
    noted_utils::register_nondeterministic_impl(conn, |id: i64| {
        NOTED.with_borrow_mut(|noted| noted.push(id));
        id
    })
}

/// The ids that `statement` has noted, about `room` of them, and how many rows it says it has
/// written.
pub(super) fn taken_down(
    room: usize,
    statement: impl FnOnce() -> QueryResult<usize>,
) -> QueryResult<(usize, Vec<i64>)> {
    // What a statement that failed has left behind goes, too.
    NOTED.set(Vec::with_capacity(room));
    let rows = statement()?;
    Ok((rows, NOTED.take()))
}

#[cfg(test)]
mod tests {
    use diesel::RunQueryDsl;

    use super::*;
    use crate::store::{Conn, testing};

    #[test]
    fn each_statement_has_its_own_notes() {
        let test = testing::sqlite();
        test.db
            .write_blocking(|conn| {
                let Conn::Sqlite(conn) = conn else { unreachable!("this is SQLite") };
                let mut run = |ids: &str| {
                    let insert = format!(
                        "INSERT INTO newsfeeds (user_id, created_at, tweet_id) \
                         SELECT noted(column1), 1, 1 FROM (VALUES {ids})"
                    );
                    taken_down(2, || diesel::sql_query(insert).execute(&mut **conn))
                };
                assert_eq!(run("(3), (1), (2)")?, (3, vec![3, 1, 2]));
                assert!(run("(4), (1)").is_err(), "a row that is there already");
                assert_eq!(run("(5)")?, (1, vec![5]), "nothing is left of the one that failed");
                Ok(())
            })
            .unwrap();
    }
}
