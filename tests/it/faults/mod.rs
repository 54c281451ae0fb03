//! What breaks in real life, done to the real binary under load: each story breaks one thing,
//! looks at what clients are told meanwhile, mends it, and then checks that everything that was
//! acknowledged is there, once, and that every feed and count is right.
//!
//! `docs/reliability.md` lists the stories with what was seen. `ROOST_TEST_FULL_LENGTH=1` makes
//! the faults as long as they are written there; the everyday run only shortens the waits.
//! Ends of the process itself are in `start_stop`.

mod bombs;
mod clients;
mod clock;
mod database;
mod disk;
mod locked;
mod overload;
mod recovery;
mod redis;
mod redis_slow;
mod slow;
