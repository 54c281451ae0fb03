//! Another process on the same database, Redis and folder of photos.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use super::app::metric_in;
use super::client::Client;
use super::process::{Process, tail};

/// A further node of an app. To be dropped before the app.
pub struct Node {
    process: Option<Process>,
    base: Arc<RwLock<String>>,
    environment: Vec<(String, String)>,
    log: PathBuf,
}

impl Node {
    pub(super) fn start(environment: &[(String, String)], log: PathBuf) -> Self {
        let process = Process::start(environment, &log, None);
        let base = Arc::new(RwLock::new(process.url.clone()));
        Self { process: Some(process), base, environment: environment.to_vec(), log }
    }

    /// The same person as a client of this node: what they hold now, they hold here.
    pub fn see(&self, client: &Client) -> Client {
        client.before(Arc::clone(&self.base))
    }

    /// Somebody who has not logged in.
    pub fn anonymous(&self) -> Client {
        Client::new(Arc::clone(&self.base))
    }

    /// The current value of a gauge or counter without labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        metric_in(&self.anonymous().get("/metrics").text(), name)
    }

    /// Ends the process with no chance to clean up.
    pub fn kill9(&mut self) {
        self.process.take().expect("a running process").kill9();
    }

    /// Asks the process to stop and waits for it; its exit code.
    pub fn sigterm(&mut self) -> Option<i32> {
        let process = self.process.take().expect("a running process");
        process.sigterm();
        process.wait()
    }

    /// Starts again after [`Node::kill9`] or [`Node::sigterm`].
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "still running");
        let process = Process::start(&self.environment, &self.log, None);
        *self.base.write().unwrap() = process.url.clone();
        self.process = Some(process);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of another node's log ---\n{}", tail(&self.log));
        }
    }
}
