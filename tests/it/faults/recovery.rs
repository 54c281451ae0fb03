//! A server that recovers from a crash gives the numbers of lost transactions to new ones: their
//! fate must not be taken for that of the lost ones.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::proxy::Verdict;
use crate::harness::servers::Stop;
use crate::harness::{App, Client, Reply, Setup, effort, id, json, on_postgres};

on_postgres! {
    a_lost_number_that_is_used_again,
    a_lost_number_that_is_not_used_yet,
}

/// Longest statement in these stories.
const STATEMENT: Duration = Duration::from_millis(800);

/// The longest that a request whose commit is lost may take: a call is given up after twice a
/// statement's time, and carried out again; a cushion for a busy machine.
const LONGEST: Duration = Duration::from_millis(2 * 2 * 800 + 4_000);

/// How often a commit is tried to be lost with its number. By chance the server has written the
/// page of its log with the number before it ends.
const TRIES: usize = 8;

/// A commit that the proxy holds back, until the test says what becomes of it.
struct Gate {
    held: Receiver<()>,
    go: Sender<Verdict>,
}

impl Gate {
    /// Holds every commit through the proxy. Nothing else passes it while one is held.
    fn before_commits(app: &App) -> Gate {
        let (hold, held) = mpsc::channel();
        let (go, told) = mpsc::channel();
        app.database_link().judge(move |bytes| {
            if !bytes.windows(6).any(|six| six == b"COMMIT") || hold.send(()).is_err() {
                return Verdict::Pass;
            }
            told.recv().unwrap_or(Verdict::Pass)
        });
        Gate { held, go }
    }

    /// Waits for a transaction that has written likes, is about to commit and cannot; its number.
    fn hold_a_like(&self, app: &App) -> i64 {
        let number = "SELECT backend_xid::text::bigint AS n FROM pg_stat_activity \
             JOIN pg_locks USING (pid) WHERE relation = 'likes'::regclass \
             AND mode = 'RowExclusiveLock' AND backend_xid IS NOT NULL";
        loop {
            self.held.recv_timeout(LONGEST).expect("a commit");
            match app.sql_list(number)[..] {
                [] => self.go.send(Verdict::Pass).expect("a commit that waits"),
                [number] => return number,
                ref several => panic!("one counter, and the transactions {several:?}"),
            }
        }
    }
}

/// Commits transactions that write nothing of Roost's until `number` has been used; false if it
/// was not there to be used again.
fn use_again(app: &App, number: i64) -> bool {
    let next = || app.sql("SELECT pg_current_xact_id()::text::bigint AS n");
    let first = next();
    let mut used = first;
    while used < number {
        used = next();
    }
    first <= number
}

/// Likes a tweet while the server ends without the commit. What is answered, and whether the
/// number of the transaction was lost with it; `between` comes before the node can ask.
fn like_into_a_crash(
    app: &mut App,
    fan: &Client,
    tweet: i64,
    between: impl FnOnce(&App, i64) -> bool,
) -> (Reply, bool) {
    let body = json!({"content_type": "tweet", "object_id": tweet});
    let gate = Gate::before_commits(app);
    thread::scope(|scope| {
        let asked = Instant::now();
        let like = scope.spawn(|| fan.post("/api/likes/", body));
        let number = gate.hold_a_like(app);
        app.postgres_server().stop(Stop::Immediate);
        app.postgres_server().start_again();
        let lost = between(app, number);
        gate.go.send(Verdict::Reset).expect("a commit that waits");
        drop(gate);
        let reply = like.join().expect("the one who likes");
        assert!(asked.elapsed() < LONGEST, "{:?}: {}", asked.elapsed(), reply.describe());
        (reply, lost)
    })
}

/// An answer of 2xx is true, 503 is an invitation to try again.
fn assert_true(app: &App, fan: &Client, tweet: i64, reply: &Reply) {
    let rows = || {
        let fan = fan.id;
        app.sql(&format!(
            "SELECT count(*) AS n FROM likes WHERE kind = 1 AND user_id = {fan} \
             AND object_id = {tweet}"
        ))
    };
    match reply.status {
        201 => assert_eq!(rows(), 1, "acknowledged and lost: {}", reply.describe()),
        503 => {
            fan.like("tweet", tweet);
            assert_eq!(rows(), 1);
        }
        _ => panic!("{}", reply.describe()),
    }
}

fn lost_commits(setup: Setup, between: impl Fn(&App, i64) -> bool) {
    let mut app = App::on(setup)
        .env("ROOST_DB_STATEMENT_MS", &STATEMENT.as_millis().to_string())
        .own_postgres(&[])
        .behind_proxies()
        .start();
    let (author, fan) = (app.sign_up("author"), app.sign_up("fan"));
    let mut lost = 0;
    for _ in 0..TRIES {
        let tweet = id(&author.tweet("like me"));
        app.quiesce();
        let (reply, was_lost) = like_into_a_crash(&mut app, &fan, tweet, &between);
        assert_true(&app, &fan, tweet, &reply);
        lost += usize::from(was_lost);
        if lost == effort::rounds(2) {
            break;
        }
    }
    println!("{lost} numbers were lost");
    assert!(lost > 0, "no number was lost in {TRIES} crashes");
    app.quiesce();
    app.assert_counts_match_rows();
    app.assert_check_passes();
}

fn a_lost_number_that_is_used_again(setup: Setup) {
    lost_commits(setup, use_again);
}

fn a_lost_number_that_is_not_used_yet(setup: Setup) {
    lost_commits(setup, |app, number| {
        let next = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS n";
        app.sql(next) <= number
    });
}
