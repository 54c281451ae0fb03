//! Committed entries, added to the lists that exist.
//!
//! Most lists of a large delivery do not exist. Two plain commands tell so for a quarter of what
//! the script costs the server, and no loader is overtaken by them: a lease from before the look is
//! void by then, and whoever takes one later reads the database after the commit.

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use redis::{Cmd, Pipeline, Value};

use super::keys::ListKey;
use super::scripts::Which;
use super::{RedisTier, TierError};
use crate::timeline::Entry;

/// From so many lists on, it is looked first which of them exist: with fewer, the second round
/// trip would cost more than the look can save.
const LOOK_FROM: usize = 64;

/// Lists of one look, which has one deadline.
const LISTS_PER_LOOK: usize = 1_024;

/// Looks under way: the next one is put together while the server works on the one before.
const LOOKS_AT_ONCE: usize = 3;

/// Lists that one answer of a look tells of. If any of them exists, all go to the script.
const LISTS_PER_ANSWER: usize = 16;

/// Lists of one script: long enough to amortise a call, short enough (well under a
/// millisecond) not to hold up others.
const LISTS_PER_SCRIPT: usize = 256;

/// Scripts in one pipeline, which has one deadline.
const SCRIPTS_PER_CALL: usize = 4;

/// What is pushed to which list.
type Push = (ListKey, Entry);

impl RedisTier {
    /// Adds committed entries to the lists that exist, keeping at most `limit` in each; several
    /// entries of one list in ascending order. A list that cannot take its entry (another
    /// epoch, a newer head, no time to live) is deleted. A failure is a loss.
    pub async fn push(&self, pushes: &[Push], epoch: i64, limit: usize) {
        self.shared.learn_epoch(epoch);
        // A loss makes every list void: the rest need not be tried.
        let _ = self.push_in_order(pushes, epoch, limit).await;
    }

    async fn push_in_order(
        &self,
        pushes: &[Push],
        epoch: i64,
        limit: usize,
    ) -> Result<(), TierError> {
        let mut chunks = pushes.chunks(LISTS_PER_LOOK);
        let mut looks: FuturesOrdered<_> =
            chunks.by_ref().take(LOOKS_AT_ONCE).map(|some| self.look_for(some)).collect();
        // The pushes themselves one after the other: a list may have several.
        while let Some(there) = looks.next().await {
            looks.extend(chunks.next().map(|some| self.look_for(some)));
            self.push_by_script(&there?, epoch, limit).await?;
        }
        Ok(())
    }

    /// The pushes to lists that may exist. The leases of all others are void then.
    async fn look_for(&self, pushes: &[Push]) -> Result<Vec<Push>, TierError> {
        if pushes.len() < LOOK_FROM {
            return Ok(pushes.to_vec());
        }
        let mut pipe = Pipeline::with_capacity(1 + pushes.len() / LISTS_PER_ANSWER);
        for lists in by_slot(pushes) {
            let mut leases = redis::cmd("DEL");
            add_keys(&mut leases, lists, ListKey::write_lease);
            pipe.add_command(leases);
            for several in lists.chunks(LISTS_PER_ANSWER) {
                let mut look = redis::cmd("EXISTS");
                add_keys(&mut look, several, ListKey::write_name);
                pipe.add_command(look);
            }
        }
        let mut answers = self.shared.mutate("look", &pipe).await?.into_iter();
        let mut there = Vec::new();
        for lists in by_slot(pushes) {
            let _leases_voided = answers.next();
            for several in lists.chunks(LISTS_PER_ANSWER) {
                if answers.next() != Some(Value::Int(0)) {
                    there.extend_from_slice(several);
                }
            }
        }
        Ok(there)
    }

    async fn push_by_script(
        &self,
        pushes: &[Push],
        epoch: i64,
        limit: usize,
    ) -> Result<(), TierError> {
        for call in pushes.chunks(LISTS_PER_SCRIPT * SCRIPTS_PER_CALL) {
            let mut pipe = Pipeline::with_capacity(SCRIPTS_PER_CALL);
            for lists in by_slot(call) {
                let mut cmd = self.shared.scripts.call(Which::Push, lists.len() * 2);
                add_keys(&mut cmd, lists, ListKey::write_name);
                add_keys(&mut cmd, lists, ListKey::write_lease);
                cmd.arg(limit).arg(epoch);
                // A delivery says once what it delivers, and to how many lists.
                for same in lists.chunk_by(|(_, one), (_, next)| one == next) {
                    let (_, Entry { created_at, tweet_id }) = same[0];
                    cmd.arg(created_at.micros()).arg(tweet_id).arg(same.len());
                }
                pipe.add_command(cmd);
            }
            self.shared.mutate("push", &pipe).await?;
        }
        Ok(())
    }
}

/// The lists of each command. The one place that will group them by cluster slot.
fn by_slot(pushes: &[Push]) -> impl Iterator<Item = &[Push]> {
    pushes.chunks(LISTS_PER_SCRIPT)
}

/// Names a key of each list to a command.
fn add_keys(cmd: &mut Cmd, lists: &[Push], write: fn(ListKey, &mut String)) {
    let mut name = String::new();
    for (key, _) in lists {
        write(*key, &mut name);
        cmd.arg(&name);
    }
}
