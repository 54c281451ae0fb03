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
mod tests;
