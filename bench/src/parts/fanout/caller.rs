//! One user on one connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::runtime::Runtime;

use crate::load::{Connection, Request};

/// A connection that has been idle for longer is opened anew: the service closes it after a minute.
const KEPT: Duration = Duration::from_secs(30);

/// One user on one connection.
pub(super) struct Caller {
    runtime: Runtime,
    address: SocketAddr,
    connection: Connection,
    used: Instant,
    post: Request,
    feed: Request,
    metrics: Request,
}

impl Caller {
    pub(super) fn new(address: SocketAddr, cookie: String) -> anyhow::Result<Caller> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connection = runtime.block_on(Connection::open(address))?;
        let cookie = (!cookie.is_empty()).then_some(cookie.as_str());
        Ok(Caller {
            runtime,
            address,
            connection,
            used: Instant::now(),
            post: Request::post("/api/tweets/", cookie, "{\"content\":\"to everybody\"}"),
            feed: Request::get("/api/newsfeeds/?page_size=1", cookie),
            metrics: Request::get("/metrics", None),
        })
    }

    fn call(&mut self, which: fn(&Caller) -> &Request) -> anyhow::Result<String> {
        if self.used.elapsed() > KEPT {
            self.connection = self.runtime.block_on(Connection::open(self.address))?;
        }
        self.used = Instant::now();
        let request = which(self).clone();
        let head = self.runtime.block_on(self.connection.call(request.bytes()))?;
        let body = String::from_utf8_lossy(self.connection.body(head)).into_owned();
        ensure!((200..300).contains(&head.status), "{}: {body}", head.status);
        Ok(body)
    }

    /// Posts a tweet: its id, and when the answer came.
    pub(super) fn post(&mut self) -> anyhow::Result<(i64, Instant)> {
        let body = self.call(|caller| &caller.post)?;
        let answered = Instant::now();
        let tweet: serde_json::Value = serde_json::from_str(&body)?;
        Ok((tweet["id"].as_i64().context("a tweet without an id")?, answered))
    }

    /// The newest tweet of the feed.
    pub(super) fn feed(&mut self) -> anyhow::Result<Option<i64>> {
        let page: serde_json::Value = serde_json::from_str(&self.call(|caller| &caller.feed)?)?;
        Ok(page["results"][0]["tweet"]["id"].as_i64())
    }

    /// Tasks that are open.
    pub(super) fn open_tasks(&mut self) -> anyhow::Result<f64> {
        Ok(self.gauge("roost_fanout_tasks_open")?.unwrap_or(0.0))
    }

    /// Entries delivered so far.
    pub(super) fn deliveries(&mut self) -> anyhow::Result<f64> {
        Ok(self.gauge("roost_fanout_deliveries_total")?.unwrap_or(0.0))
    }

    pub(super) fn gauge(&mut self, name: &str) -> anyhow::Result<Option<f64>> {
        let text = self.call(|caller| &caller.metrics)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.map(str::parse).transpose()?)
    }
}
