//! What an operator does by command line beside the running service.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{App, PASSWORD, Setup, id, json, on_every_setup, roost_command};

on_every_setup! {
    a_disabled_account_is_shut_until_it_is_enabled,
    a_new_password_replaces_the_old_one,
    a_copy_is_a_database_like_its_source,
    a_seed_beside_a_running_service_does_no_harm,
    an_answer_that_nobody_reads_to_its_end_is_no_failure,
}

fn run(app: &App, arguments: &[&str]) -> Output {
    command(app, arguments).output().unwrap()
}

fn command(app: &App, arguments: &[&str]) -> Command {
    let mut command = roost_command();
    command.args(arguments).envs(app.environment().iter().cloned());
    command
}

fn stdout(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn login_status(app: &App, username: &str, password: &str) -> u16 {
    let body = json!({"username": username, "password": password});
    app.anonymous().post("/api/accounts/login/", body).status
}

fn a_disabled_account_is_shut_until_it_is_enabled(mut app: App) {
    let ann = app.sign_up("ann");
    assert!(stdout(&run(&app, &["user", "show", "ANN"])).contains("ann open"));
    assert!(stdout(&run(&app, &["user", "disable", "ann"])).contains("disabled"));
    assert_eq!(login_status(&app, "ann", PASSWORD), 400);
    // What the process has in memory it forgets within a minute; a restart is quicker.
    app.restart();
    ann.get("/api/newsfeeds/").expect(403);
    stdout(&run(&app, &["user", "enable", &ann.id.to_string()]));
    assert_eq!(login_status(&app, "ann", PASSWORD), 200);
    let unknown = run(&app, &["user", "disable", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no user"));
}

fn a_new_password_replaces_the_old_one(mut app: App) {
    let ann = app.sign_up("ann");
    let (token, basic) = (ann.with_bearer(), ann.with_basic());
    let made_up = stdout(&run(&app, &["user", "reset-password", "ann"]));
    assert_eq!(login_status(&app, "ann", PASSWORD), 400);
    assert_eq!(login_status(&app, "ann", made_up.trim()), 200);
    // Whoever knew the old one is out: by cookie, by token, by the password itself. What the
    // process has in memory it forgets within a minute; a restart is quicker.
    app.restart();
    for was_in in [&ann, &token, &basic] {
        was_in.get("/api/newsfeeds/").expect(403);
    }

    let mut child = command(&app, &["user", "reset-password", "ann", "--stdin"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"battery staple\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(login_status(&app, "ann", "battery staple"), 200);
    assert_eq!(login_status(&app, "ann", made_up.trim()), 400);
}

/// From each set-up into both engines; the copy is served by a process of its own.
fn a_copy_is_a_database_like_its_source(setup: Setup) {
    let app = App::on(setup).start();
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    let tweet = id(&bob.tweet("carry me over"));
    ann.like("tweet", tweet);
    let comment = id(&ann.comment(tweet, "gladly"));
    bob.like("comment", comment);
    app.quiesce();
    for target in [Setup::Sqlite, Setup::Postgres] {
        let copy = App::on(target).copied_from(&app);
        let there = ann.at(&copy);
        assert_eq!(there.feed_ids(), [tweet], "{target:?}");
        let page = there.tweet_page(tweet);
        assert_eq!((&page["likes_count"], &page["comments_count"]), (&json!(1), &json!(1)));
        assert_eq!(page["has_liked"], true);
        // New ids and moments come after those that were carried over.
        let next = id(&bob.at(&copy).tweet("settled in"));
        assert!(next > tweet);
        copy.quiesce();
        assert_eq!(there.feed_ids(), [next, tweet]);
        assert_eq!(bob.at(&copy).notifications().len(), 2);
        copy.assert_counts_match_rows();
    }
}

/// On SQLite the service would not hear of it.
fn a_seed_beside_a_running_service_does_no_harm(setup: Setup) {
    let app = App::on(setup).start();
    let stranger = app.anonymous();
    let first = || stranger.get("/api/tweets/?user_id=1").expect(200)["results"].clone();
    // What is not there yet is remembered, too.
    assert_eq!((first(), first()), (json!([]), json!([])));
    let seed = run(&app, &["seed", "--users", "20", "--password", PASSWORD]);
    if setup == Setup::Sqlite {
        assert_eq!(seed.status.code(), Some(1));
        let said = String::from_utf8_lossy(&seed.stderr);
        assert!(said.contains("another roost"), "{said}");
        app.sign_up("ann").tweet("mine");
        return;
    }
    stdout(&seed);
    assert_eq!(login_status(&app, "user000001", PASSWORD), 200);
    let tweets = app.sql("SELECT count(*) AS n FROM tweets WHERE user_id = 1");
    let begun = Instant::now();
    // The nodes hear of it a moment after the commit.
    while first().as_array().unwrap().len() as i64 != tweets.min(20) {
        assert!(begun.elapsed() < Duration::from_secs(5), "{tweets} tweets, but {}", first());
        thread::sleep(Duration::from_millis(10));
    }
    assert!(app.sign_up("ann").id > 20);
    app.assert_counts_match_rows();
}

/// As `--help` says: 2 for what cannot be understood, and otherwise 1, or 2 where 1 is an answer.
#[test]
fn exit_codes_tell_failures_from_answers() {
    let folder = tempfile::tempdir().unwrap();
    let code = |arguments: &[&str]| {
        let mut command = roost_command();
        command.env("ROOST_DATA_DIR", folder.path()).args(arguments);
        command.output().unwrap().status.code().unwrap()
    };
    let elsewhere = format!("sqlite:{}", folder.path().join("copy.db").display());
    // There is no database yet.
    for (arguments, expected) in [
        (&["check"][..], 2),
        (&["why", "1", "1"], 2),
        (&["copy", "--to", &elsewhere], 2),
        (&["rebuild", "--all"], 1),
        (&["user", "show", "ann"], 1),
        (&["seed", "--users", "2", "--follows", "9"], 1),
        (&["migrate", "--database-url", "sqlite:/dev/null/x"], 1),
    ] {
        assert_eq!(code(arguments), expected, "{arguments:?}");
    }
    for command in ["serve", "migrate", "seed", "check", "rebuild", "user", "copy", "why"] {
        assert_eq!(code(&[command, "--no-such-flag"]), 2, "{command}");
        assert_eq!(code(&[command, "--help"]), 0, "{command}");
    }
    for (arguments, expected) in [
        (&["migrate"][..], 0),
        (&["seed"], 0),
        (&["seed"], 1),
        (&["check"], 0),
        (&["rebuild", "--all"], 0),
        (&["rebuild", "--user", "1"], 0),
        (&["rebuild", "--user", "User000002"], 0),
        (&["rebuild", "--user", "1000"], 1),
        (&["user", "show", "user000001"], 0),
        (&["copy", "--to", &elsewhere], 0),
        (&["copy", "--to", &elsewhere], 2),
        (&["why", "user000001", "1000000"], 1),
        (&["why", "nobody", "1"], 2),
    ] {
        assert_eq!(code(arguments), expected, "{arguments:?}");
    }
}

/// As with `| head`.
fn an_answer_that_nobody_reads_to_its_end_is_no_failure(app: App) {
    let ann = app.sign_up("ann");
    let tweet = id(&ann.tweet("one")).to_string();
    for arguments in [&["check"][..], &["why", "ann", &tweet], &["user", "show", "ann"]] {
        let mut command = command(&app, arguments);
        let mut asked = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(asked.stdout.take());
        let ended = asked.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {errors}");
        assert!(!errors.contains("panicked"), "{arguments:?}: {errors}");
    }
}
