//! The actor and what is around it, over a store that misbehaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::Arbiter;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::fake::{FakeStore, Fault, Guard, POISONED, Recorder, alone, by, heard_by, settle};
use crate::counter::{Changes, CountSink, Counter, CounterError, Limits, Neighbours};

const SMALL: Limits = Limits { queue: 10, batch: 4, answer: Duration::from_secs(10) };

fn counter(store: &Arc<FakeStore>, limits: Limits) -> Counter {
    Counter::start(alone(store.clone()), limits, Arbiter::current())
}

/// Begins `count` likes, by users 1 and up, and lets them get as far as they can.
async fn begin(
    counter: &Counter,
    users: impl IntoIterator<Item = i64>,
) -> Vec<tokio::task::JoinHandle<Result<bool, CounterError>>> {
    let started = users
        .into_iter()
        .map(|user| {
            let counter = counter.clone();
            actix::spawn(async move { counter.like(by(user)).await.map(|liked| liked.created) })
        })
        .collect();
    settle().await;
    started
}

async fn results<T>(tasks: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    join_all(tasks).await.into_iter().map(|joined| joined.expect("no panic")).collect()
}

#[actix::test]
async fn what_arrives_during_a_commit_shares_the_next() {
    let store = FakeStore::with_turns(0);
    let counter = counter(&store, SMALL);
    let first = begin(&counter, [1]).await;
    let rest = begin(&counter, 2..8).await;
    assert!(store.batches().is_empty(), "the first transaction is still running");
    store.turns.add_permits(100);
    assert_eq!(results(first).await, [Ok(true)]);
    assert_eq!(results(rest).await, [Ok(true); 6]);
    // A lone operation does not wait; the others go together, up to the limit.
    assert_eq!(store.batches(), [1, 4, 2]);
    assert!(!counter.like(by(1)).await.unwrap().created, "again");
}

#[actix::test]
async fn a_full_queue_refuses_at_once() {
    let store = FakeStore::with_turns(0);
    let counter = counter(&store, SMALL);
    let running = begin(&counter, [1]).await;
    let waiting = begin(&counter, 2..12).await;
    assert_eq!(counter.like(by(99)).await, Err(CounterError::Overloaded));
    store.turns.add_permits(100);
    assert_eq!(results(running).await, [Ok(true)]);
    assert_eq!(results(waiting).await, [Ok(true); 10], "what was accepted is carried out");
    assert!(counter.like(by(99)).await.is_ok(), "there is room again");
}

#[actix::test]
async fn the_mailbox_holds_a_whole_queue_from_the_first_moment() {
    let store = FakeStore::fast();
    let limits = Limits { queue: 500, ..SMALL };
    let counter = counter(&store, limits);
    let all = join_all((0..500).map(|user| counter.like(by(user)))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
}

#[actix::test]
async fn a_poisoned_operation_fails_alone() {
    let store = FakeStore::with_turns(0);
    let counter = counter(&store, Limits { queue: 2_000, batch: 1_000, ..SMALL });
    let first = begin(&counter, [1]).await;
    let mut users: Vec<i64> = (2..600).collect();
    users.insert(300, POISONED);
    let rest = begin(&counter, users).await;
    store.turns.add_permits(1_000);
    results(first).await;
    let rest = results(rest).await;
    assert_eq!(rest[300], Err(CounterError::Failed));
    assert_eq!(rest.iter().filter(|result| **result == Ok(true)).count(), 598);
    assert!(store.batches().len() < 30, "found by halving: {:?}", store.batches());
}

#[actix::test]
async fn an_outage_fails_the_batch_and_not_the_counter() {
    let store = FakeStore::fast();
    store.fail_next([Fault::Unavailable]);
    let counter = counter(&store, SMALL);
    assert_eq!(counter.like(by(1)).await, Err(CounterError::Unavailable));
    assert!(counter.like(by(1)).await.unwrap().created, "it had not happened");
}

#[actix::test]
async fn mode_14_an_answer_that_was_lost_is_found_out() {
    tokio::time::pause();
    let store = FakeStore::fast();
    store.fail_next([Fault::LostAnswer(3)]);
    let counter = counter(&store, SMALL);
    assert!(counter.like(by(1)).await.unwrap().created, "as if nothing had happened");
    assert_eq!(store.batches(), [1], "nothing is done twice");
}

#[actix::test]
async fn mode_14_a_request_that_was_lost_is_sent_again() {
    let store = FakeStore::fast();
    store.fail_next([Fault::LostRequest]);
    let counter = counter(&store, SMALL);
    assert!(counter.like(by(1)).await.unwrap().created);
    assert_eq!(store.batches(), [1, 1]);
    store.fail_next([Fault::LostRequest; 3]);
    assert_eq!(counter.like(by(2)).await, Err(CounterError::Unavailable), "within a limit");
    assert!(counter.like(by(2)).await.unwrap().created);
}

#[actix::test]
async fn a_doubt_that_stays_is_told_to_the_caches() {
    tokio::time::pause();
    let store = FakeStore::fast();
    store.fail_next([Fault::LostAnswer(usize::MAX)]);
    let sink = Arc::new(Recorder::default());
    let counter = Counter::start(heard_by(&sink, store.clone()), SMALL, Arbiter::current());
    assert_eq!(counter.like(by(1)).await, Err(CounterError::Unavailable), "no answer in time");
    // Until the doubt is given up nothing else is committed.
    let next = begin(&counter, [2]).await;
    assert_eq!(store.batches(), [1]);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert!(counter.like(by(1)).await.is_ok(), "and then the counter goes on");
    drop(next);
    let told = sink.applied.lock();
    assert_eq!(told[0].uncertain.likes, [by(1)]);
    assert_eq!(told[0].uncertain.tweets, [1]);
    assert_eq!(sink.published.lock()[0].uncertain.likes, [by(1)]);
}

#[actix::test]
async fn a_doubt_that_nobody_can_settle_holds_nobody_up() {
    tokio::time::pause();
    let store = FakeStore::fast();
    store.fail_next([Fault::LostForGood]);
    let sink = Arc::new(Recorder::default());
    let counter = Counter::start(heard_by(&sink, store.clone()), SMALL, Arbiter::current());
    let asked = tokio::time::Instant::now();
    assert_eq!(counter.like(by(1)).await, Err(CounterError::Unavailable), "asked in vain");
    assert!(counter.like(by(1)).await.is_ok());
    assert_eq!(asked.elapsed(), Duration::ZERO);
    assert_eq!(sink.applied.lock()[0].uncertain.likes, [by(1)]);
}

#[actix::test]
async fn a_panic_in_the_store_does_not_kill_the_counter() {
    let store = FakeStore::fast();
    store.fail_next([Fault::Panic]);
    let counter = counter(&store, SMALL);
    assert_eq!(counter.like(by(1)).await, Err(CounterError::Unavailable));
    assert!(counter.like(by(2)).await.unwrap().created);
}

/// What was committed stays so; whoever had no answer yet may ask again.
#[actix::test]
async fn a_panic_in_a_cache_does_not_kill_the_counter() {
    struct Panics(AtomicUsize);
    impl CountSink for Panics {
        fn apply(&self, _: &Changes) {
            let calls = self.0.fetch_add(1, Ordering::SeqCst);
            assert!(calls > 0, "the first call panics, as the test has asked");
        }
    }
    let store = FakeStore::fast();
    let guard = Guard::default();
    let neighbours = Neighbours {
        sinks: vec![Arc::new(Panics(AtomicUsize::new(0)))],
        guard: Arc::new(guard.clone()),
        ..alone(store)
    };
    let counter = Counter::start(neighbours, SMALL, Arbiter::current());
    assert_eq!(counter.like(by(1)).await, Err(CounterError::Unavailable));
    assert!(!counter.like(by(1)).await.unwrap().created, "it was committed");
    counter.flush().await;
    assert_eq!(guard.done.load(Ordering::SeqCst), 2, "and published");
}

#[actix::test]
async fn a_flush_waits_for_all_that_waits() {
    let store = FakeStore::with_turns(0);
    let counter = counter(&store, SMALL);
    let likes = begin(&counter, 1..9).await;
    let flushed = Arc::new(AtomicUsize::new(0));
    let flush = actix::spawn({
        let (counter, flushed) = (counter.clone(), flushed.clone());
        async move {
            counter.flush().await;
            flushed.store(1, Ordering::SeqCst);
        }
    });
    settle().await;
    store.turns.add_permits(1);
    settle().await;
    assert_eq!(flushed.load(Ordering::SeqCst), 0, "some still wait");
    store.turns.add_permits(100);
    flush.await.unwrap();
    assert_eq!(store.state.lock().likes.len(), 8);
    assert_eq!(results(likes).await, [Ok(true); 8]);
    counter.flush().await;
}

#[actix::test]
async fn nobody_is_asked_for_a_caller_that_has_gone() {
    let store = FakeStore::with_turns(0);
    let counter = counter(&store, SMALL);
    let first = begin(&counter, [1]).await;
    let rest = begin(&counter, 2..4).await;
    rest.iter().for_each(|task| task.abort());
    settle().await;
    store.turns.add_permits(100);
    results(first).await;
    counter.flush().await;
    assert_eq!(store.batches(), [1]);
}

#[actix::test]
async fn this_process_hears_before_the_caller_and_redis_after_in_order() {
    let store = FakeStore::fast();
    let turns = Arc::new(Semaphore::new(0));
    let sink = Arc::new(Recorder { turns: Some(turns.clone()), ..Recorder::default() });
    let guard = Guard::default();
    let neighbours = Neighbours { guard: Arc::new(guard.clone()), ..heard_by(&sink, store) };
    let counter = Counter::start(neighbours, SMALL, Arbiter::current());
    for user in 1..5 {
        assert!(counter.like(by(user)).await.is_ok(), "a slow Redis delays nobody");
        assert_eq!(sink.applied.lock().len(), user as usize);
    }
    assert!(sink.published.lock().is_empty());
    assert_eq!(guard.held.load(Ordering::SeqCst), 4, "held until Redis has followed");
    turns.add_permits(100);
    counter.flush().await;
    let likes: Vec<_> = sink.published.lock().iter().flat_map(|all| all.likes.clone()).collect();
    assert_eq!(likes, [(by(1), true), (by(2), true), (by(3), true), (by(4), true)]);
    assert_eq!(sink.published.lock().len(), 2, "what waits goes together");
    assert_eq!(guard.held.load(Ordering::SeqCst), 0);
    assert_eq!(guard.done.load(Ordering::SeqCst), 4);
}
