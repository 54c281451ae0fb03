//! What goes wrong around the server: settings that leave little room, a Redis tier that loses
//! or garbles what it holds.

use std::sync::Mutex;

use rand::RngExt;
use rand::rngs::StdRng;

use super::world::World;
use crate::harness::{App, Setup};

/// The settings of one episode.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub people: usize,
    /// Threads that the people act on; one: nothing happens at the same time.
    pub threads: usize,
    pub list_limit: usize,
    pub page_size: usize,
    pub backfill: usize,
    ttl_s: u64,
    idle_s: u64,
    /// Whether an unfollow takes the author's tweets out of the feed.
    pub unfollow_removes: bool,
    /// Whether memory has room for three timelines only.
    is_tight: bool,
}

impl Settings {
    pub fn draw(dice: &mut StdRng) -> Settings {
        let mut one_of = |choices: &[usize]| choices[dice.random_range(0..choices.len())];
        Settings {
            people: one_of(&[4, 6, 8]),
            threads: one_of(&[1, 4, 8, 8]),
            list_limit: one_of(&[5, 20, 20, 1000]),
            page_size: one_of(&[3, 10, 20]),
            backfill: one_of(&[0, 3, 20, 20]),
            ttl_s: one_of(&[1, 604_800]) as u64,
            idle_s: one_of(&[1, 3600]) as u64,
            unfollow_removes: one_of(&[0, 1, 1, 1]) == 1,
            is_tight: one_of(&[0, 1, 1]) == 1,
        }
    }

    pub fn start(self, setup: Setup) -> App {
        let resident = if self.is_tight { 3 * (self.list_limit + 96) } else { 1_000_000 };
        App::on(setup)
            .env("ROOST_LIST_LIMIT", &self.list_limit.to_string())
            .env("ROOST_PAGE_SIZE", &self.page_size.to_string())
            .env("ROOST_BACKFILL", &self.backfill.to_string())
            .env("ROOST_LIST_TTL_S", &self.ttl_s.to_string())
            .env("ROOST_TIMELINE_IDLE_S", &self.idle_s.to_string())
            .env("ROOST_RESIDENT_ENTRIES", &resident.to_string())
            .env("ROOST_REMOVE_ON_UNFOLLOW", self.removal())
            .start()
    }
}

impl Settings {
    /// The value of ROOST_REMOVE_ON_UNFOLLOW.
    pub fn removal(self) -> &'static str {
        if self.unfollow_removes { "on" } else { "off" }
    }
}

/// Takes or spoils something in Redis.
pub fn with_redis(redis: &mut redis::Connection, dice: &mut StdRng, world: &Mutex<World>) {
    let users = world.lock().unwrap().users.clone();
    let user = users[dice.random_range(0..users.len())];
    let family = if dice.random_bool(0.7) { "user_newsfeeds" } else { "user_tweets" };
    let key = format!("{family}:{user}");
    let words: Vec<&str> = match dice.random_range(0..11) {
        0..6 => vec!["DEL", &key],
        6 => vec!["FLUSHDB"],
        7 => vec!["PERSIST", &key],
        8 => vec!["PEXPIRE", &key, "1"],
        9 => vec!["SET", &key, "not a list"],
        _ => vec!["RPUSHX", &key, "no element"],
    };
    // A push onto what has just become a text is refused; that is Redis's own affair.
    let _ = redis::cmd(words[0]).arg(&words[1..]).exec(redis);
    world.lock().unwrap().note(format!("trouble: {words:?}"));
}

/// Deletes the lists of everybody.
pub fn delete_lists(redis: &mut redis::Connection, users: &[i64]) {
    let mut command = redis::cmd("DEL");
    for user in users {
        command.arg(format!("user_newsfeeds:{user}")).arg(format!("user_tweets:{user}"));
    }
    command.exec(redis).expect("DEL");
}
