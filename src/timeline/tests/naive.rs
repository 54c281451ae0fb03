//! The checker checked: the same checks against a deliberately naive cache must fail.

use std::rc::Rc;

use super::*;

/// What this cache does wrong. The fourth flaw, times taken before the insert, is no cache's:
/// see [`times`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// EXISTS, then LPUSH: the list may have gone in between.
    ExistsThenPush,
    /// EXISTS, then RPUSH: every reader of a cold list loads it and appends.
    LoadsAtOnce,
    /// Puts what was read in place of whatever has happened meanwhile.
    LoadOverPush,
    /// Takes a list shorter than the limit for the whole timeline.
    ShortIsComplete,
}

/// A list as the trade writes it.
struct Naive {
    stage: Arc<Stage>,
    source: Staged,
    list: Mutex<Option<Vec<Entry>>>,
    flaw: Flaw,
}

/// A cache under test.
#[derive(Clone)]
enum Subject {
    Real(Timelines),
    Naive(Rc<Naive>),
}

impl Subject {
    async fn read(&self) -> Vec<Entry> {
        match self {
            Subject::Real(timelines) => all(timelines).await,
            Subject::Naive(naive) => naive.read().await,
        }
    }

    /// Pushes a committed entry; `meanwhile` happens at the worst moment.
    fn push(&self, entry: Entry, meanwhile: impl FnOnce()) {
        match self {
            Subject::Real(timelines) => {
                meanwhile();
                timelines.push(ME, entry);
            }
            Subject::Naive(naive) => {
                let exists = naive.list.lock().is_some();
                meanwhile();
                if exists {
                    naive.list.lock().get_or_insert_default().insert(0, entry);
                }
            }
        }
    }

    fn remove(&self, tweet_id: i64) {
        match self {
            Subject::Real(timelines) => timelines.remove(ME, tweet_id),
            Subject::Naive(naive) => {
                if let Some(list) = naive.list.lock().as_mut() {
                    list.retain(|entry| entry.tweet_id != tweet_id);
                }
            }
        }
    }

    fn expire(&self) {
        match self {
            Subject::Real(timelines) => timelines.passivate(ME),
            Subject::Naive(naive) => *naive.list.lock() = None,
        }
    }
}

impl Naive {
    async fn read(&self) -> Vec<Entry> {
        let held = self.list.lock().clone();
        let list = match held {
            Some(list) => list,
            None => {
                let rows = self.source.load(ME, LIMIT).await.expect("rows").entries;
                let mut list = self.list.lock();
                if self.flaw == Flaw::LoadsAtOnce {
                    list.get_or_insert_default().extend(rows);
                } else {
                    *list = Some(rows);
                }
                list.clone().expect("just set")
            }
        };
        let is_whole = match self.flaw {
            Flaw::ShortIsComplete => list.len() < LIMIT,
            Flaw::ExistsThenPush | Flaw::LoadsAtOnce | Flaw::LoadOverPush => false,
        };
        let Some(last) = list.last().filter(|_| !is_whole) else { return list };
        let older = self.stage.range(Range::ALL.below(last.created_at), usize::MAX);
        // The naive one believes that an expired list which a push made anew is complete.
        let is_new = self.flaw == Flaw::ExistsThenPush && list.len() < LIMIT;
        if is_new { list } else { [list, older].concat() }
    }
}

fn subject(stage: &Arc<Stage>, flaw: Option<Flaw>) -> Subject {
    match flaw {
        None => Subject::Real(timelines(stage)),
        Some(flaw) => Subject::Naive(Rc::new(Naive {
            stage: stage.clone(),
            source: Staged(stage.clone()),
            list: Mutex::new(None),
            flaw,
        })),
    }
}

/// Whether the cache survives what breaks this flaw.
async fn holds(check: Flaw, flaw: Option<Flaw>) -> bool {
    let stage = Stage::with(1..=25);
    let subject = subject(&stage, flaw);
    match check {
        Flaw::ExistsThenPush => {
            subject.read().await;
            stage.add(26);
            subject.push(entry(26), || subject.expire());
        }
        Flaw::LoadsAtOnce => {
            stage.hold(Point::RowsRead);
            let readers = [subject.clone(), subject.clone()].map(|subject| {
                actix_rt::spawn(async move {
                    subject.read().await;
                })
            });
            stage.reached(Point::RowsRead).await;
            // Let the second reader come as far as it can.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            stage.open(Point::RowsRead);
            for reader in readers {
                reader.await.unwrap();
            }
        }
        Flaw::LoadOverPush => {
            stage.hold(Point::RowsRead);
            let reader = subject.clone();
            let reading = actix_rt::spawn(async move {
                reader.read().await;
            });
            stage.reached(Point::RowsRead).await;
            stage.add(26);
            subject.push(entry(26), || {});
            stage.open(Point::RowsRead);
            reading.await.unwrap();
        }
        Flaw::ShortIsComplete => {
            subject.read().await;
            stage.drop_row(20);
            subject.remove(200);
        }
    }
    subject.read().await == stage.all()
}

#[actix_rt::test]
async fn the_checks_pass_here_and_notice_every_flaw() {
    let flaws =
        [Flaw::ExistsThenPush, Flaw::LoadsAtOnce, Flaw::LoadOverPush, Flaw::ShortIsComplete];
    for check in flaws {
        assert!(holds(check, None).await, "{check:?}: the real one fails");
        assert!(!holds(check, Some(check)).await, "{check:?}: the naive one passes");
    }
}

/// Times against a poller: who polls with `created_at__gt` after each commit must see each
/// entry once.
mod times {
    use std::sync::mpsc;
    use std::thread;

    use crate::store::testing::{TestDb, databases};
    use crate::store::{clock, newsfeeds};
    use crate::time::Timestamp;
    use crate::timeline::{Entry, Range};

    const READER: i64 = 1;

    fn insert(test: &TestDb, at: Timestamp, tweet: i64) {
        test.db
            .write_blocking(|conn| Ok(newsfeeds::insert(conn, &[(READER, at, tweet)])?))
            .unwrap();
    }

    /// What is newer than the newest that has been seen.
    fn poll(test: &TestDb, seen: &mut Vec<i64>, newest: &mut Timestamp) {
        let newer = Range { newer_than: *newest, ..Range::ALL };
        let page: Vec<Entry> =
            test.db.read_blocking(|conn| Ok(newsfeeds::page(conn, READER, newer, 100)?)).unwrap();
        *newest = page.first().map_or(*newest, |first| first.created_at);
        seen.extend(page.iter().rev().map(|entry| entry.tweet_id));
    }

    /// Two writers: the first has begun when the second comes. A naive one takes its time at
    /// its beginning, and so the second may commit first. What the poller has seen.
    fn naive(test: &TestDb) -> Vec<i64> {
        let (mut seen, mut newest) = (Vec::new(), Timestamp(0));
        let (first, second) = (Timestamp(1_000), Timestamp(1_001));
        insert(test, second, 20);
        poll(test, &mut seen, &mut newest);
        insert(test, first, 10);
        poll(test, &mut seen, &mut newest);
        seen
    }

    /// The same two writers with the store's clock, whose row the first one holds: the second,
    /// though it is told to go on at once, gets its time when the first has committed.
    fn real(test: &TestDb) -> Vec<i64> {
        let (mut seen, mut newest) = (Vec::new(), Timestamp(0));
        let (has_begun, begun) = mpsc::channel();
        let write = |tweet: i64, begun: &dyn Fn()| {
            test.db
                .write_blocking(|conn| {
                    let at = clock::reserve(conn, Timestamp(1_000), 1)?.take();
                    begun();
                    Ok(newsfeeds::insert(conn, &[(READER, at, tweet)])?)
                })
                .unwrap();
        };
        thread::scope(|scope| {
            let second = scope.spawn({
                let write = &write;
                move || {
                    begun.recv().expect("the first one begins");
                    write(20, &|| {});
                }
            });
            write(10, &|| has_begun.send(()).expect("the second one waits"));
            poll(test, &mut seen, &mut newest);
            second.join().expect("the second one writes");
        });
        poll(test, &mut seen, &mut newest);
        seen
    }

    #[test]
    fn the_check_passes_here_and_notices_times_taken_before_the_insert() {
        let sees_each_once = |mut seen: Vec<i64>| {
            seen.sort_unstable();
            seen == [10, 20]
        };
        for test in databases() {
            assert!(sees_each_once(real(&test)), "{}: the real one fails", test.name);
        }
        for test in databases() {
            assert!(!sees_each_once(naive(&test)), "{}: the naive one passes", test.name);
        }
    }
}
