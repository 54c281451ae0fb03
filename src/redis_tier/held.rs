//! Lists that must not be read: this process has committed a removal or a back-fill that Redis
//! has yet to follow, which the head of a list does not show.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::RedisTier;
use super::keys::ListKey;

/// The lists that are held, and by how many.
#[derive(Clone, Default)]
pub(super) struct Held(Arc<Mutex<HashMap<ListKey, usize>>>);

/// While it lives, this process reads none of its lists.
#[must_use = "dropping it lets the lists be read again"]
pub struct Hold {
    held: Held,
    keys: Vec<ListKey>,
}

impl Held {
    pub(super) fn contains(&self, key: ListKey) -> bool {
        self.0.lock().contains_key(&key)
    }

    fn hold(&self, keys: Vec<ListKey>) -> Hold {
        let mut held = self.0.lock();
        for key in &keys {
            *held.entry(*key).or_insert(0) += 1;
        }
        drop(held);
        Hold { held: self.clone(), keys }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.held.0.lock();
        for key in &self.keys {
            if let Some(count) = held.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    held.remove(key);
                }
            }
        }
    }
}

impl Hold {
    /// The lists.
    pub fn keys(&self) -> &[ListKey] {
        &self.keys
    }
}

impl RedisTier {
    /// Holds lists until [`RedisTier::remove`] has been awaited for them. To be called after
    /// the commit and before any timeline of this process hears of it: a timeline that then
    /// starts to load does not find the old list, and one that loads already hears of the
    /// commit when it is done.
    pub fn hold(&self, keys: Vec<ListKey>) -> Hold {
        self.shared.held.hold(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis_tier::ListKind;

    #[test]
    fn a_list_is_held_until_the_last_hold_is_gone() {
        let held = Held::default();
        let list = |user_id| ListKey { kind: ListKind::Newsfeed, user_id };
        let first = held.hold(vec![list(1), list(2)]);
        let second = held.hold(vec![list(2), list(2)]);
        assert!(held.contains(list(1)) && held.contains(list(2)) && !held.contains(list(3)));
        drop(first);
        assert!(!held.contains(list(1)) && held.contains(list(2)));
        drop(second);
        assert!(!held.contains(list(2)));
        assert!(held.0.lock().is_empty(), "nothing is left behind");
    }
}
