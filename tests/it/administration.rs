//! What an operator does by command line beside the running service.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::harness::{App, PASSWORD, Setup, id, json, on_every_setup, roost_command};

on_every_setup! {
    a_disabled_account_is_shut_until_it_is_enabled,
    a_new_password_replaces_the_old_one,
    a_copy_is_a_database_like_its_source,
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

fn a_new_password_replaces_the_old_one(app: App) {
    app.sign_up("ann");
    let made_up = stdout(&run(&app, &["user", "reset-password", "ann"]));
    assert_eq!(login_status(&app, "ann", PASSWORD), 400);
    assert_eq!(login_status(&app, "ann", made_up.trim()), 200);

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
