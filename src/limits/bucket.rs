//! A token bucket as a plain struct: time comes in as a number.
//!
//! The meter of ITU-T I.371 and of most rate limiters since: a bucket holds at most `burst`
//! tokens and refills evenly; each request takes one. In any span of time at most `burst`
//! requests pass, and those that the span has refilled.

/// A limit: so many requests in so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Requests.
    pub burst: u32,
    /// Seconds in which an empty bucket fills up.
    pub period_s: u32,
}

impl Limit {
    fn refill_ms(self) -> u64 {
        (u64::from(self.period_s) * 1_000).div_ceil(u64::from(self.burst.max(1))).max(1)
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
        let refill = limit.refill_ms();
        let full_at = self.full_at_ms.max(now_ms);
        let missing = (full_at - now_ms).div_ceil(refill);
        if missing >= u64::from(limit.burst) {
            let wait_ms = (full_at - now_ms) - (u64::from(limit.burst) - 1) * refill;
            return Verdict { allowed: false, remaining: 0, wait_ms };
        }
        self.full_at_ms = full_at + refill;
        let remaining = u64::from(limit.burst) - missing - 1;
        let remaining = u32::try_from(remaining).unwrap_or(u32::MAX);
        Verdict { allowed: true, remaining, wait_ms: refill }
    }

    /// Gives a token back: the request did not count after all.
    pub fn give_back(&mut self, limit: Limit) {
        self.full_at_ms = self.full_at_ms.saturating_sub(limit.refill_ms());
    }

    /// Whether nothing is remembered that a new bucket would not know.
    pub fn is_full(&self, now_ms: u64) -> bool {
        self.full_at_ms <= now_ms
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

        /// A refused request passes after the wait that it was told.
        #[test]
        fn the_wait_is_long_enough(burst in 1_u32..20, period_s in 1_u32..100, at in 0_u64..9_999) {
            let limit = Limit { burst, period_s };
            let mut bucket = Bucket::default();
            while bucket.take(limit, at).allowed {}
            let wait = bucket.take(limit, at).wait_ms;
            prop_assert!(bucket.take(limit, at + wait).allowed);
        }
    }
}
