//! What the database knows of the Redis tier: the epoch of what is cached there. Which commits
//! may not have reached it is known per node ([`super::nodes`]). The rules stand in
//! [`crate::redis_tier`].

use diesel::prelude::*;

use super::schema::cache_state::dsl;
use super::{Conn, nodes, on};

/// The one row of the table.
const ROW: i64 = 0;

/// The current epoch: what Redis holds under another one is void. Read it in the same
/// transaction as the rows that it is to vouch for, or before them: never after.
pub fn epoch(conn: &mut Conn<'_>) -> QueryResult<i64> {
    on!(conn, |c| dsl::cache_state.find(ROW).select(dsl::epoch).get_result(c))
}

/// Makes everything void that Redis holds, and returns the new epoch.
pub fn advance_epoch(conn: &mut Conn<'_>) -> QueryResult<i64> {
    on!(conn, |c| diesel::update(dsl::cache_state.find(ROW))
        .set(dsl::epoch.eq(dsl::epoch + 1))
        .returning(dsl::epoch)
        .get_result(c))
}

/// To be called once when the process `me` starts: after a nameless process, or one with the
/// same name, that has left its state dirty (a crash, or a run without Redis) nothing in Redis
/// counts. The debt is `me`'s from now on. Returns the epoch and whether it was advanced.
pub fn recover(conn: &mut Conn<'_>, me: i64) -> QueryResult<(i64, bool)> {
    let nameless = me != nodes::NAMELESS && nodes::bury(conn, &[nodes::NAMELESS])?;
    if !nameless && !nodes::is_dirty(conn, me)? {
        return Ok((epoch(conn)?, false));
    }
    nodes::mark_dirty(conn, me)?;
    Ok((advance_epoch(conn)?, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    const ME: i64 = nodes::NAMELESS;

    #[test]
    fn a_dirty_start_voids_and_a_clean_one_keeps() {
        for test in testing::databases() {
            let recovered = |me| test.db.write_blocking(|conn| Ok(recover(conn, me)?)).unwrap();
            assert_eq!(recovered(ME), (2, true), "{}: as made", test.name);
            assert_eq!(recovered(ME), (3, true), "{}: dirty until cleared", test.name);

            test.db.write_blocking(|conn| Ok(nodes::clear_dirty(conn, ME)?)).unwrap();
            assert_eq!(recovered(ME), (3, false), "{}", test.name);

            test.db.write_blocking(|conn| Ok(nodes::mark_dirty(conn, ME)?)).unwrap();
            test.db.write_blocking(|conn| Ok(nodes::mark_dirty(conn, ME)?)).unwrap();
            assert_eq!(recovered(ME), (4, true), "{}", test.name);
            assert_eq!(test.db.read_blocking(|conn| Ok(epoch(conn)?)).unwrap(), 4);

            assert_eq!(recovered(7), (5, true), "{}: taken over by a node", test.name);
            assert_eq!(recovered(7), (6, true), "{}: whose debt it is now", test.name);
            test.db.write_blocking(|conn| Ok(nodes::clear_dirty(conn, 7)?)).unwrap();
            assert_eq!(recovered(8), (6, false), "{}", test.name);
        }
    }
}
