//! Load while something breaks: what people were told, how long it took, and whether it is
//! still true afterwards.
//!
//! Everybody acts in turn: reads, posts, comments, likes, takes likes back. An answer of 2xx is
//! a promise; everything else leaves open whether it happened.

mod person;
mod report;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use self::person::Person;
pub use self::report::{Kind, Report};
use super::app::App;
use super::client::Client;
use super::{Value, effort};

/// Nothing may take the load so long to get going, or to go on after a fault.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens while the load runs, for the one who breaks things.
pub struct Pulse {
    writes: AtomicUsize,
    reads: AtomicUsize,
    over: AtomicBool,
    known: Mutex<Vec<i64>>,
}

impl Pulse {
    /// Waits for so many more acknowledged writes and so many more answered reads.
    #[track_caller]
    pub fn wait_for(&self, writes: usize, reads: usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        let (writes, reads) = (count(&self.writes) + writes, count(&self.reads) + reads);
        let begun = Instant::now();
        while count(&self.writes) < writes || count(&self.reads) < reads {
            assert!(begun.elapsed() < PATIENCE, "the load stands still");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// How long it takes until `writes` more writes are acknowledged.
    #[track_caller]
    pub fn time_to_write(&self, writes: usize) -> Duration {
        let begun = Instant::now();
        self.wait_for(writes, 0);
        begun.elapsed()
    }
}

/// Signs up so many people who all follow each other; each has posted once.
pub fn crowd(app: &App, size: usize) -> Vec<Client> {
    let people: Vec<Client> = (0..size).map(|n| app.sign_up(&format!("person{n}"))).collect();
    for one in &people {
        for other in people.iter().filter(|other| other.id != one.id) {
            one.follow(other);
        }
        one.tweet("here I am");
    }
    app.quiesce();
    people
}

/// Runs the load for as long as `breakage` takes.
pub fn during(people: &[Client], breakage: impl FnOnce(&Pulse)) -> Report {
    let seed = effort::seed("load");
    let pulse = Pulse {
        writes: AtomicUsize::new(0),
        reads: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        known: Mutex::default(),
    };
    thread::scope(|scope| {
        let act = |(place, client)| {
            let dice = StdRng::seed_from_u64(seed.wrapping_add(place as u64));
            let pulse = &pulse;
            scope.spawn(move || Person { client, dice, pulse, report: Report::default() }.act())
        };
        let acting: Vec<_> = people.iter().enumerate().map(act).collect();
        {
            let _over = SetAtEnd(&pulse.over);
            pulse.wait_for(people.len(), people.len());
            breakage(&pulse);
        }
        let mut report = Report::default();
        acting.into_iter().for_each(|person| report.merge(person.join().unwrap()));
        report
    })
}

/// Sets a flag when dropped, also by a panic: threads that wait for it must end for their scope
/// to end.
pub struct SetAtEnd<'a>(pub &'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The invariants, for when nothing is under way any more: every feed paged to its end is the
/// feed in the database, every count is the number of rows, `roost check` finds nothing. Once as
/// the node is, warm from whatever it went through, and once after a restart.
#[track_caller]
pub fn assert_sound(app: &mut App, people: &[Client]) {
    for round in ["as it is", "after a restart"] {
        app.quiesce();
        for person in people {
            assert_true_feed(app, person, round);
        }
        app.assert_counts_match_rows();
        app.assert_check_passes();
        if round == "as it is" {
            app.restart();
        }
    }
}

#[track_caller]
fn assert_true_feed(app: &App, person: &Client, round: &str) {
    let truth = |what: &str| {
        app.sql_list(&format!(
            "SELECT {what} AS n FROM newsfeeds f JOIN tweets t ON t.id = f.tweet_id \
             WHERE f.user_id = {} AND t.deleted_at IS NULL ORDER BY f.created_at DESC",
            person.id
        ))
    };
    let feed = person.walk("/api/newsfeeds/?page_size=100");
    let shown = |pointer: &str| -> Vec<i64> {
        let number = |item: &Value| item.pointer(pointer).and_then(Value::as_i64).expect("number");
        feed.iter().map(number).collect()
    };
    let name = &person.username;
    assert_eq!(shown("/id"), truth("f.created_at"), "the feed of {name} {round}");
    assert_eq!(shown("/tweet/id"), truth("t.id"), "the tweets of {name} {round}");
    let likes = "(SELECT count(*) FROM likes l WHERE l.kind = 1 AND l.object_id = t.id)";
    assert_eq!(shown("/tweet/likes_count"), truth(likes), "the likes before {name} {round}");
    let comments = "(SELECT count(*) FROM comments c WHERE c.tweet_id = t.id)";
    assert_eq!(shown("/tweet/comments_count"), truth(comments), "the answers, {name} {round}");
}
