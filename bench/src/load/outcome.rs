//! What a load loop has seen.

use std::time::Duration;

use anyhow::ensure;
use hdrhistogram::Histogram;

/// Latencies up to a minute are told apart, to three digits; longer ones count as a minute.
const LONGEST_NS: u64 = 60_000_000_000;

/// A histogram of nanoseconds.
pub fn nanoseconds() -> Histogram<u64> {
    // The bounds are sound: checked by a test.
    Histogram::new_with_bounds(1, LONGEST_NS, 3).unwrap_or_else(|_| unreachable_histogram())
}

fn unreachable_histogram() -> Histogram<u64> {
    unreachable!("1 ns to a minute in three digits are valid bounds")
}

/// Counts and latencies of one measurement.
pub struct Outcome {
    /// Replies read.
    pub requests: u64,
    /// Those of them that were not of the 200s.
    pub failed: u64,
    /// A status among the failed, to name in an error.
    pub failed_with: Option<u16>,
    /// Bytes of the replies.
    pub bytes: u64,
    /// How long it was measured.
    pub took: Duration,
    /// By kind, in nanoseconds.
    pub latency: Vec<Histogram<u64>>,
}

impl Outcome {
    /// Nothing yet.
    pub(super) fn new(kinds: usize) -> Outcome {
        Outcome {
            requests: 0,
            failed: 0,
            failed_with: None,
            bytes: 0,
            took: Duration::ZERO,
            latency: (0..kinds).map(|_| nanoseconds()).collect(),
        }
    }

    pub(super) fn record(&mut self, kind: usize, latency: Duration, head: super::Head) {
        self.requests += 1;
        self.bytes += head.total() as u64;
        if !(200..300).contains(&head.status) {
            self.failed += 1;
            self.failed_with = Some(head.status);
        }
        self.latency[kind].saturating_record(latency.as_nanos().max(1) as u64);
    }

    /// Adds what another thread has seen in the same time.
    ///
    /// # Errors
    /// When the kinds differ.
    pub(super) fn join(&mut self, other: Outcome) -> anyhow::Result<()> {
        ensure!(self.latency.len() == other.latency.len(), "not of the same traffic");
        self.requests += other.requests;
        self.failed += other.failed;
        self.failed_with = self.failed_with.or(other.failed_with);
        self.bytes += other.bytes;
        self.took = self.took.max(other.took);
        for (ours, theirs) in self.latency.iter_mut().zip(&other.latency) {
            ours.add(theirs)?;
        }
        Ok(())
    }

    /// Replies per second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64()
    }

    /// Latencies of all kinds together.
    ///
    /// # Errors
    /// Never, since all histograms are of one form.
    pub fn all(&self) -> anyhow::Result<Histogram<u64>> {
        let mut all = nanoseconds();
        for histogram in &self.latency {
            all.add(histogram)?;
        }
        Ok(all)
    }

    /// A percentile over all kinds, in milliseconds.
    ///
    /// # Errors
    /// As [`Outcome::all`].
    pub fn ms(&self, quantile: f64) -> anyhow::Result<f64> {
        Ok(self.all()?.value_at_quantile(quantile) as f64 / 1e6)
    }

    /// Passes on a measurement in which every reply was of the 200s.
    ///
    /// # Errors
    /// When one was not: its latency would be a figure of something else.
    pub fn without_failures(self) -> anyhow::Result<Outcome> {
        ensure!(
            self.failed == 0,
            "{} of {} replies failed, one with {:?}",
            self.failed,
            self.requests,
            self.failed_with
        );
        ensure!(self.requests > 0, "no reply in {:?}", self.took);
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_holds_a_microsecond_and_a_minute() {
        let mut histogram = nanoseconds();
        histogram.saturating_record(1_000);
        histogram.saturating_record(90_000_000_000);
        assert!((1_000..1_010).contains(&histogram.min()));
        assert!(histogram.max() >= 59_000_000_000);
    }
}
