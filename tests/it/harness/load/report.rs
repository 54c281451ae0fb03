//! What people were told, and whether it was kept.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use crate::harness::App;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first page of one's own feed.
    Feed,
    /// Other reads.
    Read,
    /// Anything that is to be stored.
    Write,
}

/// One request, as its sender has seen it.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// What was asked.
    pub kind: Kind,
    /// The status; 0 when the connection ended without one.
    pub status: u16,
    /// How long it took.
    pub took: Duration,
}

/// All answers, and what they promise.
#[derive(Default)]
pub struct Report {
    /// In no particular order.
    pub answers: Vec<Answer>,
    pub(super) tweets: Vec<i64>,
    pub(super) comments: Vec<i64>,
    /// (user, tweet): liked, not liked, or unknown after anything but a 2xx.
    pub(super) likes: HashMap<(i64, i64), Option<bool>>,
}

impl Report {
    pub(super) fn merge(&mut self, other: Report) {
        self.answers.extend(other.answers);
        self.tweets.extend(other.tweets);
        self.comments.extend(other.comments);
        self.likes.extend(other.likes);
    }

    /// How many answers of each status there were; 0 stands for none.
    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        let mut statuses = BTreeMap::new();
        self.answers.iter().for_each(|answer| *statuses.entry(answer.status).or_default() += 1);
        statuses
    }

    /// Fails when there was an answer to a request of this kind (None: of any) with another
    /// status.
    #[track_caller]
    pub fn assert_only(&self, kind: Option<Kind>, allowed: &[u16]) {
        let asked = |answer: &&Answer| kind.is_none_or(|kind| answer.kind == kind);
        let odd: Vec<&Answer> = self
            .answers
            .iter()
            .filter(asked)
            .filter(|answer| !allowed.contains(&answer.status))
            .collect();
        assert!(odd.is_empty(), "{} of {:?}: {:?}", odd.len(), self.statuses(), odd[0]);
    }

    /// The time within which so many per cent of the answers came.
    pub fn percentile(&self, kind: Kind, percent: usize) -> Duration {
        let of_kind = self.answers.iter().filter(|answer| answer.kind == kind);
        let mut took: Vec<Duration> = of_kind.map(|answer| answer.took).collect();
        took.sort_unstable();
        let last = took.len().saturating_sub(1);
        took.get((took.len() * percent / 100).min(last)).copied().unwrap_or_default()
    }

    /// What is worth a line in a report.
    pub fn summary(&self) -> String {
        let of = |kind| {
            let [half, most, all] = [50, 99, 100].map(|at| self.percentile(kind, at));
            format!("p50 {half:.1?} p99 {most:.1?} max {all:.1?}")
        };
        let (feeds, writes) = (of(Kind::Feed), of(Kind::Write));
        format!("{:?}; feeds {feeds}; writes {writes}", self.statuses())
    }

    /// Fails unless everything that was acknowledged is stored, once.
    #[track_caller]
    pub fn assert_kept(&self, app: &App) {
        for (table, promised) in [("tweets", &self.tweets), ("comments", &self.comments)] {
            let stored: HashSet<i64> =
                app.sql_list(&format!("SELECT id AS n FROM {table}")).into_iter().collect();
            let lost: Vec<&i64> = promised.iter().filter(|id| !stored.contains(id)).collect();
            assert!(lost.is_empty(), "{table} acknowledged and lost: {lost:?}");
            let different: HashSet<&i64> = promised.iter().collect();
            assert_eq!(different.len(), promised.len(), "one of the {table} was made twice");
        }
        let query = |column: &str| {
            format!("SELECT {column} AS n FROM likes WHERE kind = 1 ORDER BY user_id, object_id")
        };
        let (users, objects) = (app.sql_list(&query("user_id")), app.sql_list(&query("object_id")));
        let stored: HashSet<(i64, i64)> = users.into_iter().zip(objects).collect();
        for (like, told) in &self.likes {
            let holds = told.is_none_or(|liked| liked == stored.contains(like));
            assert!(holds, "acknowledged and lost: (user, tweet) {like:?} liked: {told:?}");
        }
    }
}
