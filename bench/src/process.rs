//! Running servers: the service, and the bare handler that is its limit.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};

use crate::data::Data;
use crate::load::{Reply, Request};
use crate::{Bench, load};

const READY_WITHIN: Duration = Duration::from_secs(120);
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// Linux counts the processor time of a process in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// How much of a reply the bare handler repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// All its headers and the body.
    SameBytes,
    /// The body and its type: what is left when the service's headers are counted as its cost.
    BodyOnly,
}

/// A server that listens. Killed when dropped.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// From the start of the process until it said that it listens.
    pub ready_after: Duration,
    log: PathBuf,
}

impl Process {
    /// Starts the service on `data`, with rate limits off and whatever `settings` say.
    ///
    /// # Errors
    /// When it is not ready within two minutes.
    pub fn roost(bench: &Bench, data: &Data, settings: &[(&str, &str)]) -> anyhow::Result<Process> {
        let mut command = without_settings(&bench.roost);
        command
            .arg("serve")
            .env("ROOST_LISTEN", "127.0.0.1:0")
            .env("ROOST_RATE_LIMITS", "off")
            .env("ROOST_LOG", "warn")
            .envs(data.environment())
            .envs(settings.iter().copied());
        start(command, bench.log(&data.folder))
    }

    /// Starts the bare handler; it answers every request with the bytes of `reply`, or with its
    /// body alone.
    ///
    /// # Errors
    /// When it is not ready within two minutes.
    pub fn bare(bench: &Bench, reply: &Reply, answer: Answer) -> anyhow::Result<Process> {
        let folder = bench.new_folder()?;
        let file = folder.join("reply");
        std::fs::write(&file, &reply.bytes)?;
        let mut command = without_settings(&bench.bare);
        command.arg(file).args((answer == Answer::BodyOnly).then_some("--body-only"));
        start(command, bench.log(&folder))
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Processor time that the process has used, all threads, in steps of 10 ms.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        // The name in parentheses may hold blanks; utime and stime are fields 14 and 15.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<u32> =
            rest.split_whitespace().skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
        ensure!(fields.len() == 2, "/proc/{}/stat has no times", self.id());
        Ok(TICK * (fields[0] + fields[1]))
    }

    /// Memory that the process holds, in bytes (RSS).
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kilobytes.context("no VmRSS")? * 1024)
    }

    /// The sum of all series of a metric whose line contains `with`: labels, or nothing.
    ///
    /// # Errors
    /// When the service does not answer.
    pub fn metric(&self, name: &str, with: &str) -> anyhow::Result<f64> {
        let reply = load::call(self.address, &Request::get("/metrics", None))?;
        let text = reply.text();
        let series = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let values = series.filter(|line| line.contains(with));
        Ok(values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Asks the process to stop and waits for it.
    ///
    /// # Errors
    /// When it does not end well within 20 s.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let id = self.id().to_string();
        ensure!(Command::new("kill").args(["-TERM", &id]).status()?.success(), "kill failed");
        let since = Instant::now();
        while since.elapsed() < STOP_WITHIN {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "it ended with {status}: {}", tail(&self.log));
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("it did not stop within {STOP_WITHIN:?}")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that inherits no setting of the service from whoever runs this.
pub fn without_settings(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("ROOST_") || text == "DATABASE_URL" || text == "REDIS_URL" {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null());
    command
}

fn start(mut command: Command, log: PathBuf) -> anyhow::Result<Process> {
    let log_file = File::options().create(true).append(true).open(&log)?;
    let started = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(log_file).spawn()?;
    let stdout = child.stdout.take().context("standard output is piped")?;
    let (sender, ready) = mpsc::channel();
    // Reads to the end, so that a server that goes on printing never blocks.
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once(" listens on http://") {
                let _ = sender.send((address.trim_end_matches('/').to_owned(), started.elapsed()));
            }
        }
    });
    match ready.recv_timeout(READY_WITHIN) {
        Ok((address, ready_after)) => {
            Ok(Process { address: address.parse()?, child, ready_after, log })
        }
        Err(_) => {
            let _ = child.kill();
            let status = child.wait()?;
            Err(anyhow!("{command:?} was never ready ({status}): {}", tail(&log)))
        }
    }
}

/// The end of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
