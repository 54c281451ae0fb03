//! Somebody who talks to the server: an address, a cookie jar, and perhaps credentials.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, RwLock};
use std::time::Duration;

use reqwest::Method;
use reqwest::blocking::multipart::{Form, Part};
use reqwest::redirect::Policy;
use serde_json::Value;

use super::app::App;
use super::reply::Reply;

/// One HTTP client for the process: connections are shared, cookies are not its business.
static HTTP: LazyLock<reqwest::blocking::Client> = LazyLock::new(|| {
    reqwest::blocking::Client::builder()
        .redirect(Policy::none())
        .timeout(Duration::from_secs(60))
        .no_proxy()
        .build()
        .expect("an HTTP client")
});

/// An actor of the story.
pub struct Client {
    /// The user's id; 0 for the anonymous.
    pub id: i64,
    /// The user's name; empty for the anonymous.
    pub username: String,
    pub(super) base: Arc<RwLock<String>>,
    jar: Mutex<BTreeMap<String, String>>,
    authorization: Option<String>,
}

impl Client {
    pub(super) fn new(base: Arc<RwLock<String>>) -> Self {
        let (jar, username) = (Mutex::default(), String::new());
        Self { id: 0, username, base, jar, authorization: None }
    }

    /// The same person on another device: no cookies, this Authorization header.
    pub fn with_authorization(&self, authorization: &str) -> Self {
        let mut other = Self::new(Arc::clone(&self.base));
        (other.id, other.username) = (self.id, self.username.clone());
        other.authorization = Some(authorization.to_owned());
        other
    }

    /// The same person, with the same cookies, at another app.
    pub fn at(&self, app: &App) -> Self {
        let mut other = Self::new(Arc::clone(&app.base));
        (other.id, other.username) = (self.id, self.username.clone());
        *other.jar.lock().unwrap() = self.jar.lock().unwrap().clone();
        other
    }

    /// The same person in front of another server, with what they hold now.
    pub(super) fn before(&self, base: Arc<RwLock<String>>) -> Self {
        let jar = Mutex::new(self.jar.lock().unwrap().clone());
        let (username, authorization) = (self.username.clone(), self.authorization.clone());
        Self { id: self.id, username, base, jar, authorization }
    }

    /// The value of a cookie in the jar.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar.lock().unwrap().get(name).cloned()
    }

    /// Puts a cookie into the jar, as an attacker or a careful client might.
    pub fn set_cookie(&self, name: &str, value: &str) {
        self.jar.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    /// A request to be completed and sent.
    pub fn request(&self, method: &str, path: &str) -> Request<'_> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let url = format!("{}{path}", self.base.read().unwrap());
        let mut inner = HTTP.request(method.clone(), url);
        if let Some(value) = &self.authorization {
            inner = inner.header("Authorization", value);
        }
        Request { client: self, said: format!("{method} {path}"), inner }
    }

    /// GET.
    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.request("GET", path).send()
    }

    /// POST with a JSON body.
    #[track_caller]
    pub fn post(&self, path: &str, body: Value) -> Reply {
        self.request("POST", path).json(&body).send()
    }

    /// POST with `application/x-www-form-urlencoded`.
    #[track_caller]
    pub fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.request("POST", path).form(fields).send()
    }

    /// POST with `multipart/form-data`: text fields, then files as (field, name, bytes).
    #[track_caller]
    pub fn post_multipart(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        files: &[(&str, &str, &[u8])],
    ) -> Reply {
        self.request("POST", path).multipart(fields, files).send()
    }

    /// PUT with a JSON body.
    #[track_caller]
    pub fn put(&self, path: &str, body: Value) -> Reply {
        self.request("PUT", path).json(&body).send()
    }

    /// PATCH with a JSON body.
    #[track_caller]
    pub fn patch(&self, path: &str, body: Value) -> Reply {
        self.request("PATCH", path).json(&body).send()
    }

    /// DELETE without a body.
    #[track_caller]
    pub fn delete(&self, path: &str) -> Reply {
        self.request("DELETE", path).send()
    }

    /// The Cookie header that the jar amounts to.
    pub fn cookie_header(&self) -> String {
        let jar = self.jar.lock().unwrap();
        let pairs: Vec<String> =
            jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    /// Does to the jar what a browser does with Set-Cookie.
    fn keep_cookies(&self, reply: &Reply) {
        let mut jar = self.jar.lock().unwrap();
        for line in reply.headers.get_all("set-cookie") {
            let line = line.to_str().expect("a readable cookie");
            let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
            let (name, value) = pair.split_once('=').expect("name=value");
            if value.is_empty() || attributes.to_ascii_lowercase().contains("max-age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// A request under construction.
pub struct Request<'a> {
    client: &'a Client,
    said: String,
    inner: reqwest::blocking::RequestBuilder,
}

impl Request<'_> {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.inner = self.inner.header(name, value);
        self
    }

    /// A JSON body.
    pub fn json(self, body: &Value) -> Self {
        let bytes = serde_json::to_vec(body).expect("serialise");
        self.body("application/json", bytes)
    }

    /// A form body.
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let text = serde_urlencoded::to_string(fields).expect("encode");
        self.body("application/x-www-form-urlencoded", text.into_bytes())
    }

    /// A multipart body: text fields, then files as (field, name, bytes).
    pub fn multipart(mut self, fields: &[(&str, &str)], files: &[(&str, &str, &[u8])]) -> Self {
        let mut form = Form::new();
        for (name, text) in fields {
            form = form.text((*name).to_owned(), (*text).to_owned());
        }
        for (field, name, bytes) in files {
            form = form.part(
                (*field).to_owned(),
                Part::bytes(bytes.to_vec()).file_name((*name).to_owned()),
            );
        }
        self.inner = self.inner.multipart(form);
        self
    }

    /// Any bytes under any content type; an empty type sends no such header.
    pub fn body(mut self, content_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        if !content_type.is_empty() {
            self.inner = self.inner.header("Content-Type", content_type);
        }
        self.inner = self.inner.body(bytes.into());
        self
    }

    /// Sends it, keeps the cookies that come back, checks what holds for every answer.
    #[track_caller]
    pub fn send(self) -> Reply {
        self.send_as_is().checked()
    }

    /// As [`Request::send`], without the checks: for bodies that are not as they seem.
    #[track_caller]
    pub fn send_as_is(self) -> Reply {
        let (client, said) = (self.client, self.said.clone());
        let answer = self.open().unwrap_or_else(|error| panic!("{said}: {error:?}"));
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().unwrap_or_else(|error| panic!("{said}: {error:?}")).to_vec();
        let reply = Reply { request: said, status, body, headers };
        client.keep_cookies(&reply);
        reply
    }

    /// Sends it to a server that may be ending: the answer, checked, if a whole one came.
    #[track_caller]
    pub fn try_send(self) -> Option<Reply> {
        let (client, said) = (self.client, self.said.clone());
        let answer = self.open().ok()?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().ok()?.to_vec();
        let reply = Reply { request: said, status, body, headers };
        client.keep_cookies(&reply);
        Some(reply.checked())
    }

    /// Sends it and leaves the answer as it is: for streams, and for servers that may be gone.
    pub fn open(self) -> reqwest::Result<reqwest::blocking::Response> {
        let cookies = self.client.cookie_header();
        let inner =
            if cookies.is_empty() { self.inner } else { self.inner.header("Cookie", cookies) };
        inner.send()
    }
}
