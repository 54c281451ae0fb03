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

/// How many rows a statement has on SQLite; [`by_length!`] knows each.
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

    /// Rows.
    pub(super) fn len(&self) -> usize {
        match self {
            Column::Big(values) => values.len(),
            Column::Small(values) => values.len(),
            Column::Text(values) => values.len(),
        }
    }
}

/// What stands around the rows of a statement. It is a type of its own for each statement, by
/// which a connection finds what it has prepared: to put the text of 64 rows together, only to look
/// it up, takes a sixth as long as to write them.
pub(super) trait AroundRows: 'static {
    /// The types of the result; `()` if there is none.
    type Row;
    /// One column or several.
    type Columns: AsRef<[Column]>;
    /// Before and after the rows.
    const POSTGRES: [&'static str; 2];
    /// The same on SQLite, where that has to be told otherwise.
    const SQLITE: [&'static str; 2] = Self::POSTGRES;
}

/// The statement `S` around rows. On SQLite these are `ROWS`, as its text says; on Postgres, where
/// that does not matter, `ROWS` is 0. [`on_rows!`] chooses.
pub(super) struct WithRows<S: AroundRows, const ROWS: usize> {
    columns: S::Columns,
}

impl<S: AroundRows, const ROWS: usize> WithRows<S, ROWS> {
    /// All columns have one length, which is one that [`pieces`] gives.
    pub(super) fn new(columns: S::Columns) -> Self {
        WithRows { columns }
    }
}

/// Runs a statement around rows, which are a piece of [`pieces`]:
/// `on_rows!(conn, Insert, columns, |query, c| query.execute(c))`.
macro_rules! on_rows {
    ($conn:expr, $statement:ty, $columns:expr, |$query:ident, $c:ident| $body:expr) => {{
        let columns: <$statement as $crate::store::rows::AroundRows>::Columns = $columns;
        match $conn {
            $crate::store::Conn::Pg($c) => {
                let $c = &mut **$c;
                let $query = $crate::store::rows::WithRows::<$statement, 0>::new(columns);
                $body
            }
            $crate::store::Conn::Sqlite($c) => {
                let $c = &mut **$c;
                $crate::store::rows::by_length!($statement, columns, |$query| $body)
            }
        }
    }};
}
pub(super) use on_rows;

/// The statement of the length that the columns have: one of [`LENGTHS`].
macro_rules! by_length {
    ($statement:ty, $columns:ident, |$query:ident| $body:expr) => {
        $crate::store::rows::by_length!($statement, $columns, |$query| $body, 64, 16, 4, 1)
    };
    ($statement:ty, $columns:ident, |$query:ident| $body:expr, $($length:literal),+) => {
        match $columns.first().map_or(0, $crate::store::rows::Column::len) {
            $($length => {
                let $query = $crate::store::rows::WithRows::<$statement, $length>::new($columns);
                $body
            })+
            _ => Err($crate::store::rows::odd_length()),
        }
    };
}
pub(super) use by_length;

/// A statement of so many rows is not known.
pub(super) fn odd_length() -> diesel::result::Error {
    diesel::result::Error::QueryBuilderError("rows that were not cut into pieces".into())
}

impl<S: AroundRows, const ROWS: usize> QueryId for WithRows<S, ROWS> {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<S: AroundRows, const ROWS: usize> Query for WithRows<S, ROWS> {
    type SqlType = S::Row;
}

impl<S: AroundRows, C, const ROWS: usize> RunQueryDsl<C> for WithRows<S, ROWS> {}

impl<S: AroundRows, const ROWS: usize> QueryFragment<Pg> for WithRows<S, ROWS> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let [before, after] = S::POSTGRES;
        out.push_sql(before);
        for (at, column) in self.columns.as_ref().iter().enumerate() {
            out.push_sql(if at == 0 { "SELECT * FROM unnest(" } else { ", " });
            match column {
                Column::Big(values) => out.push_bind_param::<Array<BigInt>, _>(values)?,
                Column::Small(values) => out.push_bind_param::<Array<SmallInt>, _>(values)?,
                Column::Text(values) => out.push_bind_param::<Array<Text>, _>(values)?,
            }
        }
        out.push_sql(")");
        out.push_sql(after);
        Ok(())
    }
}

impl<S: AroundRows, const ROWS: usize> QueryFragment<Sqlite> for WithRows<S, ROWS> {
    /// Its text is always the same. Left to itself diesel looks at each value to find that out.
    fn is_safe_to_cache_prepared(&self, _: &Sqlite) -> QueryResult<bool> {
        Ok(true)
    }

    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let columns = self.columns.as_ref();
        if columns.iter().any(|column| column.len() != ROWS) {
            return Err(odd_length());
        }
        let [before, after] = S::SQLITE;
        out.push_sql(before);
        for row in 0..ROWS {
            out.push_sql(if row == 0 { "VALUES (" } else { ", (" });
            for (at, column) in columns.iter().enumerate() {
                out.push_sql(if at == 0 { "" } else { ", " });
                match column {
                    Column::Big(values) => out.push_bind_param::<BigInt, _>(&values[row])?,
                    Column::Small(values) => out.push_bind_param::<SmallInt, _>(&values[row])?,
                    Column::Text(values) => out.push_bind_param::<Text, _>(&values[row])?,
                }
            }
            out.push_sql(")");
        }
        out.push_sql(after);
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

    struct Numbers;

    impl AroundRows for Numbers {
        type Row = BigInt;
        type Columns = [Column; 2];
        const POSTGRES: [&'static str; 2] = ["", ""];
        const SQLITE: [&'static str; 2] = ["", " ORDER BY 1"];
    }

    #[test]
    fn there_is_a_statement_of_each_length_and_of_no_other() {
        let text = |rows: usize| {
            let columns = [Column::Big(vec![7; rows]), Column::Small(vec![1; rows])];
            by_length!(Numbers, columns, |query| {
                let mut text = diesel::sqlite::SqliteQueryBuilder::new();
                QueryFragment::<Sqlite>::to_sql(&query, &mut text, &Sqlite)?;
                Ok(diesel::query_builder::QueryBuilder::<Sqlite>::finish(text))
            })
        };
        for length in LENGTHS {
            let rows = vec!["(?, ?)"; length].join(", ");
            assert_eq!(text(length).unwrap(), format!("VALUES {rows} ORDER BY 1"));
        }
        for odd in [0, 2, 63, 65] {
            assert!(text(odd).is_err(), "{odd} rows");
        }
    }

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
