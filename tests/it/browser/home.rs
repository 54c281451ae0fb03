//! The page at `/`: somebody signs up, finds a friend, reads, writes, likes, comments, leaves.

use super::{Browser, NARROW, Size, WIDE, in_both_windows};
use crate::harness::{App, Client, PASSWORD, Setup, id, json, photo};

in_both_windows! {
    a_first_evening_on_roost,
    it_looks_right_in_the_dark,
    it_counts_down_to_the_services_own_limit,
    it_asks_for_what_the_service_asks_for,
}

/// Tweets shown on the page.
fn shown(browser: &Browser) -> i64 {
    browser.value("document.querySelectorAll('.feed .tweet').length").as_i64().unwrap()
}

fn first_text(text: &str) -> String {
    format!("document.querySelector('.feed .tweet .text')?.textContent === '{text}'")
}

#[track_caller]
fn is_quiet(browser: &Browser) {
    assert_eq!(browser.complaints(), [""; 0]);
    assert_eq!(browser.nameless(), [""; 0], "no name for a screen reader");
    let overflow = "document.documentElement.scrollWidth - innerWidth";
    assert!(browser.value(overflow).as_i64().unwrap() <= 0, "the page is wider than the window");
}

/// Bob, with a picture, a name and tweets of every kind.
fn bob(app: &App) -> Client {
    let bob = app.sign_up("bob");
    let picture = photo::sized(image::ImageFormat::Png, 96, 96);
    let name = [("nickname", "Bob the Builder")];
    let change = bob.request("PATCH", &format!("/api/profiles/{}/", bob.id));
    change.multipart(&name, &[("avatar", "bob.png", &picture)]).send().expect(200);
    let wide = photo::sized(image::ImageFormat::Jpeg, 640, 360);
    let files: Vec<(&str, &str, &[u8])> = vec![("files", "a.jpg", &wide); 4];
    for count in [1, 3, 4] {
        let fields = [("content", "Photos from the roof, before the rain came in over the hills.")];
        bob.post_multipart("/api/tweets/", &fields, &files[..count.min(files.len())]).expect(201);
    }
    bob.tweets(17);
    bob
}

fn sign_up(browser: &Browser, app: &App) {
    browser.go(&format!("{}/", app.base_url()));
    browser.find("h1");
    browser.picture("1-login");
    browser.click("a[href='#/signup']");
    browser.type_into("#entry-username", "ann");
    browser.type_into("#entry-email", "ann@example.com");
    browser.type_into("#entry-password", "short");
    browser.click(".entry .button");
    browser.find("#entry-password[aria-invalid=true]");
    browser.picture("2-signup-refused");
    assert_eq!(browser.complaints().len(), 1, "the refusal, and no more");
    browser.type_into("#entry-password", " but longer");
    browser.click(".entry .button");
    browser.find("#compose");
    browser.wait_for("document.querySelector('.more').textContent.startsWith('Nothing here yet')");
    browser.picture("3-empty-feed");
    is_quiet(browser);
}

fn follow_bob(browser: &Browser) {
    browser.type_into("#find-name", "bob\u{E007}");
    browser.find(".profile .avatar.large");
    browser.wait_for("document.querySelectorAll('.feed .tweet').length === 20");
    browser.picture("4-profile");
    browser.click(".profile > .button");
    browser.wait_for("document.querySelector('.profile > .button').textContent === 'Unfollow'");
    browser.wait_for("document.querySelector('.counts').textContent.includes('1 follower')");
    is_quiet(browser);
    browser.click("nav a[href='#/']");
    browser.wait_for("document.querySelectorAll('.feed .tweet').length === 20");
    browser.wait_for("document.querySelector('.state.on') !== null");
    browser.picture("5-feed");
    is_quiet(browser);
}

/// What Bob posts comes by itself; to a reader who is down in the list it is offered.
fn read_what_comes(browser: &Browser, app: &App, bob: &Client) {
    bob.tweet("Live from the roof");
    browser.wait_for(&first_text("Live from the roof"));
    assert_eq!(shown(browser), 21);

    bob.tweets(30);
    app.quiesce();
    browser.wait_for("document.querySelectorAll('.feed .tweet').length === 51");
    browser.go(&format!("{}/?again", app.base_url()));
    browser.wait_for("document.querySelectorAll('.feed .tweet').length === 20");
    browser.value("scrollTo(0, document.body.scrollHeight)");
    browser.wait_for("document.querySelectorAll('.feed .tweet').length === 40");
    browser.value("scrollTo(0, document.body.scrollHeight)");
    browser.wait_for("document.querySelectorAll('.feed .tweet').length === 51");
    browser.wait_for("document.querySelector('.more').textContent === 'That is all.'");
    browser.picture("6-the-end");
    let ids = "new Set([...document.querySelectorAll('.feed .who')].map((who) => who.id)).size";
    assert_eq!(browser.value(ids), 51, "each once");

    browser.wait_for("document.querySelector('.state.on') !== null");
    bob.tweet("While you were reading");
    browser.wait_for("document.querySelector('.pill').textContent === '1 new post · show'");
    browser.picture("7-offered");
    browser.click(".pill");
    browser.wait_for(&first_text("While you were reading"));
    browser.wait_for("document.activeElement === document.querySelector('.feed .tweet')");
    is_quiet(browser);
}

fn write(browser: &Browser, ann: &Client) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nest.jpg");
    std::fs::write(&file, photo::sized(image::ImageFormat::Jpeg, 800, 500)).unwrap();
    browser.value("scrollTo(0, 0)");
    browser.type_into("#compose", "My first egg <b>& nothing else</b>");
    browser.choose_file("#compose-files", &file);
    browser.find(".previews img");
    browser.picture("8-compose");
    browser.click(".compose .button");
    browser.wait_for(&first_text("My first egg <b>& nothing else</b>"));
    browser.wait_for("document.querySelector('.feed .tweet .photos img')?.naturalWidth > 0");
    assert_eq!(browser.value("document.querySelector('#compose').value"), "");
    let feed = ann.feed();
    assert_eq!(feed[0]["tweet"]["content"], "My first egg <b>& nothing else</b>");
    assert_eq!(feed[0]["tweet"]["photo_urls"].as_array().unwrap().len(), 1);
}

fn like_and_comment(browser: &Browser, ann: &Client) {
    let first = "document.querySelector('.feed .tweet')";
    browser.click(".feed .tweet:first-child .action[aria-pressed]");
    browser.wait_for(&format!("{first}.querySelector('[aria-pressed=true]')?.textContent === '1'"));
    browser.click(".feed .tweet:first-child .action[aria-expanded]");
    browser.wait_for(&format!(
        "{first}.querySelector('.comments .hint').textContent === 'No comments yet.'"
    ));
    browser.type_into(".feed .tweet:first-child .comments input", "Congratulations to me");
    browser.click(".feed .tweet:first-child .comments .button");
    browser.wait_for(&format!(
        "{first}.querySelector('.comments li p')?.textContent === 'Congratulations to me'"
    ));
    browser.wait_for(&format!("{first}.querySelector('.comments .hint').textContent === ''"));
    browser.picture("9-liked-and-commented");
    is_quiet(browser);
    let tweet = ann.feed()[0]["tweet"].clone();
    assert_eq!((&tweet["likes_count"], &tweet["has_liked"]), (&json!(1), &json!(true)));
    assert_eq!(tweet["comments_count"], 1);

    // The same on its own page, by its address.
    browser.value(&format!("(location.hash = '#/t/{}')", id(&tweet)));
    browser.wait_for("document.querySelector('.alone .comments li p') !== null");
    is_quiet(browser);
    browser.click(".alone .comments li .action[aria-pressed=false]");
    browser.wait_for("document.querySelector('.alone .comments [aria-pressed=true]') !== null");
    browser.click(".alone .head .round");
    browser.accept();
    browser.find("#compose");
    browser.wait_for(&first_text("While you were reading"));
    assert_eq!(ann.get(&format!("/api/tweets/{}/", id(&tweet))).status, 404);
}

/// On a phone by pulling, elsewhere by the button; both ask for what is new.
fn refresh(browser: &Browser, size: Size) {
    browser.wait_for("document.querySelector('.state.on') !== null");
    let asked = "performance.getEntriesByType('resource').filter((entry) => entry.name.includes('created_at__gt')).length";
    let before = browser.value(asked).as_i64().unwrap();
    browser.value("scrollTo(0, 0)");
    match size.name {
        "narrow" => browser.drag_down(180, 320, 260),
        _ => browser.click("#refresh"),
    }
    browser.wait_for(&format!("{asked} > {before}"));
}

fn change_the_profile(browser: &Browser, ann: &Client) {
    browser.click("nav a[href='#/u/ann']");
    browser.click(".profile summary");
    browser.type_into("#nickname", "Ann of Nest");
    browser.picture("10-edit");
    browser.click(".profile details .button");
    browser.wait_for("document.querySelector('.profile h1').textContent === 'Ann of Nest'");
    let profile = ann.get(&format!("/api/profiles/{}/", ann.id)).expect(200);
    assert_eq!(profile["nickname"], "Ann of Nest");
    browser.click(".counts a[href='#/u/ann/followings']");
    browser.wait_for("document.querySelector('.people .name').textContent === 'Bob the Builder'");
    browser.picture("11-people");
    is_quiet(browser);
    browser.click(".people .button");
    browser.wait_for("document.querySelector('.people .button').textContent === 'Follow'");
    assert_eq!(ann.feed_ids(), [0_i64; 0]);
}

fn leave(browser: &Browser, app: &App) {
    browser.click("nav a[href='#/']");
    browser.wait_for("document.querySelector('.state.on') !== null");
    browser.click("nav .out");
    browser.find("#entry-password");
    is_quiet(browser);
    // With the keyboard alone: past everything to the content, and in again.
    browser.go(&format!("{}/?keyboard", app.base_url()));
    browser.wait_for("document.activeElement.id === 'entry-username'");
    browser.press(&format!("ann\u{E004}{}\u{E007}", "short but longer"));
    browser.find("#compose");
    browser.wait_for("document.activeElement.tagName === 'H1'");
    is_quiet(browser);
}

fn log_in(browser: &Browser, app: &App) {
    browser.go(&format!("{}/", app.base_url()));
    browser.type_into("#entry-username", "ann");
    browser.type_into("#entry-password", PASSWORD);
    browser.click(".entry .button");
    browser.find("#compose");
}

fn a_first_evening_on_roost(size: Size) {
    let app = App::on(Setup::Sqlite).start();
    let bob = bob(&app);
    let browser = Browser::start(size, false);
    sign_up(&browser, &app);
    follow_bob(&browser);
    let mut ann = app.anonymous();
    let body = json!({"username": "ann", "password": "short but longer"});
    ann.id = id(&ann.post("/api/accounts/login/", body).expect(200)["user"]);
    read_what_comes(&browser, &app, &bob);
    write(&browser, &ann);
    like_and_comment(&browser, &ann);
    refresh(&browser, size);
    change_the_profile(&browser, &ann);
    leave(&browser, &app);
}

fn it_looks_right_in_the_dark(size: Size) {
    let app = App::on(Setup::Sqlite).start();
    let (bob, ann) = (bob(&app), app.sign_up("ann"));
    ann.follow(&bob);
    ann.like("tweet", ann.feed_ids()[0]);
    let browser = Browser::start(size, true);
    log_in(&browser, &app);
    browser.wait_for("document.querySelectorAll('.feed .tweet').length === 20");
    browser.wait_for("matchMedia('(prefers-color-scheme: dark)').matches");
    browser.picture("12-dark");
    browser.value("scrollTo(0, document.body.scrollHeight)");
    browser.picture("13-dark-photos");
    is_quiet(&browser);
    photos_have_their_room_before_they_are_there(&browser);
}

/// What stands below a photo must not move when it comes.
fn photos_have_their_room_before_they_are_there(browser: &Browser) {
    browser.wait_for("document.querySelectorAll('.photos').length === 3");
    let heights = "[...document.querySelectorAll('.photos')].map((box) => box.offsetHeight)";
    let with = browser.value(heights);
    browser.value(
        "document.querySelectorAll('.photos img').forEach((img) => img.removeAttribute('src'))",
    );
    assert_eq!(browser.value(heights), with);
}

fn it_asks_for_what_the_service_asks_for(size: Size) {
    let lengths = [("ROOST_USERNAME_LENGTH", "6..12"), ("ROOST_PASSWORD_LENGTH", "10..64")];
    let app = lengths
        .into_iter()
        .fold(App::on(Setup::Sqlite), |app, (name, value)| app.env(name, value))
        .start();
    let browser = Browser::start(size, false);
    browser.go(&format!("{}/#/signup", app.base_url()));
    let hint = |name: &str| format!("document.querySelector('#entry-{name}-note')?.textContent");
    browser.wait_for(&format!("{} === '6 to 12 letters, digits or _'", hint("username")));
    browser.wait_for(&format!("{} === 'At least 10 characters'", hint("password")));
    browser.type_into("#entry-username", "ann");
    browser.click(".entry .button");
    browser.find("#entry-username[aria-invalid=true]");
    browser.picture("15-signup-hints");
}

fn it_counts_down_to_the_services_own_limit(size: Size) {
    let app = App::on(Setup::Sqlite).env("ROOST_TWEET_LENGTH", "1..20").start();
    app.sign_up("ann");
    let browser = Browser::start(size, false);
    log_in(&browser, &app);
    browser.type_into("#compose", "fifteen letters");
    browser.wait_for("document.querySelector('#compose-count').textContent === '5 left'");
    browser.type_into("#compose", " and more");
    browser.wait_for("document.querySelector('.compose .button').disabled");
    browser.find("#compose-count.over");
    browser.picture("14-too-long");
    is_quiet(&browser);
}
