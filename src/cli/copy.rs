//! `roost copy`: a whole database into an empty one, of the same engine or the other.

use std::path::Path;

use anyhow::{Context, bail, ensure};

use super::output::say;
use super::progress::Progress;
use super::{Status, check};
use crate::config::StorageConfig;
use crate::store::copying::{self, TABLES};
use crate::store::sole::{self, Claim};
use crate::store::{Conn, Db, DbConfig, bulk, migrations};

/// Differences that are printed of each kind; all are counted.
const PRINTED: usize = 20;

/// Flags of `roost copy`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The database to fill: postgres://... or sqlite:PATH; it must be empty
    #[arg(long, value_name = "URL")]
    to: String,

    /// The database to copy
    #[command(flatten)]
    from: StorageConfig,
}

/// Copies, then checks the copy; 0 when nothing is wrong with it, 1 otherwise.
pub(super) fn run(args: &Args) -> anyhow::Result<Status> {
    let from = super::open_existing(&args.from)?;
    let (to, _claim) = open_target(&args.from, &args.to)?;
    let rows = copy(&from, &to)?;
    say!("{rows} rows copied. Photos are files: copy the media folder too.");
    let report = check::database(&to, false, PRINTED)?;
    for (check, total) in &report.totals {
        say!("{total} x {}", check::title(*check));
    }
    match report.total() {
        0 => say!("The copy has been checked: no differences."),
        wrong => say!("{wrong} differences. They may be the source's: see roost check."),
    }
    Ok(Status::from(report.total() > 0))
}

/// Migrates the target and makes sure that nobody lives there, and no service works there unless
/// it hears of the copy.
fn open_target(from: &StorageConfig, url: &str) -> anyhow::Result<(Db, Claim)> {
    let config = DbConfig { url: url.to_owned(), ..super::long_running(from) };
    ensure!(config.url != from.database().url, "source and target are the same database");
    if let Some(path) = url.strip_prefix("sqlite:") {
        let folder = Path::new(path.strip_prefix("//").unwrap_or(path)).parent();
        if let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
    }
    let claim = sole::claim(&config).context("cannot prepare the target (--to)")?;
    migrations::run(&config).context("cannot prepare the target (--to)")?;
    let db = Db::open(&config)?;
    if !db.read_blocking(|conn| Ok(bulk::is_empty(conn)?))? {
        bail!("the target has users already: copy into an empty database");
    }
    Ok((db, claim))
}

/// Copies every table from one snapshot in one transaction, and says how many rows.
fn copy(from: &Db, to: &Db) -> anyhow::Result<u64> {
    let copied = from.read_blocking(|source| {
        source.snapshot(|source| to.write_blocking(|target| Ok(copy_tables(source, target)?)))
    })?;
    Ok(copied)
}

fn copy_tables(source: &mut Conn<'_>, target: &mut Conn<'_>) -> diesel::QueryResult<u64> {
    copying::make_room(target)?;
    let mut rows = 0;
    for table in TABLES {
        let mut progress = Progress::start(table.name, (table.count)(source)? as u64);
        (table.copy)(source, target, &mut |more| {
            rows += more;
            progress.advance(more);
        })?;
        progress.finish();
    }
    copying::finish(target)?;
    super::tell_nodes(target)?;
    Ok(rows)
}
