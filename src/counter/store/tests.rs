use diesel::prelude::*;

use super::*;
use crate::store::counts::tests::{add_tweet, add_user};
use crate::store::likes::{LikeKey, LikeKind};
use crate::store::on;
use crate::store::testing::{TestDb, databases};

fn like(user_id: i64) -> Operation {
    Operation::Like(LikeKey { user_id, kind: LikeKind::Tweet, object_id: 1 })
}

/// An attempt whose statements have run in a transaction that then ended as `end` says.
fn attempt(
    test: &TestDb,
    operations: &[Operation],
    end: impl Fn() -> Result<(), StoreError>,
) -> DbDoubt {
    let attempt = Arc::new(Attempt::default());
    let clock = Clock::system();
    let _ = test.db.write_blocking(|conn| {
        attempt.begin()?;
        attempt.ready(transaction::run(conn, operations, &clock)?)?;
        end()
    });
    DbDoubt { db: test.db.clone(), attempt }
}

fn prepare(test: &TestDb) {
    let prepared = test.db.write_blocking(|conn| {
        add_user(conn, 1)?;
        add_tweet(conn, 1, 1)?;
        Ok(())
    });
    prepared.unwrap();
}

fn lost() -> Result<(), StoreError> {
    Err(StoreError::Unavailable("as the test has asked".into()))
}

#[tokio::test]
async fn the_database_tells_what_became_of_a_transaction() {
    for test in databases() {
        prepare(&test);
        let key = LikeKey { user_id: 1, kind: LikeKind::Tweet, object_id: 1 };
        let steps = [Operation::Like(key), Operation::Unlike(key)];
        for step in &steps {
            let alone = std::slice::from_ref(step);
            let fate = attempt(&test, alone, lost).settle().await;
            assert!(matches!(fate, Ok(Fate::NotCommitted)), "{}: {step:?}", test.name);
            let fate = attempt(&test, alone, || Ok(())).settle().await.unwrap();
            let Fate::Committed(done) = fate else { panic!("{}: {step:?}", test.name) };
            assert_eq!(done.answers.len(), 1, "what was prepared is answered after all");
            assert_eq!(done.changes.likes.len(), 1);
        }
    }
}

#[tokio::test]
async fn comments_are_witnesses_too() {
    for test in databases() {
        prepare(&test);
        let add = Operation::AddComment(crate::counter::NewComment {
            user_id: 1,
            tweet_id: 1,
            content: "hi".into(),
            idempotency: None,
        });
        let fate = attempt(&test, &[add], || Ok(())).settle().await.unwrap();
        assert!(matches!(fate, Fate::Committed(_)), "{}", test.name);
        let comment_id = test
            .db
            .read_blocking(|conn| {
                use crate::store::schema::comments;
                Ok(on!(conn, |c| comments::table.select(comments::id).first::<i64>(c))?)
            })
            .unwrap();
        let delete = [Operation::DeleteComment { user_id: 1, comment_id }];
        let fate = attempt(&test, &delete, lost).settle().await.unwrap();
        assert!(matches!(fate, Fate::NotCommitted), "{}", test.name);
        let fate = attempt(&test, &delete, || Ok(())).settle().await.unwrap();
        assert!(matches!(fate, Fate::Committed(_)), "{}", test.name);
    }
}

#[tokio::test]
async fn what_is_given_up_cannot_commit_any_more() {
    for test in databases() {
        prepare(&test);
        let attempt = Arc::new(Attempt::default());
        attempt.begin().unwrap();
        let mut doubt = DbDoubt { db: test.db.clone(), attempt: attempt.clone() };
        assert!(matches!(doubt.settle().await, Ok(Fate::NotCommitted)), "{}", test.name);
        let clock = Clock::system();
        let late = test
            .db
            .write_blocking(|conn| attempt.ready(transaction::run(conn, &[like(1)], &clock)?));
        assert!(matches!(late, Err(StoreError::Unavailable(_))));
        assert!(attempt.begin().is_err(), "nor may it begin again");
    }
}
