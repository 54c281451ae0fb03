//! What nodes tell each other.

use crate::accounts::TokenHash;
use crate::counter::Changes;
use crate::fanout::Effects;

/// What one or several transactions have changed of what nodes cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// Timelines, tweets that are gone, followings. Of the rest nothing is sent.
    pub effects: Effects,
    /// Counts of tweets, and what is in doubt. Likes are always sent as in doubt: a node that
    /// put a flag in could overtake another's.
    pub changes: Changes,
    /// Users whose cards have changed.
    pub users: Vec<i64>,
    /// Sessions and tokens that have ended.
    pub sessions: Vec<TokenHash>,
    /// Names of users whose passwords or accounts have changed.
    pub credentials: Vec<String>,
    /// The cache epoch has been advanced to this.
    pub epoch: Option<i64>,
    /// Nothing that is cached can be trusted.
    pub everything: bool,
    /// What has nothing to do with caches.
    pub call: Option<Call>,
}

/// What nodes say to get to know each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// The sender listens since now: what of its own commits has not reached Redis yet?
    Hello {
        /// Whether Redis follows the sender's commits.
        follows: bool,
    },
    /// The answer to the hello of `node`: Redis has followed everything the sender had committed
    /// by then, and `node` has heard of the rest.
    Settled {
        /// Who had said hello.
        node: i64,
    },
}

impl News {
    /// Effects of the ordered writer.
    pub fn of_effects(effects: &Effects) -> News {
        // Every field has its name here: what is added must be sent, or be left out on purpose.
        let Effects {
            pushes,
            deliveries,
            removals,
            amended: _,
            changed: _,
            dead_tweets,
            friendships,
            orphans: _,
            tasks_added: _,
            finished: _,
            failed: _,
            chunks: _,
            rows: _,
        } = effects;
        News {
            effects: Effects {
                pushes: pushes.clone(),
                deliveries: deliveries.clone(),
                removals: removals.clone(),
                // How is not sent: the others load these again.
                changed: effects.rewritten().collect(),
                dead_tweets: dead_tweets.clone(),
                friendships: friendships.clone(),
                ..Effects::default()
            },
            ..News::default()
        }
    }

    /// Changes by the Counter.
    pub fn of_changes(changes: &Changes) -> News {
        // Comments are read with their pages and cached by nobody.
        let Changes { tweets, comments: _, likes, removed_comments: _, uncertain } = changes;
        let mut uncertain = uncertain.clone();
        uncertain.comments.clear();
        uncertain.likes.extend(likes.iter().map(|(key, _)| *key));
        let tweets = tweets.clone();
        News { changes: Changes { tweets, uncertain, ..Changes::default() }, ..News::default() }
    }

    /// A user whose card has changed.
    pub fn of_user(user_id: i64) -> News {
        News { users: vec![user_id], ..News::default() }
    }

    /// Sessions that have ended, and whose credentials have changed with that.
    pub fn of_account(sessions: &[TokenHash], username: Option<&str>) -> News {
        let credentials = username.map(str::to_owned).into_iter().collect();
        News { sessions: sessions.to_vec(), credentials, ..News::default() }
    }

    /// A new cache epoch.
    pub fn of_epoch(epoch: i64) -> News {
        News { epoch: Some(epoch), ..News::default() }
    }

    /// Something that cannot be told in detail.
    pub fn of_everything() -> News {
        News { everything: true, ..News::default() }
    }

    /// A call.
    pub fn of_call(call: Call) -> News {
        News { call: Some(call), ..News::default() }
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        *self == News::default()
    }
}
