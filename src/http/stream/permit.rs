//! Whether the login that opened a stream still holds.

use std::time::Instant;

use actix_web::web;

use crate::accounts::endings::Watch;
use crate::accounts::{Accounts, AuthMethod, Identity, Kind, Standing, TokenHash};
use crate::store::StoreError;

/// Nothing that ends a session on this node goes unheard; one that expires, or is ended
/// elsewhere, is found out when its time of trust is over.
pub(super) struct Permit {
    accounts: web::Data<Accounts>,
    proof: Proof,
}

enum Proof {
    Session { kind: Kind, hash: TokenHash, watch: Watch },
    // The password itself is not kept, only what it is stored as.
    Password { username: String, standing: Standing, asked: Instant },
}

impl Permit {
    /// The permit of somebody who has just been let in; `None` when that is over already.
    ///
    /// # Errors
    /// When the database is needed and cannot be asked.
    pub(super) async fn new(
        me: Identity,
        accounts: web::Data<Accounts>,
    ) -> Result<Option<Permit>, StoreError> {
        let proof = match (me.method, me.session) {
            (AuthMethod::Cookie, Some(hash)) => session(Kind::Cookie, hash, &accounts),
            (AuthMethod::Bearer, Some(hash)) => session(Kind::Bearer, hash, &accounts),
            _ => {
                let (username, asked) = (me.username.to_string(), Instant::now());
                match accounts.standing(&username).await? {
                    Some(standing) => Proof::Password { username, standing, asked },
                    None => return Ok(None),
                }
            }
        };
        let mut permit = Permit { accounts, proof };
        Ok(permit.holds().await.then_some(permit))
    }

    /// Whether the login still holds. While the database cannot be asked, it does.
    pub(super) async fn holds(&mut self) -> bool {
        match &mut self.proof {
            Proof::Session { kind, hash, .. } => {
                self.accounts.cached_session(*kind, hash).is_some()
                    || !matches!(self.accounts.session(*kind, *hash).await, Ok(None))
            }
            Proof::Password { username, standing, asked } => {
                if asked.elapsed() < self.accounts.trusted_for() {
                    return true;
                }
                *asked = Instant::now();
                let now = self.accounts.standing(username).await;
                now.map_or(true, |now| now.as_ref() == Some(standing))
            }
        }
    }

    /// Returns when it is worth asking again at once.
    pub(super) async fn shaken(&self) {
        match &self.proof {
            Proof::Session { watch, .. } => watch.rung().await,
            Proof::Password { .. } => std::future::pending().await,
        }
    }
}

fn session(kind: Kind, hash: TokenHash, accounts: &Accounts) -> Proof {
    Proof::Session { kind, hash, watch: accounts.watch(hash) }
}
