//! Counts of likes and comments: always absolute, never incremented.

use redis::{Pipeline, Value};

use super::codec::{self, CachedCounts};
use super::keys::CountKind;
use super::lists::KEYS_PER_CALL;
use super::scripts::Which;
use super::{RedisTier, TierError};

/// Counts of one script.
const COUNTS_PER_SCRIPT: usize = 256;

/// Scripts in one pipeline, which has one deadline.
const SCRIPTS_PER_CALL: usize = 4;

/// Counts as a transaction has left them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountWrite {
    /// What `id` is the id of.
    pub kind: CountKind,
    /// The tweet or comment.
    pub id: i64,
    /// The row's version: what is older than the stored one is not written.
    pub version: i64,
    /// Likes.
    pub likes: i64,
    /// Comments; 0 for a comment.
    pub comments: i64,
}

impl RedisTier {
    /// Writes counts after their commit, in whatever order writers arrive. A failure is a loss.
    pub async fn write_counts(&self, writes: &[CountWrite]) {
        let epoch = self.epoch();
        for call in writes.chunks(COUNTS_PER_SCRIPT * SCRIPTS_PER_CALL) {
            let mut pipe = Pipeline::with_capacity(SCRIPTS_PER_CALL);
            for counts in call.chunks(COUNTS_PER_SCRIPT) {
                let mut cmd = self.shared.scripts.call(Which::Counts, counts.len());
                for write in counts {
                    cmd.arg(write.kind.name(write.id));
                }
                cmd.arg(epoch);
                for write in counts {
                    let pair = format!("{}.{}", write.likes, write.comments);
                    cmd.arg(write.version).arg(pair).arg(self.shared.ttl_ms());
                }
                pipe.add_command(cmd);
            }
            if self.shared.mutate("count_write", &pipe).await.is_err() {
                return;
            }
        }
    }

    /// The counts of `ids`, in their order; `None` where none of `epoch` are stored.
    ///
    /// # Errors
    /// When the tier cannot say.
    pub async fn read_counts(
        &self,
        kind: CountKind,
        ids: &[i64],
        epoch: i64,
    ) -> Result<Vec<Option<CachedCounts>>, TierError> {
        let mut found = Vec::with_capacity(ids.len());
        for call in ids.chunks(KEYS_PER_CALL) {
            let mut pipe = Pipeline::with_capacity(call.len());
            for id in call {
                pipe.cmd("GET").arg(kind.name(*id));
            }
            let answers = self.shared.read("count_read", &pipe).await?;
            found.extend(answers.iter().map(|answer| match answer {
                Value::BulkString(text) => {
                    codec::parse_counts(text).filter(|counts| counts.epoch == epoch)
                }
                // Absent, or of another type, which the next write replaces.
                _ => None,
            }));
        }
        Ok(found)
    }

    /// Deletes the counts of what is gone. A failure is a loss.
    pub async fn remove_counts(&self, kind: CountKind, ids: &[i64]) {
        for call in ids.chunks(KEYS_PER_CALL) {
            let mut pipe = Pipeline::with_capacity(call.len());
            for id in call {
                pipe.cmd("UNLINK").arg(kind.name(*id));
            }
            if self.shared.mutate("count_remove", &pipe).await.is_err() {
                return;
            }
        }
    }
}
