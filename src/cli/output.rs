//! What a command has to say on standard output.

use std::fmt;
use std::io::{self, ErrorKind, Write};

/// Prints a line of the answer, with the words of [`format!`].
macro_rules! say {
    ($($word:tt)*) => { $crate::cli::output::line(format_args!($($word)*)) };
}

pub(super) use say;

/// Whoever reads only the head of an answer, as `| head` does, has what he wanted: the command goes
/// on to its end, and its exit status is the same.
///
/// # Panics
/// When standard output fails in another way, on a full disk say, as [`println!`] does: an answer
/// that is lost must not look like one that was given.
pub(super) fn line(words: fmt::Arguments<'_>) {
    match writeln!(io::stdout(), "{words}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            panic!("failed printing to stdout: {error}");
        }
        _ => {}
    }
}
