//! A page is the same to the byte whether it comes from memory, from Redis or from the database.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{App, Client, Setup, effort, id, on_every_setup, text};

on_every_setup! {
    a_page_has_the_same_bytes_from_every_tier,
}

const PAGES: usize = 40;

/// A random feed of `reader`: tweets of three authors, some liked, some answered, some deleted.
fn write(reader: &Client, authors: &[Client], dice: &mut StdRng, tweets: usize) {
    let words = ["plain", "\"quoted\"", "back\\slash", "ümläut", "🐓🐓", "</script>", "two\nlines"];
    for number in 0..tweets {
        let author = &authors[dice.random_range(0..authors.len())];
        let word = words[dice.random_range(0..words.len())];
        let tweet = id(&author.tweet(&format!("{word} {number}")));
        if dice.random_bool(0.3) {
            reader.like("tweet", tweet);
        }
        if dice.random_bool(0.2) {
            reader.comment(tweet, word);
        }
        if dice.random_bool(0.1) {
            author.delete(&format!("/api/tweets/{tweet}/")).expect(200);
        }
    }
}

/// Random pages of a feed and of an author's list.
fn paths(reader: &Client, author: &Client, dice: &mut StdRng) -> Vec<String> {
    let feed = reader.walk("/api/newsfeeds/?page_size=100");
    let list = reader.walk(&format!("/api/tweets/?user_id={}&page_size=100", author.id));
    let mut paths = vec!["/api/newsfeeds/?".to_owned()];
    for number in 0..PAGES {
        let (items, mut path) = match number % 2 {
            0 => (&feed, "/api/newsfeeds/?".to_owned()),
            _ => (&list, format!("/api/tweets/?user_id={}&", author.id)),
        };
        let mut time = || text(&items[dice.random_range(0..items.len())]["created_at"]);
        let (older, newer) = (time(), time());
        // Not the newer cursor alone: how much a poll brings depends on the list's limit.
        if dice.random_bool(0.7) {
            path += &format!("created_at__lt={older}&");
            if dice.random_bool(0.3) {
                path += &format!("created_at__gt={newer}&");
            }
        }
        path += &format!("page_size={}", dice.random_range(1..=100));
        paths.push(path);
    }
    paths
}

fn read(reader: &Client, paths: &[String]) -> Vec<String> {
    paths.iter().map(|path| reader.get(path).expect_text(200)).collect()
}

/// What a counter with a label says; nothing counted yet is zero.
fn counted(app: &App, name: &str, source: &str) -> f64 {
    app.metric(&format!("{name}{{source=\"{source}\"}}")).unwrap_or(0.0)
}

fn a_page_has_the_same_bytes_from_every_tier(setup: Setup) {
    const PAGES_FROM: &str = "roost_timeline_pages_total";
    const LOADS_FROM: &str = "roost_timeline_loads_total";
    let mut dice = StdRng::seed_from_u64(effort::seed("pages from every tier"));
    let mut app = App::on(setup).env("ROOST_LIST_LIMIT", "1000").start();
    let reader = app.sign_up("reader");
    let authors = ["ann", "bob", "eve"].map(|name| app.sign_up(name));
    authors.iter().for_each(|author| drop(reader.follow(author)));
    for _ in 0..effort::rounds(1) {
        write(&reader, &authors, &mut dice, 60);
        app.quiesce();
        let paths = paths(&reader, &authors[0], &mut dice);

        let before = counted(&app, PAGES_FROM, "memory");
        let memory = read(&reader, &paths);
        let from_memory = counted(&app, PAGES_FROM, "memory") - before;
        assert_eq!(from_memory, paths.len() as f64, "every page came from memory");

        app.restart();
        app.wait_for_redis();
        let tiered = read(&reader, &paths);
        let source = if setup == Setup::PostgresRedis { "redis" } else { "database" };
        assert_eq!(counted(&app, LOADS_FROM, source), 2.0, "both timelines from {source}");
        assert_eq!(tiered, memory, "{source} and memory");

        app.flush_redis();
        app.set_env("ROOST_LIST_LIMIT", "1");
        app.restart();
        let database = read(&reader, &paths);
        assert!(
            counted(&app, PAGES_FROM, "database") > paths.len() as f64 / 2.0,
            "hardly anything is kept in memory"
        );
        assert_eq!(counted(&app, LOADS_FROM, "redis"), 0.0);
        assert_eq!(database, memory, "the database and memory");
        app.set_env("ROOST_LIST_LIMIT", "1000");
        app.restart();
    }
}
