//! Several nodes over one Postgres, without the caches around them.

use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;

use diesel::connection::SimpleConnection;
use parking_lot::Mutex;

use super::*;
use crate::redis_tier::Owner;
use crate::store::StoreError;
use crate::store::testing::{TestDb, postgres, sqlite};

const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps what it hears.
#[derive(Default)]
struct Recorder {
    heard: Mutex<Vec<(i64, News)>>,
    distrusted: AtomicUsize,
}

impl Hearer for Recorder {
    fn hear(&self, node: i64, _: u64, news: &News) {
        self.heard.lock().push((node, news.clone()));
    }

    fn distrust(&self) {
        self.distrusted.fetch_add(1, Ordering::SeqCst);
    }
}

impl Recorder {
    fn users(&self) -> Vec<i64> {
        self.heard.lock().iter().flat_map(|(_, news)| news.users.clone()).collect()
    }

    fn distrusted(&self) -> usize {
        self.distrusted.load(Ordering::SeqCst)
    }
}

struct Station {
    bus: Bus,
    hearer: Arc<Recorder>,
}

impl Station {
    fn build(test: &TestDb) -> Station {
        let bus = Bus::new(&test.config, &test.db).unwrap();
        let hearer = Arc::new(Recorder::default());
        let owner = Owner { node: bus.node(), ..Owner::nameless() };
        bus.listen(hearer.clone(), RedisTier::disabled_on(owner)).unwrap();
        Station { bus, hearer }
    }

    async fn open(test: &TestDb) -> Station {
        let station = Station::build(test);
        assert!(station.bus.wait_until_joined(PATIENCE).await);
        station
    }

    /// Commits something and waits for its turn.
    async fn say(&self, test: &TestDb, user: i64) -> Turn {
        let bus = self.bus.clone();
        let said = test.db.write("test", move |conn| {
            touch(conn)?;
            bus.announce_in_order(conn, &News::of_user(user))
        });
        let (standing, mut announcement) = said.await.unwrap();
        assert!(standing.is_member);
        self.bus.turn(&mut announcement).await
    }
}

/// Writes a row, as every transaction does that has something to tell.
fn touch(conn: &mut Conn<'_>) -> Result<(), StoreError> {
    Ok(crate::store::clock::reserve(conn, crate::time::Timestamp(1), 1).map(|_| ())?)
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "does not happen: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn one_process_has_nobody_to_tell() {
    let test = sqlite();
    let bus = Bus::new(&test.config, &test.db).unwrap();
    assert_eq!(bus.node(), nodes::NAMELESS);
    assert!(bus.wait_until_joined(Duration::ZERO).await);
    let station = Station { bus, hearer: Arc::default() };
    assert_eq!(station.say(&test, 1).await, Turn::Alone);
    station.bus.leave().await;
}

#[tokio::test]
async fn a_lone_node_tells_nobody_and_company_hears_everything_in_one_order() {
    let test = postgres();
    let ann = Station::open(&test).await;
    assert_eq!(ann.say(&test, 1_000).await, Turn::Alone);
    let bob = Station::open(&test).await;
    let talk = |station: &Station, from: i64| {
        let (bus, hearer) = (station.bus.clone(), station.hearer.clone());
        let station = Station { bus, hearer };
        let test = &test;
        async move {
            for user in from..from + 40 {
                assert_eq!(station.say(test, user).await, Turn::Told);
                assert!(station.hearer.users().contains(&user), "told before its turn is over");
            }
        }
    };
    futures_util::future::join(talk(&ann, 1), talk(&bob, 101)).await;
    until("both have heard all", || {
        ann.hearer.users().len() == 80 && bob.hearer.users().len() == 80
    })
    .await;
    assert_eq!(ann.hearer.users(), bob.hearer.users());
    let of_ann: Vec<i64> = bob.hearer.users().into_iter().filter(|user| *user < 100).collect();
    assert_eq!(of_ann, (1..41).collect::<Vec<i64>>());

    bob.bus.leave().await;
    // Its row is buried when it has been seen dead for a while; then nobody is told any more.
    let alone = || test.db.read_blocking(|conn| Ok(nodes::others(conn, ann.bus.node())?)).unwrap();
    until("the other is buried", || alone().is_empty()).await;
    assert_eq!(ann.say(&test, 2_000).await, Turn::Alone);
    assert!(!ann.hearer.users().contains(&2_000));
}

#[tokio::test]
async fn who_joins_waits_for_writers_that_do_not_know_of_it() {
    let test = postgres();
    let ann = Station::open(&test).await;
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let (told, was_told) = mpsc::channel();
    let (db, bus) = (test.db.clone(), ann.bus.clone());
    let writer = std::thread::spawn(move || {
        db.write_blocking(|conn| {
            touch(conn)?;
            told.send(bus.announce(conn, &News::of_user(7))?).unwrap();
            may_go_on.recv().unwrap();
            Ok::<_, StoreError>(())
        })
        .unwrap();
    });
    assert!(!was_told.recv().unwrap().has_company, "nobody is there yet");
    let bob = Station::build(&test);
    let others = || test.db.read_blocking(|conn| Ok(nodes::others(conn, ann.bus.node())?)).unwrap();
    until("the row is there", || !others().is_empty()).await;
    assert!(!bob.bus.wait_until_joined(Duration::from_millis(200)).await);
    assert_eq!(
        bob.bus.turn(&mut Announcement::default()).await,
        Turn::Deaf,
        "it does not believe itself yet"
    );
    go_on.send(()).unwrap();
    writer.join().unwrap();
    assert!(bob.bus.wait_until_joined(PATIENCE).await);
    assert!(bob.hearer.distrusted() > 0, "what it cached before is void");
    assert!(!bob.hearer.users().contains(&7), "it was not told, and need not be");
}

#[tokio::test]
async fn a_lost_session_is_noticed_and_replaced() {
    let test = postgres();
    let (ann, bob) = (Station::open(&test).await, Station::open(&test).await);
    for round in 1..=3 {
        let before = bob.hearer.distrusted();
        test.connect()
            .batch_execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND application_name = 'roost_bus'",
            )
            .unwrap();
        until("everything is distrusted", || bob.hearer.distrusted() > before).await;
        until("heard again", || {
            !ann.bus.shared.as_ref().unwrap().is_deaf()
                && !bob.bus.shared.as_ref().unwrap().is_deaf()
        })
        .await;
        assert_eq!(ann.say(&test, round).await, Turn::Told);
        until("the other hears", || bob.hearer.users().contains(&round)).await;
    }
}

#[tokio::test]
async fn nonsense_is_answered_with_distrust() {
    let test = postgres();
    let ann = Station::open(&test).await;
    let before = ann.hearer.distrusted();
    test.connect().batch_execute("NOTIFY roost, 'roost9 what is this'").unwrap();
    until("distrusted", || ann.hearer.distrusted() > before).await;
    let bob = Station::open(&test).await;
    assert_eq!(bob.say(&test, 5).await, Turn::Told);
    until("the session goes on", || ann.hearer.users() == [5]).await;
}

#[tokio::test]
async fn the_dead_are_buried_with_their_debts() {
    let test = postgres();
    let ann = Station::open(&test).await;
    let me = ann.bus.node();
    let is_dirty = || test.db.read_blocking(|conn| Ok(nodes::is_dirty(conn, me)?)).unwrap();
    test.db
        .write_blocking(|conn| {
            nodes::enter(conn, 5)?;
            Ok::<_, StoreError>(nodes::mark_dirty(conn, 6)?)
        })
        .unwrap();
    let others = || test.db.read_blocking(|conn| Ok(nodes::others(conn, me)?)).unwrap();
    assert_eq!(others(), [5, 6]);
    assert!(!is_dirty());
    until("buried", || others().is_empty()).await;
    assert!(is_dirty(), "the debt is its own now");
}

#[tokio::test]
async fn who_was_taken_for_dead_finds_out_at_its_next_commit() {
    let test = postgres();
    let ann = Station::open(&test).await;
    let me = ann.bus.node();
    test.db.write_blocking(|conn| Ok::<_, StoreError>(nodes::bury(conn, &[me])?)).unwrap();
    let bus = ann.bus.clone();
    let standing = test
        .db
        .write("test", move |conn| {
            touch(conn)?;
            bus.announce(conn, &News::of_user(1))
        })
        .await
        .unwrap();
    assert!(!standing.is_member);
}
