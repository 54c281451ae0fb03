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
