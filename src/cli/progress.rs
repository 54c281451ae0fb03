//! Progress of the long commands, on standard error: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};

use super::output::say;

/// Plain lines are at least this far apart.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// One step of a command that does `total` of something.
pub(super) struct Progress {
    what: &'static str,
    total: u64,
    done: u64,
    started: Instant,
    shown: Shown,
}

enum Shown {
    Bar(ProgressBar),
    Lines { next: Instant },
}

impl Progress {
    /// Begins a step. `what` is a plural: "follows".
    pub(super) fn start(what: &'static str, total: u64) -> Progress {
        let started = Instant::now();
        let shown = if std::io::stderr().is_terminal() {
            Shown::Bar(bar(what, total))
        } else {
            Shown::Lines { next: started + LINE_EVERY }
        };
        Progress { what, total, done: 0, started, shown }
    }

    /// Says that `more` have been done.
    pub(super) fn advance(&mut self, more: u64) {
        self.done += more;
        match &mut self.shown {
            Shown::Bar(bar) => bar.inc(more),
            Shown::Lines { next } => {
                if Instant::now() >= *next {
                    *next = Instant::now() + LINE_EVERY;
                    eprintln!("{}", under_way(self.what, self.done, self.total, self.started));
                }
            }
        }
    }

    /// Prints a line that must not be torn by the bar.
    pub(super) fn print(&self, line: &str) {
        match &self.shown {
            Shown::Bar(bar) => bar.suspend(|| say!("{line}")),
            Shown::Lines { .. } => say!("{line}"),
        }
    }

    /// Ends the step with a line that says what it took.
    pub(super) fn finish(self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
        let took = self.started.elapsed();
        let rate = (self.done as f64 / took.as_secs_f64().max(0.001)) as u64;
        eprintln!(
            "{:<16} {:>12} in {:>6.1} s ({}/s)",
            self.what,
            HumanCount(self.done).to_string(),
            took.as_secs_f64(),
            HumanCount(rate),
        );
    }
}

fn bar(what: &'static str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total).with_message(what);
    let template = "{msg:<16} [{wide_bar:.cyan/blue}] {human_pos}/{human_len} {per_sec} {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn under_way(what: &str, done: u64, total: u64, started: Instant) -> String {
    let rate = done as f64 / started.elapsed().as_secs_f64().max(0.001);
    let left = Duration::from_secs((total.saturating_sub(done) as f64 / rate.max(0.001)) as u64);
    format!(
        "{what}: {} of {} ({}%), {}/s, {} left",
        HumanCount(done),
        HumanCount(total),
        done * 100 / total.max(1),
        HumanCount(rate as u64),
        HumanDuration(left),
    )
}
