//! What the engines make of the queries behind pages and fan-out steps: an index range, no
//! scan of a table, no sort. The queries are those that the store really sends: they are
//! listened to while its functions run, and then explained.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use diesel::backend::Backend;
use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::deserialize::{self, FromSql};
use diesel::prelude::*;
use diesel::row::NamedRow;
use diesel::sql_types::Text;
use parking_lot::Mutex;

use super::deliveries::{Delivery, Retraction};
use super::friendships::Side;
use super::likes::LikeKind;
use super::notifications::Filter;
use super::tasks::Turns;
use super::testing::databases;
use super::{Conn, Engine, comments, deliveries, follow_spans, friendships, likes, newsfeeds};
use super::{notifications, on, tasks, tweets};
use crate::time::Timestamp;
use crate::timeline::Range;

/// One line of a plan, whatever its column is called.
struct Line(String);

impl<B: Backend> QueryableByName<B> for Line
where
    String: FromSql<Text, B>,
{
    fn build<'a>(row: &impl NamedRow<'a, B>) -> deserialize::Result<Self> {
        let text = NamedRow::get::<Text, String>(row, "detail")
            .or_else(|_| NamedRow::get::<Text, String>(row, "QUERY PLAN"))?;
        Ok(Line(text))
    }
}

/// The queries that `run` sends, without their values.
fn listen(
    conn: &mut Conn<'_>,
    run: impl FnOnce(&mut Conn<'_>) -> QueryResult<()>,
) -> QueryResult<Vec<String>> {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let is_listening = Arc::new(AtomicBool::new(true));
    let (ear, listening) = (heard.clone(), is_listening.clone());
    let listener = move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event
            && listening.load(Ordering::SeqCst)
        {
            let text = query.to_string();
            let query = text.split_once(" -- binds:").map_or(text.as_str(), |(query, _)| query);
            ear.lock().push(query.to_owned());
        }
    };
    on!(conn, |c| c.set_instrumentation(listener));
    run(conn)?;
    is_listening.store(false, Ordering::SeqCst);
    Ok(std::mem::take(&mut *heard.lock()))
}

fn explain(conn: &mut Conn<'_>, query: &str) -> QueryResult<Vec<String>> {
    let lines: Vec<Line> = match conn.engine() {
        Engine::Sqlite => {
            let query = format!("EXPLAIN QUERY PLAN {query}");
            on!(conn, |c| diesel::sql_query(&query).load(c))?
        }
        Engine::Postgres => {
            // Empty tables are read whole, and sorted, unless that is made expensive: what is
            // left shows whether there is another way.
            for setting in [
                "enable_seqscan = off",
                "enable_bitmapscan = off",
                "enable_sort = off",
                "enable_hashjoin = off",
                "enable_mergejoin = off",
                "enable_material = off",
                "plan_cache_mode = force_generic_plan",
            ] {
                on!(conn, |c| c.batch_execute(&format!("SET LOCAL {setting}")))?;
            }
            let values = (1..).take_while(|n| query.contains(&format!("${n}"))).count();
            on!(conn, |c| c.batch_execute(&format!("PREPARE probe AS {query}")))?;
            let call = match values {
                0 => "EXPLAIN EXECUTE probe".to_owned(),
                _ => format!("EXPLAIN EXECUTE probe({})", vec!["NULL"; values].join(", ")),
            };
            let lines = on!(conn, |c| diesel::sql_query(&call).load(c))?;
            on!(conn, |c| c.batch_execute("DEALLOCATE probe"))?;
            lines
        }
    };
    Ok(lines.into_iter().map(|line| line.0.trim().to_owned()).collect())
}

/// A query, the part of its plan that shows the index range on SQLite, and on Postgres.
struct Case {
    name: &'static str,
    run: fn(&mut Conn<'_>) -> QueryResult<()>,
    sqlite: &'static str,
    postgres: &'static str,
}

const AT: Timestamp = Timestamp(1_000);

/// Every list that a client can page through. Their first query is the page.
const PAGES: [Case; 9] = [
    Case {
        name: "a newsfeed",
        run: |c| newsfeeds::page(c, 1, Range::ALL, 20).map(drop),
        sqlite: "SEARCH newsfeeds USING PRIMARY KEY (user_id=? AND created_at>? AND created_at<?)",
        postgres: "(user_id = $1) AND (created_at < $2) AND (created_at > $3)",
    },
    Case {
        name: "an author's list",
        run: |c| tweets::page(c, 1, Range::ALL, 20).map(drop),
        sqlite: "USING INDEX tweets_author (user_id=? AND created_at>? AND created_at<?)",
        postgres: "(user_id = $1) AND (created_at < $2) AND (created_at > $3)",
    },
    Case {
        name: "followers",
        run: |c| friendships::page(c, 1, Side::Followers, AT, 0, 20).map(drop),
        sqlite: "INDEX friendships_followers (to_user_id=? AND created_at<?)",
        postgres: "(to_user_id = $1) AND (created_at < $2)",
    },
    Case {
        name: "followings",
        run: |c| friendships::page(c, 1, Side::Followings, AT, 0, 20).map(drop),
        sqlite: "INDEX friendships_followings (from_user_id=? AND created_at<?)",
        postgres: "(from_user_id = $1) AND (created_at < $2)",
    },
    Case {
        name: "the spans of numbered pages",
        run: |c| follow_spans::numbered_page(c, 1, Side::Followers, 0, 20).map(drop),
        sqlite: "SEARCH follow_spans USING PRIMARY KEY (user_id=? AND side=?)",
        postgres: "(user_id = $1) AND (side = $2)",
    },
    Case {
        name: "comments",
        run: |c| comments::page(c, 1, Some(AT), 20).map(drop),
        sqlite: "SEARCH comments USING INDEX comments_tweet (tweet_id=? AND created_at>?)",
        postgres: "(tweet_id = $1) AND (created_at > $2)",
    },
    Case {
        name: "likes",
        run: |c| likes::newest_of(c, LikeKind::Tweet, 1, 20).map(drop),
        sqlite: "INDEX likes_object (kind=? AND object_id=?)",
        postgres: "(kind = $1) AND (object_id = $2)",
    },
    Case {
        name: "notifications",
        run: |c| notifications::page(c, 1, Filter::All, 0, 20).map(drop),
        sqlite: "INDEX notifications_recipient (recipient_id=?)",
        postgres: "(recipient_id = $1)",
    },
    Case {
        name: "unread notifications",
        run: |c| notifications::page(c, 1, Filter::Unread, 0, 20).map(drop),
        sqlite: "INDEX notifications_unread (recipient_id=?)",
        postgres: "(recipient_id = $1)",
    },
];

/// Steps of the writer. Their last query is the step.
const STEPS: [Case; 5] = [
    Case {
        name: "the choice of tasks",
        run: |c| tasks::turns(c, Turns { now: AT, fresh: 9, at: 1, lap_end: 9 }).map(drop),
        sqlite: "SEARCH fanout_tasks USING INDEX fanout_tasks_open (id>? AND id<?)",
        postgres: "(id > $5) AND (id <= $6)",
    },
    Case {
        name: "a delivery",
        run: |c| {
            let (tweet_id, author_id, after, limit) = (1, 1, 0, 9);
            let step = Delivery { tweet_id, author_id, followed_before: AT, at: AT, after, limit };
            deliveries::deliver(c, step).map(drop)
        },
        sqlite: "friendships_fanout (to_user_id=? AND from_user_id>?)",
        postgres: "(to_user_id = $1) AND (from_user_id > $2)",
    },
    Case {
        name: "a back-fill",
        run: |c| newsfeeds::backfill(c, 1, 2, AT, 20).map(drop),
        sqlite: "SEARCH there USING PRIMARY KEY (user_id=? AND created_at>? AND created_at<?)",
        postgres: "(created_at <= COALESCE(",
    },
    Case {
        name: "a sweep",
        run: |c| newsfeeds::sweep(c, 1, 2, AT, 20).map(drop),
        sqlite: "SEARCH newsfeeds USING PRIMARY KEY (user_id=? AND created_at>? AND created_at<?)",
        postgres: "(user_id = $1) AND (created_at < $2) AND (created_at > $3)",
    },
    Case {
        name: "a retraction",
        run: |c| {
            let (tweet_id, author_id, after, up_to) = (1, 1, 0, 9);
            let step = Retraction { tweet_id, author_id, from: AT, until: AT, after, up_to };
            deliveries::retract(c, step).map(drop)
        },
        sqlite: "SEARCH newsfeeds USING PRIMARY KEY (user_id=? AND created_at>? AND created_at<?)",
        postgres: "(created_at >= $4) AND (created_at <= $5)",
    },
];

/// What the statements call their subqueries.
const SUBQUERIES: [&str; 5] = ["latest", "q0", "q1", "q2", "q3"];

/// Reading all of a table, or all of an index.
fn scans(engine: Engine, plan: &[String]) -> bool {
    plan.iter().any(|line| match engine {
        // What a subquery has found is gone through once; that is no table.
        Engine::Sqlite => {
            line.starts_with("SCAN ") && !SUBQUERIES.iter().any(|name| line[5..].starts_with(name))
        }
        Engine::Postgres => line.contains("Seq Scan"),
    })
}

fn sorts(plan: &[String]) -> bool {
    plan.iter().any(|line| line.contains("TEMP B-TREE") || line.contains("Sort"))
}

fn check(cases: &[Case], pick: impl Fn(Vec<String>) -> Option<String>, may_sort: bool) {
    for test in databases() {
        test.db
            .write_blocking(|conn| {
                for case in cases {
                    let queries = listen(conn, case.run)?;
                    let query = pick(queries).expect("a query");
                    let plan = explain(conn, &query)?;
                    let engine = conn.engine();
                    let range = match engine {
                        Engine::Sqlite => case.sqlite,
                        Engine::Postgres => case.postgres,
                    };
                    let said = format!("{} on {}: {query}\n{plan:#?}", case.name, test.name);
                    assert!(plan.iter().any(|line| line.contains(range)), "no {range}: {said}");
                    assert!(!scans(engine, &plan), "a scan: {said}");
                    assert!(may_sort || !sorts(&plan), "a sort: {said}");
                }
                Ok(())
            })
            .expect("every query can be explained");
    }
}

#[test]
fn every_page_is_an_index_range_without_scan_or_sort() {
    check(&PAGES, |queries| queries.into_iter().next(), false);
}

#[test]
fn every_step_of_the_writer_is_an_index_range() {
    check(&STEPS, |queries| queries.into_iter().next_back(), true);
}

/// A sort would read all followers of a large author for each step.
#[test]
fn a_delivery_takes_the_followers_as_the_index_has_them() {
    let delivery = STEPS.iter().position(|case| case.name == "a delivery").expect("a case");
    check(&STEPS[delivery..=delivery], |queries| queries.into_iter().next_back(), false);
}

/// The checks notice a query without an index.
#[test]
fn a_query_without_an_index_is_noticed() {
    for test in databases() {
        test.db
            .write_blocking(|conn| {
                let engine = conn.engine();
                let plan = explain(conn, "SELECT id FROM tweets WHERE content = 'x'")?;
                assert!(scans(engine, &plan), "{plan:?}");
                let plan = explain(
                    conn,
                    "SELECT id FROM tweets WHERE user_id = 1 AND deleted_at IS NULL \
                     ORDER BY content LIMIT 20",
                )?;
                assert!(sorts(&plan), "{plan:?}");
                Ok(())
            })
            .expect("every query can be explained");
    }
}
