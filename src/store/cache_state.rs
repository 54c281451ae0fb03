//! What the database knows of the Redis tier: the epoch of what is cached there, and whether a
//! commit may not have reached it. The rules stand in [`crate::redis_tier`].

use diesel::prelude::*;

use super::schema::cache_state::dsl;
use super::{Conn, on};

/// The one row of the table.
const ROW: i64 = 0;

/// The state of the cache tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheState {
    /// What Redis holds under another epoch is void.
    pub epoch: i64,
    /// Whether a commit may not have reached Redis.
    pub dirty: bool,
}

/// The current epoch. Read it in the same transaction as the rows that it is to vouch for, or
/// before them: never after.
pub fn epoch(conn: &mut Conn<'_>) -> QueryResult<i64> {
    on!(conn, |c| dsl::cache_state.find(ROW).select(dsl::epoch).get_result(c))
}

/// The whole state.
pub fn state(conn: &mut Conn<'_>) -> QueryResult<CacheState> {
    let (epoch, dirty) =
        on!(conn, |c| dsl::cache_state.find(ROW).select((dsl::epoch, dsl::dirty)).get_result(c))?;
    Ok(CacheState { epoch, dirty })
}

/// Makes everything void that Redis holds, and returns the new epoch.
pub fn advance_epoch(conn: &mut Conn<'_>) -> QueryResult<i64> {
    on!(conn, |c| diesel::update(dsl::cache_state.find(ROW))
        .set(dsl::epoch.eq(dsl::epoch + 1))
        .returning(dsl::epoch)
        .get_result(c))
}

/// To be called once when a process starts: after a run that left the state dirty (a crash, or
/// a run without Redis) nothing in Redis counts. Stays dirty until [`clear_dirty`].
pub fn recover(conn: &mut Conn<'_>) -> QueryResult<CacheState> {
    let found = state(conn)?;
    let epoch = if found.dirty { advance_epoch(conn)? } else { found.epoch };
    Ok(CacheState { epoch, ..found })
}

/// Notes in a writer's transaction that Redis will be behind once it commits. Must be the first
/// statement that locks a row: all writers take this lock first, so they cannot deadlock on it.
pub fn mark_dirty(conn: &mut Conn<'_>) -> QueryResult<()> {
    on!(conn, |c| diesel::update(dsl::cache_state.find(ROW).filter(dsl::dirty.eq(false)))
        .set(dsl::dirty.eq(true))
        .execute(c))
    .map(|_| ())
}

/// Notes that every commit has reached Redis.
pub fn clear_dirty(conn: &mut Conn<'_>) -> QueryResult<()> {
    on!(conn, |c| diesel::update(dsl::cache_state.find(ROW)).set(dsl::dirty.eq(false)).execute(c))
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    #[test]
    fn a_dirty_start_voids_and_a_clean_one_keeps() {
        for test in testing::databases() {
            let recovered = || test.db.write_blocking(|conn| Ok(recover(conn)?)).unwrap();
            let first = recovered();
            assert_eq!(first, CacheState { epoch: 2, dirty: true }, "{}: as made", test.name);
            assert_eq!(recovered().epoch, 3, "{}: dirty until cleared", test.name);

            test.db.write_blocking(|conn| Ok(clear_dirty(conn)?)).unwrap();
            assert_eq!(recovered(), CacheState { epoch: 3, dirty: false }, "{}", test.name);

            test.db.write_blocking(|conn| Ok(mark_dirty(conn)?)).unwrap();
            test.db.write_blocking(|conn| Ok(mark_dirty(conn)?)).unwrap();
            assert_eq!(recovered(), CacheState { epoch: 4, dirty: true }, "{}", test.name);
            assert_eq!(test.db.read_blocking(|conn| Ok(epoch(conn)?)).unwrap(), 4);
        }
    }
}
