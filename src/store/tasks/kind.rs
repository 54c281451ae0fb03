//! What tasks do.

/// What a task does. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum TaskKind {
    /// Deliver a tweet to its author's followers. `progress`: id of the last follower done;
    /// `until_key`: the tweet's own time.
    Deliver = 1,
    /// Take a deleted tweet out of its followers' feeds. `progress`: id of the last follower
    /// done; `until_key`: id of the last follower to do.
    Retract = 2,
    /// Take an author's tweets out of the feed of a reader who has unfollowed them.
    /// `progress`: only entries older than this are left to look at. One that needed no second
    /// step is finished from the start, and kept to say what has happened.
    Sweep = 3,
    /// Count likes and comments of tweets that were never counted. `progress`: id of the last
    /// tweet done; `until_key`: id of the last one to do.
    CountTweets = 4,
    /// The same for the likes of comments.
    CountComments = 5,
    /// Put an author's latest tweets into a new follower's feed, after the sweep of an earlier
    /// unfollow is through. `until_key`: when the follow happened.
    Backfill = 6,
    /// Remove what belongs to a deleted tweet: photos (`progress` 0), then comments, likes and
    /// the row.
    Purge = 7,
    /// Take the oldest entries out of feeds that are longer than the retention. `progress`: id
    /// of the last reader done; `until_key`: id of the last one to do.
    Trim = 8,
    /// Remove those likes of a deleted comment that its own transaction has left.
    /// `until_key`: the comment.
    PurgeLikes = 9,
}

impl TaskKind {
    /// Every kind that this version knows. One of a newer version is left to the nodes that
    /// know it.
    pub const ALL: [TaskKind; 9] = [
        TaskKind::Deliver,
        TaskKind::Retract,
        TaskKind::Sweep,
        TaskKind::CountTweets,
        TaskKind::CountComments,
        TaskKind::Backfill,
        TaskKind::Purge,
        TaskKind::Trim,
        TaskKind::PurgeLikes,
    ];

    /// The stored number.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The value of the metric label `kind`.
    pub fn label(self) -> &'static str {
        match self {
            TaskKind::Deliver => "deliver",
            TaskKind::Retract => "retract",
            TaskKind::Sweep => "sweep",
            TaskKind::CountTweets => "count_tweets",
            TaskKind::CountComments => "count_comments",
            TaskKind::Backfill => "backfill",
            TaskKind::Purge => "purge",
            TaskKind::Trim => "trim",
            TaskKind::PurgeLikes => "purge_likes",
        }
    }

    /// The kind that a stored number stands for.
    pub fn from_code(code: i16) -> Option<TaskKind> {
        TaskKind::ALL.into_iter().find(|kind| kind.code() == code)
    }
}
