//! A token bucket as a plain struct: time comes in as a number.
//!
//! The meter of ITU-T I.371 and of most rate limiters since: a bucket holds at most `burst`
//! tokens and refills evenly; each request takes one. In any span of time at most `burst`
//! requests pass, and those that the span has refilled.

use std::fmt;
use std::str::FromStr;

/// A limit: so many requests in so many seconds. Written `COUNT/SECONDS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Requests.
    pub burst: u32,
    /// Seconds in which an empty bucket fills up.
    pub period_s: u32,
}

/// Most requests of a limit.
const MOST: u32 = 1_000_000_000;

/// Longest period of a limit: 30 days.
const LONGEST_S: u32 = 30 * 86_400;

impl Limit {
    /// Milliseconds until a bucket has one more token.
    pub fn refill_ms(self) -> u64 {
        (u64::from(self.period_s) * 1_000).div_ceil(u64::from(self.burst.max(1))).max(1)
    }

    /// Milliseconds in which an empty bucket fills up.
    pub fn capacity_ms(self) -> u64 {
        u64::from(self.burst) * self.refill_ms()
    }

    /// The limit of `accounts` accounts together.
    pub fn times(self, accounts: u32) -> Limit {
        Limit { burst: self.burst.saturating_mul(accounts).min(MOST), ..self }
    }

    /// What a bucket that is full again in `left_ms` says to a request that it has let pass, or
    /// that it refuses.
    pub fn verdict(self, allowed: bool, left_ms: u64) -> Verdict {
        let refill = self.refill_ms();
        let missing = left_ms.div_ceil(refill).min(u64::from(self.burst));
        let remaining = if allowed { u64::from(self.burst) - missing } else { 0 };
        let wait_ms = match allowed {
            true => refill,
            false => left_ms.saturating_sub(self.capacity_ms() - refill).max(1),
        };
        Verdict { allowed, remaining: u32::try_from(remaining).unwrap_or(u32::MAX), wait_ms }
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || format!("{text:?} is not of the form COUNT/SECONDS, such as 10/300");
        let (burst, period_s) = text.split_once('/').ok_or_else(form)?;
        let burst = burst.trim().parse().map_err(|_| form())?;
        let period_s = period_s.trim().parse().map_err(|_| form())?;
        if !(1..=MOST).contains(&burst) || !(1..=LONGEST_S).contains(&period_s) {
            return Err(format!(
                "{text:?}: COUNT must be 1 to {MOST} and SECONDS 1 to {LONGEST_S}"
            ));
        }
        Ok(Limit { burst, period_s })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.burst, self.period_s)
    }
}

/// What a bucket says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it may pass.
    pub allowed: bool,
    /// Tokens left.
    pub remaining: u32,
    /// Milliseconds until the next token.
    pub wait_ms: u64,
}

/// One key's bucket: the moment at which it will be full again (milliseconds of any clock that
/// does not go back), which says everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    full_at_ms: u64,
}

impl Bucket {
    /// Takes a token at `now_ms`, if there is one.
    pub fn take(&mut self, limit: Limit, now_ms: u64) -> Verdict {
        let left = self.left_ms(now_ms);
        // A whole token must be there: a refill and what is missing fit into the bucket.
        if left + limit.refill_ms() > limit.capacity_ms() {
            return limit.verdict(false, left);
        }
        self.full_at_ms = now_ms + left + limit.refill_ms();
        limit.verdict(true, left + limit.refill_ms())
    }

    /// Gives a token back: the request did not count after all.
    pub fn give_back(&mut self, limit: Limit) {
        self.full_at_ms = self.full_at_ms.saturating_sub(limit.refill_ms());
    }

    /// Learns that others have taken tokens too: the bucket is not full before `left_ms` are
    /// over.
    pub fn learn(&mut self, now_ms: u64, left_ms: u64) {
        self.full_at_ms = self.full_at_ms.max(now_ms + left_ms);
    }

    /// Milliseconds until the bucket is full.
    pub fn left_ms(&self, now_ms: u64) -> u64 {
        self.full_at_ms.saturating_sub(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_passes_and_the_next_one_waits() {
        let limit = Limit { burst: 3, period_s: 30 };
        let mut bucket = Bucket::default();
        let left: Vec<u32> = (0..3).map(|_| bucket.take(limit, 1_000).remaining).collect();
        assert_eq!(left, [2, 1, 0]);
        let refused = bucket.take(limit, 1_000);
        assert_eq!((refused.allowed, refused.wait_ms), (false, 10_000));
        assert!(bucket.take(limit, 11_000).allowed);
        assert!(!bucket.take(limit, 11_000).allowed);
        bucket.give_back(limit);
        assert!(bucket.take(limit, 11_000).allowed);
    }

    #[test]
    fn what_others_took_is_missing() {
        let limit = Limit { burst: 3, period_s: 30 };
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(limit, 0).remaining, 2);
        bucket.learn(0, 20_000);
        assert_eq!(bucket.take(limit, 0).remaining, 0);
        bucket.learn(0, 5_000);
        assert!(!bucket.take(limit, 0).allowed, "it knew more than it was told");
    }

    #[test]
    fn limits_are_read_and_refused() {
        assert_eq!("10/300".parse(), Ok(Limit { burst: 10, period_s: 300 }));
        assert_eq!(Limit { burst: 10, period_s: 300 }.to_string(), "10/300");
        for bad in
            ["", "10", "10/", "/300", "0/300", "10/0", "-1/3", "a/b", "10/300/2", "1/9999999"]
        {
            assert!(bad.parse::<Limit>().is_err(), "{bad}");
        }
    }

    proptest! {
        /// Never more than the burst and what the time since the start has refilled.
        #[test]
        fn no_more_pass_than_time_allows(
            burst in 1_u32..20,
            period_s in 1_u32..100,
            steps in prop::collection::vec(0_u64..5_000, 1..200),
        ) {
            let limit = Limit { burst, period_s };
            let mut bucket = Bucket::default();
            let (mut now, mut passed) = (0, 0_u64);
            for step in steps {
                now += step;
                passed += u64::from(bucket.take(limit, now).allowed);
                prop_assert!(passed <= u64::from(burst) + now / limit.refill_ms());
            }
        }

        /// A refused request passes after the wait that it was told, and not before.
        #[test]
        fn the_wait_is_right(burst in 1_u32..20, period_s in 1_u32..100, at in 0_u64..9_999) {
            let limit = Limit { burst, period_s };
            let mut bucket = Bucket::default();
            while bucket.take(limit, at).allowed {}
            let wait = bucket.take(limit, at).wait_ms;
            prop_assert!(!bucket.take(limit, at + wait - 1).allowed);
            prop_assert!(bucket.take(limit, at + wait).allowed);
        }
    }
}
