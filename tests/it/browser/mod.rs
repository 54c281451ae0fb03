//! The pages in a real browser, with real clicks. Not part of the everyday run, since it needs
//! Chromium: `scripts/browser-test` installs it and runs these. Screenshots are left in
//! `target/browser/`.

mod docs;
mod driver;
mod home;

use driver::{Browser, NARROW, Size, WIDE};

/// One body, a test per window.
macro_rules! in_both_windows {
    ($($story:ident),+ $(,)?) => { $(
        mod $story {
            #[test]
            #[ignore = "needs Chromium: scripts/browser-test"]
            fn narrow() {
                super::$story(super::NARROW);
            }

            #[test]
            #[ignore = "needs Chromium: scripts/browser-test"]
            fn wide() {
                super::$story(super::WIDE);
            }
        }
    )+ };
}
use in_both_windows;
