//! Rows that a statement is given as parameters.
//!
//! On Postgres each column is one array: the text does not depend on the number of rows, so the
//! statement is prepared once and a thousand rows cost three binds to parse and not three
//! thousand. SQLite has no arrays; there it is a list of values, in a few lengths only, so that
//! these statements are prepared once, too.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, SmallInt, Text};
use diesel::sqlite::Sqlite;

use super::{Engine, ROWS_PER_STATEMENT};

/// How many rows a statement has on SQLite.
const LENGTHS: [usize; 4] = [64, 16, 4, 1];

/// Cuts rows into what one statement takes.
pub(super) fn pieces<T>(engine: Engine, mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = match engine {
            Engine::Postgres => rows.len().min(ROWS_PER_STATEMENT),
            Engine::Sqlite => LENGTHS.into_iter().find(|length| *length <= rows.len())?,
        };
        let (piece, rest) = rows.split_at(length);
        rows = rest;
        (length > 0).then_some(piece)
    })
}

/// One column of the rows.
pub(super) enum Column {
    Big(Vec<i64>),
    Small(Vec<i16>),
    Text(Vec<String>),
}

impl Column {
    /// A number of each row.
    pub(super) fn big<T>(rows: &[T], value: impl Fn(&T) -> i64) -> Column {
        Column::Big(rows.iter().map(value).collect())
    }

    /// A small number of each row.
    pub(super) fn small<T>(rows: &[T], value: impl Fn(&T) -> i16) -> Column {
        Column::Small(rows.iter().map(value).collect())
    }

    /// A text of each row.
    pub(super) fn text<T>(rows: &[T], value: impl Fn(&T) -> &String) -> Column {
        Column::Text(rows.iter().map(|row| value(row).clone()).collect())
    }

    fn len(&self) -> usize {
        match self {
            Column::Big(values) => values.len(),
            Column::Small(values) => values.len(),
            Column::Text(values) => values.len(),
        }
    }
}

/// A statement around rows: `before`, the rows, `after`. `T` are the types of its result.
pub(super) struct WithRows<T, const COLUMNS: usize> {
    before: &'static str,
    columns: [Column; COLUMNS],
    after: &'static str,
    result: std::marker::PhantomData<fn() -> T>,
}

impl<T, const COLUMNS: usize> WithRows<T, COLUMNS> {
    /// All columns have one length, and at least one row.
    pub(super) fn new(
        before: &'static str,
        columns: [Column; COLUMNS],
        after: &'static str,
    ) -> Self {
        debug_assert!(columns.iter().all(|column| column.len() == columns[0].len()));
        WithRows { before, columns, after, result: std::marker::PhantomData }
    }

    fn rows(&self) -> usize {
        self.columns.first().map_or(0, Column::len)
    }
}

impl<T, const COLUMNS: usize> QueryId for WithRows<T, COLUMNS> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T, const COLUMNS: usize> Query for WithRows<T, COLUMNS> {
    type SqlType = T;
}

impl<T, C, const COLUMNS: usize> RunQueryDsl<C> for WithRows<T, COLUMNS> {}

impl<T, const COLUMNS: usize> QueryFragment<Pg> for WithRows<T, COLUMNS> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(self.before);
        for (at, column) in self.columns.iter().enumerate() {
            out.push_sql(if at == 0 { "SELECT * FROM unnest(" } else { ", " });
            match column {
                Column::Big(values) => out.push_bind_param::<Array<BigInt>, _>(values)?,
                Column::Small(values) => out.push_bind_param::<Array<SmallInt>, _>(values)?,
                Column::Text(values) => out.push_bind_param::<Array<Text>, _>(values)?,
            }
        }
        out.push_sql(")");
        out.push_sql(self.after);
        Ok(())
    }
}

impl<T, const COLUMNS: usize> QueryFragment<Sqlite> for WithRows<T, COLUMNS> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(self.before);
        for row in 0..self.rows() {
            out.push_sql(if row == 0 { "VALUES (" } else { ", (" });
            for (at, column) in self.columns.iter().enumerate() {
                out.push_sql(if at == 0 { "" } else { ", " });
                match column {
                    Column::Big(values) => out.push_bind_param::<BigInt, _>(&values[row])?,
                    Column::Small(values) => out.push_bind_param::<SmallInt, _>(&values[row])?,
                    Column::Text(values) => out.push_bind_param::<Text, _>(&values[row])?,
                }
            }
            out.push_sql(")");
        }
        out.push_sql(self.after);
        Ok(())
    }
}

/// A statement about rows with given ids: `before`, the ids, `after`, where `before` ends in a
/// column. `T` are the types of its result.
pub(super) struct WithIds<'a, T> {
    before: &'static str,
    ids: &'a [i64],
    after: &'static str,
    result: std::marker::PhantomData<fn() -> T>,
}

impl<'a, T> WithIds<'a, T> {
    /// At least one id; of as many as [`pieces`] cuts them into.
    pub(super) fn new(before: &'static str, ids: &'a [i64], after: &'static str) -> Self {
        WithIds { before, ids, after, result: std::marker::PhantomData }
    }
}

impl<T> QueryId for WithIds<'_, T> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T> Query for WithIds<'_, T> {
    type SqlType = T;
}

impl<T, C> RunQueryDsl<C> for WithIds<'_, T> {}

impl<T> QueryFragment<Pg> for WithIds<'_, T> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(self.before);
        out.push_sql(" = ANY(");
        out.push_bind_param::<Array<BigInt>, _>(&self.ids)?;
        out.push_sql(")");
        out.push_sql(self.after);
        Ok(())
    }
}

impl<T> QueryFragment<Sqlite> for WithIds<'_, T> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(self.before);
        for (place, id) in self.ids.iter().enumerate() {
            out.push_sql(if place == 0 { " IN (" } else { ", " });
            out.push_bind_param::<BigInt, _>(id)?;
        }
        out.push_sql(")");
        out.push_sql(self.after);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_into_the_lengths_that_are_prepared() {
        let rows: Vec<usize> = (0..2_100).collect();
        for count in [0, 1, 3, 17, 100, 1_000, 2_100] {
            for engine in [Engine::Sqlite, Engine::Postgres] {
                let pieces: Vec<&[usize]> = pieces(engine, &rows[..count]).collect();
                assert_eq!(pieces.concat(), rows[..count], "{engine:?}");
                let fits = |piece: &&[usize]| match engine {
                    Engine::Sqlite => LENGTHS.contains(&piece.len()),
                    Engine::Postgres => (1..=ROWS_PER_STATEMENT).contains(&piece.len()),
                };
                assert!(pieces.iter().all(fits), "{count} rows, {engine:?}");
            }
        }
    }
}
