//! Whether the database answers.

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::{Conn, on};

/// Asks for one row.
pub fn answers(conn: &mut Conn<'_>) -> QueryResult<()> {
    let query = diesel::dsl::sql::<BigInt>("SELECT last_at FROM timeline_clock WHERE shard = 0");
    let _: i64 = on!(conn, |c| query.get_result(c))?;
    Ok(())
}
