//! Names of keys.

use crate::timeline::TimelineKey;

/// Whose entries a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListKind {
    /// The newsfeed of a reader: `user_newsfeeds:42`.
    Newsfeed,
    /// What a user has posted: `user_tweets:42`.
    Author,
}

const LEASE_END: &str = "}:gen";

/// Names a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListKey {
    /// Which list of the user.
    pub kind: ListKind,
    /// The user.
    pub user_id: i64,
}

impl ListKey {
    pub(super) fn name(self) -> String {
        let mut name = String::new();
        self.write_name(&mut name);
        name
    }

    /// The key of the loader's lease. The braces are a cluster hash tag: this key lives in the
    /// same slot as the list, so that one script may touch both.
    pub(super) fn lease(self) -> String {
        let mut lease = String::new();
        self.write_lease(&mut lease);
        lease
    }

    /// [`ListKey::name`] in place of what `out` holds: a delivery names many thousands.
    pub(super) fn write_name(self, out: &mut String) {
        out.clear();
        self.add_name(out);
    }

    /// [`ListKey::lease`] in place of what `out` holds.
    pub(super) fn write_lease(self, out: &mut String) {
        out.clear();
        out.push('{');
        self.add_name(out);
        out.push_str(LEASE_END);
    }

    fn add_name(self, out: &mut String) {
        out.push_str(self.kind.family().prefix());
        out.push_str(itoa::Buffer::new().format(self.user_id));
    }
}

/// Holds the number of the newest commit of a node that Redis has followed.
pub(super) fn followed(node: i64) -> String {
    format!("roost:followed:{node}")
}

impl From<TimelineKey> for ListKey {
    fn from(key: TimelineKey) -> Self {
        match key {
            TimelineKey::Home(user_id) => ListKey { kind: ListKind::Newsfeed, user_id },
            TimelineKey::Author(user_id) => ListKey { kind: ListKind::Author, user_id },
        }
    }
}

impl ListKind {
    /// The keys of this kind.
    pub fn family(self) -> Family {
        match self {
            ListKind::Newsfeed => Family::Newsfeeds,
            ListKind::Author => Family::Tweets,
        }
    }
}

/// What a pair of counts belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CountKind {
    /// Likes and comments of a tweet: `tweet_counts:42`.
    Tweet,
    /// Likes of a comment: `comment_counts:42`.
    Comment,
}

impl CountKind {
    /// The keys of this kind.
    pub fn family(self) -> Family {
        match self {
            CountKind::Tweet => Family::TweetCounts,
            CountKind::Comment => Family::CommentCounts,
        }
    }

    pub(super) fn name(self, id: i64) -> String {
        format!("{}{id}", self.family().prefix())
    }
}

/// The key of a rate limit's bucket: `rate:post:user-42`.
pub(super) fn token_bucket(name: &str) -> String {
    format!("rate:{name}")
}

/// All keys with one prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// `user_newsfeeds:{id}`
    Newsfeeds,
    /// `user_tweets:{id}`
    Tweets,
    /// `tweet_counts:{id}`
    TweetCounts,
    /// `comment_counts:{id}`
    CommentCounts,
}

impl Family {
    /// Every family, for commands that walk over all of Redis.
    pub const ALL: [Family; 4] =
        [Family::Newsfeeds, Family::Tweets, Family::TweetCounts, Family::CommentCounts];

    /// What the keys begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Family::Newsfeeds => "user_newsfeeds:",
            Family::Tweets => "user_tweets:",
            Family::TweetCounts => "tweet_counts:",
            Family::CommentCounts => "comment_counts:",
        }
    }

    /// The number in a key's name; `None` when the name is not one that Roost makes.
    pub(super) fn id_of(self, name: &[u8]) -> Option<i64> {
        let digits = name.strip_prefix(self.prefix().as_bytes())?;
        let id: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        // `+7` and `007` parse too, but are other keys.
        (id.to_string().as_bytes() == digits).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_shares_the_slot_of_its_list() {
        let key = ListKey { kind: ListKind::Newsfeed, user_id: 42 };
        assert_eq!(key.name(), "user_newsfeeds:42");
        assert_eq!(key.lease(), "{user_newsfeeds:42}:gen");
        let mut out = "left over".to_owned();
        key.write_name(&mut out);
        assert_eq!(out, key.name());
    }

    #[test]
    fn only_own_names_are_recognised() {
        assert_eq!(Family::Newsfeeds.id_of(b"user_newsfeeds:42"), Some(42));
        for other in ["user_newsfeeds:", "user_newsfeeds:+7", "user_newsfeeds:007", "user_tweets:1"]
        {
            assert_eq!(Family::Newsfeeds.id_of(other.as_bytes()), None, "{other}");
        }
        assert_eq!(Family::Newsfeeds.id_of(b"user_newsfeeds:\xff"), None);
    }
}
