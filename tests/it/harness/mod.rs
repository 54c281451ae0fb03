//! What every test stands on: a running Roost, its clients, and a look behind it.
//!
//! - [`App`]: one process with a fresh database; restart it, kill it, ask it to stop.
//! - [`Client`]: somebody in the story, with a cookie jar of their own.
//! - [`Reply`]: an answer, already checked against what holds for every answer.
//! - [`on_every_setup!`]: one body, three tests.

mod actions;
mod app;
mod client;
mod database;
pub mod dribble;
pub mod effort;
pub mod followers;
pub mod gun;
pub mod load;
mod node;
pub mod photo;
mod process;
pub mod proxy;
pub mod raw;
mod redis_tier;
mod reply;
pub mod servers;
pub mod shape;
pub mod signals;

pub use actions::{id, text};
pub use app::{App, Builder, PASSWORD, ids};
pub use client::Client;
pub use node::Node;
pub use process::roost_command;
pub use reply::Reply;
pub use serde_json::{Value, json};

/// What Roost stores its data in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// The embedded mode: a SQLite file in the data directory.
    Sqlite,
    /// PostgreSQL alone; also what production looks like while Redis is away.
    Postgres,
    /// PostgreSQL with the Redis tier.
    PostgresRedis,
}

/// What a test body may ask for: a running app, or the set-up to start its own from.
pub trait Given {
    /// Makes it for one set-up.
    fn given(setup: Setup) -> Self;
}

impl Given for Setup {
    fn given(setup: Setup) -> Self {
        setup
    }
}

impl Given for App {
    fn given(setup: Setup) -> Self {
        App::on(setup).start()
    }
}

/// Turns each named function into three tests: `name::sqlite`, `name::postgres` and
/// `name::postgres_redis`. The bodies stay plain functions that rustfmt and the
/// compiler see as they are; one that is not listed is dead code, which clippy refuses.
macro_rules! on_every_setup {
    ($($story:ident),+ $(,)?) => { $(
        $crate::harness::on_setups! {
            $story: sqlite on Sqlite, postgres on Postgres, postgres_redis on PostgresRedis
        }
    )+ };
}
pub(crate) use on_every_setup;

/// The same for what only PostgreSQL can suffer: `name::postgres` and `name::postgres_redis`.
macro_rules! on_postgres {
    ($($story:ident),+ $(,)?) => { $(
        $crate::harness::on_setups! {
            $story: postgres on Postgres, postgres_redis on PostgresRedis
        }
    )+ };
}
pub(crate) use on_postgres;

/// One story as a test for each of these set-ups.
macro_rules! on_setups {
    ($story:ident: $($name:ident on $setup:ident),+) => {
        mod $story {
            use $crate::harness::{Given, Setup};
            $(
                #[test]
                fn $name() {
                    super::$story(Given::given(Setup::$setup));
                }
            )+
        }
    };
}
pub(crate) use on_setups;
