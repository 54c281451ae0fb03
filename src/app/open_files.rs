//! Files and sockets that the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept free of clients: connections to the database and Redis, SQLite's files, photos.
const RESERVED: u64 = 256;

/// Fewest connections, however low the limit of the system is.
const FEWEST: usize = 64;

/// Raises the soft limit to the hard one. The soft one is low for the sake of programs that use
/// `select`, which this is not; those who want a limit set the hard one.
pub(super) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays at {:?}", limit.current);
    }
}

/// Connections of clients: `wanted`, or what the limit of open files leaves room for.
pub(super) fn connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let room = limit.map_or(usize::MAX, |files| files.saturating_sub(RESERVED) as usize);
    if room < wanted {
        tracing::warn!(wanted, room, "the limit of open files leaves less room for connections");
    }
    wanted.min(room).max(FEWEST)
}
