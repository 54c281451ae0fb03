//! Which timelines leave memory, and when.

use std::sync::atomic::Ordering;

use metrics::counter;

use super::{OVERHEAD_ENTRIES, Timelines};
use crate::timeline::TimelineKey;
use crate::timeline::actor::Change;

struct Usage {
    key: TimelineKey,
    last_used: u64,
    /// With [`OVERHEAD_ENTRIES`].
    entries: usize,
}

impl Timelines {
    /// Passivates timelines that are idle, then the least recently used ones until the budget
    /// holds with a twentieth to spare. To be called every second or so.
    pub fn sweep(&self) {
        let config = &self.inner.config;
        let now = self.now_ms();
        let idle_before = now.saturating_sub(config.idle.as_millis() as u64);
        let mut residents = self.usage();
        let mut total: usize = residents.iter().map(|usage| usage.entries).sum();
        let over = total > config.resident_entries;
        let has_idle = residents.iter().any(|usage| usage.last_used < idle_before);
        if !has_idle && !over {
            return;
        }
        residents.sort_unstable_by_key(|usage| usage.last_used);
        let target = config.resident_entries - config.resident_entries / 20;
        for usage in residents {
            let is_idle = usage.last_used < idle_before;
            let is_excess = over && total > target;
            if !is_idle && !is_excess {
                break;
            }
            total = total.saturating_sub(usage.entries);
            self.passivate(usage.key);
            let reason = if is_idle { "idle" } else { "budget" };
            counter!("roost_timeline_passivations_total", "reason" => reason).increment(1);
        }
    }

    /// Drops the timeline from memory. Its actor ends when its last reader is answered. One
    /// that streams are open on gives its window away and stays. Their number is bounded
    /// elsewhere.
    pub fn passivate(&self, key: TimelineKey) {
        let mut shard = self.shard(key).lock();
        match shard.get(&key) {
            Some(resident) if resident.is_followed() => {
                // Not idle again for as long; by then closed streams have been counted out.
                resident.gauge.last_used.store(self.now_ms(), Ordering::Relaxed);
                resident.tell(Change::Forget);
            }
            _ => {
                shard.remove(&key);
            }
        }
    }

    fn usage(&self) -> Vec<Usage> {
        let mut residents = Vec::new();
        for shard in &self.inner.shards {
            residents.extend(shard.lock().iter().map(|(key, resident)| Usage {
                key: *key,
                last_used: resident.gauge.last_used.load(Ordering::Relaxed),
                entries: resident.gauge.entries.load(Ordering::Relaxed) + OVERHEAD_ENTRIES,
            }));
        }
        residents
    }
}
