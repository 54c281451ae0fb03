//! Readers on both nodes, at the same time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::{meet, soon};
use crate::harness::{App, Client, Value, effort, id, ids, text};

on_both_setups! {
    first_reads_on_both_nodes_agree,
    clients_of_either_node_see_every_entry_once,
    a_stream_on_one_node_shows_posts_made_on_the_other,
}

fn first_reads_on_both_nodes_agree(app: App) {
    let mut node = app.another_node();
    meet(&[&node], 2.0);
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    let posted: Vec<i64> = bob.tweets(30).into_iter().rev().collect();
    app.quiesce();
    let key = format!("user_newsfeeds:{}", ann.id);
    for round in 0..effort::rounds(3) {
        // Cold on one node at least, with and without a list in Redis.
        node.sigterm();
        node.start_again();
        if let Some(mut link) = app.redis().filter(|_| round % 2 == 0) {
            redis::cmd("DEL").arg(&key).exec(&mut link).expect("DEL");
        }
        let there = node.see(&ann);
        thread::scope(|scope| {
            for reader in (0..32).map(|n| if n % 2 == 0 { &ann } else { &there }) {
                let posted = &posted;
                scope.spawn(move || {
                    let page = reader.get("/api/newsfeeds/?page_size=30").expect(200);
                    assert_eq!(ids(&page["results"], "tweet.id"), *posted);
                });
            }
        });
        if let Some(mut link) = app.redis() {
            let length: i64 = redis::cmd("LLEN").arg(&key).query(&mut link).expect("LLEN");
            assert!(length == 0 || length == 30, "a list of {length} entries for 30");
        }
    }
}

fn clients_of_either_node_see_every_entry_once(app: App) {
    const POSTS: usize = 25;
    let node = app.another_node();
    meet(&[&node], 2.0);
    let authors: Vec<Client> = (0..4).map(|n| app.sign_up(&format!("author{n}"))).collect();
    let reader = app.sign_up("reader");
    authors.iter().for_each(|author| {
        reader.follow(author);
    });
    let opening = id(&authors[0].tweet("the first"));
    let readers = [reader.with_basic(), node.see(&reader)];
    readers.iter().for_each(|reader| soon(vec![opening], || reader.feed_ids()));
    let is_done = AtomicBool::new(false);
    let busy = AtomicUsize::new(authors.len());
    let seen: Vec<(Vec<i64>, usize)> = thread::scope(|scope| {
        let watchers: Vec<_> = readers
            .iter()
            .map(|reader| scope.spawn(|| (poll(reader, &is_done), walk(reader))))
            .collect();
        for (n, author) in authors.iter().enumerate() {
            // Two authors on either node.
            let author = if n % 2 == 0 { author.with_basic() } else { node.see(author) };
            let busy = &busy;
            scope.spawn(move || {
                author.tweets(POSTS);
                busy.fetch_sub(1, Ordering::SeqCst);
            });
        }
        soon(0, || busy.load(Ordering::SeqCst));
        let delivered = || {
            app.sql(&format!("SELECT count(*) AS n FROM newsfeeds WHERE user_id = {}", reader.id))
        };
        soon((authors.len() * POSTS + 1) as i64, delivered);
        let last = app.sql_list(&format!(
            "SELECT tweet_id AS n FROM newsfeeds WHERE user_id = {} ORDER BY created_at DESC",
            reader.id
        ))[0];
        readers.iter().for_each(|reader| soon(Some(last), || reader.feed_ids().first().copied()));
        is_done.store(true, Ordering::SeqCst);
        watchers.into_iter().map(|watcher| watcher.join().unwrap()).collect()
    });
    let truth = app.sql_list(&format!(
        "SELECT tweet_id AS n FROM newsfeeds WHERE user_id = {} ORDER BY created_at",
        reader.id
    ));
    for (polled, walked) in seen {
        assert_eq!(polled, truth[1..], "every entry once, in order");
        assert_eq!(walked, truth.len(), "the walk after it is complete");
    }
    app.quiesce();
    app.assert_check_passes();
}

/// Polls for what is newer until everything is written and a poll finds nothing; oldest first.
fn poll(reader: &Client, is_done: &AtomicBool) -> Vec<i64> {
    let (mut seen, mut newest) = (Vec::new(), text(&reader.feed()[0]["created_at"]));
    // The first page may have grown already: what it showed is not polled for again.
    let first = reader.get("/api/newsfeeds/?page_size=100").expect(200);
    let behind: Vec<&Value> = first["results"]
        .as_array()
        .expect("a list")
        .iter()
        .take_while(|entry| entry["tweet"]["content"] != "the first")
        .collect();
    if let Some(entry) = first["results"].get(0) {
        newest = newest.max(text(&entry["created_at"]));
    }
    seen.extend(behind.iter().rev().map(|entry| id(&entry["tweet"])));
    loop {
        let was_done = is_done.load(Ordering::SeqCst);
        let page = reader.get(&format!("/api/newsfeeds/?created_at__gt={newest}")).expect(200);
        let mut new = ids(&page["results"], "tweet.id");
        new.reverse();
        if let Some(entry) = page["results"].get(0) {
            newest = text(&entry["created_at"]);
        }
        if was_done && new.is_empty() {
            return seen;
        }
        seen.extend(new);
    }
}

/// Pages down to the end; how many entries, each once.
fn walk(reader: &Client) -> usize {
    let walked = ids(&Value::Array(reader.walk("/api/newsfeeds/?page_size=7")), "tweet.id");
    let mut distinct = walked.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), walked.len(), "an entry twice: {walked:?}");
    walked.len()
}

fn a_stream_on_one_node_shows_posts_made_on_the_other(app: App) {
    let node = app.another_node();
    meet(&[&node], 2.0);
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    let stream = crate::stream::Stream::open(&node.see(&ann), None);
    let posted: Vec<i64> = (0..5)
        .map(|n| match n % 2 {
            0 => id(&bob.tweet(&format!("here {n}"))),
            _ => id(&node.see(&bob).tweet(&format!("there {n}"))),
        })
        .collect();
    let seen: Vec<i64> = (0..5).map(|_| id(&stream.next().1["tweet"])).collect();
    assert_eq!(seen, posted, "in order, each once");
}
