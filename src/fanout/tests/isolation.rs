//! A step that fails takes down neither its round nor its task.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{DEFAULTS, Desk, SMALL, execute, on_both, open_tasks, read};
use crate::store::testing::TestDb;
use crate::store::{Engine, tasks};
use crate::time::Clock;

/// Makes the database refuse every entry of this tweet but its author's own.
fn refuse(test: &TestDb, tweet: i64) {
    let refusal = match test.db.engine() {
        Engine::Postgres => format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'planned by a test'; END $$; \
             CREATE TRIGGER refusal BEFORE INSERT ON newsfeeds FOR EACH ROW \
             WHEN (NEW.tweet_id = {tweet}) EXECUTE FUNCTION refuse();"
        ),
        Engine::Sqlite => format!(
            "CREATE TRIGGER refusal BEFORE INSERT ON newsfeeds WHEN NEW.tweet_id = {tweet} \
             BEGIN SELECT RAISE(ABORT, 'planned by a test'); END;"
        ),
    };
    execute(test, &refusal);
}

fn permit(test: &TestDb) {
    match test.db.engine() {
        Engine::Postgres => execute(test, "DROP TRIGGER refusal ON newsfeeds"),
        Engine::Sqlite => execute(test, "DROP TRIGGER refusal"),
    }
}

fn failing(test: &TestDb) -> (i64, i64) {
    let backlog = read(test, |conn| Ok(tasks::backlog(conn)?));
    (backlog.failing, backlog.parked)
}

/// A clock that the test moves.
fn hand_clock() -> (Clock, Arc<AtomicI64>) {
    let wall = Arc::new(AtomicI64::new(1_000_000));
    let source = wall.clone();
    (Clock::from_source(move || source.load(Ordering::Relaxed)), wall)
}

#[test]
fn a_task_that_always_fails_holds_up_nobody_and_is_tried_again() {
    on_both(async |test| {
        let (clock, wall) = hand_clock();
        let desk = Desk::with(test, DEFAULTS, SMALL, clock);
        for reader in 2..=9 {
            desk.follow(reader, 1).await;
        }
        let bad = desk.post(1).await;
        let good = desk.post(1).await;
        refuse(test, bad);
        while desk.round().await {}
        for reader in 2..=9 {
            assert_eq!(desk.feed(reader), [good], "{}: {reader}", test.name);
        }
        assert_eq!(open_tasks(test), 1, "{}: it is still to be done", test.name);
        assert_eq!(failing(test), (1, 0), "{}", test.name);
        assert!(!desk.round().await, "{}: its time has not come", test.name);

        // It fails again, and waits for longer.
        wall.fetch_add(1_500_000, Ordering::Relaxed);
        assert!(desk.round().await, "{}: it is tried again", test.name);
        assert!(!desk.round().await, "{}", test.name);
        wall.fetch_add(1_500_000, Ordering::Relaxed);
        assert!(!desk.round().await, "{}: the second wait is longer", test.name);

        permit(test);
        wall.fetch_add(1_500_000, Ordering::Relaxed);
        desk.settle().await;
        for reader in 2..=9 {
            assert_eq!(desk.feed_set(reader), [good, bad].into(), "{}: {reader}", test.name);
        }
        assert_eq!(failing(test), (0, 0), "{}", test.name);
    });
}

/// What one step has done before it failed is undone, and that alone.
#[test]
fn a_step_that_fails_half_way_is_undone_alone() {
    on_both(async |test| {
        let (clock, wall) = hand_clock();
        let desk = Desk::with(test, DEFAULTS, SMALL, clock);
        for reader in 2..=5 {
            desk.follow(reader, 1).await;
            desk.follow(reader, 10).await;
        }
        let bad = desk.post(1).await;
        desk.round().await;
        let served = (2..=5).filter(|reader| desk.feed(*reader) == [bad]).count();
        assert_eq!(served, 2, "{}: half of it is done", test.name);
        refuse(test, bad);
        let good = desk.post(10).await;
        while desk.round().await {}
        let told = desk.audience.told.lock().clone();
        let pushed = |tweet: i64| -> usize {
            let of_it = told.iter().flat_map(|effects| &effects.deliveries);
            of_it
                .filter(|delivered| delivered.entry.tweet_id == tweet)
                .map(|d| d.readers.len())
                .sum()
        };
        assert_eq!((pushed(bad), pushed(good)), (2, 4), "{}: nobody hears of it", test.name);
        permit(test);
        wall.fetch_add(2_000_000, Ordering::Relaxed);
        desk.settle().await;
        for reader in 2..=5 {
            assert_eq!(desk.feed_set(reader), [bad, good].into(), "{}: {reader}", test.name);
        }
    });
}

#[test]
fn a_task_is_parked_in_the_end_and_a_restart_tries_it_again() {
    on_both(async |test| {
        let (clock, wall) = hand_clock();
        let desk = Desk::with(test, DEFAULTS, SMALL, clock.clone());
        desk.follow(2, 1).await;
        let bad = desk.post(1).await;
        refuse(test, bad);
        for _ in 0..tasks::MOST_ATTEMPTS {
            assert!(desk.round().await, "{}: one more attempt", test.name);
            wall.fetch_add(3_700_000_000, Ordering::Relaxed);
        }
        assert_eq!(failing(test), (1, 1), "{}", test.name);
        wall.fetch_add(1_000_000_000_000, Ordering::Relaxed);
        assert!(!desk.round().await, "{}: parked", test.name);

        permit(test);
        let next = Desk::with(test, DEFAULTS, SMALL, clock);
        assert!(next.core.look_at_backlog().await.unwrap(), "{}", test.name);
        next.settle().await;
        assert_eq!(next.feed(2), [bad], "{}", test.name);
    });
}
