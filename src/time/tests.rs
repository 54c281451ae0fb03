use proptest::prelude::*;

use super::*;

#[test]
fn prints_six_digits_and_z() {
    let moment = Timestamp::parse("2026-11-23T18:58:21.810818Z").unwrap();
    assert_eq!(moment.to_string(), "2026-11-23T18:58:21.810818Z");
    assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000000Z");
}

#[test]
fn reads_offsets_blanks_and_short_fractions() {
    let utc = Timestamp::parse("2026-11-23T18:58:21.500000Z").unwrap();
    for same in [
        "2026-11-23 18:58:21.5Z",
        "2026-11-23T20:58:21.5+02:00",
        "2026-11-23T17:28:21.50-0130",
        "2026-11-23T19:58:21.5+01",
    ] {
        assert_eq!(Timestamp::parse(same), Some(utc), "{same}");
    }
}

#[test]
fn refuses_everything_else() {
    for bad in [
        "",
        "x",
        "2026-11-23",
        "2026-11-23T18:58:21",
        "2026-11-23T18:58:21.1234567Z",
        "2026-11-23T18:58:21.Z",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-23T23:59:60Z",
        "9999-99-99T00:00:00Z",
        "+99999-01-01T00:00:00Z",
        "-infinity",
        "2026-11-23T18:58:21 00:00",
        "2026-11-23T18:58:21+24:00",
        "0000-01-01T00:00:00Z",
        "2026-11-23T18:58:21\u{e9}Z",
    ] {
        assert_eq!(Timestamp::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_clock_stepped_back_still_moves_forward() {
    let wall = Arc::new(AtomicI64::new(1_000));
    let source = wall.clone();
    let clock = Clock::from_source(move || source.load(Ordering::SeqCst));
    assert_eq!(clock.now(), Timestamp(1_000));
    wall.store(10, Ordering::SeqCst);
    assert_eq!(clock.now(), Timestamp(1_001));
    assert_eq!(clock.now(), Timestamp(1_002));
    wall.store(5_000, Ordering::SeqCst);
    assert_eq!(clock.now(), Timestamp(5_000));
}

proptest! {
    #[test]
    fn printing_and_reading_agree(micros in OLDEST_MICROS..=NEWEST_MICROS) {
        let text = Timestamp(micros).to_string();
        prop_assert_eq!(text.len(), ISO_LENGTH);
        prop_assert_eq!(Timestamp::parse(&text), Some(Timestamp(micros)));
        let chrono = chrono::DateTime::from_timestamp_micros(micros).unwrap();
        prop_assert_eq!(text, chrono.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string());
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        let _ = Timestamp::parse(&text);
    }
}
