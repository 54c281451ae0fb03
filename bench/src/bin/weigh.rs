//! What a resident timeline of 1,000 entries takes of memory, by the allocator.
//!
//! `roost-weigh COUNT` makes so many, prints the bytes of each, and is done.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::BoxFuture;
use roost::store::StoreError;
use roost::time::Timestamp;
use roost::timeline::{
    Entry, Loaded, LoadedFrom, Range, TimelineKey, TimelineSource, Timelines, TimelinesConfig,
};

/// The allocator of the service, counted.
#[global_allocator]
static ALLOCATOR: cap::Cap<mimalloc::MiMalloc> = cap::Cap::new(mimalloc::MiMalloc, usize::MAX);

/// Entries of a full timeline.
const FULL: usize = 1_000;

/// A source of timelines that are full.
struct Full;

impl TimelineSource for Full {
    fn load(&self, _: TimelineKey, limit: usize) -> BoxFuture<'static, Result<Loaded, StoreError>> {
        let entry = |n: usize| Entry { created_at: Timestamp(n as i64), tweet_id: n as i64 };
        let entries = (1..=limit).rev().map(entry).collect();
        let loaded = Loaded { entries, complete: false, from: LoadedFrom::Database };
        Box::pin(async move { Ok(loaded) })
    }

    fn page(
        &self,
        _: TimelineKey,
        _: Range,
        _: usize,
    ) -> BoxFuture<'static, Result<Vec<Entry>, StoreError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(each) => {
            println!("{each}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Bytes per timeline of a registry with nothing around it, actors and map included.
fn run() -> anyhow::Result<f64> {
    let count = std::env::args().nth(1).context("usage: roost-weigh COUNT")?.parse()?;
    ensure!((1..=1_000_000).contains(&count), "1 to 1,000,000 timelines");
    let config = TimelinesConfig {
        list_limit: FULL,
        resident_entries: usize::MAX,
        idle: Duration::from_secs(3_600),
    };
    actix::System::new().block_on(async {
        let timelines = Timelines::new(config, Arc::new(Full));
        timelines.page(TimelineKey::Home(0), Range::ALL, 20).await?;
        let before = ALLOCATOR.allocated();
        for reader in 1..=count {
            timelines.page(TimelineKey::Home(reader), Range::ALL, 20).await?;
        }
        let (resident, entries) = timelines.resident_count();
        ensure!(entries == resident * FULL, "{entries} entries in {resident}");
        Ok((ALLOCATOR.allocated() - before) as f64 / count as f64)
    })
}
