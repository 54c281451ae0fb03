use diesel::connection::SimpleConnection;

use super::*;
use crate::store::StoreError;
use crate::store::testing::databases;

fn key(user_id: i64, kind: LikeKind, object_id: i64) -> LikeKey {
    LikeKey { user_id, kind, object_id }
}

#[test]
fn likes_are_found_added_and_removed_by_key() {
    for test in databases() {
        let outcome = test.db.write_blocking(|conn| {
            let rows = [
                (key(1, LikeKind::Tweet, 7), Timestamp(10)),
                (key(1, LikeKind::Comment, 7), Timestamp(20)),
                (key(2, LikeKind::Tweet, 7), Timestamp(30)),
            ];
            assert_eq!(insert(conn, &rows)?, 3, "{}", test.name);
            assert_eq!(insert(conn, &rows[..1])?, 0, "a second like changes nothing");
            let asked =
                [rows[0].0, rows[1].0, key(2, LikeKind::Comment, 7), key(1, LikeKind::Tweet, 8)];
            let mut found = existing(conn, &asked)?;
            found.sort();
            assert_eq!(found, rows[..2]);
            let newest = newest_of(conn, LikeKind::Tweet, 7, 1)?;
            assert_eq!(newest, [LikeRow { user_id: 2, created_at: Timestamp(30) }]);
            assert_eq!(liked_among(conn, 1, LikeKind::Comment, &[6, 7])?, [7]);
            assert_eq!(delete(conn, &asked)?, 2);
            assert_eq!(delete_of_objects(conn, LikeKind::Tweet, &[7], 10)?, 1);
            Ok::<_, StoreError>(())
        });
        outcome.unwrap();
    }
}

#[derive(diesel::QueryableByName)]
struct Step {
    #[diesel(sql_type = diesel::sql_types::Text)]
    detail: String,
}

#[test]
fn sqlite_finds_likes_by_their_keys() {
    let test = crate::store::testing::sqlite();
    let keys = [1, 2, 3, 4].map(|user| key(user, LikeKind::Tweet, 7));
    let steps: Vec<Step> = test
        .db
        .read_blocking(|conn| match conn {
            Conn::Sqlite(c) => {
                let query = WithRows::<Existing, 4>::new(columns(&keys));
                let text = diesel::debug_query::<diesel::sqlite::Sqlite, _>(&query);
                Ok(diesel::sql_query(format!("EXPLAIN QUERY PLAN {text}")).load(&mut **c)?)
            }
            Conn::Pg(_) => unreachable!("this is SQLite"),
        })
        .unwrap();
    let plan: Vec<String> = steps.into_iter().map(|step| step.detail).collect();
    let reads_all = |step: &&String| step.contains("SCAN l");
    assert_eq!(plan.iter().find(reads_all), None, "{plan:?}");
    let by_key = |step: &String| step.contains("(user_id=? AND kind=? AND object_id=?)");
    assert!(plan.iter().any(by_key), "{plan:?}");
}

#[test]
fn postgres_finds_likes_by_their_keys_when_it_knows_nothing_of_the_table() {
    let test = crate::store::testing::postgres();
    let statements = [(OF_KEYS_POSTGRES, "find"), (DELETE_KEYS_POSTGRES, "delete")];
    for (after, name) in statements {
        let plan = test.db.write_blocking(|conn| {
            let Conn::Pg(c) = conn else { unreachable!("this is Postgres") };
            c.batch_execute(&format!(
                "PREPARE {name}(bigint[], smallint[], bigint[]) AS \
                 {WITH_KEYS}SELECT * FROM unnest($1, $2, $3){after}"
            ))?;
            let explain = format!("EXPLAIN EXECUTE {name}('{{1}}', '{{1}}', '{{1}}')");
            let lines = diesel::dsl::sql::<diesel::sql_types::Text>(&explain);
            Ok(lines.load::<String>(&mut **c)?.join("\n"))
        });
        let plan = plan.unwrap();
        assert!(plan.contains("using likes_pkey"), "{plan}");
        assert!(plan.contains("ROW(kind, object_id) >="), "{plan}");
        assert!(!plan.contains("likes_object"), "{plan}");
    }
}

#[test]
fn a_purge_takes_no_more_than_its_limit() {
    for test in databases() {
        let rows: Vec<_> = (0..2_500)
            .map(|user_id| (key(user_id, LikeKind::Tweet, 1), Timestamp(user_id)))
            .collect();
        let outcome = test.db.write_blocking(|conn| {
            insert(conn, &rows)?;
            assert_eq!(delete_of_objects(conn, LikeKind::Tweet, &[1], 2_000)?, 2_000);
            assert_eq!(delete_of_objects(conn, LikeKind::Tweet, &[1], 2_000)?, 500);
            Ok::<_, StoreError>(())
        });
        outcome.unwrap();
    }
}
