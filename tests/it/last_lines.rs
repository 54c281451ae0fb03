//! The last lines that a command logs are written before it ends, however it ends: a thread of
//! its own writes them, which the end of the process must not outrun.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};

use crate::harness::{App, Setup, roost_command};

/// A line that comes too late, or after what follows it, is so in some runs only.
const ROUNDS: usize = 10;

/// Longer than a query may take without a line in the log.
const SLOW: Duration = Duration::from_millis(400);

/// What the end of the process waits for the log.
const LIMIT: Duration = Duration::from_millis(500);

/// The query that fails is the last thing before the end, and its line more than a pipe holds: it
/// takes more than one turn of writer and reader.
#[test]
fn why_a_command_fails() {
    let app = App::on(Setup::Sqlite).start();
    app.sign_up("ann");
    let file = app.data_dir().join("roost.db");
    let mut link = SqliteConnection::establish(&file.to_string_lossy()).unwrap();
    let reason = "no ".repeat(50_000);
    link.batch_execute(&format!(
        "CREATE TRIGGER no BEFORE UPDATE ON users BEGIN SELECT RAISE(ABORT, '{reason}'); END"
    ))
    .unwrap();
    for round in 0..ROUNDS {
        let output = app.run(&["user", "disable", "ann"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let starts: Vec<&str> = said.lines().map(|line| &line[..line.len().min(100)]).collect();
        let lines: Vec<&str> = said.lines().collect();
        let [logged, error] = lines[..] else { panic!("round {round}: {starts:?}") };
        assert!(logged.contains("query failed"), "round {round}: {starts:?}");
        assert!(logged.contains(reason.trim_end()), "round {round}: the line is cut off");
        assert!(error.starts_with("error: "), "round {round}: {starts:?}");
    }
}

/// It has to say that there is nothing to do, and cannot.
#[test]
fn that_a_command_panicked() {
    let folder = tempfile::tempdir().unwrap();
    let migrate = || {
        let mut command = roost_command();
        command.arg("migrate").env("ROOST_DATA_DIR", folder.path());
        command
    };
    assert!(migrate().status().unwrap().success());
    assert_waits_for_its_reader(|| {
        let mut command = migrate();
        command.stdout(File::options().write(true).open("/dev/full").expect("/dev/full"));
        let (reader, child) = with_a_full_log(command);
        read_late(reader, child, Instant::now(), 101, "panicked: failed printing to stdout")
    });
}

#[test]
fn what_was_slow_in_a_command_that_did_its_work() {
    let app = App::on(Setup::Postgres).start();
    app.sign_up("ann");
    assert_waits_for_its_reader(|| {
        let mut command = roost_command();
        let environment = app.environment().iter().map(|(name, value)| (name, value));
        command.args(["user", "disable", "ann"]).envs(environment).stdout(Stdio::piped());
        let (reader, mut child) = with_a_full_log(command);
        let mut link = app.session();
        link.transaction(|link| {
            link.batch_execute("SELECT id FROM users FOR UPDATE")?;
            wait_for_the_lock(&app);
            thread::sleep(SLOW);
            diesel::QueryResult::Ok(())
        })
        .expect("the lock");
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.starts_with("ann is disabled"), "{said:?}");
        read_late(reader, child, Instant::now(), 0, "slow query")
    });
}

/// Standard error is full when the line is logged, and is read only when the command would be
/// gone if it did not wait for that.
#[track_caller]
fn assert_waits_for_its_reader(hears: impl Fn() -> bool) {
    let on_time = (0..3).filter(|_| hears()).count();
    assert!(on_time > 0, "this machine never lets the reader read in time");
}

/// Reads the log of a command that has come to its end, or to its start, just now. Whether that
/// was in time, and then the line is there.
#[track_caller]
fn read_late(
    mut reader: PipeReader,
    mut child: Child,
    since: Instant,
    status: i32,
    line: &str,
) -> bool {
    while since.elapsed() < LIMIT / 3 && child.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_millis(2));
    }
    let waited = since.elapsed();
    let mut log = String::new();
    reader.read_to_string(&mut log).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(status));
    let is_told = log.contains(line) && log.ends_with('\n');
    assert!(is_told || waited > LIMIT / 2, "after {waited:?}: {:?}", log.trim_start_matches('.'));
    is_told
}

/// Starts a command whose standard error is a pipe without room.
fn with_a_full_log(mut command: Command) -> (PipeReader, Child) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut filling = writer.try_clone().expect("the same pipe");
    // As much as a pipe usually holds. Of one that holds less, the rest comes when it is read.
    thread::spawn(move || filling.write_all(&[b'.'; 65_536]));
    (reader, command.stderr(writer).spawn().expect("run roost"))
}

/// Waits until somebody waits for a lock.
fn wait_for_the_lock(app: &App) {
    let begun = Instant::now();
    let waiting = "SELECT count(*) AS n FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while app.sql(waiting) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing waits for the table");
        thread::sleep(Duration::from_millis(5));
    }
}
