//! Every metric of a node: its kind, its unit, and what it tells.
//!
//! Names follow the convention of Prometheus: `_total` for counters, the base unit at the end.
//! Labels are bounded: routes, methods, queries, operations and reasons that stand in the code,
//! never a path, a user or a text. The tests below keep this list, the code, and the files under
//! `deploy/` in step.

use metrics::Unit;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

struct Metric {
    name: &'static str,
    kind: Kind,
    tells: &'static str,
}

const fn metric(name: &'static str, kind: Kind, tells: &'static str) -> Metric {
    Metric { name, kind, tells }
}

const METRICS: &[Metric] = &[
    // HTTP
    metric("roost_http_requests_total", Counter, "Requests by method, route and status."),
    metric("roost_http_request_seconds", Histogram, "Time to the head of the answer, by route."),
    metric(
        "roost_http_in_flight",
        Gauge,
        "Requests that are worked on, bodies under way left out.",
    ),
    metric("roost_http_shed_total", Counter, "Requests refused because too many were in flight."),
    metric(
        "roost_http_cut_off_total",
        Counter,
        "Connections ended because of a slow_head or an unread_body.",
    ),
    metric("roost_rate_limited_total", Counter, "Requests refused by a rate limit, by class."),
    metric("roost_streams_open", Gauge, "Open event streams."),
    // Timelines
    metric("roost_timeline_pages_total", Counter, "Pages by source: memory, redis, database."),
    metric(
        "roost_kept_pages_total",
        Counter,
        "Of the pages from memory, those that were kept as bytes.",
    ),
    metric("roost_kept_pages_bytes", Gauge, "Memory that the pages kept as bytes take."),
    metric("roost_timeline_loads_total", Counter, "Loads of cold timelines by source."),
    metric("roost_timelines_resident", Gauge, "Timelines in memory."),
    metric("roost_timeline_entries_resident", Gauge, "Entries in memory over all timelines."),
    metric("roost_timeline_waiting", Gauge, "Readers that wait for a timeline's answer."),
    metric("roost_timeline_passivations_total", Counter, "Timelines dropped, idle or over budget."),
    metric("roost_timeline_refused_total", Counter, "Reads refused because a mailbox was full."),
    metric("roost_timeline_restarts_total", Counter, "Timeline actors replaced after a panic."),
    // The ordered writer and its tasks
    metric("roost_writer_queue", Gauge, "Operations that wait for the ordered writer."),
    metric("roost_writer_refused_total", Counter, "Operations refused because its queue was full."),
    metric("roost_writer_group_size", Histogram, "Operations of one transaction."),
    metric("roost_writer_commit_seconds", Histogram, "Time of one group's transaction."),
    metric("roost_fanout_tasks_open", Gauge, "Tasks not yet finished."),
    metric("roost_fanout_oldest_task_seconds", Gauge, "Age of the oldest task not yet finished."),
    metric(
        "roost_fanout_oldest_undelivered_seconds",
        Gauge,
        "Age of the oldest tweet that some follower does not have yet.",
    ),
    metric("roost_fanout_tasks_failing", Gauge, "Tasks whose last step failed."),
    metric("roost_fanout_tasks_parked", Gauge, "Of these, given up until a node starts."),
    metric("roost_fanout_task_failures_total", Counter, "Steps that failed, by kind."),
    metric("roost_fanout_deliveries_total", Counter, "Feed entries delivered."),
    metric("roost_fanout_chunk_seconds", Histogram, "Time of one step of a task, by kind."),
    metric("roost_fanout_rows_total", Counter, "Feed entries delivered or removed by tasks."),
    metric("roost_fanout_round_seconds", Histogram, "Time of one round over the open tasks."),
    metric("roost_fanout_task_seconds", Histogram, "Age of a task when it is finished, by kind."),
    // Likes and comments
    metric("roost_counter_queue", Gauge, "Operations that wait for the counter."),
    metric(
        "roost_counter_refused_total",
        Counter,
        "Operations refused because its queue was full.",
    ),
    metric("roost_counter_batch_size", Histogram, "Operations of one transaction."),
    metric("roost_counter_commit_seconds", Histogram, "Time of one batch, answers included."),
    // Notifications
    metric("roost_notifications_pending", Gauge, "Notifications not yet delivered."),
    metric("roost_notifications_delivered_total", Counter, "Notifications delivered."),
    metric("roost_notifications_failures_total", Counter, "Failed attempts to deliver some."),
    // Accounts and photos
    metric("roost_sign_ups_total", Counter, "Accounts made."),
    metric("roost_password_checks_total", Counter, "Passwords checked, by outcome."),
    metric("roost_password_refused_total", Counter, "Passwords not checked for want of a core."),
    metric("roost_password_wait_seconds", Histogram, "Wait for a core to hash on."),
    metric("roost_photo_recode_seconds", Histogram, "Time to decode and encode one photo."),
    // The database
    metric("roost_db_query_seconds", Histogram, "Time of a call, by name."),
    metric("roost_db_wait_seconds", Histogram, "Wait for a connection, by lane."),
    metric("roost_db_errors_total", Counter, "Failed calls, by name."),
    metric(
        "roost_db_conflicts_total",
        Counter,
        "Transactions run again after a conflict, or a repeated like.",
    ),
    metric("roost_db_connections_in_use", Gauge, "Connections in use, by lane."),
    // Several nodes
    metric("roost_nodes", Gauge, "Nodes over the database that live, this one included."),
    metric("roost_nodes_buried_total", Counter, "Rows of dead nodes removed by this one."),
    metric("roost_bus_listening", Gauge, "1 while this node hears of the others' commits."),
    metric("roost_bus_losses_total", Counter, "Lost sessions, and failed attempts to listen."),
    metric("roost_bus_heard_total", Counter, "Notifications heard."),
    metric("roost_bus_echo_seconds", Histogram, "From a commit to its turn on its own node."),
    // Redis
    metric("roost_redis_up", Gauge, "1 while Redis is used, 0 while it is passed by."),
    metric("roost_redis_calls_total", Counter, "Calls by operation and result."),
    metric("roost_redis_seconds", Histogram, "Time of a call, by operation."),
    metric("roost_redis_lags_total", Counter, "Lists not read: Redis was behind a commit."),
    metric("roost_redis_surprises_total", Counter, "Keys dropped because they made no sense."),
    // The log
    metric("roost_log_lines_lost_total", Counter, "Lines that standard error did not take."),
];

/// Tells the recorder what every metric is about, and starts those without labels at zero, so
/// that an alert on one has something to look at from the start.
pub(super) fn describe() {
    for metric in METRICS {
        let Metric { name, kind, tells } = *metric;
        let unit = if name.ends_with("_seconds") { Unit::Seconds } else { Unit::Count };
        match kind {
            Counter => metrics::describe_counter!(name, unit, tells),
            Gauge => metrics::describe_gauge!(name, unit, tells),
            Histogram => metrics::describe_histogram!(name, unit, tells),
        }
    }
    for name in [
        "roost_timeline_refused_total",
        "roost_timeline_restarts_total",
        "roost_writer_refused_total",
        "roost_counter_refused_total",
        "roost_notifications_failures_total",
        "roost_password_refused_total",
        "roost_log_lines_lost_total",
    ] {
        metrics::counter!(name).increment(0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn root() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
    }

    fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, ending, found);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(path);
            }
        }
    }

    /// The words of a text that begin with `roost_` and could name a metric.
    fn names(text: &str) -> impl Iterator<Item = &str> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("roost_"))
    }

    fn listed() -> BTreeSet<&'static str> {
        METRICS.iter().map(|metric| metric.name).collect()
    }

    #[test]
    fn the_code_and_the_list_name_the_same_metrics() {
        let mut sources = Vec::new();
        files(&root().join("src"), "rs", &mut sources);
        let mut used = BTreeSet::new();
        for path in sources.iter().filter(|path| !path.ends_with("app/metrics.rs")) {
            let text = std::fs::read_to_string(path).unwrap();
            for (kind, calls) in [("counter", Counter), ("gauge", Gauge), ("histogram", Histogram)]
            {
                for call in text.split(&format!("{kind}!(")).skip(1) {
                    let Some(name) = call.trim_start().strip_prefix('"') else { continue };
                    let name = name.split('"').next().unwrap().to_owned();
                    let listed = METRICS.iter().find(|metric| metric.name == name);
                    let listed = listed.unwrap_or_else(|| panic!("{name} is not in the list"));
                    assert_eq!(listed.kind, calls, "{name}");
                    used.insert(name);
                }
            }
        }
        for name in listed() {
            assert!(used.contains(name), "nothing records {name}");
        }
    }

    #[test]
    fn names_and_units_follow_the_convention() {
        for Metric { name, kind, tells } in METRICS {
            assert_eq!(name.ends_with("_total"), *kind == Counter, "{name}");
            if *kind == Histogram {
                assert!(name.ends_with("_seconds") || name.ends_with("_size"), "{name}");
            }
            assert!(tells.ends_with('.'), "{name}");
        }
        assert_eq!(listed().len(), METRICS.len(), "one is listed twice");
    }

    #[test]
    fn dashboard_and_alerts_name_metrics_that_exist() {
        for file in ["deploy/grafana.json", "deploy/alerts.yaml"] {
            let text = std::fs::read_to_string(root().join(file)).unwrap();
            let mut seen = 0;
            for name in names(&text) {
                let name = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|ending| name.strip_suffix(ending))
                    .filter(|name| listed().contains(name))
                    .unwrap_or(name);
                assert!(listed().contains(name), "{file} names {name}");
                seen += 1;
            }
            assert!(seen > 10, "{file} names hardly a metric");
        }
    }

    #[test]
    fn the_dashboard_is_json_and_its_panels_have_queries() {
        let text = std::fs::read_to_string(root().join("deploy/grafana.json")).unwrap();
        let board: serde_json::Value = serde_json::from_str(&text).unwrap();
        for panel in board["panels"].as_array().unwrap() {
            if panel["type"] != "row" {
                assert!(panel["targets"][0]["expr"].is_string(), "{}", panel["title"]);
            }
        }
    }
}
