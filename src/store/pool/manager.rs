//! How r2d2 makes and judges connections.
//!
//! Own manager instead of diesel's: diesel's asks the server `SELECT 1` before every use, a
//! round trip on every query. Here a connection is asked only when it has been idle, and one
//! that has failed is marked and thrown away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::{Connection, SimpleConnection};
use diesel::r2d2::{Error as ManagerError, ManageConnection, R2D2Connection};

use crate::store::StoreError;

/// A connection idle for longer is asked whether it is alive before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// A pooled connection and what is known of its health.
pub(super) struct Managed<C> {
    pub(super) conn: C,
    url: Arc<str>,
    setup: Arc<str>,
    last_used: Instant,
    failed: bool,
}

impl<C> Managed<C> {
    /// Says how the last use went; a failed connection does not go back to the pool.
    pub(super) fn used(&mut self, failed: bool) {
        self.last_used = Instant::now();
        self.failed |= failed;
    }
}

impl<C: Connection + SimpleConnection> Managed<C> {
    fn connect(url: &Arc<str>, setup: &Arc<str>) -> Result<Self, ManagerError> {
        let mut conn = C::establish(url).map_err(ManagerError::ConnectionError)?;
        conn.batch_execute(setup).map_err(ManagerError::QueryError)?;
        let (url, setup) = (url.clone(), setup.clone());
        Ok(Managed { conn, url, setup, last_used: Instant::now(), failed: false })
    }

    /// Replaces a lost connection by a new one, in place.
    pub(super) fn reconnect(&mut self) -> Result<(), StoreError> {
        *self = Self::connect(&self.url, &self.setup)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(())
    }
}

/// Connects to `url` and runs `setup` on each new connection.
pub(super) struct Manager<C> {
    url: Arc<str>,
    setup: Arc<str>,
    marker: std::marker::PhantomData<fn() -> C>,
}

impl<C> Manager<C> {
    pub(super) fn new(url: &str, setup: &str) -> Self {
        Manager { url: url.into(), setup: setup.into(), marker: std::marker::PhantomData }
    }
}

impl<C> ManageConnection for Manager<C>
where
    C: R2D2Connection + Connection + SimpleConnection + Send + 'static,
{
    type Connection = Managed<C>;
    type Error = ManagerError;

    fn connect(&self) -> Result<Managed<C>, ManagerError> {
        Managed::connect(&self.url, &self.setup)
    }

    fn is_valid(&self, managed: &mut Managed<C>) -> Result<(), ManagerError> {
        if managed.last_used.elapsed() < TRUSTED_IDLE {
            return Ok(());
        }
        managed.conn.ping().map_err(ManagerError::QueryError)
    }

    fn has_broken(&self, managed: &mut Managed<C>) -> bool {
        managed.failed || std::thread::panicking() || managed.conn.is_broken()
    }
}
