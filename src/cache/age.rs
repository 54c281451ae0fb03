//! How old what is cached may become, spread: what was read together, as by the first readers after
//! a start, is not read again together, in as many queries in one second, once a minute.

use std::time::Duration;

/// The greatest age for what belongs to `id`: between three quarters of `limit` and all of it.
pub fn spread(limit: Duration, id: i64) -> Duration {
    // Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, 6.4): ids that follow
    // each other come to lie far apart.
    let hash = (id as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    limit * 3 / 4 + (limit / 4).mul_f64(hash as f64 / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_together_is_read_again_one_after_the_other() {
        let limit = Duration::from_secs(60);
        let mut per_second = [0; 61];
        for id in 1..=10_000 {
            let age = spread(limit, id);
            assert!((limit * 3 / 4..=limit).contains(&age), "{age:?}");
            per_second[age.as_secs() as usize] += 1;
        }
        let most = per_second.iter().max();
        assert!(most.is_some_and(|most| *most < 800), "667 would be even: {per_second:?}");
        assert_eq!(spread(Duration::ZERO, 1), Duration::ZERO);
    }
}
