//! Password hashing: argon2id, away from the worker threads and never too many at once.
//!
//! Parameters are OWASP's minimum (Password Storage Cheat Sheet): 19 MiB, two passes, one lane.
//! A verification takes a core for some 20 ms, so they run on blocking threads, as many as
//! there are cores; a bounded number of callers waits for a bounded time, others are refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Longest password that is hashed, in bytes. Longer ones are refused and never match.
pub const MAX_BYTES: usize = 1024;

/// Longest wait for a core.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Callers that may wait, per core: about what a core gets done in [`MAX_WAIT`].
const QUEUE_PER_CORE: usize = 64;

/// Stands in for the hash of a user who does not exist, so that the answer takes as long. It is
/// the hash of no known password.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$\
                      cm9vc3Qucm9vc3Qucm9vcw$\
                      bm9ib2R5IGhhcyB0aGlzIHBhc3N3b3JkLCBub2JvZHk";

/// Why a password could not be hashed or verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too many are waiting, or it would take too long. Later it may work.
    #[error("too many passwords are being verified")]
    Overloaded,
    /// Longer than [`MAX_BYTES`].
    #[error("the password is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// The operating system gives no randomness, or the hash function failed.
    #[error("cannot hash a password: {0}")]
    Failed(String),
}

/// Hashes and verifies passwords, a bounded number at a time.
pub struct Passwords {
    /// Those that run and those that wait.
    places: Arc<Semaphore>,
    /// Those that run.
    cores: Arc<Semaphore>,
    max_wait: Duration,
}

/// A place in the queue and a core; they stay with the thread even if the caller goes away.
type Turn = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Passwords {
    /// For this machine's cores.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Passwords::with_limits(cores, cores * QUEUE_PER_CORE, MAX_WAIT)
    }

    fn with_limits(cores: usize, queue: usize, max_wait: Duration) -> Self {
        Passwords {
            places: Arc::new(Semaphore::new(cores + queue)),
            cores: Arc::new(Semaphore::new(cores)),
            max_wait,
        }
    }

    /// A new hash in PHC form, with a salt of its own.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        self.run(move || hash(&password)).await?
    }

    /// Whether `password` belongs to `hash`. Without a hash the answer is no, in the same time.
    ///
    /// # Errors
    /// See [`PasswordError`]; a password that is too long simply does not match.
    pub async fn verify(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, PasswordError> {
        self.run(move || verify(&password, hash.as_deref())).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let asked = Instant::now();
        let turn = self.turn().await?;
        metrics::histogram!("roost_password_wait_seconds").record(asked.elapsed().as_secs_f64());
        let running = tokio::task::spawn_blocking(move || {
            let _turn: Turn = turn;
            work()
        });
        running.await.map_err(|panic| PasswordError::Failed(panic.to_string()))
    }

    async fn turn(&self) -> Result<Turn, PasswordError> {
        let refused = || {
            metrics::counter!("roost_password_refused_total").increment(1);
            PasswordError::Overloaded
        };
        let place = self.places.clone().try_acquire_owned().map_err(|_| refused())?;
        match tokio::time::timeout(self.max_wait, self.cores.clone().acquire_owned()).await {
            Ok(Ok(core)) => Ok((place, core)),
            Ok(Err(_)) | Err(_) => Err(refused()),
        }
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Passwords::new()
    }
}

/// Hashes on the calling thread, for commands outside the service.
///
/// # Errors
/// See [`PasswordError`].
pub fn hash(password: &str) -> Result<String, PasswordError> {
    if password.len() > MAX_BYTES {
        return Err(PasswordError::TooLong);
    }
    let failed = |error: &dyn std::fmt::Display| PasswordError::Failed(error.to_string());
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| failed(&error))?;
    let salt = SaltString::encode_b64(&salt).map_err(|error| failed(&error))?;
    let hash =
        argon2().hash_password(password.as_bytes(), &salt).map_err(|error| failed(&error))?;
    Ok(hash.to_string())
}

/// Verifies on the calling thread. Whatever is wrong, the hash function runs once.
fn verify(password: &str, hash: Option<&str>) -> bool {
    let bytes = password.as_bytes();
    let capped = &bytes[..bytes.len().min(MAX_BYTES)];
    let stored = hash.and_then(|hash| match PasswordHash::new(hash) {
        Ok(stored) => Some(stored),
        Err(error) => {
            tracing::error!(%error, "a stored password hash cannot be read");
            None
        }
    });
    let acceptable = stored.is_some() && bytes.len() == capped.len();
    let Some(against) = stored.or_else(|| PasswordHash::new(NOBODY).ok()) else { return false };
    let matches = argon2().verify_password(capped, &against).is_ok();
    matches && acceptable
}

fn argon2() -> Argon2<'static> {
    // The crate's defaults are the parameters above; the test below holds them to it.
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_matches_its_own_hash_only() {
        let stored = hash("correct horse").unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_ne!(stored, hash("correct horse").unwrap(), "each hash has its own salt");
        assert!(verify("correct horse", Some(&stored)));
        assert!(!verify("correct horse ", Some(&stored)));
        assert!(!verify("", Some(&stored)));
        assert!(!verify("correct horse", Some("not a hash")));
    }

    #[test]
    fn what_is_beyond_the_limit_neither_hashes_nor_matches() {
        let longest = "p".repeat(MAX_BYTES);
        let stored = hash(&longest).unwrap();
        assert!(verify(&longest, Some(&stored)));
        let longer = "p".repeat(MAX_BYTES + 1);
        assert!(!verify(&longer, Some(&stored)));
        assert_eq!(hash(&longer), Err(PasswordError::TooLong));
    }

    #[test]
    fn the_stand_in_costs_what_a_real_hash_costs() {
        let real = hash("x").unwrap();
        let (real, nobody) =
            (PasswordHash::new(&real).unwrap(), PasswordHash::new(NOBODY).unwrap());
        assert_eq!(real.algorithm, nobody.algorithm);
        assert_eq!(real.version, nobody.version);
        assert_eq!(real.params, nobody.params);
        assert_eq!(real.hash.unwrap().len(), nobody.hash.unwrap().len());
        let error = argon2().verify_password(b"x", &nobody).unwrap_err();
        assert_eq!(error, argon2::password_hash::Error::Password, "it ran and did not match");
        assert!(!verify("x", None));
    }

    #[tokio::test]
    async fn a_full_queue_is_refused_at_once_and_a_long_wait_in_the_end() {
        let passwords = Passwords::with_limits(1, 1, Duration::from_millis(50));
        let core = passwords.cores.clone().acquire_owned().await.unwrap();
        let place = passwords.places.clone().acquire_owned().await.unwrap();
        // One place is left, but no core.
        let waited = passwords.verify("x".into(), None).await;
        assert_eq!(waited, Err(PasswordError::Overloaded));

        let waiting = passwords.places.clone().acquire_owned().await.unwrap();
        let asked = Instant::now();
        assert_eq!(passwords.hash("x".into()).await, Err(PasswordError::Overloaded));
        assert!(asked.elapsed() < Duration::from_millis(50));

        drop((core, place, waiting));
        assert_eq!(passwords.verify("x".into(), None).await, Ok(false));
        let stored = passwords.hash("x".into()).await.unwrap();
        assert_eq!(passwords.verify("x".into(), Some(stored)).await, Ok(true));
    }
}
