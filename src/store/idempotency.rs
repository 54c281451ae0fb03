//! Answers that are kept so that a retried POST gets the first one again.
//!
//! The row is written in the transaction of the thing it answers for: either both are there or
//! neither is.

use diesel::backend::Backend;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Binary, HasSqlType, Text};

use super::schema::idempotency_keys;
use super::{Conn, ROWS_PER_STATEMENT, StoreError, on};
use crate::time::Timestamp;

/// How long an answer is kept, in microseconds.
const KEPT_MICROS: i64 = 24 * 3600 * 1_000_000;

/// A client's name for one request, and what the request was.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// The client's choice: 1 to 255 visible ASCII characters.
    pub key: String,
    /// SHA-256 of the endpoint and the body: the same key with another body is refused.
    pub fingerprint: [u8; 32],
}

/// An answer to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptResponse {
    /// Whose key; keys of different users are different.
    pub user_id: i64,
    /// The key and what it stands for.
    pub key: IdempotencyKey,
    /// The body that was answered, to the byte.
    pub response: String,
}

#[derive(Insertable)]
#[diesel(table_name = idempotency_keys, treat_none_as_default_value = false)]
struct NewKey<'a> {
    user_id: i64,
    idempotency_key: &'a str,
    fingerprint: &'a [u8],
    response: &'a str,
    created_at: Timestamp,
}

/// What is kept for the keys and not older than 24 h before `now`, in no order.
pub fn find(
    conn: &mut Conn<'_>,
    keys: &[(i64, &str)],
    now: Timestamp,
) -> QueryResult<Vec<KeptResponse>> {
    let bound = oldest_kept(now).0;
    let mut found = Vec::new();
    for keys in keys.chunks(ROWS_PER_STATEMENT) {
        let rows: Vec<(i64, String, Vec<u8>, String)> =
            on!(conn, |c| Among { head: SELECT_KEPT, bound, keys }.load(c))?;
        found.extend(rows.into_iter().map(|(user_id, key, fingerprint, response)| {
            // A fingerprint of another length is nobody's: it equals no request's.
            let fingerprint = fingerprint.try_into().unwrap_or([0; 32]);
            KeptResponse { user_id, key: IdempotencyKey { key, fingerprint }, response }
        }));
    }
    Ok(found)
}

/// Keeps answers. A row older than 24 h is replaced.
///
/// # Errors
/// [`StoreError::Conflict`] when another transaction has used one of the keys since [`find`]:
/// the whole transaction is to be run again, and will find the other's answer.
pub fn insert(
    conn: &mut Conn<'_>,
    kept: &[KeptResponse],
    now: Timestamp,
) -> Result<(), StoreError> {
    for kept in kept.chunks(ROWS_PER_STATEMENT) {
        let rows: Vec<NewKey<'_>> = kept
            .iter()
            .map(|kept| NewKey {
                user_id: kept.user_id,
                idempotency_key: &kept.key.key,
                fingerprint: &kept.key.fingerprint,
                response: &kept.response,
                created_at: now,
            })
            .collect();
        let keys: Vec<(i64, &str)> =
            kept.iter().map(|kept| (kept.user_id, kept.key.key.as_str())).collect();
        let expired = Among { head: DELETE_EXPIRED, bound: oldest_kept(now).0, keys: &keys };
        on!(conn, |c| expired.execute(c))?;
        let written = on!(conn, |c| diesel::insert_into(idempotency_keys::table)
            .values(&rows)
            .on_conflict_do_nothing()
            .execute(c))?;
        if written != rows.len() {
            return Err(StoreError::Conflict("an idempotency key was used meanwhile".into()));
        }
    }
    Ok(())
}

/// Removes up to `limit` answers that are no longer kept; returns how many.
pub fn delete_older_than(conn: &mut Conn<'_>, now: Timestamp, limit: i64) -> QueryResult<usize> {
    let keys: Vec<(i64, String)> = on!(conn, |c| idempotency_keys::table
        .filter(idempotency_keys::created_at.lt(oldest_kept(now)))
        .order(idempotency_keys::created_at)
        .limit(limit)
        .select((idempotency_keys::user_id, idempotency_keys::idempotency_key))
        .load(c))?;
    let keys: Vec<(i64, &str)> =
        keys.iter().map(|(user_id, key)| (*user_id, key.as_str())).collect();
    let mut removed = 0;
    for keys in keys.chunks(ROWS_PER_STATEMENT) {
        let bound = oldest_kept(now).0;
        removed += on!(conn, |c| Among { head: DELETE_EXPIRED, bound, keys }.execute(c))?;
    }
    Ok(removed)
}

const SELECT_KEPT: &str = "SELECT user_id, idempotency_key, fingerprint, response \
     FROM idempotency_keys WHERE created_at >= ";
const DELETE_EXPIRED: &str = "DELETE FROM idempotency_keys WHERE created_at < ";

/// `head`, `bound`, then `AND (user_id, idempotency_key) IN (VALUES ...)`, which diesel cannot
/// say. Two lists would make Postgres probe every pair.
struct Among<'a> {
    head: &'static str,
    bound: i64,
    keys: &'a [(i64, &'a str)],
}

impl QueryId for Among<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Among<'_> {
    type SqlType = (BigInt, Text, Binary, Text);
}

impl<C> RunQueryDsl<C> for Among<'_> {}

impl<DB> QueryFragment<DB> for Among<'_>
where
    DB: Backend + HasSqlType<BigInt> + HasSqlType<Text>,
    i64: ToSql<BigInt, DB>,
    str: ToSql<Text, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        // The text depends on the number of keys: caching it would keep a thousand statements.
        out.unsafe_to_cache_prepared();
        out.push_sql(self.head);
        out.push_bind_param::<BigInt, _>(&self.bound)?;
        out.push_sql(" AND (user_id, idempotency_key) IN (VALUES ");
        for (at, (user_id, key)) in self.keys.iter().enumerate() {
            out.push_sql(if at == 0 { "(" } else { ", (" });
            out.push_bind_param::<BigInt, _>(user_id)?;
            out.push_sql(", ");
            out.push_bind_param::<Text, str>(key)?;
            out.push_sql(")");
        }
        out.push_sql(")");
        Ok(())
    }
}

fn oldest_kept(now: Timestamp) -> Timestamp {
    Timestamp(now.0.saturating_sub(KEPT_MICROS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::databases;

    fn kept(user_id: i64, key: &str, response: &str) -> KeptResponse {
        let key = IdempotencyKey { key: key.into(), fingerprint: [7; 32] };
        KeptResponse { user_id, key, response: response.into() }
    }

    #[test]
    fn answers_are_kept_for_a_day() {
        const DAY: i64 = 24 * 3600 * 1_000_000;
        for test in databases() {
            let outcome = test.db.write_blocking(|conn| {
                let first = [kept(1, "a", "one"), kept(1, "b", "two"), kept(2, "a", "three")];
                insert(conn, &first, Timestamp(DAY))?;
                let asked = [(1, "a"), (2, "b")];
                assert_eq!(find(conn, &asked, Timestamp(DAY))?, first[..1], "{}", test.name);
                assert!(find(conn, &[], Timestamp(DAY))?.is_empty());
                let again = insert(conn, &first[1..2], Timestamp(DAY + 1));
                assert!(matches!(again, Err(StoreError::Conflict(_))));

                let later = Timestamp(2 * DAY + 1);
                assert!(find(conn, &asked, later)?.is_empty(), "expired");
                insert(conn, &[kept(1, "a", "new")], later)?;
                assert_eq!(find(conn, &asked, later)?[0].response, "new");
                assert_eq!(delete_older_than(conn, later, 1)?, 1);
                assert_eq!(delete_older_than(conn, later, 10)?, 1);
                assert_eq!(find(conn, &asked, later)?.len(), 1);
                Ok(())
            });
            outcome.unwrap();
        }
    }
}
