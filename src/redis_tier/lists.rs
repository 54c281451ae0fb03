//! Lists of timeline entries, read, filled and deleted.

use redis::{Pipeline, Value};

use super::codec::{self, CachedList, Surprise};
use super::keys::ListKey;
use super::lag;
use super::scripts::Which;
use super::{RedisTier, TierError};
use crate::timeline::Entry;

/// How long a loader may take between its lease and its fill.
const LEASE_MS: u64 = 60_000;

/// Commands in one pipeline of removals.
pub(super) const KEYS_PER_CALL: usize = 512;

/// What became of a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FillOutcome {
    /// The list is in Redis.
    Stored,
    /// Something was pushed or removed since the lease was taken, or the lease is gone.
    Fenced,
    /// There was nothing to store, or the tier is down. A fill that timed out may still arrive:
    /// the lease and the epoch keep it from doing harm.
    Skipped,
}

/// What stands under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// Something that must not be served.
    Surprise(Surprise),
    /// A list of the current epoch.
    List(CachedList),
}

impl RedisTier {
    /// The list of `key`, if it is there, not held, and beyond doubt; what is in doubt is
    /// deleted.
    ///
    /// Read the list first and the database's epoch and newest entry after it: what is older
    /// than the answer is then noticed.
    pub async fn load(&self, key: ListKey, epoch: i64, limit: usize) -> Option<CachedList> {
        if self.shared.held.contains(key) {
            return None;
        }
        let due = self.shared.due(key)?;
        match self.look(key, epoch, limit, &due.commits).await.ok()? {
            Found::List(list) => {
                list.entries.first().is_none_or(|head| head.created_at <= due.told).then_some(list)
            }
            Found::Nothing => None,
            Found::Surprise(surprise) => {
                self.repair(key, surprise).await;
                None
            }
        }
    }

    /// What stands under `key`, in one round trip, without repairing it.
    ///
    /// # Errors
    /// When the tier cannot say.
    pub async fn inspect(
        &self,
        key: ListKey,
        epoch: i64,
        limit: usize,
    ) -> Result<Found, TierError> {
        self.look(key, epoch, limit, &[]).await
    }

    /// [`RedisTier::inspect`]; nothing before Redis has followed what is `due`.
    async fn look(
        &self,
        key: ListKey,
        epoch: i64,
        limit: usize,
        due: &[(i64, u64)],
    ) -> Result<Found, TierError> {
        self.shared.learn_epoch(epoch);
        let name = key.name();
        let mut pipe = Pipeline::new();
        // First: what the list holds then is at least as new as the answer.
        lag::ask(&mut pipe, due.iter().map(|(node, _)| *node));
        // One more than the limit shows that there are more.
        pipe.cmd("LRANGE").arg(&name).arg(0).arg(limit);
        pipe.cmd("PTTL").arg(&name);
        let answers = self.shared.read("load", &pipe).await?;
        let (followed, list) = answers.split_at(due.len().min(answers.len()));
        if !lag::is_followed(due, followed) {
            metrics::counter!("roost_redis_lags_total").increment(1);
            return Ok(Found::Nothing);
        }
        Ok(judge(list, epoch, limit))
    }

    async fn repair(&self, key: ListKey, surprise: Surprise) {
        metrics::counter!("roost_redis_surprises_total", "reason" => surprise.label()).increment(1);
        if surprise != Surprise::ForeignEpoch {
            tracing::warn!(key = key.name(), reason = surprise.label(), "deleting a strange key");
        }
        let mut pipe = Pipeline::new();
        pipe.cmd("UNLINK").arg(key.name());
        // A failure leaves it to the next reader, who will not believe it either.
        let _ = self.shared.read("repair", &pipe).await;
    }

    /// A loader's lease: to be taken before its SELECT and given to [`RedisTier::fill`].
    pub async fn generation(&self, key: ListKey) -> Option<u64> {
        let token = self.shared.draw();
        let mut pipe = Pipeline::new();
        let lease = key.lease();
        // Answers with the token that was there, if there was one.
        pipe.cmd("SET").arg(&lease).arg(token).arg("NX").arg("GET").arg("PX").arg(LEASE_MS);
        let answers = self.shared.read("generation", &pipe).await.ok()?;
        let held = match answers.first()? {
            Value::Nil => return Some(token),
            Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
            _ => None,
        };
        if held.is_none() {
            let mut pipe = Pipeline::new();
            pipe.cmd("UNLINK").arg(&lease);
            let _ = self.shared.read("repair", &pipe).await;
        }
        held
    }

    /// Writes a whole list in one step, with its time to live, unless something has been pushed
    /// or removed since `generation` was taken. `entries` are newest first and were read under
    /// `epoch`; `complete`: the last of them is the very first of the timeline. An empty
    /// timeline is not stored: no list can say so.
    pub async fn fill(
        &self,
        key: ListKey,
        generation: u64,
        epoch: i64,
        entries: &[Entry],
        complete: bool,
    ) -> FillOutcome {
        self.shared.learn_epoch(epoch);
        if entries.is_empty() {
            return FillOutcome::Skipped;
        }
        let mut cmd = self.shared.scripts.call(Which::Fill, 2);
        cmd.arg(key.name()).arg(key.lease()).arg(generation).arg(self.shared.ttl_ms());
        let last = entries.len() - 1;
        for (at, entry) in entries.iter().enumerate() {
            cmd.arg(codec::element(epoch, *entry, complete && at == last));
        }
        let mut pipe = Pipeline::new();
        pipe.add_command(cmd);
        match self.shared.read("fill", &pipe).await.as_deref() {
            Ok([Value::Int(1)]) => FillOutcome::Stored,
            Ok(_) => FillOutcome::Fenced,
            Err(_) => FillOutcome::Skipped,
        }
    }

    /// Deletes lists after the commit of a removal or a back-fill, and voids the leases of
    /// their loaders. A failure is a loss.
    pub async fn remove(&self, keys: &[ListKey]) {
        for call in keys.chunks(KEYS_PER_CALL) {
            let mut pipe = Pipeline::with_capacity(call.len());
            for key in call {
                pipe.cmd("UNLINK").arg(key.name()).arg(key.lease());
            }
            if self.shared.mutate("remove", &pipe).await.is_err() {
                return;
            }
        }
    }

    /// Deletes one list: a loader has found that it does not agree with the database.
    pub async fn drop_list(&self, key: ListKey) {
        self.remove(&[key]).await;
    }
}

/// Judges the answers to LRANGE and PTTL.
fn judge(answers: &[Value], epoch: i64, limit: usize) -> Found {
    let (elements, ttl) = match answers {
        [Value::Array(elements), Value::Int(ttl)] => (elements, *ttl),
        _ => return Found::Surprise(Surprise::WrongType),
    };
    // -2: expired between the two commands.
    if elements.is_empty() || ttl == -2 {
        return Found::Nothing;
    }
    if ttl < 0 {
        return Found::Surprise(Surprise::NoExpiry);
    }
    let texts = elements.iter().map(|element| match element {
        Value::BulkString(text) => text.as_slice(),
        // Not text: no element of ours.
        _ => &[],
    });
    match codec::decode_list(epoch, limit, texts) {
        Ok(list) => Found::List(list),
        Err(surprise) => Found::Surprise(surprise),
    }
}
