use proptest::collection::vec;
use proptest::prelude::*;

use super::encode::MOST_PARTS;
use super::*;
use crate::bus::news::{Call, News};
use crate::counter::{Changes, LikeKey, LikeKind, Uncertain};
use crate::fanout::{Delivered, Effects, Removed};
use crate::store::counts::TweetCounts;
use crate::time::Timestamp;
use crate::timeline::{Entry, TimelineKey};

/// Ids as they come: small, far apart, and as large as they get.
fn any_id() -> impl Strategy<Value = i64> {
    prop_oneof![1..50_i64, 1..3_000_000_i64, Just(i64::MAX)]
}

fn any_at() -> impl Strategy<Value = i64> {
    prop_oneof![0..4_000_000_000_000_000_i64, Just(i64::MAX), Just(-7)]
}

fn any_key() -> impl Strategy<Value = TimelineKey> {
    (any::<bool>(), any_id()).prop_map(|(home, user)| match home {
        true => TimelineKey::Home(user),
        false => TimelineKey::Author(user),
    })
}

fn any_entry() -> impl Strategy<Value = Entry> {
    (any_at(), any_id()).prop_map(|(at, tweet_id)| Entry { created_at: Timestamp(at), tweet_id })
}

prop_compose! {
    fn any_effects()(
        pushes in vec((any_key(), any_entry()), 0..5),
        deliveries in vec((any_entry(), vec(any_id(), 1..2_500)), 0..3),
        removals in vec((any_id(), vec(any_key(), 1..900)), 0..3),
        changed in vec(any_key(), 0..5),
        dead_tweets in vec(any_id(), 0..5),
        friendships in vec((any_id(), any_id()), 0..5),
    ) -> Effects {
        let deliveries =
            deliveries.into_iter().map(|(entry, readers)| Delivered { entry, readers }).collect();
        let removals =
            removals.into_iter().map(|(tweet_id, keys)| Removed { tweet_id, keys }).collect();
        Effects { pushes, deliveries, removals, changed, dead_tweets, friendships, ..Effects::default() }
    }
}

prop_compose! {
    fn any_changes()(
        tweets in vec((any_id(), 0..9_i64, 0..9_i64, any_id()), 0..400),
        likes in vec((any_id(), any::<bool>(), any_id()), 0..400),
        doubted in vec(any_id(), 0..5),
        any_tweet in any::<bool>(),
    ) -> Changes {
        let tweets = tweets
            .into_iter()
            .map(|(id, likes, comments, version)| TweetCounts { id, likes, comments, version })
            .collect();
        let likes = likes
            .into_iter()
            .map(|(user_id, tweet, object_id)| {
                let kind = if tweet { LikeKind::Tweet } else { LikeKind::Comment };
                LikeKey { user_id, kind, object_id }
            })
            .collect();
        let uncertain = Uncertain { tweets: doubted, likes, any_tweet, ..Uncertain::default() };
        Changes { tweets, uncertain, ..Changes::default() }
    }
}

prop_compose! {
    fn any_news()(
        effects in any_effects(),
        changes in any_changes(),
        users in vec(any_id(), 0..4),
        sessions in vec(any::<[u8; 32]>(), 0..4),
        credentials in vec("[a-z0-9_]{1,20}", 0..3),
        epoch in proptest::option::of(any_id()),
        everything in any::<bool>(),
        call in proptest::option::of(prop_oneof![
            any::<bool>().prop_map(|follows| Call::Hello { follows }),
            any_id().prop_map(|node| Call::Settled { node }),
        ]),
    ) -> News {
        News { effects, changes, users, sessions, credentials, epoch, everything, call }
    }
}

/// What news say, whatever the order and grouping inside each kind.
fn facts(all: &[News]) -> Vec<String> {
    let mut facts = Vec::new();
    for news in all {
        let News { effects, changes, users, sessions, credentials, epoch, everything, call } = news;
        facts.extend(effects.pushes.iter().map(|push| format!("{push:?}")));
        for delivered in &effects.deliveries {
            let to = |reader: &i64| format!("{:?} to {reader}", delivered.entry);
            facts.extend(delivered.readers.iter().map(to));
        }
        for removed in &effects.removals {
            facts.extend(
                removed.keys.iter().map(|key| format!("{} from {key:?}", removed.tweet_id)),
            );
        }
        facts.extend(effects.changed.iter().map(|key| format!("changed {key:?}")));
        facts.extend(effects.dead_tweets.iter().map(|id| format!("dead {id}")));
        facts.extend(effects.friendships.iter().map(|pair| format!("friends {pair:?}")));
        facts.extend(changes.tweets.iter().map(|counts| format!("{counts:?}")));
        facts.extend(changes.uncertain.likes.iter().map(|key| format!("{key:?}")));
        facts.extend(changes.uncertain.tweets.iter().map(|id| format!("doubt {id}")));
        facts.extend(changes.uncertain.any_tweet.then(|| "any tweet".to_owned()));
        facts.extend(users.iter().map(|id| format!("user {id}")));
        facts.extend(sessions.iter().map(|hash| format!("session {hash:?}")));
        facts.extend(credentials.iter().map(|name| format!("credentials {name}")));
        facts.extend(epoch.map(|epoch| format!("epoch {epoch}")));
        facts.extend(everything.then(|| "everything".to_owned()));
        facts.extend(call.map(|call| format!("{call:?}")));
    }
    facts.sort();
    facts.dedup();
    facts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_said_is_heard(news in any_news(), node in any_id(), number in 0..u64::MAX / 2) {
        let parts = encode(node, number, &news);
        let heard: Vec<Heard> = parts.iter().map(|part| decode(part).unwrap()).collect();
        for (at, part) in heard.iter().enumerate() {
            prop_assert_eq!((part.node, part.number), (node, number));
            prop_assert_eq!(part.is_last, at + 1 == heard.len());
        }
        prop_assert!(parts.iter().all(|part| part.len() < 7_900), "fits a notification");
        prop_assert!(parts.len() <= MOST_PARTS);
        let all: Vec<News> = heard.into_iter().map(|heard| heard.news).collect();
        prop_assert_eq!(facts(&all), facts(&[news]));
    }

    #[test]
    fn nonsense_is_refused_and_never_panics(text in "\\PC{0,80}") {
        prop_assert!(decode(&text).is_err());
        let _ = decode(&format!("roost1 1 1 e;{text}"));
    }

    #[test]
    fn a_changed_byte_is_refused_or_still_well_formed(
        news in any_news(), at in any::<prop::sample::Index>(), byte in 0_u8..128,
    ) {
        let parts = encode(1, 1, &news);
        prop_assume!(!parts.is_empty());
        let mut bytes = parts[0].clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(heard) = decode(std::str::from_utf8(&bytes).unwrap()) {
            // What is understood is exactly what this very text says.
            let again = encode(heard.node, heard.number, &heard.news);
            let all: Vec<News> = again.iter().map(|part| decode(part).unwrap().news).collect();
            prop_assert_eq!(facts(&all), facts(&[heard.news]));
        }
    }
}

#[test]
fn other_versions_and_other_spellings_are_refused() {
    for text in [
        "",
        "roost2 1 1 e",
        "roost1 1 1",
        "roost1 1 1 x",
        "roost1 1 -1 e",
        "roost1 01 1 e",
        "roost1  1 1 e",
        "roost1 1 1 e ",
        "hello",
    ] {
        assert_eq!(decode(text), Err(Garbled::Header), "{text}");
    }
    for record in [
        "",
        "h",
        "h1,2",
        "h1,2,3,4",
        "h1,,3",
        "h+1,2,3",
        "h01,2,3",
        "h1,2,99999999999999999999",
        "d1,2",
        "d1,2,5,0",
        "d1,2,5,-1",
        "d1,2,9223372036854775807,1",
        "c",
        "x",
        "f1",
        "l3,1,1",
        "sabc",
        "bAnn",
        "b",
        "n1",
        "D1",
        "U0",
        "e",
        "o",
        "q1",
        "é1",
    ] {
        assert_eq!(decode(&format!("roost1 1 1 e;{record}")), Err(Garbled::Record), "{record}");
    }
    assert!(decode("roost1 1 1 e").unwrap().news.is_empty());
}

#[test]
fn too_much_to_tell_is_told_as_a_whole() {
    let readers: Vec<i64> = (0..400_000).map(|n| n * 1_000_003).collect();
    let entry = Entry { created_at: Timestamp(1), tweet_id: 1 };
    let effects = Effects { deliveries: vec![Delivered { entry, readers }], ..Effects::default() };
    let parts = encode(1, 1, &News::of_effects(&effects));
    assert_eq!(parts.len(), 1);
    assert!(decode(&parts[0]).unwrap().news.everything);
}

#[test]
fn a_chunk_of_a_fan_out_is_a_few_notifications() {
    let readers: Vec<i64> = (0..4_000).map(|n| 1_000_000 + n * 37).collect();
    let entry = Entry { created_at: Timestamp(1_790_000_000_000_000), tweet_id: 123_456_789 };
    let effects = Effects { deliveries: vec![Delivered { entry, readers }], ..Effects::default() };
    assert!(encode(7, 7, &News::of_effects(&effects)).len() <= 2);
}
