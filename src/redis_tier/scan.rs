//! Walking over everything, for `roost check` and `roost rebuild`.

use redis::{Pipeline, Value};

use super::keys::Family;
use super::{RedisTier, TierError};

/// Keys that the server looks at per step.
const KEYS_PER_STEP: usize = 500;

/// One step of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanPage {
    /// The ids in the keys' names. A key may turn up in more than one step.
    pub ids: Vec<i64>,
    /// Keys with the family's prefix whose name is not one that Roost makes.
    pub strangers: usize,
    /// Where to go on; `None` at the end.
    pub next: Option<u64>,
}

/// Why Redis was not cleared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClearError {
    /// The process was not started for tests.
    #[error("clearing Redis is refused: the process was not started with ROOST_TESTING=1")]
    ClearRefused,
    /// Redis did not do it.
    #[error(transparent)]
    Tier(#[from] TierError),
}

impl RedisTier {
    /// One step through the keys of a family; begin at 0. What exists during the whole walk is
    /// seen at least once.
    ///
    /// # Errors
    /// When the tier cannot say.
    pub async fn scan(&self, family: Family, cursor: u64) -> Result<ScanPage, TierError> {
        let mut pipe = Pipeline::new();
        let pattern = format!("{}*", family.prefix());
        pipe.cmd("SCAN").arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(KEYS_PER_STEP);
        let mut answers = self.shared.read("scan", &pipe).await?;
        let answer = answers.pop().unwrap_or_default();
        let (next, names): (u64, Vec<Vec<u8>>) = redis::from_redis_value(answer)
            .map_err(|error| TierError::Failed(error.to_string()))?;
        let ids: Vec<i64> = names.iter().filter_map(|name| family.id_of(name)).collect();
        Ok(ScanPage { strangers: names.len() - ids.len(), ids, next: (next != 0).then_some(next) })
    }

    /// Those of `ids` whose key has no time to live, which Roost never leaves behind.
    ///
    /// # Errors
    /// When the tier cannot say.
    pub async fn without_expiry(&self, family: Family, ids: &[i64]) -> Result<Vec<i64>, TierError> {
        const FOR_EVER: Value = Value::Int(-1);
        let mut found = Vec::new();
        for call in ids.chunks(KEYS_PER_STEP) {
            let mut pipe = Pipeline::with_capacity(call.len());
            for id in call {
                pipe.cmd("PTTL").arg(format!("{}{id}", family.prefix()));
            }
            let answers = self.shared.read("expiry", &pipe).await?;
            let pairs = call.iter().zip(answers);
            found.extend(pairs.filter(|(_, ttl)| *ttl == FOR_EVER).map(|(id, _)| *id));
        }
        Ok(found)
    }

    /// Empties the Redis database.
    ///
    /// # Errors
    /// [`ClearError::ClearRefused`] unless the process was started for tests.
    pub async fn clear(&self) -> Result<(), ClearError> {
        if !self.shared.config.testing {
            return Err(ClearError::ClearRefused);
        }
        let mut pipe = Pipeline::new();
        pipe.cmd("FLUSHDB").arg("ASYNC");
        match self.shared.read("clear", &pipe).await?.as_slice() {
            [Value::Okay] => Ok(()),
            other => Err(TierError::Failed(format!("FLUSHDB answered {other:?}")).into()),
        }
    }
}
