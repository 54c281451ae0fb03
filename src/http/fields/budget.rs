//! The memory that all uploads and larger bodies of this process may hold at a time.
//!
//! Files are kept in memory until they are stored, so without this bound a few dozen clients
//! could take all there is. Nobody waits here: a full budget answers 503 at once.

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::http::ApiError;
use crate::http::error::RETRY_AFTER_S;
use crate::media::FILE_LIMIT;

/// All uploads together: 256 MiB, in KiB.
const BUDGET_KIB: usize = 256 * 1024;

/// A new file's first reservation, in bytes; it doubles from there.
const FIRST_STEP: usize = 64 * 1024;

static BUDGET: Semaphore = Semaphore::const_new(BUDGET_KIB);

/// A share of the budget, given back on drop.
#[derive(Debug)]
pub(super) struct Held(#[expect(dead_code, reason = "held, not read")] SemaphorePermit<'static>);

/// A file while it arrives. Its memory is reserved before it is allocated.
pub(super) struct Growing {
    bytes: Vec<u8>,
    held: SemaphorePermit<'static>,
}

impl Growing {
    pub(super) fn new() -> Result<Growing, ApiError> {
        Ok(Growing { bytes: Vec::new(), held: acquire(0)? })
    }

    /// Appends `chunk`.
    ///
    /// # Errors
    /// [`ApiError::TooLarge`] past [`FILE_LIMIT`], [`ApiError::Unavailable`] past the budget.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), ApiError> {
        let needed = self.bytes.len() + chunk.len();
        if needed > FILE_LIMIT {
            return Err(ApiError::TooLarge("A file may have at most 10 MiB.".into()));
        }
        let capacity = self.bytes.capacity();
        if needed > capacity {
            let wanted = (capacity * 2).clamp(FIRST_STEP, FILE_LIMIT).max(needed);
            let kib = wanted.div_ceil(1024);
            self.held.merge(acquire(kib.saturating_sub(self.held.num_permits()))?);
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    pub(super) fn finish(self) -> (Bytes, Held) {
        (Bytes::from(self.bytes), Held(self.held))
    }
}

/// A share for `bytes` bytes.
///
/// # Errors
/// [`ApiError::Unavailable`] past the budget.
pub(super) fn hold(bytes: usize) -> Result<Held, ApiError> {
    acquire(bytes.div_ceil(1024)).map(Held)
}

fn acquire(kib: usize) -> Result<SemaphorePermit<'static>, ApiError> {
    let busy = || ApiError::Unavailable { retry_after: RETRY_AFTER_S };
    let kib = u32::try_from(kib).map_err(|_| busy())?;
    BUDGET.try_acquire_many(kib).map_err(|_| busy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reserves_what_it_takes_and_no_more_than_its_limit() {
        let mut file = Growing::new().unwrap();
        for _ in 0..FILE_LIMIT / 4096 {
            file.push(&[7; 4096]).unwrap();
            assert!(file.held.num_permits() * 1024 >= file.bytes.capacity());
        }
        assert_eq!(file.held.num_permits() * 1024, FILE_LIMIT);
        assert!(matches!(file.push(&[7]), Err(ApiError::TooLarge(_))));
        assert_eq!(file.finish().0.len(), FILE_LIMIT);
    }

    #[test]
    fn a_full_budget_is_refused_at_once() {
        assert!(matches!(acquire(BUDGET_KIB + 1), Err(ApiError::Unavailable { .. })));
    }
}
