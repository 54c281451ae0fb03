//! The checker checked: the same checks against a deliberately naive cache must fail.

use std::rc::Rc;

use super::*;

/// What this cache does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// Asks whether the list exists, and pushes later.
    ExistsThenPush,
    /// Every reader of a cold list loads it and appends.
    LoadsAtOnce,
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
            Flaw::ExistsThenPush | Flaw::LoadsAtOnce => false,
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
    for check in [Flaw::ExistsThenPush, Flaw::LoadsAtOnce, Flaw::ShortIsComplete] {
        assert!(holds(check, None).await, "{check:?}: the real one fails");
        assert!(!holds(check, Some(check)).await, "{check:?}: the naive one passes");
    }
}
