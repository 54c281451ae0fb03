//! HTTP Basic without an argon2 run per request.
//!
//! What is kept of a verified password is one SHA-256 over a key that lives and dies with this
//! process, the user, the stored hash and the password: useless outside of it, and void as soon
//! as the stored hash changes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::cache::{Fenced, Ticket};
use crate::store::users::Credentials;

/// Passwords that have been verified lately; one per user.
pub struct Proofs {
    key: [u8; 32],
    proofs: Fenced<String, Arc<Proof>>,
    trusted_for: Duration,
}

struct Proof {
    user_id: i64,
    username: Arc<str>,
    password_hash: String,
    digest: [u8; 32],
    trusted_until: Instant,
}

impl Proofs {
    /// A cache of about `capacity` users.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn new(capacity: usize, trusted_for: Duration) -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Proofs { key, proofs: Fenced::new(capacity), trusted_for })
    }

    /// The user, if this very password was verified lately.
    pub fn check(&self, username: &String, password: &str) -> Option<(i64, Arc<str>)> {
        let proof = self.proofs.get(username)?;
        if Instant::now() >= proof.trusted_until {
            return None;
        }
        let digest = self.digest(proof.user_id, &proof.password_hash, password);
        same(&digest, &proof.digest).then(|| (proof.user_id, proof.username.clone()))
    }

    /// To be taken before the credentials are read.
    pub fn ticket(&self, username: &String) -> Ticket {
        self.proofs.ticket(username)
    }

    /// Remembers a password that has been verified against `credentials`, which were read at
    /// `asked` or later, under `ticket`.
    pub fn proved(
        &self,
        ticket: Ticket,
        asked: Instant,
        credentials: Credentials,
        password: &str,
    ) -> Arc<str> {
        let username: Arc<str> = credentials.username.as_str().into();
        let proof = Proof {
            user_id: credentials.user_id,
            username: username.clone(),
            digest: self.digest(credentials.user_id, &credentials.password_hash, password),
            password_hash: credentials.password_hash,
            trusted_until: asked + self.trusted_for,
        };
        self.proofs.fill(ticket, credentials.username, Arc::new(proof));
        username
    }

    /// Forgets the user after a committed change of the password or the account.
    pub fn invalidate(&self, username: &String) {
        self.proofs.invalidate(username);
    }

    /// Forgets everybody.
    pub fn clear(&self) {
        self.proofs.clear();
    }

    fn digest(&self, user_id: i64, password_hash: &str, password: &str) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.key);
        hasher.update(user_id.to_be_bytes());
        // With its length, so that the two texts cannot run into each other.
        hasher.update((password_hash.len() as u64).to_be_bytes());
        hasher.update(password_hash.as_bytes());
        hasher.update(password.as_bytes());
        hasher.finalize().into()
    }
}

/// Comparison in constant time.
fn same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    left.iter().zip(right).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Credentials {
        Credentials {
            user_id: 7,
            username: "ann".into(),
            password_hash: "$argon2id$...".into(),
            disabled: false,
        }
    }

    #[test]
    fn a_proof_holds_for_the_same_password_until_it_is_void() {
        let proofs = Proofs::new(10, Duration::from_secs(60)).unwrap();
        let ann = "ann".to_owned();
        let ticket = proofs.ticket(&ann);
        proofs.proved(ticket, Instant::now(), credentials(), "secret");
        let (user_id, username) = proofs.check(&ann, "secret").unwrap();
        assert_eq!((user_id, &*username), (7, "ann"));
        assert!(proofs.check(&ann, "Secret").is_none());
        assert!(proofs.check(&ann, "").is_none());
        assert!(proofs.check(&"bob".to_owned(), "secret").is_none());

        proofs.invalidate(&ann);
        assert!(proofs.check(&ann, "secret").is_none());
        proofs.proved(ticket, Instant::now(), credentials(), "secret");
        assert!(proofs.check(&ann, "secret").is_none(), "read before the change");
    }

    #[test]
    fn a_proof_ends_by_itself() {
        let proofs = Proofs::new(10, Duration::ZERO).unwrap();
        let ann = "ann".to_owned();
        proofs.proved(proofs.ticket(&ann), Instant::now(), credentials(), "secret");
        assert!(proofs.check(&ann, "secret").is_none());
    }
}
