//! Open streams: everything once, whatever becomes of the timeline meanwhile.

use super::*;
use crate::timeline::Subscription;

/// What the channel holds now.
fn received(stream: &mut Subscription) -> Vec<Entry> {
    std::iter::from_fn(|| stream.entries.try_recv().ok()).collect()
}

/// A stream sees what was missed and what comes, each once, also while it begins.
#[actix_rt::test]
async fn a_stream_begins_without_gap_or_repeat() {
    let stage = Stage::with(1..=3);
    let timelines = timelines(&stage);
    let mut stream = timelines.follow(ME, Some(Timestamp(1))).await.unwrap();
    timelines.push(ME, entry(4));
    assert_eq!((&stream.backlog, stream.is_gap), (&entries([2, 3]), false));
    assert_eq!(stream.entries.recv().await, Some(entry(4)));
    let late = timelines.follow(ME, None).await.unwrap();
    assert_eq!((late.backlog, late.after), (vec![], Timestamp(4)));
    let nothing = Arc::new(Stage::default());
    let empty = super::timelines(&nothing).follow(ME, None).await.unwrap();
    assert_eq!((empty.after, empty.backlog), (Timestamp(1), vec![]));
}

/// Past the list limit the stream says that there is a gap.
#[actix_rt::test]
async fn a_long_absence_is_told_as_a_gap() {
    for (count, is_gap) in [(5, false), (6, true), (9, true)] {
        let stage = Stage::with(1..=count);
        let timelines = timelines_with(&stage, TimelinesConfig { list_limit: 5, ..config() });
        let stream = timelines.follow(ME, Some(Timestamp(0))).await.unwrap();
        assert_eq!(stream.is_gap, is_gap, "{count} missed");
        assert_eq!(stream.backlog, entries(count - 4..=count), "{count} missed");
    }
}

/// Neither idleness nor the memory budget ends a stream: the window goes, the listeners stay.
#[actix_rt::test]
async fn failure_mode_19_a_timeline_that_is_listened_to_gives_up_its_memory_only() {
    let stage = Stage::with(1..=3);
    let small = TimelinesConfig { resident_entries: 0, idle: Duration::ZERO, ..config() };
    let timelines = timelines_with(&stage, small);
    let mut stream = timelines.follow(ME, None).await.unwrap();
    assert_eq!(timelines.resident_count(), (1, 3));
    for at in 4..=8 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        timelines.sweep();
        stage.add(at);
        timelines.push(ME, entry(at));
        assert_eq!(stream.entries.recv().await, Some(entry(at)));
        assert_eq!(timelines.resident_count(), (1, 0), "the entries have left");
        if at % 2 == 0 {
            assert_eq!(all(&timelines).await, stage.all());
        }
    }
    // Once nobody listens the actor leaves too; it finds that out at the next sweep but one.
    drop(stream);
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        timelines.sweep();
        tokio::task::yield_now().await;
    }
    assert!(!timelines.is_resident(ME));
}

/// An entry that may have been committed without a word ends the streams: their clients come
/// back and are told.
#[actix_rt::test]
async fn what_may_have_been_missed_ends_the_stream() {
    let stage = Stage::with(1..=1);
    let timelines = timelines(&stage);
    let mut stream = timelines.follow(ME, None).await.unwrap();
    stage.add(2);
    timelines.forget_all();
    assert_eq!(stream.entries.recv().await, None);
    let again = timelines.follow(ME, Some(stream.after)).await.unwrap();
    assert_eq!(again.backlog, entries([2]));
}

/// A stream that is let go (by a timeline that has died, been evicted in the very moment in
/// which the stream began, or distrusts what it holds; or for being slow) goes on where it was.
#[actix_rt::test]
async fn failure_mode_19_a_stream_that_is_let_go_goes_on_where_it_was() {
    let stage = Stage::with(1..=3);
    let timelines = timelines(&stage);
    let mut stream = timelines.follow(ME, None).await.unwrap();
    let mut seen = Vec::new();
    for at in 4..=12 {
        match at % 3 {
            0 => timelines.panic_actor(ME),
            1 => timelines.forget_all(),
            _ => {}
        }
        stage.add(at);
        timelines.push(ME, entry(at));
        // Reads, so that whatever is under way has been done.
        all(&timelines).await;
        seen.extend(received(&mut stream));
        if stream.entries.is_closed() {
            let last = seen.last().map_or(stream.after, |last: &Entry| last.created_at);
            stream = timelines.follow(ME, Some(last)).await.unwrap();
            seen.append(&mut stream.backlog);
        }
    }
    assert_eq!(seen, entries(4..=12));
}

/// Sixty-four entries wait for a slow stream; one more, and it is cut off. What it has got is
/// without a gap, and the rest is there when it comes back.
#[actix_rt::test]
async fn a_slow_stream_is_cut_off_and_resumes() {
    let stage = Stage::with(1..=1);
    let timelines = timelines_with(&stage, TimelinesConfig { list_limit: 1_000, ..config() });
    let mut slow = timelines.follow(ME, None).await.unwrap();
    let mut quick = timelines.follow(ME, None).await.unwrap();
    let mut got = Vec::new();
    for at in 2..=100 {
        stage.add(at);
        timelines.push(ME, entry(at));
        assert_eq!(quick.entries.recv().await, Some(entry(at)));
    }
    while let Some(entry) = slow.entries.recv().await {
        got.push(entry);
    }
    assert_eq!(got, entries(2..=65));
    let again = timelines.follow(ME, Some(Timestamp(65))).await.unwrap();
    assert_eq!(again.backlog, entries(66..=100));
}

/// Clients that come and go leave nothing behind, also when nothing is posted.
#[actix_rt::test]
async fn closed_streams_are_forgotten() {
    let stage = Stage::with(1..=1);
    let timelines = timelines(&stage);
    for _ in 0..100 {
        drop(timelines.follow(ME, None).await.unwrap());
    }
    let _open = timelines.follow(ME, None).await.unwrap();
    assert_eq!(timelines.followers(ME), 1);
}
