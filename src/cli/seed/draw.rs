//! Draws with a heavy tail, and sets of distinct pairs.
//!
//! Only operations that IEEE 754 defines to the last bit are used, and a generator whose
//! sequence is fixed, so that a seed gives the same rows on every machine and in every release.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// A reproducible source of numbers.
pub(super) struct Draw(Xoshiro256PlusPlus);

/// A pair in one word, so that sets of them sort fast and take 8 bytes each.
pub(super) type Pair = u64;

pub(super) fn pair(first: u32, second: u32) -> Pair {
    u64::from(first) << 32 | u64::from(second)
}

pub(super) fn unpair(pair: Pair) -> (u32, u32) {
    ((pair >> 32) as u32, pair as u32)
}

/// Rounds of drawing what duplicates have left open, before the rest is filled in order.
const ROUNDS: usize = 24;

impl Draw {
    /// A stream of its own for each purpose, so that more likes do not change the tweets.
    pub(super) fn new(seed: u64, purpose: u64) -> Draw {
        let mixed = seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Draw(Xoshiro256PlusPlus::seed_from_u64(mixed))
    }

    /// A number below `limit`, each as likely as another. `limit` is not 0.
    pub(super) fn below(&mut self, limit: u32) -> u32 {
        self.0.random_range(0..limit)
    }

    /// A number below `limit`, as [`Draw::below`].
    pub(super) fn below_u64(&mut self, limit: u64) -> u64 {
        self.0.random_range(0..limit)
    }

    /// Random bytes.
    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.0.random_range(0..=u8::MAX))
    }

    /// One of `items`, which are not none.
    pub(super) fn one_of<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len() as u32) as usize]
    }

    /// A rank below `limit`, rank r with a probability proportional to (r + 1)^-0.75.
    ///
    /// Inverse of the integral of x^-0.75 between 1 and limit + 1; that exponent needs only
    /// square roots and products. Drawn as followees it gives follower numbers a Pareto tail,
    /// as social graphs have.
    pub(super) fn rank(&mut self, limit: u32) -> u32 {
        let uniform = self.0.random_range(0..1_u64 << 53) as f64 / (1_u64 << 53) as f64;
        let root = ((f64::from(limit) + 1.0).sqrt().sqrt() - 1.0) * uniform + 1.0;
        let place = (root * root) * (root * root);
        ((place as u64).saturating_sub(1)).min(u64::from(limit) - 1) as u32
    }

    /// The numbers below `count` in random order (Fisher and Yates).
    pub(super) fn permutation(&mut self, count: u32) -> Vec<u32> {
        let mut numbers: Vec<u32> = (0..count).collect();
        for at in (1..numbers.len()).rev() {
            let other = self.below(at as u32 + 1) as usize;
            numbers.swap(at, other);
        }
        numbers
    }

    /// `count` distinct pairs in order. `draw` gives candidates (`None`: not allowed); what it
    /// does not give in time is filled up from `all`, which must hold `count` pairs.
    pub(super) fn distinct(
        &mut self,
        count: usize,
        mut draw: impl FnMut(&mut Draw) -> Option<Pair>,
        all: impl Iterator<Item = Pair>,
    ) -> Vec<Pair> {
        let mut pairs: Vec<Pair> = Vec::with_capacity(count);
        for _ in 0..ROUNDS {
            let open = count - pairs.len();
            if open == 0 {
                return pairs;
            }
            pairs.extend((0..open).filter_map(|_| draw(self)));
            pairs.sort_unstable();
            pairs.dedup();
        }
        let open = count - pairs.len();
        let rest: Vec<Pair> =
            all.filter(|pair| pairs.binary_search(pair).is_err()).take(open).collect();
        pairs.extend(rest);
        pairs.sort_unstable();
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(side: u32) -> impl Iterator<Item = Pair> {
        (0..side).flat_map(move |a| (0..side).filter(move |b| a != *b).map(move |b| pair(a, b)))
    }

    #[test]
    fn pairs_are_distinct_exact_in_number_and_reproducible() {
        for count in [0, 1, 400, 2_450] {
            let make = || {
                Draw::new(1, 2).distinct(
                    count,
                    |draw| {
                        let (a, b) = (draw.below(50), draw.rank(50));
                        (a != b).then_some(pair(a, b))
                    },
                    complete(50),
                )
            };
            let pairs = make();
            assert_eq!(pairs.len(), count);
            assert!(pairs.windows(2).all(|two| two[0] < two[1]));
            assert!(pairs.iter().all(|pair| unpair(*pair).0 != unpair(*pair).1));
            assert_eq!(pairs, make());
        }
    }

    #[test]
    fn ranks_have_a_heavy_tail_and_stay_in_range() {
        let mut draw = Draw::new(7, 7);
        let mut hits = vec![0_u32; 1_000];
        for _ in 0..100_000 {
            hits[draw.rank(1_000) as usize] += 1;
        }
        let top: u32 = hits[..10].iter().sum();
        let bottom: u32 = hits[990..].iter().sum();
        assert!(top > 30 * bottom && bottom > 0, "top {top}, bottom {bottom}");
        assert_eq!(draw.rank(1), 0);
    }

    #[test]
    fn a_permutation_has_every_number_once() {
        let mut numbers = Draw::new(3, 3).permutation(1_000);
        assert!(numbers.windows(2).any(|two| two[0] > two[1]));
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(0..1_000));
    }
}
