use super::*;
use crate::cli::rebuild::rebuild;
use crate::cli::redis::Redis;
use crate::cli::seed::tests::seeded;
use crate::redis_tier::testing::TestRedis;
use crate::redis_tier::{CountWrite, RedisConfig};
use crate::time::Timestamp;

fn entry(at: i64) -> Entry {
    Entry { created_at: Timestamp(at), tweet_id: at }
}

#[test]
fn a_list_must_be_the_newest_rows() {
    let rows = [entry(3), entry(2), entry(1)];
    assert_eq!(difference(&rows[..2], false, &rows), None);
    assert_eq!(difference(&rows, true, &rows), None);
    assert!(difference(&rows[1..], false, &rows).is_some(), "the newest is missing");
    assert!(difference(&rows[..2], true, &rows).is_some(), "not complete");
    assert!(difference(&rows, true, &rows[..2]).is_some(), "one too many");
}

/// A tier as the service leaves it, then one damage after another.
#[test]
fn redis_is_compared_key_by_key() {
    for test in seeded() {
        let server = TestRedis::claim();
        let redis = Redis::open(RedisConfig::new(&server.url)).unwrap();
        let mut conn = server.connect();
        let found = || {
            let compared = compare(&test.db, &redis.tier, 50, 10, &[Duration::ZERO]);
            redis.runtime.block_on(compared).unwrap()
        };
        redis.runtime.block_on(fill_all(&test.db, &redis.tier));
        let clean = found();
        assert_eq!((clean.differences, clean.strangers), (0, 0), "{:?}", clean.printed);
        assert!(clean.keys > 100, "{}", clean.keys);

        let damages: [(&str, &[&str]); 6] = [
            ("user_newsfeeds:1", &["LPOP"]),
            ("user_newsfeeds:2", &["PERSIST"]),
            ("user_tweets:3", &["SET", "nonsense"]),
            ("tweet_counts:4", &["SET", "1.9.77.0"]),
            ("comment_counts:5", &["PERSIST"]),
            ("tweet_counts:6", &["PERSIST"]),
        ];
        for (key, words) in damages {
            redis::cmd(words[0]).arg(key).arg(&words[1..]).exec(&mut conn).unwrap();
        }
        let report = found();
        assert_eq!(report.differences, damages.len() as u64, "{:?}", report.printed);
        for (key, _) in damages {
            let named = |line: &String| line.contains(&format!("{key}:"));
            assert!(report.printed.iter().any(named), "{key}: {:?}", report.printed);
        }

        rebuild(&test.db, Some(&redis), Some(1)).unwrap();
        assert!(!found().printed.iter().any(|line| line.contains("user_newsfeeds:1:")));
        rebuild(&test.db, Some(&redis), None).unwrap();
        assert_eq!(found().keys, 0, "everything was dropped");

        redis.runtime.block_on(fill_all(&test.db, &redis.tier));
        test.db.write_blocking(|conn| Ok(cache_state::advance_epoch(conn)?)).unwrap();
        let void = found();
        assert!(void.void > 0, "lists of another epoch are nobody's");
        assert_eq!(void.differences, 0, "{:?}", void.printed);
    }
}

/// Fills every list and count from the database.
async fn fill_all(db: &Db, tier: &RedisTier) {
    let epoch = db.read_blocking(|conn| Ok(cache_state::epoch(conn)?)).unwrap();
    for user_id in 1..=40 {
        for kind in [ListKind::Newsfeed, ListKind::Author] {
            let key = ListKey { kind, user_id };
            let rows = db
                .read_blocking(|conn| {
                    Ok(match kind {
                        ListKind::Newsfeed => newsfeeds::page(conn, user_id, Range::ALL, 51)?,
                        ListKind::Author => tweets::page(conn, user_id, Range::ALL, 51)?,
                    })
                })
                .unwrap();
            let kept = &rows[..rows.len().min(50)];
            let lease = tier.generation(key).await.unwrap();
            tier.fill(key, lease, epoch, kept, kept.len() == rows.len()).await;
        }
    }
    // Learns the epoch that counts are written under.
    let _ = tier.read_counts(CountKind::Tweet, &[1], epoch).await;
    for (kind, table, ids) in
        [(CountKind::Tweet, Table::Tweets, 1..=120), (CountKind::Comment, Table::Comments, 1..=100)]
    {
        let ids: Vec<i64> = ids.collect();
        let rows = db.read_blocking(|conn| Ok(audit::counts_of(conn, table, &ids)?)).unwrap();
        let writes: Vec<CountWrite> = rows
            .iter()
            .map(|(id, row)| CountWrite {
                kind,
                id: *id,
                version: row.version,
                likes: row.likes,
                comments: row.comments,
            })
            .collect();
        tier.write_counts(&writes).await;
    }
}
