//! The batch against running the operations one by one.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::naive::{NEW_COMMENTS, Naive};
use crate::counter::batch::{Plan, Planned, plan};
use crate::counter::operation::{Answer, Idempotent, Liked, NewComment, Operation, Refusal};
use crate::store::idempotency::IdempotencyKey;
use crate::store::likes::{LikeKey, LikeKind};
use crate::time::Timestamp;

fn show(planned: &Planned, plan: &Plan) -> Result<String, Refusal> {
    match planned {
        Planned::Answer(Answer::Liked(Liked { created_at, created })) => {
            let created = if *created { "created" } else { "not created" };
            Ok(format!("liked at {}, {created}", created_at.0))
        }
        Planned::Answer(Answer::Unliked(was_there)) => Ok(format!("unliked {was_there}")),
        Planned::Answer(Answer::CommentDeleted) => Ok("deleted".into()),
        Planned::Answer(Answer::Commented(_)) => panic!("no comment has its id yet"),
        Planned::Refused(refusal) => Err(*refusal),
        Planned::Comment(place) => {
            let id = NEW_COMMENTS + plan.comments_added[*place].operation as i64;
            Ok(format!("comment {id}"))
        }
        Planned::Kept(answer) => Ok(answer.clone()),
    }
}

fn keys() -> impl Strategy<Value = LikeKey> {
    (1..4_i64, prop::bool::ANY, 1..5_i64).prop_map(|(user_id, tweet, object_id)| {
        let kind = if tweet { LikeKind::Tweet } else { LikeKind::Comment };
        LikeKey { user_id, kind, object_id }
    })
}

fn new_comments() -> impl Strategy<Value = NewComment> {
    let keys = prop::option::of((0..3_u8, 0..2_u8));
    (1..4_i64, 1..5_i64, keys).prop_map(|(user_id, tweet_id, key)| NewComment {
        user_id,
        tweet_id,
        content: "hello".into(),
        idempotency: key.map(|(key, print)| Idempotent {
            key: IdempotencyKey { key: format!("key {key}"), fingerprint: [print; 32] },
            render: Box::new(|_| String::new()),
        }),
    })
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let one = prop_oneof![
        3 => keys().prop_map(Operation::Like),
        3 => keys().prop_map(Operation::Unlike),
        2 => new_comments().prop_map(Operation::AddComment),
        1 => (1..4_i64, 1..5_i64).prop_map(|(user_id, comment_id)| {
            Operation::DeleteComment { user_id, comment_id }
        }),
    ];
    prop::collection::vec(one, 0..40)
}

/// Tweet 4 and comment 4 do not exist.
fn databases() -> impl Strategy<Value = Naive> {
    let kept = prop::option::of((1..4_i64, 0..3_u8, 0..2_u8));
    (prop::collection::btree_set(keys(), 0..12), kept, 0..200_i64).prop_map(|(liked, kept, at)| {
        let mut naive = Naive {
            tweets: BTreeMap::from([(1, 1), (2, 2), (3, 3)]),
            comments: BTreeMap::from([(1, (1, 1, at)), (2, (1, 2, at + 1)), (3, (2, 1, 5))]),
            newest: BTreeMap::from([(1, at + 1), (2, 5)]),
            ..Naive::default()
        };
        for (place, key) in liked.into_iter().filter(|key| key.object_id < 4).enumerate() {
            naive.likes.insert(key, place as i64);
        }
        if let Some((user_id, key, print)) = kept {
            naive.kept.insert((user_id, format!("key {key}")), (print, "kept".into()));
        }
        naive
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_batch_is_the_same_as_one_operation_after_another(
        before in databases(),
        operations in operations(),
    ) {
        let (mut one_by_one, mut now) = (before.clone(), 100);
        let expected: Vec<_> = operations
            .iter()
            .enumerate()
            .map(|(place, operation)| one_by_one.run(place, operation, &mut now))
            .collect();

        let mut now = 100;
        let plan = plan(&operations, &before.found(), &mut || {
            now += 1;
            Timestamp(now)
        });
        let answers: Vec<_> = plan.answers.iter().map(|planned| show(planned, &plan)).collect();
        prop_assert_eq!(answers, expected);

        let mut batched = before.clone();
        batched.apply(&operations, &plan);
        prop_assert_eq!(&batched, &one_by_one);
        prop_assert_eq!(plan.is_empty(), before == batched);

        let mut counts = before.counts();
        for (kind, deltas) in
            [(LikeKind::Tweet, &plan.tweet_deltas), (LikeKind::Comment, &plan.comment_deltas)]
        {
            prop_assert!(deltas.is_sorted_by(|one, next| one.id < next.id), "sorted, each once");
            for delta in deltas {
                prop_assert!(delta.likes != 0 || delta.comments != 0);
                let count = counts.entry((kind, delta.id)).or_insert((0, 0));
                *count = (count.0 + delta.likes, count.1 + delta.comments);
            }
        }
        counts.retain(|(kind, id), count| {
            *count != (0, 0) && batched.owner(*kind, *id).is_some()
        });
        prop_assert_eq!(counts, batched.counts());

        let notices: BTreeSet<_> = plan.notices.iter().map(|notice| (
            notice.recipient_id,
            notice.actor_id,
            notice.verb.code(),
            notice.target_id,
            notice.created_at.0,
        )).collect();
        prop_assert_eq!(notices.len(), plan.notices.len());
        prop_assert_eq!(notices, batched.news(&before));
    }
}
