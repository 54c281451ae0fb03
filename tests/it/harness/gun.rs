//! Requests in an open loop: sent at their own pace, whether answers come or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Client as Http, Method, Request};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::{App, Client};

/// Requests that keep a node busy, and no more.
const BUSY: usize = 6;

/// One request and its answer.
#[derive(Clone, Copy, Debug)]
pub struct Shot {
    /// Which of the gun's requests it was.
    pub which: usize,
    /// The status.
    pub status: u16,
    /// How long the whole answer took.
    pub took: Duration,
}

/// All shots of one volley.
pub struct Volley {
    /// In the order of their answers.
    pub shots: Vec<Shot>,
    /// From the first request to the last answer.
    pub took: Duration,
    /// The most requests that waited for an answer at a time.
    pub most_under_way: usize,
}

/// Some requests, sent in turn many times.
pub struct Gun {
    runtime: Runtime,
    http: Http,
    requests: Vec<Request>,
    next: AtomicUsize,
    under_way: Arc<AtomicUsize>,
}

impl Gun {
    /// One sort of request.
    pub fn new(app: &App, who: &Client, method: Method, path: &str, body: Option<String>) -> Self {
        Self::in_turn(app, vec![(who, method, path.to_owned(), body)])
    }

    /// These requests in turn: who asks, how, for what, with which JSON.
    pub fn in_turn(app: &App, asked: Vec<(&Client, Method, String, Option<String>)>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let http = Http::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        let make = |(who, method, path, body): (&Client, Method, String, Option<String>)| {
            let mut request = http.request(method, format!("{}{path}", app.base_url()));
            if let Some(body) = body {
                request = request.header("Content-Type", "application/json").body(body);
            }
            let cookie = who.cookie_header();
            if !cookie.is_empty() {
                request = request.header("Cookie", cookie);
            }
            request.build().expect("a request")
        };
        let requests = asked.into_iter().map(make).collect();
        Self { runtime, http, requests, next: AtomicUsize::new(0), under_way: Arc::default() }
    }

    fn shoot(&self) -> impl Future<Output = Shot> + Send + 'static {
        let which = self.next.fetch_add(1, Ordering::Relaxed) % self.requests.len();
        let request = self.requests[which].try_clone().expect("a body that can be sent again");
        let (http, under_way) = (self.http.clone(), Arc::clone(&self.under_way));
        under_way.fetch_add(1, Ordering::SeqCst);
        async move {
            let asked = Instant::now();
            let answer = http.execute(request).await.expect("an answer");
            let status = answer.status().as_u16();
            assert!(status != 503 || answer.headers().contains_key("retry-after"));
            answer.bytes().await.expect("a whole answer");
            under_way.fetch_sub(1, Ordering::SeqCst);
            Shot { which, status, took: asked.elapsed() }
        }
    }

    /// Answers in a second when a few requests are always under way: the capacity.
    pub fn capacity(&self, lasting: Duration) -> f64 {
        self.runtime.block_on(async {
            let (begun, mut done, mut under_way) = (Instant::now(), 0, JoinSet::new());
            (0..BUSY).for_each(|_| drop(under_way.spawn(self.shoot())));
            while let Some(shot) = under_way.join_next().await {
                let status = shot.unwrap().status;
                assert!(matches!(status, 200 | 201), "{status} without overload");
                done += 1;
                if begun.elapsed() < lasting {
                    under_way.spawn(self.shoot());
                }
            }
            f64::from(done) / begun.elapsed().as_secs_f64()
        })
    }

    /// Sends `rate` requests a second, come what may.
    pub fn volley(&self, rate: f64, lasting: Duration) -> Volley {
        self.runtime.block_on(async {
            let (begun, mut sent, mut shots) = (Instant::now(), 0, JoinSet::new());
            let (mut tick, mut most_under_way) =
                (tokio::time::interval(Duration::from_millis(5)), 0);
            while begun.elapsed() < lasting {
                tick.tick().await;
                let due = (begun.elapsed().as_secs_f64() * rate) as usize;
                (sent..due).for_each(|_| drop(shots.spawn(self.shoot())));
                sent = sent.max(due);
                most_under_way = most_under_way.max(self.under_way.load(Ordering::SeqCst));
            }
            let mut answered = Vec::new();
            while let Some(shot) = shots.join_next().await {
                answered.push(shot.unwrap());
            }
            Volley { shots: answered, took: begun.elapsed(), most_under_way }
        })
    }
}

/// The time within which so many per cent of the answers came.
pub fn percentile<'a>(shots: impl IntoIterator<Item = &'a Shot>, percent: usize) -> Duration {
    let mut took: Vec<Duration> = shots.into_iter().map(|shot| shot.took).collect();
    took.sort_unstable();
    let last = took.len().saturating_sub(1);
    took.get((took.len() * percent / 100).min(last)).copied().unwrap_or_default()
}
