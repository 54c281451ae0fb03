//! What a resident timeline costs.

use super::*;
use crate::timeline::registry::OVERHEAD_ENTRIES;

/// Bytes of this process that are in memory.
fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Measures what an empty and what a full timeline costs; it wants a process of its own:
/// `cargo test --lib timeline::tests::memory -- --ignored --nocapture`
#[actix_rt::test]
#[ignore = "measures the memory of the whole process"]
async fn a_resident_timeline_costs_what_the_budget_counts() {
    const TIMELINES: usize = 20_000;
    // Kept, so that what the first ones free is not used by the next.
    let mut kept = Vec::new();
    for rows in [0, 100] {
        let stage = Stage::with(1..=rows);
        let timelines = timelines_with(&stage, TimelinesConfig { list_limit: 1_000, ..config() });
        let before = resident_bytes();
        for user in 0..TIMELINES as i64 {
            timelines.page(TimelineKey::Home(user), Range::ALL, 1).await.unwrap();
        }
        let each = resident_bytes().saturating_sub(before) / TIMELINES;
        let counted = (OVERHEAD_ENTRIES + rows as usize) * size_of::<Entry>();
        println!("{rows} entries: {each} bytes, counted as {counted}");
        assert!(each <= counted, "{rows} entries: {each} bytes, counted as {counted}");
        kept.push(timelines);
    }
}

/// Empty timelines count, too: without this they would be bounded by idleness alone.
#[actix_rt::test]
async fn the_budget_bounds_empty_timelines() {
    let stage = Arc::new(Stage::default());
    let budget = 10 * OVERHEAD_ENTRIES;
    let timelines =
        timelines_with(&stage, TimelinesConfig { resident_entries: budget, ..config() });
    for user in 1..=10 {
        timelines.page(TimelineKey::Home(user), Range::ALL, 1).await.unwrap();
    }
    timelines.sweep();
    assert_eq!(timelines.resident_count().0, 10, "within the budget");
    for user in 11..=15 {
        timelines.page(TimelineKey::Home(user), Range::ALL, 1).await.unwrap();
    }
    timelines.sweep();
    assert!(timelines.resident_count().0 <= 10, "{:?}", timelines.resident_count());
}
