//! Telling the resident ones among many thousands of timelines.

use super::Timelines;
use crate::timeline::actor::Change;
use crate::timeline::{Entry, TimelineKey};

impl Timelines {
    /// Tells the feeds of `readers` that are resident of an entry that all of them have got.
    ///
    /// Most followers of a large author are cold. So when fewer timelines are resident than
    /// readers are named, the resident ones are looked for among the readers, and not the other
    /// way round. One that becomes resident meanwhile loads after the commit.
    pub fn deliver(&self, readers: &[i64], entry: Entry) {
        let (resident, _) = self.resident_count();
        if resident >= readers.len() || !readers.is_sorted() {
            for reader in readers {
                self.push(TimelineKey::Home(*reader), entry);
            }
            return;
        }
        for shard in &self.inner.shards {
            // Copied, so that nobody who reads waits for the search.
            let keys: Vec<TimelineKey> = shard.lock().keys().copied().collect();
            for key in keys {
                if let TimelineKey::Home(reader) = key
                    && readers.binary_search(&reader).is_ok()
                {
                    self.change(key, Change::Push(entry));
                }
            }
        }
    }
}
