//! Micro-benchmarks of what every request goes through: the window of a timeline, the codec of
//! its Redis list, a batch of the counter, and the rendering of a page.
//!
//! `cargo bench --package roost-bench --bench hot`; see docs/benchmarks.md.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use roost::counter::batch;
use roost::counter::{LikeKey, LikeKind, Operation};
use roost::hydration::kept::KeptPages;
use roost::hydration::liked::LikedFlags;
use roost::hydration::pages::{Hydrator, Shape};
use roost::hydration::rendering::write_tweet;
use roost::hydration::tweets::{TweetCard, Tweets};
use roost::hydration::users::Users;
use roost::redis_tier::codec;
use roost::store::tweets::TweetRow;
use roost::store::{Db, DbConfig};
use roost::time::Timestamp;
use roost::timeline::{Entry, EntryStore, Range, TimelineKey, Timelines, TimelinesConfig, Window};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LIMIT: usize = 1_000;

fn entries() -> Vec<Entry> {
    let at = |n: i64| Timestamp(1_795_460_301_000_000 + n * 1_000_003);
    (0..LIMIT as i64).rev().map(|n| Entry { created_at: at(n), tweet_id: 500_000 + n }).collect()
}

fn window(criterion: &mut Criterion) {
    let full = Window::new(entries(), false, LIMIT);
    criterion.bench_function("window: first page", |bench| {
        bench.iter(|| black_box(&full).find(Range::ALL, 21));
    });
    let middle = Range::ALL.below(entries()[LIMIT / 2].created_at);
    criterion.bench_function("window: page from the middle", |bench| {
        bench.iter(|| black_box(&full).find(black_box(middle), 21));
    });
    let mut pushed = full.clone();
    let mut next = Timestamp(1_900_000_000_000_000);
    criterion.bench_function("window: push onto a full one", |bench| {
        bench.iter(|| {
            next.0 += 1;
            pushed.push(Entry { created_at: next, tweet_id: next.0 })
        });
    });
    criterion.bench_function("window: remove a tweet", |bench| {
        let whole = || full.clone();
        bench.iter_batched_ref(whole, |window| window.remove(500_500), BatchSize::SmallInput);
    });
}

fn redis_codec(criterion: &mut Criterion) {
    let texts: Vec<String> =
        entries().into_iter().map(|entry| codec::element(7, entry, false)).collect();
    criterion.bench_function("codec: write 1,000 elements", |bench| {
        let all = entries();
        bench
            .iter(|| all.iter().map(|entry| codec::element(7, *entry, false).len()).sum::<usize>());
    });
    criterion.bench_function("codec: read 1,000 elements", |bench| {
        bench.iter(|| codec::decode_list(7, LIMIT, texts.iter().map(|text| text.as_bytes())));
    });
}

fn counter_batch(criterion: &mut Criterion) {
    let like = |user_id| {
        Operation::Like(LikeKey { user_id, kind: LikeKind::Tweet, object_id: 1 + user_id % 10 })
    };
    let operations: Vec<Operation> = (0..1_000).map(like).collect();
    let found = batch::Found {
        tweets: (1..=10).map(|tweet| (tweet, 7)).collect(),
        ..batch::Found::default()
    };
    criterion.bench_function("batch: plan 1,000 likes of 10 tweets", |bench| {
        bench.iter(|| {
            let mut last = 0;
            let mut now = || {
                last += 1;
                Timestamp(last)
            };
            batch::plan(black_box(&operations), &found, &mut now)
        });
    });
}

fn fragments(criterion: &mut Criterion) {
    let card = TweetCard::new(&TweetRow {
        id: 500_500,
        user_id: 77,
        content: "A tweet of about the usual length, which is to say not a long one".into(),
        created_at: Timestamp(1_795_460_301_000_001),
        likes_count: Some(12),
        comments_count: Some(3),
        counts_version: 1,
        photo_urls: vec![],
    });
    let author = r#"{"id":77,"username":"user000077","nickname":"Ann Example","avatar_url":null}"#;
    let mut out = Vec::with_capacity(1_024);
    criterion.bench_function("page: one tweet from its fragments", |bench| {
        bench.iter(|| {
            out.clear();
            write_tweet(&mut out, black_box(&card), author, false);
            out.len()
        });
    });
    criterion.bench_function("page: a timestamp", |bench| {
        bench.iter(|| {
            out.clear();
            black_box(Timestamp(1_795_460_301_000_001)).write_iso(&mut out);
            out.len()
        });
    });
}

/// A page of 20 items from warm caches: put together anew, and kept.
fn page(criterion: &mut Criterion) {
    let system = actix::System::new();
    let folder = std::env::temp_dir().join(format!("roost-hot-{}", std::process::id()));
    let mut hydrator = match seeded(&folder) {
        Ok(hydrator) => hydrator,
        Err(error) => panic!("cannot make a data set: {error:#}"),
    };
    for (name, kept_bytes) in [
        ("page: a newsfeed of 20 items, put together", 0),
        ("page: a newsfeed of 20 items, kept", 1 << 20),
    ] {
        hydrator.kept = KeptPages::new(kept_bytes);
        let read = || hydrator.page(TimelineKey::Home(7), Some(7), Range::ALL, 20, Shape::Entries);
        let warm = system.block_on(read());
        assert!(warm.is_ok_and(|page| page.has_next), "reader 7 has more than a page");
        criterion.bench_function(name, |bench| {
            bench.iter_custom(|times| {
                system.block_on(async {
                    let started = Instant::now();
                    for _ in 0..times {
                        let _ = black_box(read().await);
                    }
                    started.elapsed()
                })
            });
        });
    }
    drop(system);
    // In the folder for temporary files; what is left there does no harm.
    let _ = std::fs::remove_dir_all(&folder);
}

fn seeded(folder: &std::path::Path) -> anyhow::Result<Hydrator> {
    let text = folder.to_str().context("the folder's name is not UTF-8")?;
    let args = ["roost", "seed", "--users", "200", "--data-dir", text];
    roost::cli::run(args.map(Into::into));
    let db = Db::open(&DbConfig {
        url: format!("sqlite:{text}/roost.db"),
        read_connections: 2,
        write_connections: 1,
        acquire_timeout: Duration::from_secs(2),
        statement_timeout: Duration::from_secs(5),
        max_waiting: 64,
    })?;
    let config = TimelinesConfig {
        list_limit: LIMIT,
        resident_entries: 1_000_000,
        idle: Duration::from_secs(3_600),
    };
    Ok(Hydrator {
        timelines: Timelines::new(config, Arc::new(EntryStore::new(db.clone()))),
        tweets: Arc::new(Tweets::new(db.clone(), 10_000)),
        users: Arc::new(Users::new(db.clone(), 10_000)),
        liked: Arc::new(LikedFlags::new(db, 100_000)),
        kept: KeptPages::new(0),
    })
}

criterion_group!(hot, window, redis_codec, counter_batch, fragments, page);
criterion_main!(hot);
