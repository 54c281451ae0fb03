//! Whose turn it is to carry out what waits, and on what thread.

use std::sync::{Arc, mpsc};

use actix::{Arbiter, ArbiterHandle};
use tokio::sync::{Semaphore, oneshot};

use super::fake::{FakeStore, alone, by, settle};
use crate::counter::queue::{Queue, Submit};
use crate::counter::{Answer, BatchStore, Counter, CounterError, DbStore, Limits, Operation};
use crate::origin::Origin;
use crate::store::Db;
use crate::store::counts::tests::{add_tweet, add_user};
use crate::store::testing::sqlite;
use crate::time::Clock;

fn start(store: Arc<dyn BatchStore>, arbiter: ArbiterHandle) -> Counter {
    Counter::start(alone(store), Limits::default(), arbiter)
}

type Told = oneshot::Receiver<Result<Answer, CounterError>>;

fn submit(slots: &Arc<Semaphore>, user_id: i64) -> (Submit, Told) {
    let (reply, told) = oneshot::channel();
    let slot = slots.clone().try_acquire_owned().expect("a slot");
    let operation = Operation::Like(by(user_id));
    (Submit { operation, reply, slot, origin: Origin::current() }, told)
}

#[tokio::test]
async fn one_at_a_time_has_the_turn_and_gives_it_up_when_nothing_waits() {
    let (queue, slots) = (Arc::new(Queue::default()), Arc::new(Semaphore::new(9)));
    let mut turn = queue.put(submit(&slots, 1).0).expect("the first has the turn");
    let rested = tokio::spawn({
        let queue = queue.clone();
        async move { queue.rested().await }
    });
    assert!((2..=4).all(|user| queue.put(submit(&slots, user).0).is_none()));
    assert_eq!(turn.next(3).map(|batch| batch.len()), Some(3));
    assert_eq!(turn.next(3).map(|batch| batch.len()), Some(1));
    tokio::task::yield_now().await;
    assert!(!rested.is_finished(), "somebody is at work");
    assert!(turn.next(3).is_none());
    rested.await.unwrap();
    let next = queue.put(submit(&slots, 5).0);
    assert!(next.is_some(), "the next one has it");
    drop(turn);
    assert!(queue.put(submit(&slots, 6).0).is_none(), "the old one gives up nothing any more");
}

#[tokio::test]
async fn who_waits_is_told_when_the_turn_is_lost() {
    let (queue, slots) = (Arc::new(Queue::default()), Arc::new(Semaphore::new(9)));
    let (first, told_first) = submit(&slots, 1);
    let (second, told_second) = submit(&slots, 2);
    let turn = queue.put(first);
    assert!(queue.put(second).is_none());
    drop(turn);
    assert!(told_first.await.is_err() && told_second.await.is_err());
    assert_eq!(slots.available_permits(), 9, "their slots are free");
    assert!(queue.put(submit(&slots, 3).0).is_some());
    queue.rested().await;
}

#[actix::test]
async fn who_asks_a_thread_that_has_ended_is_told_at_once() {
    let arbiter = Arbiter::new();
    let counter = start(FakeStore::fast(), arbiter.handle());
    assert!(counter.like(by(1)).await.is_ok());
    arbiter.stop();
    arbiter.join().unwrap();
    assert_eq!(counter.like(by(2)).await, Err(CounterError::Unavailable));
    counter.flush().await;
}

/// While a transaction waits for another process, the thread that the counter shares goes on.
#[actix::test]
async fn a_transaction_that_waits_for_the_file_holds_up_no_actor() {
    let test = sqlite();
    let prepared = test.db.write_blocking(|conn| {
        add_user(conn, 1)?;
        Ok(add_tweet(conn, 1, 1)?)
    });
    prepared.unwrap();
    let store = DbStore::new(test.db.clone(), Clock::system());
    let counter = start(Arc::new(store), Arbiter::current());
    let other = Db::open(&test.config).unwrap();
    let (has, is_held) = oneshot::channel();
    let (release, released) = mpsc::channel();
    let mut has = Some(has);
    let holding = actix::spawn(async move {
        let hold = other.write("held", move |_| {
            has.take().expect("run once").send(()).expect("the test waits");
            released.recv().expect("the test releases it");
            Ok(())
        });
        hold.await
    });
    is_held.await.unwrap();
    let like = actix::spawn(async move { counter.like(by(1)).await });
    // Whatever the counter does on this thread, it does now.
    settle().await;
    release.send(()).unwrap();
    holding.await.unwrap().unwrap();
    assert!(like.await.unwrap().unwrap().created);
}
