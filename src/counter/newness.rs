//! Whether likes are taken for new.
//!
//! Most are: who likes something has not liked it before. Looking for them first would be a
//! statement for nothing, so the insert tells; when it finds a like already there, the batch is
//! rolled back and run again with a look first, as are the next ones, since whoever repeats
//! likes may go on with it.

use std::sync::atomic::{AtomicU32, Ordering};

/// Batches that look first after one that should have: of likes that are all repeated, one batch in
/// so many is run twice.
const WARY: u32 = 64;

/// What a transaction makes of likes that nothing in its batch contradicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likes {
    /// They are inserted, and must not be there.
    TakenForNew,
    /// They are looked for first.
    LookedFor,
}

/// What the last batches have met.
#[derive(Debug, Default)]
pub(super) struct Newness {
    /// Batches that still look first.
    wary: AtomicU32,
}

impl Newness {
    /// For the next batch.
    pub(super) fn next(&self) -> Likes {
        let fewer = |wary: u32| wary.checked_sub(1);
        match self.wary.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer) {
            Ok(_) => Likes::LookedFor,
            Err(_) => Likes::TakenForNew,
        }
    }

    /// A batch has met a like that was there.
    pub(super) fn disproved(&self) {
        self.wary.store(WARY, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_like_makes_the_next_batches_look_first() {
        let newness = Newness::default();
        assert_eq!([newness.next(), newness.next()], [Likes::TakenForNew; 2]);
        newness.disproved();
        let next: Vec<Likes> = (0..=WARY).map(|_| newness.next()).collect();
        let (last, looked) = next.split_last().unwrap();
        assert!(looked.iter().all(|likes| *likes == Likes::LookedFor));
        assert_eq!(*last, Likes::TakenForNew);
    }
}
