//! Load while something breaks: what people were told, how long it took, and whether it is
//! still true afterwards.
//!
//! Everybody acts in turn: reads, posts, comments, likes, takes likes back. An answer of 2xx is
//! a promise; everything else leaves open whether it happened.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::app::App;
use super::client::{Client, Request};
use super::{Value, effort, json};

/// Nothing may take the load so long to get going, or to go on after a fault.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first page of one's own feed.
    Feed,
    /// Other reads.
    Read,
    /// Anything that is to be stored.
    Write,
}

/// One request, as its sender has seen it.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// What was asked.
    pub kind: Kind,
    /// The status; 0 when the connection ended without one.
    pub status: u16,
    /// How long it took.
    pub took: Duration,
}

/// All answers, and what they promise.
#[derive(Default)]
pub struct Report {
    /// In no particular order.
    pub answers: Vec<Answer>,
    tweets: Vec<i64>,
    comments: Vec<i64>,
    /// (user, tweet): liked, not liked, or unknown after anything but a 2xx.
    likes: HashMap<(i64, i64), Option<bool>>,
}

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

struct Person<'a> {
    client: &'a Client,
    dice: StdRng,
    pulse: &'a Pulse,
    report: Report,
}

impl Person<'_> {
    fn act(mut self) -> Report {
        while !self.pulse.over.load(Ordering::SeqCst) {
            match self.dice.random_range(0..12) {
                0..=4 => self.get(Kind::Feed, "/api/newsfeeds/"),
                5 => {
                    let path = format!("/api/tweets/?user_id={}", self.client.id);
                    self.get(Kind::Read, &path);
                }
                6..=8 => self.post_tweet(),
                9 => self.comment(),
                10 => self.like(true),
                _ => self.like(false),
            }
        }
        self.report
    }

    fn get(&mut self, kind: Kind, path: &str) {
        self.send(kind, self.client.request("GET", path));
    }

    fn post_tweet(&mut self) {
        if let Some(id) = self.write("/api/tweets/", json!({"content": "under load"})) {
            self.report.tweets.push(id);
            self.pulse.known.lock().unwrap().push(id);
        }
    }

    fn comment(&mut self) {
        let Some(tweet) = self.some_tweet() else { return };
        let body = json!({"tweet_id": tweet, "content": "so it is"});
        let created = self.write("/api/comments/", body);
        self.report.comments.extend(created);
    }

    fn like(&mut self, wanted: bool) {
        let Some(tweet) = self.some_tweet() else { return };
        let path = if wanted { "/api/likes/" } else { "/api/likes/cancel/" };
        let body = json!({"content_type": "tweet", "object_id": tweet});
        let request = self.client.request("POST", path).json(&body);
        let told = self.send(Kind::Write, request).is_some().then_some(wanted);
        self.report.likes.insert((self.client.id, tweet), told);
    }

    fn some_tweet(&mut self) -> Option<i64> {
        let known = self.pulse.known.lock().unwrap();
        let place = self.dice.random_range(0..known.len().max(1));
        known.get(place).copied()
    }

    /// The id of what was created, if that was acknowledged.
    fn write(&mut self, path: &str, body: Value) -> Option<i64> {
        let request = self.client.request("POST", path).json(&body);
        self.send(Kind::Write, request)?["id"].as_i64()
    }

    /// The body of a 2xx.
    fn send(&mut self, kind: Kind, request: Request<'_>) -> Option<Value> {
        let asked = Instant::now();
        let answer = request.open().and_then(|answer| {
            let (status, retry) =
                (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
            Ok((status, retry, answer.bytes()?))
        });
        let took = asked.elapsed();
        let Ok((status, retry_after, body)) = answer else {
            self.report.answers.push(Answer { kind, status: 0, took });
            // Nobody there: not a reason to ask as fast as the loopback can refuse.
            thread::sleep(Duration::from_millis(2));
            return None;
        };
        self.report.answers.push(Answer { kind, status, took });
        let text = String::from_utf8_lossy(&body);
        assert!(status != 503 || retry_after, "503 without Retry-After: {text}");
        if !(200..300).contains(&status) {
            return None;
        }
        let counter = if kind == Kind::Write { &self.pulse.writes } else { &self.pulse.reads };
        counter.fetch_add(1, Ordering::SeqCst);
        Some(serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error} in {text}")))
    }
}

impl Report {
    fn merge(&mut self, other: Report) {
        self.answers.extend(other.answers);
        self.tweets.extend(other.tweets);
        self.comments.extend(other.comments);
        self.likes.extend(other.likes);
    }

    /// How many answers of each status there were; 0 stands for none.
    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        let mut statuses = BTreeMap::new();
        self.answers.iter().for_each(|answer| *statuses.entry(answer.status).or_default() += 1);
        statuses
    }

    /// Fails when there was an answer to a request of this kind (None: of any) with another
    /// status.
    #[track_caller]
    pub fn assert_only(&self, kind: Option<Kind>, allowed: &[u16]) {
        let asked = |answer: &&Answer| kind.is_none_or(|kind| answer.kind == kind);
        let odd: Vec<&Answer> = self
            .answers
            .iter()
            .filter(asked)
            .filter(|answer| !allowed.contains(&answer.status))
            .collect();
        assert!(odd.is_empty(), "{} of {:?}: {:?}", odd.len(), self.statuses(), odd[0]);
    }

    /// The time within which so many per cent of the answers came.
    pub fn percentile(&self, kind: Kind, percent: usize) -> Duration {
        let of_kind = self.answers.iter().filter(|answer| answer.kind == kind);
        let mut took: Vec<Duration> = of_kind.map(|answer| answer.took).collect();
        took.sort_unstable();
        let last = took.len().saturating_sub(1);
        took.get((took.len() * percent / 100).min(last)).copied().unwrap_or_default()
    }

    /// What is worth a line in a report.
    pub fn summary(&self) -> String {
        let of = |kind| {
            let [half, most, all] = [50, 99, 100].map(|at| self.percentile(kind, at));
            format!("p50 {half:.1?} p99 {most:.1?} max {all:.1?}")
        };
        let (feeds, writes) = (of(Kind::Feed), of(Kind::Write));
        format!("{:?}; feeds {feeds}; writes {writes}", self.statuses())
    }

    /// Fails unless everything that was acknowledged is stored, once.
    #[track_caller]
    pub fn assert_kept(&self, app: &App) {
        for (table, promised) in [("tweets", &self.tweets), ("comments", &self.comments)] {
            let stored: HashSet<i64> =
                app.sql_list(&format!("SELECT id AS n FROM {table}")).into_iter().collect();
            let lost: Vec<&i64> = promised.iter().filter(|id| !stored.contains(id)).collect();
            assert!(lost.is_empty(), "{table} acknowledged and lost: {lost:?}");
            let different: HashSet<&i64> = promised.iter().collect();
            assert_eq!(different.len(), promised.len(), "one of the {table} was made twice");
        }
        let query = |column: &str| {
            format!("SELECT {column} AS n FROM likes WHERE kind = 1 ORDER BY user_id, object_id")
        };
        let (users, objects) = (app.sql_list(&query("user_id")), app.sql_list(&query("object_id")));
        let stored: HashSet<(i64, i64)> = users.into_iter().zip(objects).collect();
        for (like, told) in &self.likes {
            let holds = told.is_none_or(|liked| liked == stored.contains(like));
            assert!(holds, "acknowledged and lost: (user, tweet) {like:?} liked: {told:?}");
        }
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
