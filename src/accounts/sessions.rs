//! Tokens, and the sessions behind them as this process knows them.
//!
//! A token is 32 random bytes; its SHA-256 is what is stored and what the cache is keyed by. A
//! plain hash is enough: there is nothing to guess in 256 random bits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::endings::{Endings, Watch};
use crate::bus::{Bus, News};
use crate::cache::{Fenced, Ticket, age};
use crate::store::sessions::{self as rows, Kind};
use crate::store::{Db, StoreError};
use crate::time::{Clock, Timestamp};

/// How long a session or token lives.
pub const LIFETIME: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A cached session is held against the database again after so long. Other nodes tell of
/// those that they end; this is for what is changed by hand, and for a database that is away.
pub const TRUSTED_FOR: Duration = Duration::from_secs(60);

/// Characters of a token: 32 bytes in base64url without padding.
const TOKEN_LENGTH: usize = 43;

/// What a token is known by.
pub type TokenHash = [u8; 32];

/// A new token, in the form that the client keeps, and what it is known by.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn new_token() -> Result<(String, TokenHash), getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    let token = URL_SAFE_NO_PAD.encode(bytes);
    let hash = digest(&token);
    Ok((token, hash))
}

/// The hash of a token, `None` for what cannot be one.
pub fn token_hash(token: &str) -> Option<TokenHash> {
    (token.len() == TOKEN_LENGTH).then(|| digest(token))
}

/// The text is hashed, not the bytes that it stands for, so that no second spelling of a token
/// is accepted.
fn digest(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// The user behind a session, as of the last look into the database.
#[derive(Debug, Clone)]
pub struct Live {
    /// Whose session it is.
    pub user_id: i64,
    /// The user's name.
    pub username: Arc<str>,
    kind: Kind,
    trusted_until: Instant,
}

/// The sessions in use. What is not alive is never cached.
pub struct Sessions {
    db: Db,
    clock: Clock,
    live: Fenced<TokenHash, Live>,
    endings: Endings,
    trusted_for: Duration,
}

impl Sessions {
    /// A cache of about `capacity` sessions, each trusted for `trusted_for` at most.
    pub fn new(db: Db, clock: Clock, capacity: usize, trusted_for: Duration) -> Self {
        let (live, endings) = (Fenced::new(capacity), Endings::default());
        Sessions { db, clock, live, endings, trusted_for }
    }

    /// The session, if it can be told without the database. On the path of every warm read.
    pub fn cached(&self, kind: Kind, hash: &TokenHash) -> Option<Live> {
        let live = self.live.get(hash)?;
        (live.kind == kind && Instant::now() < live.trusted_until).then_some(live)
    }

    /// The session, from the database; `None` when it is dead or never was.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn find(&self, kind: Kind, hash: TokenHash) -> Result<Option<Live>, StoreError> {
        let (ticket, asked) = (self.ticket(&hash), Instant::now());
        let now = self.clock.now();
        let found =
            self.db.read("session", move |conn| Ok(rows::find(conn, &hash, kind, now)?)).await?;
        let Some(found) = found else {
            return Ok(None);
        };
        let live = Live {
            user_id: found.user_id,
            username: found.username.into(),
            kind,
            trusted_until: asked + self.trust(found.user_id, found.expires_at, now),
        };
        self.live.fill(ticket, hash, live.clone());
        Ok(Some(live))
    }

    /// To be taken before a session is added, for [`Sessions::added`].
    pub fn ticket(&self, hash: &TokenHash) -> Ticket {
        self.live.ticket(hash)
    }

    /// Makes a session known whose insert has been committed.
    pub fn added(&self, ticket: Ticket, new: &rows::NewSession, username: Arc<str>) {
        let trusted_until =
            Instant::now() + self.trust(new.user_id, new.expires_at, new.created_at);
        let live = Live { user_id: new.user_id, username, kind: new.kind, trusted_until };
        self.live.fill(ticket, new.token_hash, live);
    }

    /// Ends a session: when this returns, no request on this node gets in with it any more, and
    /// on the others as soon as they hear of it from `bus`.
    ///
    /// # Errors
    /// When the database cannot be reached; the session may still be alive then.
    pub async fn end(&self, hash: TokenHash, bus: &Bus) -> Result<(), StoreError> {
        let bus = bus.clone();
        let deleted = self
            .db
            .write("session_end", move |conn| {
                rows::delete(conn, &hash)?;
                bus.announce(conn, &News::of_account(&[hash], None))?;
                Ok(())
            })
            .await;
        // Also after an error: what has become of the row is to be asked anew.
        self.ended(&[hash]);
        deleted
    }

    /// Forgets sessions whose end has been committed.
    pub fn ended(&self, hashes: &[TokenHash]) {
        for hash in hashes {
            self.live.invalidate(hash);
        }
        self.endings.tell(hashes);
    }

    /// Hears of the session's end on this node.
    pub fn watch(&self, hash: TokenHash) -> Watch {
        self.endings.watch(hash)
    }

    /// Forgets every session, to be looked up again.
    pub fn clear(&self) {
        self.live.clear();
        self.endings.tell_all();
    }

    fn trust(&self, user_id: i64, expires_at: Timestamp, now: Timestamp) -> Duration {
        let left = expires_at.micros().saturating_sub(now.micros()).max(0);
        age::spread(self.trusted_for, user_id).min(Duration::from_micros(left as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_different_and_fit_a_cookie() {
        let ((one, hash), (two, _)) = (new_token().unwrap(), new_token().unwrap());
        assert_ne!(one, two);
        assert_eq!(token_hash(&one), Some(hash));
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    }

    #[test]
    fn a_hash_is_the_sha256_of_the_text() {
        let token = "a".repeat(TOKEN_LENGTH);
        let hash = token_hash(&token).unwrap();
        assert_eq!(hash[..4], Sha256::digest(token.as_bytes())[..4]);
        assert_ne!(token_hash(&token), token_hash(&token.to_uppercase()));
        for odd in ["", "a", &"a".repeat(TOKEN_LENGTH - 1), &"a".repeat(8000)] {
            assert_eq!(token_hash(odd), None);
        }
    }
}
