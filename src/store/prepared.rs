//! Statements in SQL whose plan a connection keeps.
//!
//! Diesel prepares what `sql_query` gives it each time anew, which is a second round trip and a
//! second planning. The ordered writer runs the same few statements for ever.

use diesel::backend::Backend;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, HasSqlType, Untyped};

/// A statement; each `?` in its text stands for the next of `binds`, which are all BIGINT.
pub(super) struct Prepared<'a> {
    pub(super) sql: &'static str,
    pub(super) binds: &'a [i64],
}

impl QueryId for Prepared<'_> {
    type QueryId = ();
    // Kept by its text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Prepared<'_> {
    type SqlType = Untyped;
}

impl<C> RunQueryDsl<C> for Prepared<'_> {}

impl<DB> QueryFragment<DB> for Prepared<'_>
where
    DB: Backend + HasSqlType<BigInt>,
    i64: ToSql<BigInt, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        let mut binds = self.binds.iter();
        for (place, text) in self.sql.split('?').enumerate() {
            if place > 0 {
                let bind = binds.next().ok_or(diesel::result::Error::NotFound)?;
                out.push_bind_param::<BigInt, _>(bind)?;
            }
            out.push_sql(text);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{on, testing};

    #[derive(QueryableByName)]
    struct Sum {
        #[diesel(sql_type = BigInt)]
        sum: i64,
    }

    #[test]
    fn binds_stand_where_the_text_says() {
        for test in testing::databases() {
            test.db
                .read_blocking(|conn| {
                    for binds in [[1, 20, 300], [4, 50, 600]] {
                        let sql = "SELECT CAST(? AS BIGINT) + CAST(? AS BIGINT) * 2 \
                                   + CAST(? AS BIGINT) AS sum";
                        let query = Prepared { sql, binds: &binds };
                        let Sum { sum } = on!(conn, |c| query.get_result(c))?;
                        assert_eq!(sum, binds[0] + 2 * binds[1] + binds[2], "{}", test.name);
                    }
                    let few = Prepared { sql: "SELECT CAST(? AS BIGINT) AS sum", binds: &[] };
                    assert!(on!(conn, |c| few.get_result::<Sum>(c)).is_err(), "{}", test.name);
                    Ok(())
                })
                .unwrap();
        }
    }
}
