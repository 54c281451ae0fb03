//! The cached part of a timeline: plain state and rules, no actor and no IO.

use std::collections::{HashSet, VecDeque};

use super::entry::{Amendment, Entry, Range};
use crate::time::Timestamp;

/// The newest entries of a timeline, without a gap.
///
/// Every entry at or above `floor` is here; of what lies below nothing is known. A floor at
/// [`Timestamp::MIN`] says that the timeline is here completely. Whether it is complete is
/// never concluded from the number of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Newest first.
    entries: VecDeque<Entry>,
    floor: Timestamp,
    limit: usize,
}

/// What a window can say about a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Entries of the range, newest first.
    pub entries: Vec<Entry>,
    /// The part of the range that this window knows nothing of, if it is needed to satisfy the
    /// request.
    pub unknown: Option<Range>,
}

impl Window {
    /// A window over `newest` (newest first), of which at most `limit` are kept. `complete`
    /// says that the timeline has no older entries.
    pub fn new(newest: Vec<Entry>, complete: bool, limit: usize) -> Window {
        debug_assert!(newest.is_sorted_by(|a, b| a.created_at > b.created_at));
        let floor = match newest.last() {
            _ if complete => Timestamp::MIN,
            Some(oldest) => oldest.created_at,
            // Not complete and nothing known: the window says nothing about any moment.
            None => Timestamp(i64::MAX),
        };
        let mut window = Window { entries: newest.into(), floor, limit };
        window.trim();
        window
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no entry is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the timeline has no entries but those held.
    pub fn is_complete(&self) -> bool {
        self.floor == Timestamp::MIN
    }

    /// Heap bytes of the window.
    pub fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }

    /// At most `want` entries of `range`, newest first, and what part of it must be asked of
    /// the database.
    pub fn find(&self, range: Range, want: usize) -> Found {
        if range.is_empty() || want == 0 {
            return Found { entries: Vec::new(), unknown: None };
        }
        let from = self.entries.partition_point(|entry| entry.created_at >= range.older_than);
        let to = self.entries.partition_point(|entry| entry.created_at > range.newer_than);
        let end = to.min(from.saturating_add(want)).max(from);
        let entries: Vec<Entry> = self.entries.range(from..end).copied().collect();
        let reaches_below = range.newer_than < self.floor && !self.is_complete();
        let unknown = if entries.len() < want && reaches_below {
            Some(range.below(self.floor)).filter(|rest| !rest.is_empty())
        } else {
            None
        };
        Found { entries, unknown }
    }

    /// Takes an entry that has become visible. Late, repeated and out-of-order pushes are
    /// harmless. Returns whether the window changed.
    pub fn push(&mut self, entry: Entry) -> bool {
        match self.entries.front() {
            // By far the most frequent case.
            Some(head) if entry.created_at > head.created_at => self.entries.push_front(entry),
            None if entry.created_at >= self.floor => self.entries.push_front(entry),
            _ => {
                if entry.created_at < self.floor {
                    return false;
                }
                let at = self.entries.partition_point(|held| held.created_at > entry.created_at);
                if self.entries.get(at).is_some_and(|held| held.created_at == entry.created_at) {
                    return false;
                }
                self.entries.insert(at, entry);
            }
        }
        self.trim();
        true
    }

    /// Drops the entries of a tweet that is gone. What is known of the timeline stays known.
    pub fn remove(&mut self, tweet_id: i64) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.tweet_id != tweet_id);
        self.entries.len() != before
    }

    /// Takes over what has changed in the past of the timeline.
    pub fn amend(&mut self, amendment: &Amendment) {
        match amendment {
            Amendment::Added(entries) => entries.iter().for_each(|entry| {
                self.push(*entry);
            }),
            Amendment::Removed(times) => {
                let gone: HashSet<Timestamp> = times.iter().copied().collect();
                self.entries.retain(|entry| !gone.contains(&entry.created_at));
            }
        }
    }

    /// Whether so much was removed that reads would often go past the window although a full
    /// one could be had.
    pub fn is_worn(&self) -> bool {
        !self.is_complete() && self.entries.len() * 2 < self.limit
    }

    fn trim(&mut self) {
        if self.entries.len() > self.limit {
            self.entries.truncate(self.limit);
            self.floor =
                self.entries.back().map_or(Timestamp(i64::MAX), |oldest| oldest.created_at);
        }
        // A deque doubles when it grows; give back what a full window never needs.
        if self.entries.capacity() > self.limit + self.limit / 8 + 32 {
            self.entries.shrink_to(self.limit + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(at: i64) -> Entry {
        Entry { created_at: Timestamp(at), tweet_id: at * 10 }
    }

    fn entries(times: impl IntoIterator<Item = i64>) -> Vec<Entry> {
        times.into_iter().map(entry).collect()
    }

    #[test]
    fn an_empty_complete_window_knows_that_there_is_nothing() {
        let window = Window::new(vec![], true, 10);
        assert_eq!(window.find(Range::ALL, 5), Found { entries: vec![], unknown: None });
    }

    #[test]
    fn a_short_window_is_not_taken_for_a_complete_one() {
        let window = Window::new(entries([9, 8]), false, 10);
        let found = window.find(Range::ALL, 5);
        assert_eq!(found.entries, entries([9, 8]));
        assert_eq!(found.unknown, Some(Range::ALL.below(Timestamp(8))));
    }

    #[test]
    fn trimming_forgets_the_end_and_says_so() {
        let mut window = Window::new(entries([3, 2, 1]), true, 3);
        assert!(window.is_complete());
        window.push(entry(4));
        assert!(!window.is_complete());
        assert_eq!(window.find(Range::ALL, 9).entries, entries([4, 3, 2]));
        assert!(!window.push(entry(1)), "below the floor: nothing is known there");
    }

    #[test]
    fn a_full_window_costs_sixteen_bytes_an_entry() {
        assert_eq!(size_of::<Entry>(), 16);
        let mut window = Window::new(vec![], true, 1000);
        for at in 0..5000 {
            window.push(entry(at));
        }
        assert_eq!(window.len(), 1000);
        assert!(window.heap_bytes() <= 1157 * 16, "{} bytes", window.heap_bytes());
    }

    /// Operations against a naive list of everything that ever happened.
    #[derive(Debug, Clone)]
    enum Op {
        Push(i64),
        Remove(i64),
        BackFill(Vec<i64>),
        Sweep(Vec<i64>),
        Reload,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        prop::collection::vec(
            prop_oneof![
                6 => (0_i64..60).prop_map(Op::Push),
                2 => (0_i64..60).prop_map(Op::Remove),
                1 => prop::collection::vec(0_i64..60, 0..8).prop_map(Op::BackFill),
                1 => prop::collection::vec(0_i64..60, 0..8).prop_map(Op::Sweep),
                1 => Just(Op::Reload),
            ],
            0..120,
        )
    }

    fn naive(list: &[i64], range: Range, want: usize) -> Vec<Entry> {
        let mut times: Vec<i64> = list.to_vec();
        times.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
        times
            .into_iter()
            .filter(|at| (range.newer_than.micros() + 1..range.older_than.micros()).contains(at))
            .take(want)
            .map(entry)
            .collect()
    }

    proptest! {
        /// Whatever is pushed, removed and reloaded in whatever order: the window's part of any
        /// range plus the database's part of what it does not know is the naive list's answer.
        #[test]
        fn equals_a_naive_list(
            ops in ops(),
            limit in 1_usize..12,
            older in 0_i64..70,
            newer in -2_i64..60,
            want in 0_usize..15,
        ) {
            let mut list: Vec<i64> = Vec::new();
            let mut window = Window::new(vec![], true, limit);
            for op in ops {
                match op {
                    Op::Push(at) => {
                        if !list.contains(&at) {
                            list.push(at);
                        }
                        window.push(entry(at));
                    }
                    Op::Remove(at) => {
                        list.retain(|held| *held != at);
                        window.remove(at * 10);
                    }
                    Op::BackFill(times) => {
                        let new: Vec<i64> =
                            times.into_iter().filter(|at| !list.contains(at)).collect();
                        window.amend(&Amendment::Added(entries(new.iter().copied())));
                        list.extend(new);
                        list.sort_unstable();
                        list.dedup();
                    }
                    Op::Sweep(times) => {
                        list.retain(|held| !times.contains(held));
                        let times = times.into_iter().map(Timestamp).collect();
                        window.amend(&Amendment::Removed(times));
                    }
                    Op::Reload => {
                        let newest = naive(&list, Range::ALL, limit);
                        window = Window::new(newest, list.len() <= limit, limit);
                    }
                }
                prop_assert!(window.len() <= limit);
            }
            let range = Range { older_than: Timestamp(older), newer_than: Timestamp(newer) };
            let found = window.find(range, want);
            let mut answer = found.entries;
            if let Some(rest) = found.unknown {
                answer.extend(naive(&list, rest, want - answer.len()));
            }
            prop_assert_eq!(answer, naive(&list, range, want));
        }
    }
}
