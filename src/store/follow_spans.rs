//! Numbered pages of long follower lists.
//!
//! A list is cut into spans of time, each opened by a follow and closed after [`SPAN_ROWS`]
//! follows; a row counts how many of them are left. Page n is found by adding up the counts
//! from the newest span on and skipping only inside one span. A million followers are about
//! 2,000 counts, so the last page costs a small multiple of the first, and not 50,000 times it.

use diesel::prelude::*;

use super::friendships::{self, Friend, Side};
use super::prepared::Prepared;
use super::schema::follow_spans;
use super::{Conn, on};
use crate::time::Timestamp;

/// Follows after which a new span begins.
pub const SPAN_ROWS: i64 = 512;

impl Side {
    /// The value stored in the column `side`.
    pub fn code(self) -> i16 {
        match self {
            Side::Followers => 1,
            Side::Followings => 2,
        }
    }
}

/// Counts a follow that happened at `at`, which must be later than all before (the ordered
/// writer sees to that).
pub(super) fn add(conn: &mut Conn<'_>, user: i64, side: Side, at: Timestamp) -> QueryResult<()> {
    let code = i64::from(side.code());
    let query = Prepared {
        sql: "UPDATE follow_spans SET added = added + 1, live = live + 1 \
              WHERE user_id = ? AND side = ? AND added < ? AND start_at = \
              (SELECT max(start_at) FROM follow_spans WHERE user_id = ? AND side = ?)",
        binds: &[user, code, SPAN_ROWS, user, code],
    };
    if on!(conn, |c| query.execute(c))? == 0 {
        on!(conn, |c| diesel::insert_into(follow_spans::table)
            .values((
                follow_spans::user_id.eq(user),
                follow_spans::side.eq(side.code()),
                follow_spans::start_at.eq(at),
                follow_spans::added.eq(1),
                follow_spans::live.eq(1),
            ))
            .execute(c))?;
    }
    Ok(())
}

/// Uncounts a follow that had happened at `since`.
pub(super) fn remove(
    conn: &mut Conn<'_>,
    user: i64,
    side: Side,
    since: Timestamp,
) -> QueryResult<()> {
    let code = i64::from(side.code());
    let query = Prepared {
        sql: "UPDATE follow_spans SET live = live - 1 \
              WHERE user_id = ? AND side = ? AND start_at = (SELECT max(start_at) \
              FROM follow_spans WHERE user_id = ? AND side = ? AND start_at <= ?)",
        binds: &[user, code, user, code, since.micros()],
    };
    on!(conn, |c| query.execute(c)).map(|_| ())
}

/// A numbered page, newest first: how many rows there are in all, and the rows after `skip`.
pub fn numbered_page(
    conn: &mut Conn<'_>,
    user: i64,
    side: Side,
    skip: u64,
    want: usize,
) -> QueryResult<(u64, Vec<Friend>)> {
    let spans: Vec<(Timestamp, i64)> = on!(conn, |c| follow_spans::table
        .filter(follow_spans::user_id.eq(user).and(follow_spans::side.eq(side.code())))
        .order(follow_spans::start_at.desc())
        .select((follow_spans::start_at, follow_spans::live))
        .load(c))?;
    let total: u64 = spans.iter().map(|(_, live)| (*live).max(0) as u64).sum();
    if skip >= total {
        return Ok((total, Vec::new()));
    }
    let mut left = skip;
    let mut older_than = Timestamp(i64::MAX);
    for (start_at, live) in spans {
        let live = live.max(0) as u64;
        if left < live {
            break;
        }
        left -= live;
        older_than = start_at;
    }
    let rows = friendships::page(conn, user, side, older_than, left as usize, want)?;
    Ok((total, rows))
}

/// How many rows the list has.
pub fn total(conn: &mut Conn<'_>, user: i64, side: Side) -> QueryResult<u64> {
    let lives: Vec<i64> = on!(conn, |c| follow_spans::table
        .filter(follow_spans::user_id.eq(user).and(follow_spans::side.eq(side.code())))
        .select(follow_spans::live)
        .load(c))?;
    Ok(lives.iter().map(|live| (*live).max(0) as u64).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    /// Numbered pages must agree with the plain list, also after unfollows left holes.
    #[test]
    fn pages_by_spans_equal_pages_by_walking() {
        for test in testing::databases() {
            let followers = 3 * SPAN_ROWS + 7;
            test.db
                .write_blocking(|conn| {
                    for n in 0..followers {
                        friendships::follow(conn, 100 + n, 1, Timestamp(10 + n))?;
                    }
                    for n in (0..followers).step_by(5) {
                        assert!(friendships::unfollow(conn, 100 + n, 1)?);
                    }
                    let all =
                        friendships::page(conn, 1, Side::Followers, Timestamp(i64::MAX), 0, 9999)?;
                    for skip in (0..all.len()).step_by(83) {
                        let (total, page) =
                            numbered_page(conn, 1, Side::Followers, skip as u64, 20)?;
                        assert_eq!(total, all.len() as u64, "{}", test.name);
                        let expected = &all[skip..(skip + 20).min(all.len())];
                        assert_eq!(page, expected, "{} skip {skip}", test.name);
                    }
                    let (_, beyond) =
                        numbered_page(conn, 1, Side::Followers, all.len() as u64, 20)?;
                    assert!(beyond.is_empty());
                    Ok(())
                })
                .unwrap();
        }
    }
}
