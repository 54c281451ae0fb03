//! Many requests at once: counts stay exact, nothing is doubled, nobody sees an error.

use std::sync::Barrier;
use std::thread;

use crate::harness::{App, Client, Setup, Value, id, ids, json, load, on_every_setup, text};

on_every_setup! {
    as_many_writers_as_may_be_at_once,
    parallel_follows_make_one,
    parallel_likes_and_cancels_stay_exact,
    parallel_comments_are_all_counted,
    first_reads_of_a_cold_feed_agree,
    posts_at_the_same_time_have_an_order,
    a_poller_and_a_walker_see_everything_once,
    parallel_sign_ups_with_one_name_make_one,
    a_deletion_right_after_the_post_leaves_nothing,
}

/// Runs a job on every client at the same moment; the results, in the clients' order.
fn together<'a, T: Send>(
    clients: impl IntoIterator<Item = &'a Client>,
    job: impl Fn(&Client) -> T + Sync,
) -> Vec<T> {
    let clients: Vec<&Client> = clients.into_iter().collect();
    let barrier = Barrier::new(clients.len());
    thread::scope(|scope| {
        let start = |client: &'a Client| {
            let (job, barrier) = (&job, &barrier);
            scope.spawn(move || {
                barrier.wait();
                job(client)
            })
        };
        let running: Vec<_> = clients.into_iter().map(start).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn crowd(app: &App, number: usize) -> Vec<Client> {
    (0..number).map(|n| app.sign_up(&format!("user{n}"))).collect()
}

fn parallel_follows_make_one(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let answers = together([&ann; 8], |ann| ann.follow(&bob));
    let new = answers.iter().filter(|answer| answer.get("duplicate").is_none()).count();
    assert_eq!(new, 1, "{answers:?}");
    assert_eq!(app.sql("SELECT count(*) AS n FROM friendships"), 1);
    let answers = together([&ann; 8], |ann| ann.unfollow(&bob));
    let deleted: i64 = answers.iter().map(|answer| answer["deleted"].as_i64().unwrap()).sum();
    assert_eq!(deleted, 1, "{answers:?}");
    let profile = ann.get(&format!("/api/profiles/{}/", bob.id)).expect(200);
    assert_eq!(profile["followers_count"], 0);
}

fn parallel_likes_and_cancels_stay_exact(app: App) {
    let users = crowd(&app, 6);
    let tweet = id(&users[0].tweet("like me"));
    // The same user from two devices, too: a like is counted per row, not per request.
    let devices: Vec<&Client> = users.iter().chain(&users).collect();
    together(devices, |user| {
        for _ in 0..10 {
            user.like("tweet", tweet);
            user.unlike("tweet", tweet);
        }
        user.like("tweet", tweet);
    });
    app.quiesce();
    app.assert_counts_match_rows();
    for user in &users {
        let page = user.tweet_page(tweet);
        assert_eq!((&page["likes_count"], &page["has_liked"]), (&json!(6), &json!(true)));
    }
    together(users.iter().chain(&users), |user| user.unlike("tweet", tweet));
    app.quiesce();
    app.assert_counts_match_rows();
    assert_eq!(users[0].tweet_page(tweet)["likes_count"], 0, "never below zero");
}

fn parallel_comments_are_all_counted(app: App) {
    let users = crowd(&app, 6);
    let tweet = id(&users[0].tweet("talk"));
    together(&users, |user| {
        for n in 0..8 {
            let comment = id(&user.comment(tweet, &format!("number {n}")));
            // Read your writes, also in the crowd.
            let list = user.get(&format!("/api/comments/?tweet_id={tweet}")).expect(200);
            assert!(ids(&list["comments"], "id").contains(&comment));
            if n % 4 == 0 {
                user.delete(&format!("/api/comments/{comment}/")).expect(200);
            }
        }
    });
    app.quiesce();
    app.assert_counts_match_rows();
    assert_eq!(users[0].tweet_page(tweet)["comments_count"], 36);
}

fn first_reads_of_a_cold_feed_agree(mut app: App) {
    let ann = app.sign_up("ann");
    let mut truth = ann.tweets(30);
    truth.reverse();
    for _ in 0..5 {
        app.restart();
        app.flush_redis();
        let feeds = together([&ann; 16], |ann| ids(&Value::Array(ann.feed()), "tweet.id"));
        for feed in feeds {
            assert_eq!(feed, truth[..20], "a cold read");
        }
        let walked = ann.walk("/api/newsfeeds/?page_size=7");
        assert_eq!(ids(&Value::Array(walked), "tweet.id"), truth);
    }
}

fn posts_at_the_same_time_have_an_order(app: App) {
    let users = crowd(&app, 5);
    let reader = app.sign_up("reader");
    for user in &users {
        reader.follow(user);
    }
    together(&users, |user| {
        for n in 0..10 {
            let tweet = id(&user.tweet(&format!("number {n}")));
            assert_eq!(user.tweets_of(user)[0]["id"], tweet, "own tweet in the own list");
            assert_eq!(user.feed()[0]["tweet"]["id"], tweet, "own tweet in the own feed");
        }
    });
    app.quiesce();
    let truth = app.sql_list(&format!(
        "SELECT tweet_id AS n FROM newsfeeds WHERE user_id = {} ORDER BY created_at DESC",
        reader.id
    ));
    assert_eq!(truth.len(), 50);
    for _ in 0..2 {
        let walked = ids(&Value::Array(reader.walk("/api/newsfeeds/?page_size=9")), "tweet.id");
        assert_eq!(walked, truth);
        app.flush_redis();
    }
}

fn a_poller_and_a_walker_see_everything_once(app: App) {
    let users = crowd(&app, 3);
    let reader = app.sign_up("reader");
    for user in &users {
        reader.follow(user);
    }
    users[0].tweet("the first");
    app.quiesce();
    let first = reader.feed()[0].clone();
    let done = std::sync::atomic::AtomicUsize::new(0);
    let seen = thread::scope(|scope| {
        let poller = scope.spawn(|| {
            let (mut seen, mut newest) = (Vec::new(), text(&first["created_at"]));
            loop {
                // Asked before the poll: what is posted by then is in it or in the last one.
                let last_round = done.load(std::sync::atomic::Ordering::SeqCst) == users.len();
                if last_round {
                    app.quiesce();
                }
                let path = format!("/api/newsfeeds/?created_at__gt={newest}");
                let page = reader.get(&path).expect(200);
                let mut new = ids(&page["results"], "tweet.id");
                new.reverse();
                if let Some(entry) = page["results"].get(0) {
                    newest = text(&entry["created_at"]);
                }
                seen.extend(new);
                if last_round {
                    return seen;
                }
            }
        });
        together(&users, |user| {
            user.tweets(15);
            done.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        });
        poller.join().unwrap()
    });
    let mut truth = app.sql_list(&format!(
        "SELECT tweet_id AS n FROM newsfeeds WHERE user_id = {} ORDER BY created_at",
        reader.id
    ));
    truth.remove(0);
    assert_eq!(seen, truth, "every entry once, in order, though posts were in flight");
}

fn parallel_sign_ups_with_one_name_make_one(app: App) {
    let strangers: Vec<Client> = (0..6).map(|_| app.anonymous()).collect();
    let statuses = together(&strangers, |stranger| {
        let body =
            json!({"username": "ann", "email": "ann@example.com", "password": "correct horse"});
        stranger.post("/api/accounts/signup/", body).status
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 201 | 400)), "{statuses:?}");
}

fn a_deletion_right_after_the_post_leaves_nothing(app: App) {
    let users = crowd(&app, 4);
    let reader = app.sign_up("reader");
    for user in &users {
        reader.follow(user);
    }
    together(&users, |user| {
        for _ in 0..10 {
            let tweet = id(&user.tweet("no, wait"));
            user.delete(&format!("/api/tweets/{tweet}/")).expect(200);
            assert!(user.feed().is_empty());
        }
    });
    app.quiesce();
    for _ in 0..2 {
        assert_eq!(reader.feed(), [Value::Null; 0]);
        app.flush_redis();
    }
    assert_eq!(app.sql("SELECT count(*) AS n FROM newsfeeds"), 0);
}

/// Thirty-two clients that read and write without a pause, four of whom follow each other: on
/// SQLite, with one writer at a time, nobody may be told of that.
fn as_many_writers_as_may_be_at_once(setup: Setup) {
    let mut app = App::on(setup).start();
    let mut people = load::crowd(&app, 4);
    people.extend((4..32).map(|n| app.sign_up(&format!("person{n}"))));
    let report = load::during(&people, |pulse| pulse.wait_for(500, 500));
    println!("{}", report.summary());
    report.assert_only(None, &[200, 201]);
    report.assert_kept(&app);
    load::assert_sound(&mut app, &people);
}
