use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::prelude::*;

use super::*;
use crate::counter::Commented;
use crate::store::counts::tests::{add_tweet, add_user};
use crate::store::likes::{LikeKey, LikeKind};
use crate::store::on;
use crate::store::testing::{TestDb, databases};
use crate::time::Timestamp;

fn like(user_id: i64) -> Operation {
    Operation::Like(LikeKey { user_id, kind: LikeKind::Tweet, object_id: 1 })
}

/// An attempt whose statements have run in a transaction that then ended as `end` says.
fn attempt(
    test: &TestDb,
    operations: &[Operation],
    end: impl Fn() -> Result<(), StoreError>,
) -> DbDoubt {
    let attempt = Arc::new(Attempt::new(Box::new(|_| ())));
    let clock = Clock::system();
    let _ = test.db.write_blocking(|conn| {
        attempt.begin()?;
        attempt.ready(transaction::run(conn, operations, Likes::LookedFor, &clock)?)?;
        end()
    });
    DbDoubt::of(attempt, test.db.clone())
}

fn prepare(test: &TestDb) {
    let prepared = test.db.write_blocking(|conn| {
        add_user(conn, 1)?;
        add_user(conn, 2)?;
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

/// An attempt that has committed, or one whose number another one has committed, before a crash
/// of the server.
fn before_a_crash(test: &TestDb, operation: Operation) -> DbDoubt {
    let attempt = Arc::new(Attempt::new(Box::new(|_| ())));
    let clock = Clock::system();
    let done = test.db.write_blocking(|conn| {
        let life = diesel::sql_query("SET LOCAL roost.life = 'the one before'");
        on!(conn, |c| life.execute(c))?;
        let operations = std::slice::from_ref(&operation);
        attempt.ready(transaction::run(conn, operations, Likes::LookedFor, &clock)?)
    });
    done.unwrap();
    DbDoubt::of(attempt, test.db.clone())
}

#[tokio::test]
async fn after_a_crash_only_a_row_tells_of_a_commit() {
    let test = crate::store::testing::postgres();
    prepare(&test);
    let key = LikeKey { user_id: 1, kind: LikeKind::Tweet, object_id: 1 };
    let fate = before_a_crash(&test, Operation::Like(key)).settle().await.unwrap();
    assert!(matches!(fate, Fate::Committed(_)), "{fate:?}");
    let fate = before_a_crash(&test, Operation::Unlike(key)).settle().await.unwrap();
    assert!(matches!(fate, Fate::Unknowable), "no row says who has removed it: {fate:?}");

    let mut lost = before_a_crash(&test, Operation::Like(key));
    let removed = test.db.write_blocking(|conn| {
        Ok(on!(conn, |c| diesel::sql_query("DELETE FROM likes").execute(c))?)
    });
    assert_eq!(removed.unwrap(), 1);
    let fate = lost.settle().await.unwrap();
    assert!(matches!(fate, Fate::Unknowable), "{fate:?}");
}

#[tokio::test]
async fn what_is_given_up_cannot_commit_any_more() {
    for test in databases() {
        prepare(&test);
        let attempt = Arc::new(Attempt::new(Box::new(|_| ())));
        attempt.begin().unwrap();
        let mut doubt = DbDoubt::of(attempt.clone(), test.db.clone());
        assert!(matches!(doubt.settle().await, Ok(Fate::NotCommitted)), "{}", test.name);
        let clock = Clock::system();
        let late = test.db.write_blocking(|conn| {
            attempt.ready(transaction::run(conn, &[like(1)], Likes::LookedFor, &clock)?)
        });
        assert!(matches!(late, Err(StoreError::Unavailable(_))));
        assert!(attempt.begin().is_err(), "nor may it begin again");
    }
}

/// Counts how often it is told of a commit with one answer.
fn told() -> (Arc<AtomicUsize>, AfterCommit) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let after: AfterCommit = Box::new(move |done| {
        assert_eq!(done.answers.len(), 1);
        counted.fetch_add(1, Ordering::SeqCst);
    });
    (count, after)
}

#[tokio::test]
async fn the_thread_that_has_committed_tells_first() {
    for test in databases() {
        prepare(&test);
        let store = DbStore::new(test.db.clone(), Clock::system());
        let caller = std::thread::current().id();
        let (threads, heard) = std::sync::mpsc::channel();
        let after: AfterCommit =
            Box::new(move |_| threads.send(std::thread::current().id()).unwrap());
        let hook: TransactionHook = Box::new(|_| Ok(()));
        let committed = store.commit(Part::all(vec![like(1)]), hook, after).await;
        assert!(committed.is_ok_and(|done| done.changes.likes.len() == 1), "{}", test.name);
        // A file is written by the thread that waits for it.
        assert_eq!(heard.try_recv().unwrap() == caller, store.blocks(), "{}", test.name);
        assert!(heard.try_recv().is_err(), "{}: told once", test.name);
    }
}

#[tokio::test]
async fn a_commit_in_doubt_is_told_once_by_whoever_knows_first() {
    for test in databases() {
        prepare(&test);
        let clock = Clock::system();
        let write = |attempt: &Attempt| {
            let done = test.db.write_blocking(|conn| {
                attempt.ready(transaction::run(conn, &[like(1)], Likes::LookedFor, &clock)?)
            });
            done.unwrap();
        };
        for (late, given_up) in [(false, false), (true, false), (true, true)] {
            let (count, after) = told();
            let attempt = Arc::new(Attempt::new(after));
            write(&attempt);
            let mut doubt = DbDoubt::of(attempt.clone(), test.db.clone());
            if given_up {
                drop(doubt);
                attempt.tell();
                assert_eq!(count.load(Ordering::SeqCst), 0, "{}: others came since", test.name);
                continue;
            }
            if late {
                attempt.tell();
            }
            let fate = doubt.settle().await;
            assert!(matches!(fate, Ok(Fate::Committed(_))), "{}: late {late}", test.name);
            attempt.tell();
            assert_eq!(count.load(Ordering::SeqCst), 1, "{}: late {late}", test.name);
        }
    }
}

/// A transaction that did not happen is told to nobody.
#[tokio::test]
async fn nobody_is_told_of_what_was_refused() {
    for test in databases() {
        let (count, after) = told();
        let store = DbStore::new(test.db.clone(), Clock::system());
        let hook: TransactionHook = Box::new(|_| lost());
        let result = store.commit(Part::all(vec![like(1)]), hook, after).await;
        assert!(matches!(result, Err(CommitError::Not(_))), "{}", test.name);
        assert_eq!(count.load(Ordering::SeqCst), 0, "{}", test.name);
    }
}

/// The answers to one batch, through the door that the counter uses.
async fn commit(store: &DbStore, operations: Vec<Operation>) -> Vec<Result<Answer, Refusal>> {
    let hook: TransactionHook = Box::new(|_| Ok(()));
    match store.commit(Part::all(operations), hook, Box::new(|_| ())).await {
        Ok(committed) => committed.answers,
        Err(CommitError::Not(error)) => panic!("{error}"),
        Err(CommitError::Unknown(_)) => panic!("in doubt"),
    }
}

fn liked(answer: &Result<Answer, Refusal>) -> (bool, Timestamp) {
    match answer {
        Ok(Answer::Liked(liked)) => (liked.created, liked.created_at),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_like_that_was_taken_for_new_is_answered_with_its_first_time() {
    for test in databases() {
        prepare(&test);
        let store = DbStore::new(test.db.clone(), Clock::system());
        let (created, at) = liked(&commit(&store, vec![like(1)]).await[0]);
        assert!(created, "{}", test.name);
        // Taken for new, looked for, and in the company of others.
        for operations in [vec![like(1)], vec![like(1)], vec![like(2), like(1), like(1)]] {
            let answers = commit(&store, operations).await;
            assert_eq!(liked(&answers[answers.len() - 1]), (false, at), "{}", test.name);
        }
    }
}

#[tokio::test]
async fn a_like_that_goes_with_its_comment_in_one_batch_is_looked_for() {
    for test in databases() {
        prepare(&test);
        let store = DbStore::new(test.db.clone(), Clock::system());
        let add = Operation::AddComment(crate::counter::NewComment {
            user_id: 1,
            tweet_id: 1,
            content: "hi".into(),
            idempotency: None,
        });
        let added = commit(&store, vec![add]).await;
        let Ok(Answer::Commented(Commented::Row(row))) = &added[0] else { panic!("{added:?}") };
        let comment_id = row.id;
        let like = || {
            let kind = LikeKind::Comment;
            Operation::Like(LikeKey { user_id: 1, kind, object_id: comment_id })
        };
        let (_, at) = liked(&commit(&store, vec![like()]).await[0]);
        let delete = Operation::DeleteComment { user_id: 1, comment_id };
        let answers = commit(&store, vec![like(), delete]).await;
        assert_eq!(liked(&answers[0]), (false, at), "{}: nothing is inserted to tell", test.name);
    }
}
