//! An answer from the server, checked on arrival for what holds for every answer:
//! no failure of the server's own, a request id, the headers that make browsers careful, JSON
//! that is compact, timestamps of one form, errors of one shape.

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::shape;

/// What a careful server tells every browser, with whatever it answers.
const CAREFUL: [(&str, &str); 3] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
];

/// Fields that hold a point in time, wherever they appear.
const TIMES: [&str; 3] = ["created_at", "timestamp", "expires_at"];

/// A complete answer.
pub struct Reply {
    /// What was asked, for messages of failed tests.
    pub request: String,
    /// The status code.
    pub status: u16,
    /// The body as it came.
    pub body: Vec<u8>,
    pub(super) headers: HeaderMap,
}

impl Reply {
    /// The head of an answer whose body may never end; of a refusal all of it.
    #[track_caller]
    pub fn head_of(request: &str, answer: reqwest::blocking::Response) -> Self {
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = match status {
            400.. => answer.bytes().expect("a whole refusal").to_vec(),
            _ => Vec::new(),
        };
        Reply { request: request.to_owned(), status, body, headers }.checked()
    }

    /// Fails the test when the answer breaks a rule that has no exception.
    #[track_caller]
    pub fn checked(self) -> Self {
        let said = self.describe();
        assert!(self.status < 500 || self.status == 503, "the server failed: {said}");
        self.checked_shape()
    }

    /// The same for an answer that may tell of a failure of the server's own.
    #[track_caller]
    pub fn checked_shape(self) -> Self {
        let said = self.describe();
        for (name, value) in CAREFUL {
            assert_eq!(self.header(name), Some(value), "{name}: {said}");
        }
        let policy = self.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'"), "policy {policy:?}: {said}");
        assert!(
            self.header("x-request-id").is_some_and(|id| !id.is_empty()),
            "no X-Request-Id: {said}"
        );
        if matches!(self.status, 429 | 503) {
            let seconds = self.header("retry-after").and_then(|text| text.parse::<u64>().ok());
            assert!(seconds.is_some(), "no Retry-After in seconds: {said}");
        }
        // A HEAD request gets the head alone.
        if self.status >= 400 && !self.request.starts_with("HEAD ") {
            shape::error(&self.json(), &said);
        }
        if self.is_json() && !self.body.is_empty() {
            assert!(is_compact(&self.text()), "blanks outside of strings: {said}");
            check_times(&self.json(), &said);
        }
        self
    }

    /// The body, if the status is the expected one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.describe());
        self.json()
    }

    /// The body as text, if the status is the expected one: for what is not JSON.
    #[track_caller]
    pub fn expect_text(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.describe());
        self.text()
    }

    /// A refusal with this status and message; the error body.
    #[track_caller]
    pub fn refused(self, status: u16, message: &str) -> Value {
        let said = self.describe();
        let body = self.expect(status);
        assert_eq!(body["message"], message, "{said}");
        body
    }

    /// A refusal of the input that blames these fields and no others; the error body.
    #[track_caller]
    pub fn blames(self, fields: &[&str]) -> Value {
        let said = self.describe();
        let body = self.expect(400);
        let errors = body["errors"].as_object().unwrap_or_else(|| panic!("no errors: {said}"));
        // `message` repeats the texts for clients of the reference.
        let mut blamed: Vec<&str> =
            errors.keys().map(String::as_str).filter(|field| *field != "message").collect();
        let mut fields = fields.to_vec();
        fields.sort_unstable();
        blamed.sort_unstable();
        assert_eq!(blamed, fields, "{said}");
        body
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert!(self.is_json(), "not application/json: {}", self.describe());
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("bad JSON ({error}): {}", self.describe()))
    }

    /// The body as text.
    #[track_caller]
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("a body in UTF-8")
    }

    /// A header of the answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a readable header"))
    }

    /// All values of a header of the answer.
    pub fn headers_of(&self, name: &str) -> Vec<&str> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| value.to_str().expect("a readable header")).collect()
    }

    /// The whole Set-Cookie line of one cookie.
    pub fn set_cookie(&self, name: &str) -> Option<&str> {
        let lines = self.headers.get_all("set-cookie").iter();
        let mut lines = lines.map(|line| line.to_str().expect("a readable cookie"));
        lines.find(|line| line.split_once('=').is_some_and(|(cookie, _)| cookie == name))
    }

    /// The answer in one line, for messages.
    pub fn describe(&self) -> String {
        let body = String::from_utf8_lossy(&self.body);
        let shown: String = body.chars().take(800).collect();
        format!("{} -> {} {shown}", self.request, self.status)
    }

    fn is_json(&self) -> bool {
        let content_type = self.header("content-type").unwrap_or_default();
        content_type == "application/json" || content_type.starts_with("application/json;")
    }
}

/// Whether JSON text has no blank outside of strings.
fn is_compact(text: &str) -> bool {
    let (mut in_string, mut escaped) = (false, false);
    for character in text.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if !in_string && character.is_whitespace() => return false,
            _ => {}
        }
    }
    true
}

/// Fails unless every field that holds a time has the one form.
#[track_caller]
fn check_times(value: &Value, said: &str) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| check_times(item, said)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str() {
                    Some(time) if TIMES.contains(&name.as_str()) => {
                        assert!(shape::is_timestamp(time), "{name} is {time}: {said}");
                    }
                    _ => check_times(field, said),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn the_checks_tell_good_from_bad() {
    assert!(is_compact(r#"{"a":"b c, \" d: e","f":[1,2]}"#));
    for bad in [r#"{"a": 1}"#, r#"[1, 2]"#, "{\"a\":1}\n", r#"{"a":"\"", "b":1}"#] {
        assert!(!is_compact(bad), "{bad}");
    }
    assert!(shape::is_timestamp("2026-11-23T18:58:21.810818Z"));
    for bad in
        ["2026-11-23T18:58:21Z", "2026-11-23T18:58:21.810818+00:00", "2026-11-23 18:58:21.810818Z"]
    {
        assert!(!shape::is_timestamp(bad), "{bad}");
    }
    let times = serde_json::json!({"results": [{"tweet": {"created_at": "2026-11-23"}}]});
    assert!(std::panic::catch_unwind(|| check_times(&times, "")).is_err());
    let error =
        serde_json::json!({"success": false, "code": "x", "message": "m", "detail": "other"});
    assert!(std::panic::catch_unwind(|| shape::error(&error, "")).is_err());
}
