//! From what the database knows to one sentence.

use crate::store::explain::{Facts, Reach, TaskFacts, TweetFacts};
use crate::store::tasks::{MOST_ATTEMPTS, TaskKind};
use crate::time::Timestamp;

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether readers see the tweet in the feed, according to the database.
    pub(super) is_there: bool,
    /// Why, or why not.
    pub(super) reason: String,
}

fn there(reason: impl Into<String>) -> Verdict {
    Verdict { is_there: true, reason: reason.into() }
}

fn not_there(reason: impl Into<String>) -> Verdict {
    Verdict { is_there: false, reason: reason.into() }
}

/// `strangers_leave`: an unfollow takes the author's tweets out of the feed.
pub(super) fn judge(facts: &Facts, strangers_leave: bool) -> Verdict {
    let Some(tweet) = &facts.tweet else { return no_tweet(facts) };
    if let Some(at) = tweet.deleted_at {
        let rest = if facts.entries.is_empty() { "" } else { "; its entry is still being removed" };
        return not_there(format!("the tweet was deleted at {at}{}{rest}", removal(facts)));
    }
    match facts.entries.first() {
        Some(entry) => present(facts, tweet, *entry, strangers_leave),
        None => not_there(absent(facts, tweet)),
    }
}

fn no_tweet(facts: &Facts) -> Verdict {
    let removed = facts.of_tweet.iter().find(|task| task.kind == TaskKind::Retract);
    not_there(match removed {
        Some(task) => format!("the tweet was deleted at {} and is gone", task.created_at),
        // Ids are handed out in order, and one that was handed out is never used again.
        None => format!(
            "there is no such tweet: it was deleted long ago, or never existed \
             (the last one is {})",
            facts.last_tweet
        ),
    })
}

fn present(facts: &Facts, tweet: &TweetFacts, entry: Timestamp, strangers_leave: bool) -> Verdict {
    let came = if tweet.author_id == facts.reader {
        "it is the reader's own".to_owned()
    } else if entry == tweet.created_at {
        "it was back-filled when the reader followed the author".to_owned()
    } else {
        let waited_ms = (entry.micros() - tweet.created_at.micros()) / 1_000;
        format!("it was delivered at {entry}, {waited_ms} ms after the post")
    };
    let follows = tweet.author_id == facts.reader || facts.follows_since.is_some();
    let goes = match open(&facts.of_pair, TaskKind::Sweep) {
        _ if follows => String::new(),
        Some(task) => format!(
            "; the reader has unfollowed the author, and task {} is about to remove it ({})",
            task.id,
            health(task)
        ),
        None if strangers_leave => "; the reader does not follow the author, and nothing is \
                                    about to remove it: see roost check"
            .to_owned(),
        None => "; the reader has unfollowed the author since, and keeps what was there".to_owned(),
    };
    there(came + &goes)
}

fn absent(facts: &Facts, tweet: &TweetFacts) -> String {
    if tweet.author_id == facts.reader {
        return trimmed(facts, tweet).unwrap_or_else(|| unexplained("it is the reader's own"));
    }
    match facts.follows_since {
        Some(since) if since < tweet.created_at => undelivered(facts, tweet),
        Some(since) => too_late(facts, tweet, since),
        None => no_follower(facts, tweet),
    }
}

/// The reader should have got it from the delivery.
fn undelivered(facts: &Facts, tweet: &TweetFacts) -> String {
    if let Some(task) = open(&facts.of_tweet, TaskKind::Deliver) {
        if facts.reader > task.progress {
            let reach = reached(facts.reach);
            return format!(
                "it is on its way: task {} is at {reach}, before the reader ({})",
                task.id,
                health(task)
            );
        }
    } else if tweet.delivered_at.is_none() {
        return "its delivery is lost: it is not delivered and has no task; see roost check"
            .to_owned();
    }
    trimmed(facts, tweet).unwrap_or_else(|| {
        unexplained("the delivery has passed the reader, who follows the author")
    })
}

/// The reader followed after the tweet was posted: only a back-fill brings it.
fn too_late(facts: &Facts, tweet: &TweetFacts, since: Timestamp) -> String {
    if let Some(task) = open(&facts.of_pair, TaskKind::Backfill) {
        return format!(
            "the reader was not a follower at that time (follows since {since}), and back-fill \
             task {} is still to come ({})",
            task.id,
            health(task)
        );
    }
    if let Some(removed) = removed_by_unfollow(facts, tweet) {
        return format!("{removed}; the follow of {since} has not brought it back");
    }
    let mut reason = format!(
        "the reader was not a follower at that time: follows since {since}, posted at {}; a \
         follow brings the author's latest tweets only",
        tweet.created_at
    );
    if let Some(trimmed) = trimmed(facts, tweet) {
        reason = format!("{reason}, or {trimmed}");
    }
    reason
}

fn no_follower(facts: &Facts, tweet: &TweetFacts) -> String {
    if let Some(removed) = removed_by_unfollow(facts, tweet) {
        return removed;
    }
    match facts.of_pair.iter().find(|task| task.kind == TaskKind::Sweep) {
        Some(task) => format!(
            "the reader was not a follower at that time: unfollowed at {}, posted at {}",
            task.created_at, tweet.created_at
        ),
        None => "the reader does not follow the author (an unfollow is on record for \
                 ROOST_KEEP_TASKS_S)"
            .to_owned(),
    }
}

fn removed_by_unfollow(facts: &Facts, tweet: &TweetFacts) -> Option<String> {
    let mut sweeps = facts.of_pair.iter().filter(|task| task.kind == TaskKind::Sweep);
    // The first one after the tweet.
    let task = sweeps.rfind(|task| task.created_at > tweet.created_at)?;
    Some(format!("removed by the unfollow at {}", task.created_at))
}

fn trimmed(facts: &Facts, tweet: &TweetFacts) -> Option<String> {
    let (below, at) = facts.trimmed.filter(|(below, _)| tweet.created_at < *below)?;
    Some(format!("trimmed by retention: entries older than {below} went, the last of them at {at}"))
}

fn unexplained(what: &str) -> String {
    format!("nothing explains it: {what}; see roost check")
}

/// How far the removal of a deleted tweet has come.
fn removal(facts: &Facts) -> String {
    match open(&facts.of_tweet, TaskKind::Retract) {
        Some(task) => {
            format!(", task {} is at {} ({})", task.id, reached(facts.reach), health(task))
        }
        None => String::new(),
    }
}

fn reached(reach: Option<Reach>) -> String {
    reach.map_or("its start".to_owned(), |Reach { passed, followers }| {
        format!("follower {passed} of {followers}")
    })
}

fn open(tasks: &[TaskFacts], kind: TaskKind) -> Option<&TaskFacts> {
    tasks.iter().find(|task| task.kind == kind && task.finished_at.is_none())
}

/// How an open task fares.
pub(super) fn health(task: &TaskFacts) -> String {
    let error = task.last_error.as_deref().unwrap_or("unknown");
    match (task.attempts, task.retry_at) {
        (0, None) => "in order".to_owned(),
        (0, Some(until)) => format!("waits until {until}"),
        (attempts, _) if attempts >= MOST_ATTEMPTS => {
            format!("given up after {attempts} failures until a node starts; the last: {error}")
        }
        (attempts, Some(at)) => {
            format!("failed {attempts} times, tried again at {at}; the last: {error}")
        }
        (attempts, None) => format!("failed {attempts} times; the last: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READER: i64 = 5;

    fn task(kind: TaskKind, created_at: i64) -> TaskFacts {
        TaskFacts {
            id: 70 + created_at,
            kind,
            progress: 0,
            rows_done: 0,
            created_at: Timestamp(created_at),
            finished_at: None,
            attempts: 0,
            retry_at: None,
            last_error: None,
            work_us: 0,
        }
    }

    fn done(kind: TaskKind, created_at: i64) -> TaskFacts {
        TaskFacts { finished_at: Some(Timestamp(created_at + 1)), ..task(kind, created_at) }
    }

    /// A tweet of 100 by author 9, delivered at 110, that the reader should have.
    fn facts() -> Facts {
        Facts {
            reader: READER,
            tweet: Some(TweetFacts {
                author_id: 9,
                created_at: Timestamp(100),
                delivered_at: Some(Timestamp(110)),
                deleted_at: None,
            }),
            last_tweet: 40,
            entries: Vec::new(),
            follows_since: Some(Timestamp(50)),
            of_tweet: Vec::new(),
            of_pair: Vec::new(),
            reach: None,
            trimmed: None,
        }
    }

    fn tweet(change: impl FnOnce(&mut TweetFacts)) -> Option<TweetFacts> {
        let mut tweet = facts().tweet.unwrap();
        change(&mut tweet);
        Some(tweet)
    }

    #[track_caller]
    fn says(facts: Facts, is_there: bool, words: &str) {
        let verdict = judge(&facts, true);
        assert_eq!(verdict.is_there, is_there, "{verdict:?}");
        assert!(verdict.reason.contains(words), "{verdict:?} says {words:?}");
    }

    #[test]
    fn tweets_that_are_there() {
        let at = |at| vec![Timestamp(at)];
        says(Facts { entries: at(2_000_100), ..facts() }, true, "2000 ms after the post");
        says(Facts { entries: at(100), ..facts() }, true, "back-filled");
        let own = tweet(|tweet| tweet.author_id = READER);
        says(Facts { entries: at(100), tweet: own, ..facts() }, true, "own");
        let stranger = Facts { entries: at(105), follows_since: None, ..facts() };
        says(stranger.clone(), true, "roost check");
        says(
            Facts { of_pair: vec![task(TaskKind::Sweep, 120)], ..stranger.clone() },
            true,
            "about to remove it",
        );
        assert!(judge(&stranger, false).reason.contains("keeps what was there"));
    }

    #[test]
    fn tweets_that_are_gone() {
        says(Facts { tweet: None, ..facts() }, false, "the last one is 40");
        let retracted = vec![done(TaskKind::Retract, 130)];
        says(Facts { tweet: None, of_tweet: retracted, ..facts() }, false, "was deleted at");
        let deleted = Facts {
            tweet: tweet(|tweet| tweet.deleted_at = Some(Timestamp(120))),
            entries: vec![Timestamp(105)],
            of_tweet: vec![task(TaskKind::Retract, 120)],
            reach: Some(Reach { passed: 3, followers: 8 }),
            ..facts()
        };
        says(deleted.clone(), false, "follower 3 of 8");
        says(deleted, false, "still being removed");
    }

    #[test]
    fn tweets_on_their_way() {
        let on_its_way = Facts {
            tweet: tweet(|tweet| tweet.delivered_at = None),
            of_tweet: vec![task(TaskKind::Deliver, 100)],
            reach: Some(Reach { passed: 3, followers: 8 }),
            ..facts()
        };
        says(on_its_way.clone(), false, "at follower 3 of 8");
        let mut failing = on_its_way.clone();
        failing.of_tweet[0].attempts = 2;
        failing.of_tweet[0].last_error = Some("no room".to_owned());
        says(failing.clone(), false, "no room");
        failing.of_tweet[0].attempts = MOST_ATTEMPTS;
        says(failing, false, "given up");
        let lost = Facts { of_tweet: Vec::new(), ..on_its_way.clone() };
        says(lost, false, "lost");
        let mut passed = on_its_way;
        passed.of_tweet[0].progress = READER;
        says(passed, false, "nothing explains it");
    }

    #[test]
    fn tweets_that_were_never_meant_for_the_reader_or_taken_away() {
        let late = Facts { follows_since: Some(Timestamp(200)), ..facts() };
        says(late.clone(), false, "not a follower at that time");
        let waiting = vec![task(TaskKind::Backfill, 200)];
        says(Facts { of_pair: waiting, ..late.clone() }, false, "is still to come");
        let swept = vec![done(TaskKind::Sweep, 150)];
        says(Facts { of_pair: swept.clone(), ..late }, false, "has not brought it back");
        let gone = Facts { follows_since: None, ..facts() };
        says(gone.clone(), false, "does not follow the author");
        says(Facts { of_pair: swept, ..gone.clone() }, false, "removed by the unfollow at");
        let before = vec![done(TaskKind::Sweep, 90)];
        says(Facts { of_pair: before, ..gone }, false, "not a follower at that time: unfollowed");
    }

    #[test]
    fn tweets_that_retention_took() {
        let trimmed = Some((Timestamp(101), Timestamp(900)));
        says(Facts { trimmed, ..facts() }, false, "trimmed by retention");
        let own = tweet(|tweet| tweet.author_id = READER);
        says(Facts { trimmed, tweet: own.clone(), ..facts() }, false, "trimmed by retention");
        says(Facts { tweet: own, ..facts() }, false, "nothing explains it");
        let above = Some((Timestamp(100), Timestamp(900)));
        says(Facts { trimmed: above, ..facts() }, false, "nothing explains it");
    }
}
