//! Once everything has settled: the database, every page, every count, four ways.

use std::collections::BTreeMap;
use std::thread;

use rand::RngExt;
use rand::rngs::StdRng;

use super::people::{Person, Stage, shown};
use super::trouble::{self, Settings};
use super::world::{End, Kind, World};
use super::{iso, micros};
use crate::harness::{App, Value, ids};

/// Tweets of each person whose comments are read.
const COMMENTED: usize = 3;

/// What the database says.
struct Truth {
    /// By reader: time and tweet, newest first.
    feeds: BTreeMap<i64, Vec<(i64, i64)>>,
    /// By reader and author: when the follow became visible.
    since: BTreeMap<(i64, i64), i64>,
}

/// Waits until nothing is under way, and then lets nothing pass.
pub fn reach(
    app: &mut App,
    stage: &Stage,
    people: &mut [Person],
    settings: Settings,
    dice: &mut StdRng,
) {
    app.quiesce();
    let truth = Truth::read(app);
    // On its own line: the world is locked no longer when the test fails and tells of it.
    let judged = truth.judge(&stage.world(), settings.backfill);
    if let Err(reason) = judged {
        stage.fail(&format!("in the database: {reason}"));
    }
    let held = |(user, feed): (&i64, &Vec<(i64, i64)>)| {
        feed.iter().map(|(_, tweet)| (*user, *tweet)).collect::<Vec<_>>()
    };
    stage.world().held = truth.feeds.iter().flat_map(held).collect();
    let users = stage.world().users.clone();
    look_everywhere(stage, people, &truth, "warm");
    if let Some(mut redis) = app.redis() {
        trouble::delete_lists(&mut redis, &users);
        look_everywhere(stage, people, &truth, "with the lists deleted");
        app.flush_redis();
        look_everywhere(stage, people, &truth, "with Redis emptied");
    }
    if dice.random_bool(0.5) {
        app.restart();
    } else {
        app.kill9();
        app.start_again();
    }
    look_everywhere(stage, people, &truth, "after a restart");
    app.assert_counts_match_rows();
    let check = app.run(&["check"]);
    let said = String::from_utf8_lossy(&check.stdout);
    if !check.status.success() {
        stage.fail(&format!("roost check: {said}{}", String::from_utf8_lossy(&check.stderr)));
    }
}

impl Truth {
    fn read(app: &App) -> Truth {
        let numbers = |query: &str| -> Vec<[i64; 3]> {
            let triple = |row: String| {
                let mut parts = row.split(' ').map(|part| part.parse().expect("a number"));
                [(); 3].map(|()| parts.next().expect("three numbers"))
            };
            app.sql_texts(query).into_iter().map(triple).collect()
        };
        let mut feeds: BTreeMap<i64, Vec<(i64, i64)>> = BTreeMap::new();
        let entries = "SELECT user_id || ' ' || created_at || ' ' || tweet_id AS t \
                       FROM newsfeeds ORDER BY user_id, created_at DESC";
        for [user, at, tweet] in numbers(entries) {
            feeds.entry(user).or_default().push((at, tweet));
        }
        let follows = "SELECT from_user_id || ' ' || to_user_id || ' ' || created_at AS t \
                       FROM friendships";
        let since = numbers(follows).into_iter().map(|[from, to, at]| ((from, to), at)).collect();
        Truth { feeds, since }
    }

    fn feed(&self, user: i64) -> &[(i64, i64)] {
        self.feeds.get(&user).map_or(&[], Vec::as_slice)
    }

    /// Whether the database is what the model implies.
    fn judge(&self, world: &World, backfill: usize) -> Result<(), String> {
        if !self.since.keys().eq(world.follows.keys()) {
            return Err(format!("follows are {:?}, not {:?}", self.since, world.follows));
        }
        for reader in &world.users {
            let mut bounds = world.feed(*reader, &self.since, backfill);
            for (at, tweet) in self.feed(*reader) {
                let is_due = bounds.must.remove(tweet);
                if !is_due && !bounds.may.remove(tweet) {
                    return Err(format!("user {reader} has {tweet} at {at}, a stranger or twice"));
                }
                let (author, posted) = world
                    .tweets
                    .get(tweet)
                    .map(|tweet| (tweet.author, tweet.created_at))
                    .expect("a tweet of the model");
                // Own and back-filled tweets stand at their own time, others were delivered:
                // by which follow is not known of those that an unfollow left.
                let since = self.since.get(&(*reader, author)).copied().unwrap_or(i64::MAX);
                let is_due_at = (*at == posted) == (posted < since);
                if !(is_due_at || world.keeps(*reader, author)) || *at < posted {
                    return Err(format!("user {reader} has {tweet} at {at}, posted at {posted}"));
                }
            }
            if let Some(missing) = bounds.must.first() {
                return Err(format!("user {reader} lacks {missing}"));
            }
        }
        Ok(())
    }
}

fn look_everywhere(stage: &Stage, people: &mut [Person], truth: &Truth, way: &str) {
    stage.world().note(format!("everybody looks {way}"));
    thread::scope(|scope| {
        for person in people {
            scope.spawn(|| {
                if let Err(reason) = look(stage, person, truth) {
                    stage.fail(&format!("user {}, {way}: {reason}", person.client.id));
                }
            });
        }
    });
}

/// The own feed and the own list, each to its end, and comments.
fn look(stage: &Stage, person: &mut Person, truth: &Truth) -> Result<(), String> {
    let me = person.client.id;
    let feed = walk_feed(stage, person)?;
    let found: Vec<(i64, i64)> =
        feed.iter().map(shown).map(|entry| (entry.at, entry.tweet)).collect();
    if found != truth.feed(me) {
        return Err(format!("the feed is {found:?}, in the database {:?}", truth.feed(me)));
    }
    let list = walk_list(person);
    let world = stage.world();
    let found = ids(&Value::Array(list.clone()), "id");
    if found != world.list(me) {
        return Err(format!("the list is {found:?}, not {:?}", world.list(me)));
    }
    for tweet in feed.iter().map(|entry| &entry["tweet"]).chain(&list) {
        check_tweet(&world, me, tweet)?;
    }
    let commented: Vec<(i64, Vec<i64>)> = found
        .iter()
        .map(|tweet| (*tweet, world.comments_of(*tweet)))
        .filter(|(_, comments)| !comments.is_empty())
        .take(COMMENTED)
        .collect();
    drop(world);
    for (tweet, comments) in commented {
        let list = person.client.get(&format!("/api/comments/?tweet_id={tweet}")).expect(200);
        check_comments(&stage.world(), me, &list["comments"], &comments)?;
    }
    Ok(())
}

/// Pages of one size, down to the end.
fn walk_feed(stage: &Stage, person: &mut Person) -> Result<Vec<Value>, String> {
    let size = any_size(&mut person.dice);
    let (mut all, mut older) = (Vec::new(), None);
    loop {
        let Ok((page, items)) = person.read(stage, older, None, Some(size)) else {
            return Err("no answer".into());
        };
        older = page.entries.last().map(|entry| entry.at);
        all.extend(items);
        if !page.has_next {
            return Ok(all);
        }
    }
}

fn walk_list(person: &mut Person) -> Vec<Value> {
    let size = any_size(&mut person.dice);
    let path = format!("/api/tweets/?user_id={}&page_size={size}", person.client.id);
    let (mut all, mut cursor): (Vec<Value>, String) = (Vec::new(), String::new());
    loop {
        let page = person.client.get(&format!("{path}{cursor}")).expect(200);
        all.extend(page["results"].as_array().expect("results").iter().cloned());
        if page["has_next_page"] != true {
            return all;
        }
        let last = all.last().expect("a full page")["created_at"].as_str().expect("a time");
        cursor = format!("&created_at__lt={}", iso(micros(last)));
    }
}

/// Mostly large, so that a walk is short.
fn any_size(dice: &mut StdRng) -> usize {
    let largest = if dice.random_bool(0.2) { 12 } else { 100 };
    dice.random_range(largest / 4..=largest)
}

fn check_tweet(world: &World, viewer: i64, shown: &Value) -> Result<(), String> {
    let id = shown["id"].as_i64().expect("id");
    let tweet = &world.tweets[&id];
    let is_right = tweet.end == End::No
        && shown["user"]["id"] == tweet.author
        && shown["content"] == tweet.content.as_str()
        && shown["likes_count"] == world.likes_of(Kind::Tweet, id)
        && shown["comments_count"] == world.comments_of(id).len()
        && shown["has_liked"] == world.likes(viewer, Kind::Tweet, id);
    let likes = world.likes_of(Kind::Tweet, id);
    let comments = world.comments_of(id).len();
    if is_right {
        Ok(())
    } else {
        Err(format!("{shown} should have {likes} likes and {comments} comments: {tweet:?}"))
    }
}

fn check_comments(
    world: &World,
    viewer: i64,
    shown: &Value,
    expected: &[i64],
) -> Result<(), String> {
    let found = ids(shown, "id");
    // The list's first page holds a hundred.
    if found != expected[..expected.len().min(100)] {
        return Err(format!("the comments are {found:?}, not {expected:?}"));
    }
    for comment in shown.as_array().expect("a list") {
        let id = comment["id"].as_i64().expect("id");
        let likes = world.likes_of(Kind::Comment, id);
        if comment["likes_count"] != likes
            || comment["has_liked"] != world.likes(viewer, Kind::Comment, id)
        {
            return Err(format!("{comment} should have {likes} likes"));
        }
    }
    Ok(())
}
