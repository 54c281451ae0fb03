//! The processes that serve from this database, and what they tell each other.
//!
//! A node on Postgres has a row here for as long as others must be told of its commits and it
//! of theirs, and its listening session holds an advisory lock in the node's name: a row whose
//! lock nobody holds is that of a node that has died. The rules stand in [`crate::bus`].

use diesel::connection::SimpleConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Integer, Text};

use super::pool::setup::postgres_url;
use super::schema::nodes::dsl;
use super::{Conn, on};

/// The node without a name: the one process on SQLite.
pub const NAMELESS: i64 = 0;

/// The channel of the bus.
pub const CHANNEL: &str = "roost";

/// First half of the advisory locks of nodes ("roos"); the second is the node.
const LOCK_SPACE: i32 = 0x726f_6f73;

/// How a node stands when it commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether it has a row. If not, it has been taken for dead.
    pub is_member: bool,
    /// Whether others have one, which have been told then.
    pub has_company: bool,
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// Sends `payloads` to all nodes when the transaction commits, if there are others than `me`.
/// Must be the last statement of the transaction: [`writers_at_work`] rests on it.
pub fn announce(conn: &mut Conn<'_>, me: i64, payloads: &[String]) -> QueryResult<Standing> {
    let Conn::Pg(c) = conn else {
        return Ok(Standing { is_member: true, has_company: false });
    };
    let (own, others, _) = Announce { me, payloads }.get_result::<(i64, i64, i64)>(&mut **c)?;
    Ok(Standing { is_member: own > 0, has_company: others > 0 })
}

/// Counts the nodes and sends in one statement, prepared once.
struct Announce<'a> {
    me: i64,
    payloads: &'a [String],
}

impl QueryId for Announce<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Announce<'_> {
    type SqlType = (BigInt, BigInt, BigInt);
}

impl RunQueryDsl<PgConnection> for Announce<'_> {}

impl QueryFragment<Pg> for Announce<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH known AS (SELECT count(*) FILTER (WHERE id = ");
        out.push_bind_param::<BigInt, _>(&self.me)?;
        out.push_sql(") AS own, count(*) FILTER (WHERE id NOT IN (0, ");
        out.push_bind_param::<BigInt, _>(&self.me)?;
        out.push_sql(")) AS others FROM nodes) SELECT own, others, (SELECT count(pg_notify(");
        out.push_bind_param::<Text, _>(CHANNEL)?;
        out.push_sql(", payload)) FROM unnest(");
        out.push_bind_param::<Array<Text>, _>(&self.payloads)?;
        out.push_sql(") AS payload WHERE known.others > 0) FROM known");
        Ok(())
    }
}

/// Sends `payloads` to all nodes when the transaction commits.
pub fn send(conn: &mut Conn<'_>, payloads: &[String]) -> QueryResult<()> {
    let Conn::Pg(c) = conn else { return Ok(()) };
    diesel::sql_query("SELECT pg_notify($1, payload) FROM unnest($2) AS payload")
        .bind::<Text, _>(CHANNEL)
        .bind::<Array<Text>, _>(payloads)
        .execute(&mut **c)
        .map(|_| ())
}

/// Adds the node's row.
pub fn enter(conn: &mut Conn<'_>, me: i64) -> QueryResult<()> {
    let row = (dsl::id.eq(me), dsl::dirty.eq(false));
    on!(conn, |c| diesel::insert_into(dsl::nodes).values(row).on_conflict_do_nothing().execute(c))
        .map(|_| ())
}

/// Removes the node's row at its end, if it owes nothing and nobody else is there. With company
/// the row stays until it is buried: what the node has said last is then heard before anybody
/// takes itself to be alone.
pub fn leave(conn: &mut Conn<'_>, me: i64) -> QueryResult<()> {
    if !others(conn, me)?.is_empty() {
        return Ok(());
    }
    let own = dsl::nodes.find(me).filter(dsl::dirty.eq(false));
    on!(conn, |c| diesel::delete(own).execute(c)).map(|_| ())
}

/// The other nodes.
pub fn others(conn: &mut Conn<'_>, me: i64) -> QueryResult<Vec<i64>> {
    on!(conn, |c| dsl::nodes
        .filter(dsl::id.ne_all([NAMELESS, me]))
        .select(dsl::id)
        .order(dsl::id)
        .load(c))
}

/// Those of the others that have died, or have lost the session that they listen on.
pub fn dead(conn: &mut Conn<'_>, me: i64) -> QueryResult<Vec<i64>> {
    let Conn::Pg(c) = conn else { return Ok(Vec::new()) };
    let rows: Vec<Id> = diesel::sql_query(
        "SELECT id FROM nodes WHERE id NOT IN (0, $1) AND NOT EXISTS (\
             SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND classid = $2::bigint::oid AND objid = nodes.id::oid AND objsubid = 2) \
         ORDER BY id",
    )
    .bind::<BigInt, _>(me)
    .bind::<BigInt, _>(i64::from(LOCK_SPACE))
    .load(&mut **c)?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Removes the rows of nodes that have died and says whether one of them was dirty.
pub fn bury(conn: &mut Conn<'_>, ids: &[i64]) -> QueryResult<bool> {
    let dead = dsl::nodes.filter(dsl::id.eq_any(ids));
    let dirty: Vec<bool> =
        on!(conn, |c| diesel::delete(dead).returning(dsl::dirty).get_results(c))?;
    Ok(dirty.contains(&true))
}

/// Notes in a writer's transaction that Redis will be behind once it commits. Must be the first
/// statement that locks a row: all writers of a node take this lock first, so they cannot
/// deadlock on it.
pub fn mark_dirty(conn: &mut Conn<'_>, me: i64) -> QueryResult<()> {
    let mark = diesel::sql_query(
        "INSERT INTO nodes (id, dirty) VALUES ($1, TRUE) \
         ON CONFLICT (id) DO UPDATE SET dirty = TRUE WHERE NOT nodes.dirty",
    )
    .bind::<BigInt, _>(me);
    on!(conn, |c| mark.execute(c)).map(|_| ())
}

/// Notes that every commit of the node has reached Redis.
pub fn clear_dirty(conn: &mut Conn<'_>, me: i64) -> QueryResult<()> {
    let own = dsl::nodes.find(me).filter(dsl::dirty.eq(true));
    on!(conn, |c| diesel::update(own).set(dsl::dirty.eq(false)).execute(c)).map(|_| ())
}

/// Whether the node may have commits that Redis has not followed.
pub fn is_dirty(conn: &mut Conn<'_>, me: i64) -> QueryResult<bool> {
    let dirty: Option<bool> =
        on!(conn, |c| dsl::nodes.find(me).select(dsl::dirty).first(c).optional())?;
    Ok(dirty.unwrap_or(false))
}

/// Sessions of Roost that are changing rows of this database now, each with its transaction.
///
/// Whoever has committed a change to `nodes` and then waits until none of these is at work any
/// more knows that later [`announce`]s have seen the change: a transaction has written before it
/// announces, so one that announced before the change is among these until it ends.
pub fn writers_at_work(conn: &mut Conn<'_>) -> QueryResult<Vec<(i32, String)>> {
    #[derive(QueryableByName)]
    struct Writer {
        #[diesel(sql_type = Integer)]
        pid: i32,
        #[diesel(sql_type = Text)]
        xid: String,
    }
    let Conn::Pg(c) = conn else { return Ok(Vec::new()) };
    let rows: Vec<Writer> = diesel::sql_query(
        "SELECT pid, backend_xid::text AS xid FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = 'roost' \
         AND backend_xid IS NOT NULL",
    )
    .load(&mut **c)?;
    Ok(rows.into_iter().map(|row| (row.pid, row.xid)).collect())
}

/// Takes the lock that says that the node lives, for as long as this session does. False if
/// another session has it.
pub fn hold_name(conn: &mut PgConnection, me: i64) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Held {
        #[diesel(sql_type = Bool)]
        held: bool,
    }
    let name = i32::try_from(me).unwrap_or_default();
    let row: Held = diesel::sql_query("SELECT pg_try_advisory_lock($1, $2) AS held")
        .bind::<Integer, _>(LOCK_SPACE)
        .bind::<Integer, _>(name)
        .get_result(conn)?;
    Ok(row.held)
}

/// A session to listen on, which notices within seconds when its peer has vanished.
///
/// # Errors
/// When there is no connection to be had in time.
pub fn connect(url: &str) -> ConnectionResult<PgConnection> {
    PgConnection::establish(&postgres_url(url))
}

/// Sets a session up to listen. The server ends it half a minute after its peer has vanished
/// without a word.
pub fn listen(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute(
        "SET application_name = 'roost_bus'; SET lc_messages = 'C'; \
         SET statement_timeout = 5000; SET tcp_keepalives_idle = 10; \
         SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 4; \
         SET tcp_user_timeout = 30000; LISTEN roost",
    )
}

/// Asks whether the session lives.
pub fn ping(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute("SELECT 1")
}

#[cfg(test)]
mod tests;
