//! What a read costs as things grow, and what a timeline takes of memory.

mod depth;
mod memory;
mod resident;
mod users;

use crate::Bench;
use crate::data::Data;
use crate::figures::Section;
use crate::load::Request;

/// Where entries begin that are put below the seeded ones.
const LONG_AGO: i64 = 1_500_000_000_000_000;

/// Measures it.
///
/// # Errors
/// When something cannot be measured.
pub fn run(bench: &Bench) -> anyhow::Result<Section> {
    let mut section = Section::default();
    let large = users::run(bench, &mut section)?;
    resident::run(bench, &large, &mut section)?;
    depth::run(bench, &large, &mut section)?;
    memory::run(bench, &large, &mut section)?;
    large.discard(bench)?;
    Ok(section)
}

/// Puts `count` entries below those that the feeds of `1..=readers` have, a microsecond apart.
fn lengthen(data: &Data, readers: i64, count: i64) -> anyhow::Result<()> {
    data.execute(&format!(
        "INSERT INTO newsfeeds (user_id, created_at, tweet_id) \
         SELECT reader, {LONG_AGO} + n, 1 + n % 1000 \
         FROM generate_series(1, {readers}) reader, generate_series(1, {count}) n"
    ))?;
    data.execute("VACUUM ANALYZE newsfeeds")
}

/// The newsfeeds of all whose cookies are given.
fn feeds(cookies: &[String]) -> Vec<Request> {
    cookies.iter().map(|cookie| Request::get("/api/newsfeeds/", Some(cookie))).collect()
}
