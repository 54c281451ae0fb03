//! Reads, loads, pushes and removals in the orders in which others have got them wrong.

use futures_util::future::join_all;

use super::super::TimelineError;
use super::*;

/// Failure modes 1 and 17: a thousand first readers, one load.
#[actix_rt::test]
async fn a_thousand_first_reads_make_one_load() {
    let source = FakeSource::stopped([3, 2, 1]);
    let timelines = timelines(&source, 100);
    let readers = join_all((0..1_000).map(|_| first(&timelines, 10)));
    let open = async {
        pass(&source.started).await;
        source.may_read.add_permits(1);
        source.may_answer.add_permits(1);
    };
    let (pages, ()) = tokio::join!(readers, open);
    assert!(pages.iter().all(|page| *page == entries([3, 2, 1])));
    assert_eq!(source.loads(), 1);
}

/// Failure modes 2, 3 and 5 of the reference: a push that lands while a load is under way, on
/// either side of its SELECT.
#[actix_rt::test]
async fn a_push_during_a_load_is_neither_lost_nor_doubled() {
    for seen_by_select in [true, false] {
        let source = FakeSource::stopped([2, 1]);
        let timelines = timelines(&source, 100);
        let reader = first(&timelines, 10);
        let writer = async {
            pass(&source.started).await;
            if seen_by_select {
                source.commit(entry(3));
                timelines.push(HOME, entry(3));
            }
            source.may_read.add_permits(1);
            pass(&source.read).await;
            if !seen_by_select {
                source.commit(entry(3));
                timelines.push(HOME, entry(3));
            }
            source.may_answer.add_permits(1);
        };
        tokio::join!(reader, writer);
        let after = first(&timelines, 10).await;
        assert_eq!(after, entries([3, 2, 1]), "seen by the SELECT: {seen_by_select}");
        assert_eq!(source.loads(), 1);
    }
}

/// Failure mode 10: a removal that lands between a load's SELECT and its answer.
#[actix_rt::test]
async fn a_removal_during_a_load_leaves_no_ghost() {
    let source = FakeSource::stopped([3, 2, 1]);
    let timelines = timelines(&source, 100);
    let reader = first(&timelines, 10);
    let writer = async {
        source.may_read.add_permits(1);
        pass(&source.read).await;
        source.delete(20);
        timelines.remove(HOME, 20);
        source.may_answer.add_permits(1);
    };
    tokio::join!(reader, writer);
    assert_eq!(first(&timelines, 10).await, entries([3, 1]));
}

/// Failure modes 6 and 7: entries have one order however their pushes arrive.
#[actix_rt::test]
async fn late_and_repeated_pushes_are_harmless() {
    let source = FakeSource::new([]);
    let timelines = timelines(&source, 100);
    first(&timelines, 1).await;
    for at in [5, 3, 3, 4, 5, 1, 2, 4] {
        timelines.push(HOME, entry(at));
    }
    assert_eq!(first(&timelines, 10).await, entries([5, 4, 3, 2, 1]));
}

/// Failure modes 4 and 10 of the reference: a push on a cold timeline must not make a list of
/// one entry that is taken for the whole.
#[actix_rt::test]
async fn a_push_leaves_a_cold_timeline_cold() {
    let source = FakeSource::new([2, 1]);
    let timelines = timelines(&source, 100);
    source.commit(entry(3));
    timelines.push(HOME, entry(3));
    assert!(!timelines.is_resident(HOME));
    assert_eq!(first(&timelines, 10).await, entries([3, 2, 1]));
}

/// Failure mode 19: a dead actor is replaced, and its readers see a page, not an error.
#[actix_rt::test]
async fn a_panicked_actor_is_invisible() {
    let source = FakeSource::new([2, 1]);
    let timelines = timelines(&source, 100);
    assert_eq!(first(&timelines, 10).await, entries([2, 1]));
    timelines.panic_actor(HOME);
    assert_eq!(first(&timelines, 10).await, entries([2, 1]));
    assert_eq!(source.loads(), 2, "the new actor began cold");
}

/// Failure mode 19: a passivated timeline is not told of pushes, and does not miss them.
#[actix_rt::test]
async fn a_passivated_timeline_comes_back_current() {
    let source = FakeSource::new([1]);
    let timelines = timelines(&source, 100);
    first(&timelines, 10).await;
    timelines.passivate(HOME);
    source.commit(entry(2));
    timelines.push(HOME, entry(2));
    assert_eq!(first(&timelines, 10).await, entries([2, 1]));
}

#[actix_rt::test]
async fn a_distrusted_timeline_loads_again() {
    let source = FakeSource::new([1]);
    let timelines = timelines(&source, 100);
    first(&timelines, 10).await;
    source.commit(entry(2));
    timelines.forget_all();
    assert_eq!(first(&timelines, 10).await, entries([2, 1]));
}

#[actix_rt::test]
async fn a_failed_load_answers_all_who_wait_and_the_next_read_recovers() {
    let source = FakeSource::new([1]);
    let timelines = timelines(&source, 100);
    *source.plan.lock() = Plan::Fail;
    let waiting = join_all((0..100).map(|_| timelines.page(HOME, Range::ALL, 5))).await;
    let refused =
        |result: &Result<_, TimelineError>| matches!(result, Err(TimelineError::Unavailable(_)));
    assert!(
        waiting.iter().all(|result| refused(&result.as_ref().map(|_| ()).map_err(Clone::clone)))
    );
    assert_eq!(source.loads(), 1, "one failure is enough for all of them");

    *source.plan.lock() = Plan::Succeed;
    // The failure lasts a tenth of a second; a bounded wait for it to be over.
    let recovered = async {
        while timelines.page(HOME, Range::ALL, 5).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), recovered).await.expect("it recovers");
    assert_eq!(first(&timelines, 5).await, entries([1]));
}

#[actix_rt::test]
async fn a_panic_in_a_load_is_an_error_and_no_more() {
    let source = FakeSource::new([1]);
    let timelines = timelines(&source, 100);
    *source.plan.lock() = Plan::Panic;
    assert!(timelines.page(HOME, Range::ALL, 5).await.is_err());
    *source.plan.lock() = Plan::Succeed;
    assert_eq!(first(&timelines, 5).await, entries([1]));
}

/// A stream sees what was missed and what comes, each once, also while it begins.
#[actix_rt::test]
async fn a_stream_begins_without_gap_or_repeat() {
    let source = FakeSource::new([3, 2, 1]);
    let timelines = timelines(&source, 100);
    let mut stream = timelines.follow(HOME, Some(Timestamp(1))).await.unwrap();
    timelines.push(HOME, entry(4));
    assert_eq!((stream.backlog, stream.is_gap), (entries([2, 3]), false));
    assert_eq!(stream.entries.recv().await, Some(entry(4)));
    let late = timelines.follow(HOME, None).await.unwrap();
    assert_eq!((late.after, late.backlog), (Timestamp(4), vec![]));

    let nothing = FakeSource::new([]);
    let empty = super::timelines(&nothing, 100).follow(HOME, None).await.unwrap();
    assert_eq!((empty.after, empty.backlog), (Timestamp(1), vec![]));
}

/// Neither idleness nor the memory budget ends a stream: the window goes, the listeners stay.
#[actix_rt::test]
async fn a_timeline_that_is_listened_to_gives_up_its_memory_only() {
    let source = FakeSource::new([3, 2, 1]);
    let config = TimelinesConfig { list_limit: 10, resident_entries: 0, idle: Duration::ZERO };
    let timelines = Timelines::new(config, Arc::new(Handle(source.clone())));
    let mut stream = timelines.follow(HOME, None).await.unwrap();
    assert_eq!(timelines.resident_count(), (1, 3));
    tokio::time::sleep(Duration::from_millis(2)).await;
    timelines.sweep();
    timelines.push(HOME, entry(4));
    assert_eq!(stream.entries.recv().await, Some(entry(4)));
    assert_eq!(timelines.resident_count(), (1, 0), "the entries have left");

    // Once nobody listens the actor leaves too; it finds that out at the next sweep but one.
    drop(stream);
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        timelines.sweep();
        tokio::task::yield_now().await;
    }
    assert!(!timelines.is_resident(HOME));
}

/// An entry that may have been committed without a word ends the streams: their clients come
/// back and are told.
#[actix_rt::test]
async fn what_may_have_been_missed_ends_the_stream() {
    let source = FakeSource::new([1]);
    let timelines = timelines(&source, 10);
    let mut stream = timelines.follow(HOME, None).await.unwrap();
    source.commit(entry(2));
    timelines.forget_all();
    assert_eq!(stream.entries.recv().await, None);
    let again = timelines.follow(HOME, Some(stream.after)).await.unwrap();
    assert_eq!(again.backlog, entries([2]));
}

/// Sixty-four entries wait for a slow stream; one more, and it is cut off. What it has got is
/// without a gap, and the rest is there when it comes back.
#[actix_rt::test]
async fn a_slow_stream_is_cut_off_and_resumes() {
    let source = FakeSource::new([1]);
    let timelines = timelines(&source, 1_000);
    let mut slow = timelines.follow(HOME, None).await.unwrap();
    let mut quick = timelines.follow(HOME, None).await.unwrap();
    let mut got = Vec::new();
    for at in 2..=100 {
        source.commit(entry(at));
        timelines.push(HOME, entry(at));
        assert_eq!(quick.entries.recv().await, Some(entry(at)));
    }
    while let Some(entry) = slow.entries.recv().await {
        got.push(entry);
    }
    assert_eq!(got, entries(2..=65));
    let again = timelines.follow(HOME, Some(Timestamp(65))).await.unwrap();
    assert_eq!(again.backlog, entries(66..=100));
}

/// Clients that come and go leave nothing behind, also when nothing is posted.
#[actix_rt::test]
async fn closed_streams_are_forgotten() {
    let source = FakeSource::new([1]);
    let timelines = timelines(&source, 10);
    for _ in 0..100 {
        drop(timelines.follow(HOME, None).await.unwrap());
    }
    let _open = timelines.follow(HOME, None).await.unwrap();
    assert_eq!(timelines.followers(HOME), 1);
}

/// Past the list limit the stream says that there is a gap.
#[actix_rt::test]
async fn a_long_absence_is_told_as_a_gap() {
    for (count, is_gap) in [(5, false), (6, true), (9, true)] {
        let source = FakeSource::new((1..=count).rev());
        let timelines = timelines(&source, 5);
        let stream = timelines.follow(HOME, Some(Timestamp(0))).await.unwrap();
        assert_eq!(stream.is_gap, is_gap, "{count} missed");
        assert_eq!(stream.backlog, entries(count - 4..=count), "{count} missed");
    }
}
