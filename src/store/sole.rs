//! The one process on a SQLite file.
//!
//! On SQLite the caches of one process are the only ones that hear of a write. A second service
//! on the same file would lie, and so would one under which the file is filled. Commands that
//! cope with a running service need no claim.

use std::fs::{File, TryLockError};

use anyhow::{Context, bail};

use super::pool::setup::sqlite_path;
use super::{DbConfig, Engine};

/// Holds what it was made for until it is dropped, or the process has ended in whatever way.
#[derive(Debug)]
pub struct Claim {
    /// Locked; none on Postgres, where processes tell each other.
    _file: Option<File>,
}

/// Claims a database for this process: a SQLite file by a lock on another file beside it, since
/// SQLite has locks of its own on the first.
///
/// # Errors
/// When another process has claimed it, or the file system knows no locks.
pub fn claim(config: &DbConfig) -> anyhow::Result<Claim> {
    if config.engine()? == Engine::Postgres {
        return Ok(Claim { _file: None });
    }
    let database = sqlite_path(&config.url);
    let path = format!("{database}.lock");
    let file = File::create(&path).with_context(|| format!("cannot open {path}"))?;
    match file.try_lock() {
        Ok(()) => Ok(Claim { _file: Some(file) }),
        Err(TryLockError::WouldBlock) => bail!("another roost is at work on {database}"),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {path}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::sqlite;

    #[test]
    fn a_file_is_claimed_once_at_a_time() {
        let test = sqlite();
        let claimed = claim(&test.config).unwrap();
        let refused = claim(&test.config).unwrap_err().to_string();
        assert!(refused.contains("another roost"), "{refused}");
        drop(claimed);
        claim(&test.config).unwrap();
    }
}
