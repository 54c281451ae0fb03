//! What one person does: draws a deed ([`deeds`]) or a look ([`looks`]), asks the server, compares
//! the answer.

mod deeds;
mod looks;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use self::deeds::request;
pub use self::looks::shown;
use super::trouble;
use super::view::View;
use super::world::{Deed, World};
use crate::harness::{Client, Reply, Value};

/// What everybody shares.
pub struct Stage {
    pub world: Mutex<World>,
    /// The server is being ended: an answer may fail to come.
    pub ending: AtomicBool,
    /// The server's default page size and list limit.
    pub page_size: usize,
    pub list_limit: usize,
}

impl Stage {
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Fails the test and says what happened before.
    pub fn fail(&self, reason: &str) -> ! {
        let chronicle = self.world.lock().map(|world| world.chronicle()).unwrap_or_default();
        panic!("{reason}\n--- what happened before ---\n{chronicle}");
    }
}

/// No answer came, as may be while the server is being ended.
pub struct NoAnswer;

type Asked<T> = Result<T, NoAnswer>;

pub struct Person {
    pub client: Client,
    pub dice: StdRng,
    pub view: View,
    /// For trouble with the Redis tier.
    pub redis: Option<redis::Connection>,
}

impl Person {
    fn me(&self) -> i64 {
        self.client.id
    }

    /// One operation. What is drawn may not be possible; then another one is.
    pub fn act(&mut self, stage: &Stage) -> Asked<()> {
        while !self.try_one(stage)? {}
        Ok(())
    }

    fn try_one(&mut self, stage: &Stage) -> Asked<bool> {
        match self.dice.random_range(0..100) {
            0..24 => {
                let content = format!("{} says {}", self.me(), self.dice.next_u64());
                self.perform(stage, Deed::Post { content })
            }
            24..32 => self.delete(stage),
            32..44 => self.befriend(stage),
            44..60 => self.like(stage),
            60..66 => self.comment(stage),
            66..69 => self.erase(stage),
            69..83 => self.page(stage),
            83..90 => self.poll(stage),
            90..93 => self.list(stage),
            93..97 => self.look(stage),
            _ => {
                let Some(redis) = &mut self.redis else { return Ok(false) };
                trouble::with_redis(redis, &mut self.dice, &stage.world);
                Ok(true)
            }
        }
    }

    /// Asks for a deed and believes the answer, if it can be true.
    fn perform(&mut self, stage: &Stage, deed: Deed) -> Asked<bool> {
        let me = self.me();
        let begun = stage.world().begin(me, &deed);
        let (method, path, body) = request(&deed);
        let reply = match self.ask(stage, method, &path, body) {
            Ok(reply) => reply,
            Err(NoAnswer) => {
                stage.world().doubt(me, deed, begun);
                return Err(NoAnswer);
            }
        };
        let answer = stage.world().answered(me, &deed, begun, reply.status, &reply.json());
        if let Err(reason) = answer {
            stage.fail(&reason);
        }
        match deed {
            Deed::Follow { .. } => self.view.clear(),
            Deed::Unfollow { to } if stage.world().unfollow_removes => self.view.forget(to),
            _ => {}
        }
        Ok(true)
    }

    /// Asks anything. A server that ends may also say that it does.
    fn ask(&self, stage: &Stage, method: &str, path: &str, body: Option<Value>) -> Asked<Reply> {
        let mut request = self.client.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let reply = request.try_send().filter(|reply| reply.status != 503);
        match reply {
            Some(reply) => Ok(reply),
            None if stage.ending.load(Ordering::SeqCst) => Err(NoAnswer),
            None => stage.fail(&format!("no answer to {method} {path}")),
        }
    }
}

/// Mostly one of the latest, of which more may be under way.
fn pick_recent(dice: &mut StdRng, ids: &[i64]) -> Option<i64> {
    let last = ids.len().checked_sub(1)?;
    let back = match dice.random_range(0..10) {
        0..4 => 0,
        4..7 => dice.random_range(0..=last.min(5)),
        _ => dice.random_range(0..=last),
    };
    Some(ids[last - back])
}
