use std::time::Duration;

use super::*;
use crate::store::StoreError;
use crate::store::testing::{databases, postgres};

fn write<T>(db: &crate::store::Db, body: impl Fn(&mut Conn<'_>) -> QueryResult<T>) -> T {
    db.write_blocking(|conn| Ok(body(conn)?)).unwrap()
}

#[test]
fn dirt_is_kept_per_node_and_goes_with_the_burial() {
    for test in databases() {
        write(&test.db, |conn| {
            enter(conn, 5)?;
            enter(conn, 5)?;
            mark_dirty(conn, 6)?;
            assert_eq!(others(conn, 5)?, [6], "{}", test.name);
            assert!(!is_dirty(conn, 5)? && is_dirty(conn, 6)?);
            clear_dirty(conn, 5)?;
            assert!(is_dirty(conn, 6)?, "{}: another node's is not mine to clear", test.name);
            leave(conn, 5)?;
            assert_eq!(others(conn, 6)?, [5], "stays while others are there");
            assert!(!bury(conn, &[5])?);
            leave(conn, 6)?;
            assert!(is_dirty(conn, 6)?, "{}: a debt is not left behind", test.name);
            assert!(bury(conn, &[6])?);
            enter(conn, 7)?;
            leave(conn, 7)?;
            assert_eq!(others(conn, 0)?, [] as [i64; 0]);
            Ok(())
        });
    }
}

#[test]
fn only_company_is_told_and_only_of_commits() {
    let test = postgres();
    let mut listener = test.connect();
    listen(&mut listener).unwrap();
    let say = |conn: &mut Conn<'_>, text: &str| announce(conn, 5, &[text.to_owned()]);
    write(&test.db, |conn| {
        let alone = say(conn, "alone")?;
        assert_eq!(alone, Standing { is_member: false, has_company: false });
        enter(conn, 5)
    });
    write(&test.db, |conn| {
        let alone = say(conn, "still alone")?;
        assert_eq!(alone, Standing { is_member: true, has_company: false });
        enter(conn, 6)
    });
    let undone: Result<(), StoreError> = test.db.write_blocking(|conn| {
        say(conn, "undone")?;
        Err(diesel::result::Error::NotFound.into())
    });
    undone.unwrap_err();
    write(&test.db, |conn| {
        let both = announce(conn, 5, &["one".to_owned(), "two".to_owned()])?;
        assert_eq!(both, Standing { is_member: true, has_company: true });
        Ok(())
    });
    ping(&mut listener).unwrap();
    let heard: Vec<String> =
        listener.notifications_iter().map(|heard| heard.unwrap().payload).collect();
    assert_eq!(heard, ["one", "two"]);
}

#[test]
fn a_node_is_dead_when_nobody_holds_its_name() {
    let test = postgres();
    let (mut here, mut there) = (test.connect(), test.connect());
    assert!(hold_name(&mut here, 5).unwrap());
    assert!(!hold_name(&mut there, 5).unwrap(), "one session per name");
    let dead = || test.db.read_blocking(|conn| Ok(dead(conn, 9)?)).unwrap();
    write(&test.db, |conn| {
        enter(conn, 5)?;
        enter(conn, 6)?;
        enter(conn, 9)
    });
    assert_eq!(dead(), [6]);
    drop(here);
    // The server ends the session when it notices.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while dead() != [5, 6] {
        assert!(std::time::Instant::now() < deadline, "{:?}", dead());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_writer_is_at_work_until_its_transaction_ends() {
    let test = postgres();
    let at_work = || test.db.read_blocking(|conn| Ok(writers_at_work(conn)?)).unwrap();
    assert_eq!(at_work(), []);
    let inside = test
        .db
        .write_blocking(|conn| {
            assert_eq!(at_work(), [], "nothing is written yet");
            enter(conn, 5)?;
            Ok(at_work())
        })
        .unwrap();
    assert_eq!(inside.len(), 1);
    assert_eq!(at_work(), []);
}
