//! Looking again and again until something is so.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::bail;

/// What takes longer has failed.
const LIMIT: Duration = Duration::from_secs(120);

/// What a look may add to a time that is measured. One takes the service a good part of a
/// millisecond, so a look every millisecond would slow down what it looks at.
const RESOLUTION: u32 = 50;

/// Looks until `is_so`, with pauses of at least `least`, and tells when that was.
pub(super) fn until(
    what: impl Display,
    least: Duration,
    mut is_so: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<Instant> {
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        if is_so()? {
            return Ok(Instant::now());
        }
        std::thread::sleep(least.max(begun.elapsed() / RESOLUTION));
    }
    bail!("not within {LIMIT:?}: {what}")
}
