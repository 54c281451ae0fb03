//! The page at `/api/docs/`: signing up, posting and reading from it.

use super::{Browser, NARROW, Size, WIDE, in_both_windows};
use crate::harness::{App, Setup};

in_both_windows! {
    requests_are_sent_from_the_documentation,
}

fn open(browser: &Browser, method: &str, path: &str) -> String {
    // A CSS selector cannot ask for text, so the operation is marked first.
    let mark = format!("{method}-{}", path.replace(['/', '{', '}'], "-"));
    browser.wait_for(&format!(
        "[...document.querySelectorAll('details.operation')].some((box) => \
            box.querySelector('.method').textContent === '{method}' && \
            box.querySelector('code').textContent === '{path}' && (box.id = '{mark}'))"
    ));
    browser.click(&format!("#{mark} summary"));
    format!("#{mark}")
}

fn sent(browser: &Browser, operation: &str, status: u16) -> String {
    browser.click(&format!("{operation} form button"));
    let output = format!("document.querySelector('{operation} .output').textContent");
    browser.wait_for(&format!("{output}.startsWith('{status} ')"));
    browser.value(&output).as_str().unwrap().to_owned()
}

fn requests_are_sent_from_the_documentation(size: Size) {
    let app = App::on(Setup::Sqlite).start();
    let browser = Browser::start(size, false);
    browser.go(&format!("{}/api/docs/", app.base_url()));
    browser.find("#account form");
    browser.picture("docs-1-start");

    let sign_up = open(&browser, "post", "/api/accounts/signup/");
    browser.type_into(&format!("{sign_up} [name=username]"), "ann");
    browser.type_into(&format!("{sign_up} [name=email]"), "ann@example.com");
    browser.type_into(&format!("{sign_up} [name=password]"), "correct horse");
    sent(&browser, &sign_up, 201);
    browser.wait_for("document.querySelector('#account').textContent.includes('Logged in as ann')");

    let post = open(&browser, "post", "/api/tweets/");
    browser.type_into(&format!("{post} [name=content]"), "Posted from the documentation");
    let answer = sent(&browser, &post, 201);
    assert!(answer.contains("Posted from the documentation"), "{answer}");
    let read = open(&browser, "get", "/api/newsfeeds/");
    let answer = sent(&browser, &read, 200);
    assert!(answer.contains("\"has_next_page\": false"), "{answer}");
    assert!(answer.contains("Posted from the documentation"), "{answer}");
    browser.picture("docs-2-feed");

    // Out, and in again with a token instead of the cookie.
    browser.click("#account button");
    browser.type_into("#account [name=username]", "ann");
    browser.type_into("#account [name=password]", "correct horse");
    browser.click("#account button[value=token]");
    browser.wait_for("document.querySelector('#account').textContent.includes('by bearer token')");
    sent(&browser, &read, 200);
    let stream = open(&browser, "get", "/api/newsfeeds/stream/");
    browser.click(&format!("{stream} form button"));
    let output = format!("document.querySelector('{stream} .output').textContent");
    browser.wait_for(&format!("{output}.includes(': connected')"));
    sent(&browser, &post, 201);
    browser.wait_for(&format!("{output}.includes('event: newsfeed')"));
    browser.picture("docs-3-stream");
    assert_eq!(browser.complaints(), [""; 0]);
    assert_eq!(browser.nameless(), [""; 0]);
    let overflow = "document.documentElement.scrollWidth - innerWidth";
    assert!(browser.value(overflow).as_i64().unwrap() <= 0, "wider than the window");
}
