//! Who hears of a commit, and when.

use super::*;
use crate::redis_tier::Hold;
use crate::store::testing::databases;

/// Writes down what it is told.
#[derive(Default)]
struct Diary(Mutex<Vec<&'static str>>);

impl Audience for Diary {
    fn hold_back(&self, _: &Effects) -> Option<Hold> {
        self.0.lock().push("old lists are held back");
        None
    }

    fn tell(&self, _: &Effects) {
        self.0.lock().push("this process is told");
    }

    fn tell_outside<'a>(&'a self, _: &'a Effects, _: Option<u64>) -> BoxFuture<'a, ()> {
        Box::pin(async {
            self.0.lock().push("Redis is told");
        })
    }

    fn discard<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn distrust_everything(&self) {}
}

/// Failure mode 21: after the reply to a follow or unfollow a read must not find the list that
/// Redis still has; and nobody waits for Redis.
#[actix_rt::test]
async fn old_lists_are_held_back_before_anybody_can_read_them_again() {
    for test in databases() {
        add_users(&test, 2);
        let desk = Desk::open(&test);
        desk.post(2).await;
        let diary = Arc::new(Diary::default());
        let redis = RedisTier::disabled();
        let core = Core::new(test.db.clone(), Clock::system(), DEFAULTS, redis, diary.clone());
        core.commit_group(vec![Op::Follow { from: 1, to: 2 }], |_, result| {
            assert_eq!(result.ok(), Some(Outcome::Followed(true)));
            diary.0.lock().push("the client is answered");
        })
        .await;
        core.outside_done().await;
        let story = [
            "old lists are held back",
            "this process is told",
            "the client is answered",
            "Redis is told",
        ];
        assert_eq!(*diary.0.lock(), story, "{}", test.name);
    }
}
