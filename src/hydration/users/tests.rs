use super::*;
use crate::store::testing::{TestDb, databases};
use crate::store::tweets::TweetRow;
use crate::store::users::{self, NewUser};
use crate::time::Timestamp;

fn add(test: &TestDb, name: &str) -> i64 {
    let new = NewUser {
        username: name.into(),
        email: format!("{name}@example.com"),
        password_hash: String::new(),
        created_at: Timestamp(1),
    };
    let id = test.db.write_blocking(|conn| Ok(users::create(conn, &new)?)).unwrap();
    id.expect("a new user")
}

fn rename(test: &TestDb, id: i64, nickname: &str) {
    let change = profiles::Change { nickname: Some(nickname.to_owned()), avatar_url: None };
    test.db.write_blocking(|conn| Ok(profiles::change(conn, id, &change)?)).unwrap();
}

#[test]
fn the_json_is_the_contracts_object() {
    let card =
        Card {
            id: 7, username: "ann".into(), nickname: Some("Ä \"🐔\"".into()), avatar_url: None
        };
    let expected = r#"{"id":7,"username":"ann","nickname":"Ä \"🐔\"","avatar_url":null}"#;
    assert_eq!(&*UserCard::from(card).json, expected);
}

#[tokio::test]
async fn cards_stay_in_memory_until_a_change() {
    for test in databases() {
        let (ann, bob) = (add(&test, "ann"), add(&test, "bob"));
        let users = Users::new(test.db.clone(), 100);
        let cards = users.many(&[bob, ann, bob, 999_999, ann]).await.unwrap();
        assert_eq!(cards.len(), 2, "{}", test.name);
        assert_eq!(cards[&ann].username, "ann");
        assert_eq!(users.one(999_999).await.unwrap(), None);

        rename(&test, ann, "Anne");
        let cached = users.one(ann).await.unwrap().unwrap();
        assert!(Arc::ptr_eq(&cached, &cards[&ann]), "no second read");
        users.invalidate(ann);
        let current = users.one(ann).await.unwrap().unwrap();
        assert_eq!(current.nickname.as_deref(), Some("Anne"));
        assert!(Arc::ptr_eq(&users.one(bob).await.unwrap().unwrap(), &cards[&bob]));
    }
}

fn tweet_of(user_id: i64) -> TweetCard {
    TweetCard::new(&TweetRow {
        id: user_id * 10,
        user_id,
        content: "x".into(),
        created_at: Timestamp(1),
        likes_count: None,
        comments_count: None,
        counts_version: 0,
        photo_urls: vec![],
    })
}

/// The copy of the author that a tweet keeps follows every change.
#[tokio::test]
async fn a_tweet_remembers_its_author_until_a_card_changes() {
    for test in databases() {
        let (ann, bob) = (add(&test, "ann"), add(&test, "bob"));
        let users = Users::new(test.db.clone(), 100);
        let (one, two, lost) = (tweet_of(ann), tweet_of(bob), tweet_of(999_999));
        let authors = users.authors(&[&one, &two, &one]).await.unwrap();
        assert!(authors[0].contains("ann") && authors[1].contains("bob"), "{}", test.name);
        let again = users.authors(&[&one]).await.unwrap();
        assert!(Arc::ptr_eq(&again[0], &authors[0]), "remembered");
        assert_eq!(&*users.authors(&[&one, &lost]).await.unwrap()[1], "null");

        rename(&test, ann, "Anne");
        let still = users.authors(&[&one]).await.unwrap();
        assert!(Arc::ptr_eq(&still[0], &authors[0]), "nobody has told yet");
        users.invalidate(ann);
        assert!(users.authors(&[&one]).await.unwrap()[0].contains("Anne"));
    }
}

#[tokio::test]
async fn a_remembered_author_past_its_age_is_read_again() {
    for test in databases() {
        let ann = add(&test, "ann");
        let mut users = Users::new(test.db.clone(), 100);
        users.max_age = Duration::ZERO;
        let tweet = tweet_of(ann);
        users.authors(&[&tweet]).await.unwrap();
        rename(&test, ann, "Anne");
        assert!(users.authors(&[&tweet]).await.unwrap()[0].contains("Anne"), "{}", test.name);
    }
}

#[tokio::test]
async fn a_card_past_its_age_is_read_again() {
    for test in databases() {
        let ann = add(&test, "ann");
        let mut users = Users::new(test.db.clone(), 100);
        users.max_age = Duration::ZERO;
        users.one(ann).await.unwrap();
        rename(&test, ann, "Anne");
        let card = users.one(ann).await.unwrap().unwrap();
        assert_eq!(card.nickname.as_deref(), Some("Anne"), "{}", test.name);
    }
}

#[tokio::test]
async fn a_card_past_its_age_is_better_than_none() {
    for test in databases() {
        let ann = add(&test, "ann");
        let mut users = Users::new(test.db.clone(), 100);
        users.max_age = Duration::ZERO;
        users.one(ann).await.unwrap();
        users.db = test.unreachable();
        let card = users.one(ann).await.unwrap().unwrap();
        assert_eq!(card.username, "ann", "{}", test.name);
        let stranger = users.one(ann + 1).await;
        assert!(stranger.is_err_and(|error| error.is_outage()), "{}", test.name);
    }
}
