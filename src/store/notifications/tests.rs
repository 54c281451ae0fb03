use super::*;
use crate::store::testing;

#[test]
fn a_move_makes_each_outbox_row_one_notification_in_order() {
    for test in testing::databases() {
        let name = test.name;
        test.db
            .write_blocking(|conn| {
                for n in 0..25 {
                    put_in_outbox(conn, 7, Verb::LikedTweet, n, Timestamp(100 + n))?;
                }
                Ok(())
            })
            .unwrap();
        let step = || test.db.write_blocking(|conn| Ok(move_chunk(conn, 10)?)).unwrap();
        assert_eq!([step(), step(), step(), step()], [10, 10, 5, 0], "{name}");
        let rows = test.db.read_blocking(|conn| Ok(page(conn, 7, Filter::All, 0, 100)?)).unwrap();
        let targets: Vec<i64> = rows.iter().map(|row| row.target_id).collect();
        assert_eq!(targets, (0..25).rev().collect::<Vec<i64>>(), "{name}");
        assert!(rows.iter().all(|row| row.unread && row.actor_id == 8));
    }
}

#[test]
fn a_rolled_back_move_loses_and_repeats_nothing() {
    for test in testing::databases() {
        let name = test.name;
        test.db
            .write_blocking(|conn| {
                Ok(put_in_outbox(conn, 7, Verb::CommentedTweet, 1, Timestamp(1))?)
            })
            .unwrap();
        let crashed: Result<(), _> = test.db.write_blocking(|conn| {
            move_chunk(conn, 10)?;
            Err(crate::store::StoreError::Unavailable("crash".into()))
        });
        assert!(crashed.is_err());
        let moved = test.db.write_blocking(|conn| Ok(move_chunk(conn, 10)?)).unwrap();
        assert_eq!(moved, 1, "{name}");
        let all = test.db.read_blocking(|conn| Ok(count(conn, 7, Filter::All)?)).unwrap();
        assert_eq!(all, 1, "{name}");
    }
}

#[test]
fn pages_counts_and_marks_follow_the_filter() {
    for test in testing::databases() {
        let name = test.name;
        test.db
            .write_blocking(|conn| {
                for n in 1..=12 {
                    put_in_outbox(conn, 7, Verb::LikedComment, n, Timestamp(n))?;
                }
                put_in_outbox(conn, 8, Verb::LikedComment, 99, Timestamp(99))?;
                move_chunk(conn, 100)?;
                let third = page(conn, 7, Filter::All, 2, 1)?.remove(0);
                assert_eq!(third.target_id, 10, "{name}");
                let read = set_unread(conn, 7, third.id, false)?.unwrap();
                assert!(!read.unread);
                assert_eq!(set_unread(conn, 8, third.id, false)?, None, "another's");
                let counts = [Filter::All, Filter::Unread, Filter::Read]
                    .map(|filter| count(conn, 7, filter).unwrap());
                assert_eq!(counts, [12, 11, 1], "{name}");
                assert_eq!(page(conn, 7, Filter::Read, 0, 10)?, [read], "{name}");
                assert_eq!(page(conn, 7, Filter::Unread, 10, 10)?.len(), 1, "{name}");
                let newest = newest_id(conn, 7)?;
                assert_eq!(mark_read(conn, 7, newest, 5)?, 5, "{name}");
                assert_eq!(mark_read(conn, 7, newest, 50)?, 6, "{name}");
                assert_eq!(count(conn, 7, Filter::Unread)?, 0, "{name}");
                assert_eq!(count(conn, 8, Filter::Unread)?, 1, "another's stay");
                Ok(())
            })
            .unwrap();
    }
}
