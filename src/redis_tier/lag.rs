//! Commits that are known here before Redis has followed them: those of other nodes.
//!
//! A node tells the others in its transaction, and Redis after it. In between, and for as long
//! as that node hangs, a list in Redis may lack an entry below its head, or hold one that is
//! gone. So each node keeps in Redis the number of its newest commit that Redis has followed,
//! and a list that a commit with a higher number concerns is not read. Nor is one with an entry
//! that this node has not been told of: what lies below may be on its way, too.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use redis::{Pipeline, Value};

use super::keys::{self, ListKey};
use super::{RedisTier, Shared};
use crate::time::Timestamp;

/// Lists that are remembered one by one; when more are waited for, all of them are.
const MOST_LISTS: usize = 100_000;

/// What is waited for.
pub(super) struct Lag {
    open: Mutex<Open>,
    /// This node has been told of every entry up to this moment.
    told: AtomicI64,
}

/// What must be so before a list is read.
pub(super) struct Due {
    /// Redis has followed these commits.
    pub(super) commits: Vec<(i64, u64)>,
    /// No entry is later than this.
    pub(super) told: Timestamp,
}

#[derive(Default)]
struct Open {
    /// Which commits must be followed before a list is read: the newest of each node.
    lists: HashMap<ListKey, Vec<(i64, u64)>>,
    /// The same for every list.
    all: HashMap<i64, u64>,
    /// Nodes of which it is not known what Redis lacks: no list is read.
    strangers: HashSet<i64>,
    /// The newest commit of this node that Redis has followed.
    own: u64,
}

impl Lag {
    /// Of a process that has nobody to wait for.
    pub(super) fn none() -> Lag {
        Lag { open: Mutex::default(), told: AtomicI64::new(i64::MAX) }
    }

    /// Commit `number` of `node` has changed these lists.
    fn expect(&self, node: i64, number: u64, lists: impl Iterator<Item = ListKey>) {
        let mut open = self.open.lock();
        for list in lists {
            raise(open.lists.entry(list).or_default(), node, number);
        }
        if open.lists.len() > MOST_LISTS {
            let waited_for: Vec<(i64, u64)> = open.lists.drain().flat_map(|(_, due)| due).collect();
            for (node, number) in waited_for {
                let all = open.all.entry(node).or_default();
                *all = number.max(*all);
            }
        }
    }

    /// What must have been followed before `list` is read; `None`: it must not be read.
    fn due(&self, list: ListKey) -> Option<Due> {
        // First: what is told of is expected already.
        let told = Timestamp(self.told.load(Ordering::SeqCst));
        let open = self.open.lock();
        if !open.strangers.is_empty() {
            return None;
        }
        let mut commits: Vec<(i64, u64)> = open.all.iter().map(|(node, n)| (*node, *n)).collect();
        commits.extend(open.lists.get(&list).into_iter().flatten());
        Some(Due { commits, told })
    }

    /// The nodes that are waited for.
    fn nodes(&self) -> Vec<i64> {
        let open = self.open.lock();
        let mut nodes: Vec<i64> = open.lists.values().flatten().map(|(node, _)| *node).collect();
        nodes.extend(open.all.keys());
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Redis has followed the commits of `node` up to `number`.
    fn followed(&self, node: i64, number: u64) {
        let open = &mut *self.open.lock();
        open.all.retain(|of, waited_for| *of != node || *waited_for > number);
        open.lists.retain(|_, due| {
            due.retain(|(of, waited_for)| *of != node || *waited_for > number);
            !due.is_empty()
        });
    }
}

/// Keeps the newest number of each node.
fn raise(due: &mut Vec<(i64, u64)>, node: i64, number: u64) {
    match due.iter_mut().find(|(of, _)| *of == node) {
        Some((_, newest)) => *newest = number.max(*newest),
        None => due.push((node, number)),
    }
}

impl RedisTier {
    /// Commit `number` of `node` has changed `lists`: they are not read before Redis has
    /// followed. To be called before the timelines of this process hear of the commit.
    pub fn expect(&self, node: i64, number: u64, lists: impl Iterator<Item = ListKey>) {
        if self.is_configured() {
            self.shared.lag.expect(node, number, lists);
        }
    }

    /// From now on lists are read only up to the entries that this node has been told of.
    pub fn begin_to_be_told(&self) {
        self.shared.lag.told.store(i64::MIN, Ordering::SeqCst);
    }

    /// This node has been told of every entry up to `moment`.
    pub fn told(&self, moment: Timestamp) {
        self.shared.lag.told.fetch_max(moment.micros(), Ordering::SeqCst);
    }

    /// Reads no list before [`RedisTier::meet`] has been called for `node`.
    pub fn hold_for(&self, node: i64) {
        if self.is_configured() {
            self.shared.lag.open.lock().strangers.insert(node);
        }
    }

    /// What Redis lacks of the commits of `node` is known from now on. Says whether that is so
    /// for all nodes.
    pub fn meet(&self, node: i64) -> bool {
        let strangers = &mut self.shared.lag.open.lock().strangers;
        strangers.remove(&node);
        strangers.is_empty()
    }

    /// Nodes that [`RedisTier::meet`] is waited for.
    pub fn strangers(&self) -> Vec<i64> {
        self.shared.lag.open.lock().strangers.iter().copied().collect()
    }

    /// Stops waiting for a node that is gone. What it has left undone makes every list void,
    /// which whoever has buried it sees to.
    pub fn part_from(&self, node: i64) {
        self.meet(node);
        self.shared.lag.followed(node, u64::MAX);
    }

    /// Nodes whose work in Redis is waited for.
    pub fn waited_for(&self) -> Vec<i64> {
        self.shared.lag.nodes()
    }

    /// Tells the others that Redis has followed the commits of this node up to `number`. A
    /// failure is a loss.
    pub async fn follow(&self, number: u64) {
        if self.is_configured() {
            self.shared.lag.open.lock().own = number;
            let _ = self.shared.mutate("follow", &self.shared.mark_followed(number)).await;
        }
    }
}

impl Shared {
    fn mark_followed(&self, number: u64) -> Pipeline {
        let mut pipe = Pipeline::new();
        pipe.cmd("SET").arg(keys::followed(self.me)).arg(number).arg("PX").arg(self.ttl_ms());
        pipe
    }

    /// What must have been followed before `list` is read; `None`: it must not be read.
    pub(super) fn due(&self, list: ListKey) -> Option<Due> {
        self.lag.due(list)
    }

    /// Learns how far Redis has come, so that nothing is waited for longer than necessary. Says
    /// how far this node has come once more, since Redis may have forgotten it.
    pub(super) async fn look_at_lag(&self) {
        let own = self.lag.open.lock().own;
        if own > 0 {
            let _ = self.read("lag", &self.mark_followed(own)).await;
        }
        let nodes = self.lag.nodes();
        if nodes.is_empty() {
            return;
        }
        let mut pipe = Pipeline::new();
        ask(&mut pipe, nodes.iter().copied());
        let Ok(answers) = self.read("lag", &pipe).await else { return };
        for (node, answer) in nodes.iter().zip(&answers) {
            if let Some(number) = number_in(answer) {
                self.lag.followed(*node, number);
            }
        }
    }
}

/// Asks how far Redis has followed each of `nodes`.
pub(super) fn ask(pipe: &mut Pipeline, nodes: impl Iterator<Item = i64>) {
    for node in nodes {
        pipe.cmd("GET").arg(keys::followed(node));
    }
}

/// Whether the answers to [`ask`] say that everything that is due has been followed.
pub(super) fn is_followed(due: &[(i64, u64)], answers: &[Value]) -> bool {
    due.iter()
        .zip(answers)
        .all(|((_, due), answer)| number_in(answer).is_some_and(|number| number >= *due))
}

fn number_in(answer: &Value) -> Option<u64> {
    match answer {
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis_tier::ListKind;

    fn list(user_id: i64) -> ListKey {
        ListKey { kind: ListKind::Newsfeed, user_id }
    }

    #[test]
    fn a_list_waits_for_the_newest_commit_of_each_node() {
        let lag = Lag::none();
        let due = |key| lag.due(key).map(|due| due.commits);
        lag.expect(1, 5, [list(10), list(11)].into_iter());
        lag.expect(2, 3, [list(10)].into_iter());
        lag.expect(1, 4, [list(10)].into_iter());
        assert_eq!(due(list(10)), Some(vec![(1, 5), (2, 3)]));
        assert_eq!(due(list(12)), Some(Vec::new()));
        assert_eq!(lag.nodes(), [1, 2]);
        lag.followed(1, 4);
        assert_eq!(due(list(11)), Some(vec![(1, 5)]));
        lag.followed(1, 5);
        assert_eq!(due(list(10)), Some(vec![(2, 3)]));
        assert_eq!(due(list(11)), Some(Vec::new()));
        lag.followed(2, 9);
        assert_eq!(lag.nodes(), [] as [i64; 0]);
    }

    #[test]
    fn more_lists_than_are_remembered_are_all_lists() {
        let lag = Lag::none();
        let due = |key| lag.due(key).map(|due| due.commits);
        lag.expect(1, 7, (0..=MOST_LISTS as i64).map(list));
        lag.expect(2, 1, [list(5)].into_iter());
        assert_eq!(due(list(-1)), Some(vec![(1, 7)]));
        assert_eq!(due(list(5)), Some(vec![(1, 7), (2, 1)]));
        assert!(lag.open.lock().lists.len() < MOST_LISTS);
        lag.followed(1, 7);
        assert_eq!(due(list(-1)), Some(Vec::new()));
    }

    #[test]
    fn what_is_due_must_be_in_every_answer() {
        let said = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let due = [(1, 5), (2, 3)];
        assert!(is_followed(&due, &[said("5"), said("30")]));
        assert!(!is_followed(&due, &[said("5"), said("2")]));
        assert!(!is_followed(&due, &[said("5"), Value::Nil]));
        assert!(!is_followed(&due, &[said("x"), said("3")]));
        assert!(is_followed(&[], &[]));
    }
}
