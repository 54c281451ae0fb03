//! Signing up, logging in and out, and who is behind a token.

mod administration;
mod sign_up;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::accounts::basic::Proofs;
use crate::accounts::endings::Watch;
use crate::accounts::passwords::Passwords;
use crate::accounts::rules::{self, Rules};
use crate::accounts::sessions::{self, LIFETIME, Live, Sessions, TRUSTED_FOR, TokenHash};
use crate::accounts::{AccountError, AuthMethod, Identity, Kind, LogIn};
use crate::bus::{Bus, News};
use crate::config::Config;
use crate::store::sessions::{self as session_rows, NewSession};
use crate::store::users::{self, Credentials};
use crate::store::{Db, StoreError};
use crate::time::{Clock, Timestamp};

/// Sessions kept in memory; about 200 bytes each.
const CACHED_SESSIONS: usize = 100_000;

/// Users of HTTP Basic kept in memory.
const CACHED_PROOFS: usize = 10_000;

/// What of the settings accounts depend on.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Lengths of names and passwords.
    pub rules: Rules,
    /// For how long a session or Basic password is taken on trust between two looks into the
    /// database.
    pub trusted_for: Duration,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        let rules = Rules { username: config.username_length, password: config.password_length };
        Settings { rules, trusted_for: TRUSTED_FOR }
    }
}

/// The accounts of this service. One per process: its caches are what makes signing out take
/// effect at once.
pub struct Accounts {
    db: Db,
    clock: Clock,
    bus: Bus,
    rules: Rules,
    passwords: Passwords,
    sessions: Sessions,
    proofs: Proofs,
    trusted_for: Duration,
}

/// A user's password as it is stored, to be compared and nothing else.
#[derive(PartialEq, Eq)]
pub struct Standing(String);

/// A session that is about to be added, and the token for the client.
struct Fresh {
    token: String,
    row: NewSession,
}

impl Accounts {
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn new(db: Db, clock: Clock, settings: Settings) -> Result<Self, getrandom::Error> {
        let Settings { rules, trusted_for } = settings;
        Ok(Accounts {
            sessions: Sessions::new(db.clone(), clock.clone(), CACHED_SESSIONS, trusted_for),
            proofs: Proofs::new(CACHED_PROOFS, trusted_for)?,
            passwords: Passwords::new(),
            trusted_for,
            bus: Bus::alone(),
            db,
            clock,
            rules,
        })
    }

    /// The same on a node that has others to tell.
    pub fn telling(self, bus: Bus) -> Self {
        Accounts { bus, ..self }
    }

    /// Takes over what another node has ended or changed.
    pub fn heard(&self, sessions: &[TokenHash], usernames: &[String]) {
        self.sessions.ended(sessions);
        usernames.iter().for_each(|username| self.proofs.invalidate(username));
    }

    /// Forgets everything that is cached.
    pub fn distrust(&self) {
        self.sessions.clear();
        self.proofs.clear();
    }

    /// Starts a session for whoever knows the password. Other sessions live on.
    ///
    /// # Errors
    /// `Mismatch`, or an outage.
    pub async fn log_in(
        &self,
        username: &str,
        password: &str,
        kind: Kind,
    ) -> Result<LogIn, AccountError> {
        let username = rules::fold_username(username);
        let checked = self.verify(&username, password).await?;
        let username: Arc<str> = checked.username.as_str().into();
        let fresh = self.fresh(checked.user_id, kind)?;
        let ticket = self.sessions.ticket(&fresh.row.token_hash);
        let (user_id, row) = (checked.user_id, fresh.row);
        let unchanged = self
            .db
            .write("log_in", move |conn| {
                let unchanged = users::hold_unchanged(conn, &checked)?;
                if unchanged {
                    session_rows::insert(conn, &row)?;
                }
                Ok(unchanged)
            })
            .await?;
        if !unchanged {
            return Err(AccountError::Mismatch);
        }
        self.sessions.added(ticket, &fresh.row, username.clone());
        Ok(LogIn { user_id, username, token: fresh.token, expires_at: fresh.row.expires_at })
    }

    /// Ends one session or token, on this node at once.
    ///
    /// # Errors
    /// When the database cannot be reached; the session may still be alive then.
    pub async fn log_out(&self, session: TokenHash) -> Result<(), StoreError> {
        self.sessions.end(session, &self.bus).await
    }

    /// Ends all bearer tokens of a user, on this node at once.
    ///
    /// # Errors
    /// As [`Accounts::log_out`].
    pub async fn revoke_tokens(&self, user_id: i64) -> Result<(), StoreError> {
        let (bearer, bus) = (Some(Kind::Bearer), self.bus.clone());
        let ended = self
            .db
            .write("revoke_tokens", move |conn| {
                let ended = session_rows::delete_of_user(conn, user_id, bearer)?;
                bus.announce(conn, &News::of_account(&ended, None))?;
                Ok(ended)
            })
            .await?;
        self.sessions.ended(&ended);
        Ok(())
    }

    /// Who is behind a token, as far as memory knows. Cheap: every warm request asks.
    pub fn cached_session(&self, kind: Kind, hash: &TokenHash) -> Option<Identity> {
        self.sessions.cached(kind, hash).map(|live| identity(live, kind, *hash))
    }

    /// Who is behind a token, from the database.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn session(
        &self,
        kind: Kind,
        hash: TokenHash,
    ) -> Result<Option<Identity>, StoreError> {
        Ok(self.sessions.find(kind, hash).await?.map(|live| identity(live, kind, hash)))
    }

    /// For how long a login is taken on trust between two looks into the database.
    pub fn trusted_for(&self) -> Duration {
        self.trusted_for
    }

    /// Hears of the end of a session on this node. It ends elsewhere, or by itself, unheard:
    /// look again now and then.
    pub fn watch(&self, session: TokenHash) -> Watch {
        self.sessions.watch(session)
    }

    /// What changes when the user gets another password; `None` when the account is locked or
    /// gone. Always asks the database.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn standing(&self, username: &str) -> Result<Option<Standing>, StoreError> {
        let name = username.to_owned();
        let found =
            self.db.read("standing", move |conn| Ok(users::credentials(conn, &name)?)).await?;
        Ok(found.filter(|found| !found.disabled).map(|found| Standing(found.password_hash)))
    }

    /// Who has this password, if it was verified lately.
    pub fn cached_basic(&self, username: &str, password: &str) -> Option<Identity> {
        let (user_id, username) = self.proofs.check(&rules::fold_username(username), password)?;
        Some(Identity { user_id, username, session: None, method: AuthMethod::Basic })
    }

    /// Who has this password.
    ///
    /// # Errors
    /// `Mismatch`, or an outage.
    pub async fn basic(&self, username: &str, password: &str) -> Result<Identity, AccountError> {
        let username = rules::fold_username(username);
        let (ticket, asked) = (self.proofs.ticket(&username), Instant::now());
        let checked = self.verify(&username, password).await?;
        let user_id = checked.user_id;
        let username = self.proofs.proved(ticket, asked, checked, password);
        Ok(Identity { user_id, username, session: None, method: AuthMethod::Basic })
    }

    /// Removes at most `limit` expired sessions and says how many it were. To be called now and
    /// then, and again at once while it removes as many as it may.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn sweep_expired(&self, limit: usize) -> Result<usize, StoreError> {
        let now = self.clock.now();
        self.db
            .write("sweep_sessions", move |conn| {
                Ok(session_rows::delete_expired(conn, now, limit)?)
            })
            .await
    }

    /// The credentials that `password` matches. Whatever is wrong, it takes as long.
    async fn verify(&self, username: &str, password: &str) -> Result<Credentials, AccountError> {
        let found = if rules::is_username(username) {
            let name = username.to_owned();
            self.db.read("credentials", move |conn| Ok(users::credentials(conn, &name)?)).await?
        } else {
            None
        };
        let stored = found.as_ref().map(|found| found.password_hash.clone());
        let matches = self.passwords.verify(password.to_owned(), stored).await?;
        let result = match found {
            Some(found) if matches && !found.disabled => Ok(found),
            _ => Err(AccountError::Mismatch),
        };
        let outcome = if result.is_ok() { "match" } else { "mismatch" };
        metrics::counter!("roost_password_checks_total", "outcome" => outcome).increment(1);
        result
    }

    fn fresh(&self, user_id: i64, kind: Kind) -> Result<Fresh, AccountError> {
        let (token, token_hash) = sessions::new_token()?;
        let created_at = self.clock.now();
        let expires_at = Timestamp(created_at.micros() + LIFETIME.as_micros() as i64);
        let row = NewSession { token_hash, user_id, kind, created_at, expires_at };
        Ok(Fresh { token, row })
    }
}

fn identity(live: Live, kind: Kind, hash: TokenHash) -> Identity {
    let method = match kind {
        Kind::Cookie => AuthMethod::Cookie,
        Kind::Bearer => AuthMethod::Bearer,
    };
    Identity { user_id: live.user_id, username: live.username, session: Some(hash), method }
}
