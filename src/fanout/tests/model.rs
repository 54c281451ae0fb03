//! Random operations with random rounds between them, against a model that delivers at once.
//! Failure mode 21: what follows, unfollows and deletes leave behind is what the graph implies.

use std::collections::{BTreeMap, BTreeSet};

use diesel::connection::SimpleConnection;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{DEFAULTS, Desk, add_users, entries, pace, post};
use crate::fanout::rounds::Pace;
use crate::fanout::{Op, Outcome, WriterConfig};
use crate::store::on;
use crate::store::testing::{self, TestDb};
use crate::time::{Clock, Timestamp};
use crate::timeline::TimelineKey;

const USERS: i64 = 5;

#[derive(Debug, Clone)]
enum Step {
    /// One group of operations.
    Group(Vec<Wish>),
    Round,
    /// The writer dies and another takes over.
    Crash,
}

#[derive(Debug, Clone, Copy)]
enum Wish {
    Post(i64),
    Follow(i64, i64),
    Unfollow(i64, i64),
    /// Delete one of the tweets there have been, by its place modulo their number.
    Delete(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let user = 1..=USERS;
    let wish = prop_oneof![
        5 => user.clone().prop_map(Wish::Post),
        3 => (user.clone(), user.clone()).prop_map(|(a, b)| Wish::Follow(a, b)),
        2 => (user.clone(), user).prop_map(|(a, b)| Wish::Unfollow(a, b)),
        1 => (0_usize..1000).prop_map(Wish::Delete),
    ];
    let step = prop_oneof![
        6 => prop::collection::vec(wish, 1..5).prop_map(Step::Group),
        4 => Just(Step::Round),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..40)
}

/// Settings under which the model is exact: either a back-fill takes everything, or it is done
/// on the spot and no sweep is ever left open (what is put off takes older tweets in place of
/// those deleted meanwhile).
fn settings() -> impl Strategy<Value = (WriterConfig, Pace)> {
    prop_oneof![
        (1_usize..4, 1_usize..4).prop_map(move |(rows, sweep)| {
            (WriterConfig { backfill: 1000, ..DEFAULTS }, pace(rows, sweep))
        }),
        (1_usize..4, 0_u32..4).prop_map(move |(rows, backfill)| {
            let pace = Pace { backfill_rows: 1000, ..pace(rows, 1000) };
            (WriterConfig { backfill, ..DEFAULTS }, pace)
        }),
    ]
}

/// What the feeds should be, had everything been done at once.
#[derive(Default)]
struct Model {
    follows: BTreeSet<(i64, i64)>,
    /// Living tweets and their authors, in the order of their moments.
    tweets: Vec<(i64, i64)>,
    ever: Vec<(i64, i64)>,
    feeds: BTreeMap<i64, BTreeSet<i64>>,
}

impl Model {
    fn post(&mut self, author: i64, tweet: i64) {
        self.tweets.push((tweet, author));
        self.ever.push((tweet, author));
        let followers = self.follows.iter().filter(|(_, to)| *to == author).map(|(from, _)| *from);
        for reader in followers.chain([author]).collect::<Vec<_>>() {
            self.feeds.entry(reader).or_default().insert(tweet);
        }
    }

    fn follow(&mut self, from: i64, to: i64, backfill: u32) -> bool {
        if !self.follows.insert((from, to)) {
            return false;
        }
        let latest = self.tweets.iter().rev().filter(|(_, author)| *author == to);
        let latest: Vec<i64> = latest.take(backfill as usize).map(|(tweet, _)| *tweet).collect();
        self.feeds.entry(from).or_default().extend(latest);
        true
    }

    fn unfollow(&mut self, from: i64, to: i64) -> bool {
        if !self.follows.remove(&(from, to)) {
            return false;
        }
        let theirs: BTreeSet<i64> =
            self.ever.iter().filter(|(_, author)| *author == to).map(|(tweet, _)| *tweet).collect();
        self.feeds.entry(from).or_default().retain(|tweet| !theirs.contains(tweet));
        true
    }

    fn delete(&mut self, tweet: i64) -> bool {
        let before = self.tweets.len();
        self.tweets.retain(|(id, _)| *id != tweet);
        for feed in self.feeds.values_mut() {
            feed.remove(&tweet);
        }
        self.tweets.len() != before
    }

    fn apply(&mut self, op: Asked, outcome: &Outcome, backfill: u32) {
        match (op, outcome) {
            (Asked::Post(author), Outcome::Posted(posted)) => self.post(author, posted.tweet_id),
            (Asked::Follow(from, to), Outcome::Followed(new)) => {
                assert_eq!(self.follow(from, to, backfill), *new);
            }
            (Asked::Unfollow(from, to), Outcome::Unfollowed(was)) => {
                assert_eq!(self.unfollow(from, to), *was);
            }
            (Asked::Delete(tweet), Outcome::Deleted) => assert!(self.delete(tweet)),
            (Asked::Delete(tweet), Outcome::NotFound) => assert!(!self.delete(tweet)),
            (asked, outcome) => panic!("{asked:?} gave {outcome:?}"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Asked {
    Post(i64),
    Follow(i64, i64),
    Unfollow(i64, i64),
    Delete(i64),
}

/// Turns wishes into operations that make sense.
fn ask(wishes: &[Wish], model: &Model) -> Vec<(Asked, Op)> {
    let usable = wishes.iter().filter_map(|wish| match *wish {
        Wish::Post(user) => Some((Asked::Post(user), post(user))),
        Wish::Follow(from, to) | Wish::Unfollow(from, to) if from == to => None,
        Wish::Follow(from, to) => Some((Asked::Follow(from, to), Op::Follow { from, to })),
        Wish::Unfollow(from, to) => Some((Asked::Unfollow(from, to), Op::Unfollow { from, to })),
        Wish::Delete(place) => {
            let (tweet_id, user_id) = *model.ever.get(place % model.ever.len().max(1))?;
            Some((Asked::Delete(tweet_id), Op::Delete { user_id, tweet_id }))
        }
    });
    usable.collect()
}

/// Sees every feed after every transaction: what is new must be newer than all that was there,
/// unless it comes from the past, at its tweet's own time.
#[derive(Default)]
struct Observer {
    newest: BTreeMap<i64, Timestamp>,
    known: BTreeMap<i64, BTreeSet<(Timestamp, i64)>>,
    /// When tweets were posted, also those that are gone by now.
    posted: BTreeSet<Timestamp>,
}

impl Observer {
    fn look(&mut self, test: &TestDb) {
        let living = (1..=USERS).flat_map(|user| entries(test, TimelineKey::Author(user)));
        self.posted.extend(living.map(|entry| entry.created_at));
        for reader in 1..=USERS {
            let feed = entries(test, TimelineKey::Home(reader));
            let known = self.known.entry(reader).or_default();
            let newest = self.newest.entry(reader).or_insert(Timestamp::MIN);
            for entry in &feed {
                let is_new = !known.contains(&(entry.created_at, entry.tweet_id));
                let from_the_past = self.posted.contains(&entry.created_at);
                assert!(
                    !is_new || from_the_past || entry.created_at > *newest,
                    "{}: {entry:?} became visible below {newest:?}",
                    test.name
                );
            }
            *newest = feed.first().map_or(*newest, |head| head.created_at.max(*newest));
            *known = feed.iter().map(|entry| (entry.created_at, entry.tweet_id)).collect();
        }
    }
}

async fn run(test: &TestDb, config: WriterConfig, pace: Pace, steps: &[Step]) {
    let open = || Desk::with(test, config, pace, Clock::system());
    let mut desk = open();
    let mut model = Model::default();
    let mut observer = Observer::default();
    for step in steps {
        match step {
            Step::Round => {
                desk.round().await;
            }
            Step::Crash => desk = open(),
            Step::Group(wishes) => {
                let (asked, ops): (Vec<Asked>, Vec<Op>) = ask(wishes, &model).into_iter().unzip();
                let outcomes = desk.group(ops).await;
                for (asked, outcome) in asked.into_iter().zip(outcomes) {
                    model.apply(asked, &outcome.expect("committed"), config.backfill);
                }
            }
        }
        observer.look(test);
        desk.check_windows(1..=USERS);
    }
    desk.settle().await;
    observer.look(test);
    desk.check_windows(1..=USERS);
    for reader in 1..=USERS {
        let expected = model.feeds.remove(&reader).unwrap_or_default();
        assert_eq!(desk.feed_set(reader), expected, "{}: feed of {reader}", test.name);
    }
}

fn clear(test: &TestDb) {
    test.db
        .write_blocking(|conn| {
            for table in ["newsfeeds", "friendships", "tweets", "fanout_tasks", "follow_spans"] {
                on!(conn, |c| c.batch_execute(&format!("DELETE FROM {table}")))?;
            }
            let counts = "UPDATE profiles SET followers_count = 0, followings_count = 0, \
                          tweets_count = 0";
            on!(conn, |c| c.batch_execute(counts))?;
            Ok(())
        })
        .unwrap();
}

fn check(test: &TestDb, cases: u32) {
    add_users(test, USERS);
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let system = actix_rt::System::new();
    runner
        .run(&(settings(), steps()), |((config, pace), steps)| {
            clear(test);
            system.block_on(run(test, config, pace, &steps));
            Ok(())
        })
        .unwrap();
}

#[test]
fn failure_mode_21_feeds_follow_the_graph_on_sqlite() {
    check(&testing::sqlite(), 60);
}

#[test]
fn failure_mode_21_feeds_follow_the_graph_on_postgres() {
    check(&testing::postgres(), 15);
}
