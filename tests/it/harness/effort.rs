//! How hard the randomised tests try, and with which dice.
//!
//! `ROOST_TEST_ROUNDS` asks for more rounds than the everyday run has time for;
//! `ROOST_TEST_SEED` plays a failed run again with the seed that it printed;
//! `ROOST_TEST_FULL_LENGTH=1` makes the faults last as long as in real life.

use std::time::{SystemTime, UNIX_EPOCH};

/// Rounds of a randomised test: `short` of them, unless the environment asks for another number.
pub fn rounds(short: usize) -> usize {
    number("ROOST_TEST_ROUNDS").map_or(short, |rounds| rounds as usize)
}

/// Whether the environment asks for more than the everyday run has time for.
pub fn is_long() -> bool {
    number("ROOST_TEST_ROUNDS").is_some()
}

/// How long a fault lasts, or how large it is: `short`, unless the environment asks for the
/// `full` length.
pub fn lasting<T>(short: T, full: T) -> T {
    if number("ROOST_TEST_FULL_LENGTH") == Some(1) { full } else { short }
}

/// The seed of a randomised test, printed so that a failure can be played again.
pub fn seed(test: &str) -> u64 {
    let by_clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("ROOST_TEST_SEED").unwrap_or_else(by_clock);
    println!("{test}: ROOST_TEST_SEED={seed}");
    seed
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, not {text:?}")))
}
