//! What is going on, on standard error: one line that is rewritten on a terminal, lines in a log.

use std::cell::RefCell;
use std::io::{IsTerminal, Write, stderr};
use std::time::Instant;

/// The line.
pub struct Progress {
    started: Instant,
    part: RefCell<String>,
    width: RefCell<usize>,
}

impl Default for Progress {
    fn default() -> Self {
        Progress { started: Instant::now(), part: RefCell::default(), width: RefCell::default() }
    }
}

impl Progress {
    /// Begins a part: `2/6 mixed`.
    pub fn part(&self, place: usize, of: usize, name: &str) {
        self.part.replace(format!("{place}/{of} {name}"));
        self.step("starting");
    }

    /// Says what the part does now.
    pub fn step(&self, what: &str) {
        let seconds = self.started.elapsed().as_secs();
        let part = self.part.borrow();
        let line = format!("[{:02}:{:02}] {part}: {what}", seconds / 60, seconds % 60);
        let mut out = stderr().lock();
        // A progress line that cannot be written is no reason to stop measuring.
        let _ = if stderr().is_terminal() {
            let before = self.width.replace(line.chars().count());
            write!(out, "\r{line:<before$}").and_then(|()| out.flush())
        } else {
            writeln!(out, "{line}")
        };
    }

    /// Says which round of how many of something is measured now.
    pub fn round(&self, what: &str, round: usize, of: usize) {
        self.step(&format!("{what}, round {} of {of}", round + 1));
    }

    /// Ends the line, before something else is printed.
    pub fn end(&self) {
        if stderr().is_terminal() {
            eprintln!();
            self.width.replace(0);
        }
    }
}
