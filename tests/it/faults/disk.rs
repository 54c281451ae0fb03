//! A full disk: writes are refused with 503, reads go on, nothing is stored by halves, and
//! everything works again as soon as there is room.
//!
//! The data is on a file system of 16 MB that the test mounts itself, which takes root (or a
//! `sudo` that asks nothing). PostgreSQL keeps its log elsewhere, as it should.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::load::{self, Kind};
use crate::harness::{App, Setup, json, on_every_setup};

on_every_setup! {
    filled_up_and_freed,
}

const BACK_WITHIN: Duration = Duration::from_secs(5);

/// A small file system, unmounted when dropped.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(megabytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={megabytes}m,mode=0777");
        let mounted = as_root(&["mount", "-t", "tmpfs", "-o", &options, "tmpfs"], folder.path());
        assert!(mounted, "cannot mount a tmpfs: run this test as root, or leave it out by name");
        Self { folder }
    }

    /// Fills what is left with one file.
    fn fill(&self) -> PathBuf {
        let path = self.folder.path().join("ballast");
        let mut file = File::create(&path).unwrap();
        for size in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that is still going down may hold a file.
        as_root(&["umount", "--lazy"], self.folder.path());
    }
}

fn as_root(words: &[&str], folder: &Path) -> bool {
    let run = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).arg(folder).output();
        output.is_ok_and(|output| output.status.success())
    };
    run(words[0], &words[1..]) || run("sudo", &[&["-n"], words].concat())
}

fn filled_up_and_freed(setup: Setup) {
    let disk = SmallDisk::mount(if setup == Setup::Sqlite { 16 } else { 32 });
    let mut app = App::on(setup).own_postgres(&[]).stored_on(disk.folder.path()).start();
    let people = load::crowd(&app, 4);
    let png = crate::harness::photo::png();
    let files = [("files", "full.png", &png[..])];
    let photo = || people[0].post_multipart("/api/tweets/", &[("content", "look")], &files);
    let kept = photo().expect(201);

    let mut ballast = None;
    let report = load::during(&people, |pulse| {
        for _ in 0..2 {
            let file = disk.fill();
            // Room that was set aside is used up first; then no write succeeds any more.
            refused(|| people[1].post("/api/tweets/", json!({"content": "x".repeat(250)})).status);
            refused(|| photo().status);
            // Reads go on: warm, cold, and of a file.
            pulse.wait_for(0, 30);
            app.anonymous().get("/api/tweets/?user_id=1").expect(200);
            let url = kept["photo_urls"][0].as_str().unwrap();
            assert_eq!(app.anonymous().get(url).status, 200);
            std::fs::remove_file(&file).unwrap();
            let back = pulse.time_to_write(20);
            assert!(back < BACK_WITHIN, "back after {back:?}");
            ballast = Some(file);
        }
    });
    assert!(ballast.is_some());
    println!("{}", report.summary());
    report.assert_only(Some(Kind::Feed), &[200]);
    report.assert_only(Some(Kind::Read), &[200]);
    report.assert_only(None, &[200, 201, 503, 507]);
    let another = photo().expect(201);
    report.assert_kept(&app);
    assert_photos_are_whole(&app, &[&kept, &another]);
    load::assert_sound(&mut app, &people);
}

/// Waits until writes are refused, in the right words.
#[track_caller]
fn refused(write: impl Fn() -> u16) {
    let begun = Instant::now();
    loop {
        match write() {
            201 => thread::yield_now(),
            503 | 507 => return,
            other => panic!("a full disk is answered {other}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "the disk does not get full");
    }
}

/// Every photo that a tweet has is a whole file, and every tweet that was to have one has it.
fn assert_photos_are_whole(app: &App, acknowledged: &[&crate::harness::Value]) {
    let urls = app.sql_texts("SELECT url AS t FROM tweet_photos");
    for tweet in acknowledged {
        let url = tweet["photo_urls"][0].as_str().unwrap().to_owned();
        assert!(urls.contains(&url), "{url} is not among {urls:?}");
    }
    for url in &urls {
        let reply = app.anonymous().get(url);
        assert_eq!(reply.status, 200, "{url}: {}", reply.describe());
        assert!(!reply.body.is_empty());
    }
    let without = "SELECT count(*) AS n FROM tweets t WHERE content = 'look' AND NOT EXISTS \
                   (SELECT 1 FROM tweet_photos p WHERE p.tweet_id = t.id)";
    assert_eq!(app.sql(without), 0, "a tweet lost its photo");
}
