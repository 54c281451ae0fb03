//! Reads that look into a warm timeline without asking its actor, and those that must ask.

use std::sync::mpsc;

use actix::Arbiter;
use futures_util::poll;

use super::*;

/// A thread for actors that stands still until the sender is dropped.
fn stop(arbiter: &Arbiter) -> mpsc::Sender<()> {
    let (sender, go_on) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    arbiter.spawn_fn(move || {
        let _ = begun.send(());
        let _ = go_on.recv();
    });
    has_begun.recv().expect("the thread takes work");
    sender
}

#[actix_rt::test]
async fn a_warm_page_does_not_wait_for_the_actors_thread() {
    let stage = Stage::with(1..=3);
    let timelines = timelines(&stage);
    let arbiter = Arbiter::new();
    timelines.run_on(arbiter.handle());
    assert_eq!(first(&timelines, 10).await, entries([3, 2, 1]));

    let stopped = stop(&arbiter);
    let page = timelines.page(ME, Range::ALL, 2).await.expect("answered from memory");
    assert_eq!((page.entries, page.from), (entries([3, 2]), LoadedFrom::Memory));
    drop(stopped);
    assert_eq!(stage.loads(), 1);
}

/// Read your writes: who has been told of a change must see it, however late its actor is.
#[actix_rt::test]
async fn a_page_waits_for_every_change_that_was_told_before() {
    let stage = Stage::with(1..=3);
    let timelines = timelines(&stage);
    let arbiter = Arbiter::new();
    timelines.run_on(arbiter.handle());
    first(&timelines, 10).await;

    let stopped = stop(&arbiter);
    stage.add(4);
    timelines.push(ME, entry(4));
    stage.drop_row(2);
    timelines.remove(ME, 20);
    let mut page = Box::pin(first(&timelines, 10));
    assert!(poll!(page.as_mut()).is_pending(), "the window is behind");
    drop(stopped);
    assert_eq!(page.await, entries([4, 3, 1]));
    assert_eq!(stage.loads(), 1);
}

#[actix_rt::test]
async fn a_page_behind_a_forgotten_window_is_loaded() {
    let stage = Stage::with(1..=1);
    let timelines = timelines(&stage);
    first(&timelines, 10).await;
    stage.add(2);
    timelines.forget(ME);
    assert_eq!(first(&timelines, 10).await, entries([2, 1]));
    assert_eq!(stage.loads(), 2);
}
