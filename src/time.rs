//! Time in Roost: microseconds since the Unix epoch, in UTC.
//!
//! One integer has the same order and the same equality in both databases, in Redis and in
//! memory, which no engine's timestamp type has. Text appears only at the HTTP edge.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::NaiveDate;
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::BigInt;

/// A moment, in microseconds since the Unix epoch (UTC).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, AsExpression, FromSqlRow,
)]
#[diesel(sql_type = BigInt)]
pub struct Timestamp(pub i64);

/// Years that are accepted and printed: four digits, so that text order is time order.
const OLDEST_MICROS: i64 = -62_135_596_800_000_000; // 0001-01-01T00:00:00Z
const NEWEST_MICROS: i64 = 253_402_300_799_999_999; // 9999-12-31T23:59:59.999999Z

/// Length of the printed form, `2026-11-23T18:58:21.810818Z`.
const ISO_LENGTH: usize = 27;

impl Timestamp {
    /// Older than everything.
    pub const MIN: Timestamp = Timestamp(i64::MIN);

    /// Microseconds since the epoch.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Reads ISO-8601 with `T` or a blank between date and time, up to six fractional digits,
    /// and `Z` or an offset. Anything else, and years outside 1..=9999, is `None`.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let bytes = text.as_bytes();
        // "2026-11-23T18:58:21Z" is the shortest form, six digits and "+00:00" the longest.
        if !(20..=32).contains(&bytes.len()) || !matches!(bytes[10], b'T' | b' ') {
            return None;
        }
        let shape_holds = bytes[..19].iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            10 => true,
            13 | 16 => *byte == b':',
            _ => byte.is_ascii_digit(),
        });
        if !shape_holds || &bytes[17..19] == b"60" {
            return None;
        }
        let (fraction, zone) = split_fraction(text.get(19..)?)?;
        let number = |digits: std::ops::Range<usize>| {
            bytes[digits].iter().fold(0_u32, |sum, byte| sum * 10 + u32::from(byte - b'0'))
        };
        let seconds = NaiveDate::from_ymd_opt(number(0..4) as i32, number(5..7), number(8..10))?
            .and_hms_opt(number(11..13), number(14..16), number(17..19))?
            .and_utc()
            .timestamp();
        let micros = (seconds - offset_seconds(zone)?) * 1_000_000 + fraction;
        (OLDEST_MICROS..=NEWEST_MICROS).contains(&micros).then_some(Timestamp(micros))
    }

    /// Appends the contract's form: ISO-8601, six fractional digits, `Z`. A page has one per
    /// item, so it is done in 32 bits and without a loop that depends on the value.
    pub fn write_iso(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.iso());
    }

    fn iso(self) -> [u8; ISO_LENGTH] {
        let micros = self.0.clamp(OLDEST_MICROS, NEWEST_MICROS) - OLDEST_MICROS;
        let in_day = micros % 86_400_000_000;
        let (year, month, day) = civil_from_days((micros / 86_400_000_000) as u32);
        let (seconds, fraction) = ((in_day / 1_000_000) as u32, (in_day % 1_000_000) as u32);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        debug_assert_eq!(text.len(), ISO_LENGTH);
        write_pair(&mut text, 0, year / 100);
        write_pair(&mut text, 2, year % 100);
        write_pair(&mut text, 5, month);
        write_pair(&mut text, 8, day);
        write_pair(&mut text, 11, seconds / 3600);
        write_pair(&mut text, 14, seconds / 60 % 60);
        write_pair(&mut text, 17, seconds % 60);
        write_pair(&mut text, 20, fraction / 10_000);
        write_pair(&mut text, 22, fraction / 100 % 100);
        write_pair(&mut text, 24, fraction % 100);
        text
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.iso()).unwrap_or_default())
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<DB: Backend> ToSql<BigInt, DB> for Timestamp
where
    i64: ToSql<BigInt, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        self.0.to_sql(out)
    }
}

impl<DB: Backend> FromSql<BigInt, DB> for Timestamp
where
    i64: FromSql<BigInt, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        i64::from_sql(bytes).map(Timestamp)
    }
}

/// Splits `.123456Z` into microseconds and the zone.
fn split_fraction(rest: &str) -> Option<(i64, &str)> {
    let Some(after_point) = rest.strip_prefix('.') else {
        return Some((0, rest));
    };
    let digits = after_point.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=6).contains(&digits) {
        return None;
    }
    let value: i64 = after_point[..digits].parse().ok()?;
    let scale = 10_i64.pow(6 - digits as u32);
    Some((value * scale, &after_point[digits..]))
}

/// `Z`, `+hh:mm`, `-hh:mm`, `+hhmm` or `+hh`, in seconds east of UTC.
fn offset_seconds(zone: &str) -> Option<i64> {
    if zone == "Z" || zone == "z" {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits = match zone.as_bytes()[1..] {
        [h, hh, b':', m, mm] | [h, hh, m, mm] => [h, hh, m, mm],
        [h, hh] => [h, hh, b'0', b'0'],
        _ => return None,
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let [h, hh, m, mm] = digits.map(|digit| i64::from(digit - b'0'));
    let (hours, minutes) = (10 * h + hh, 10 * m + mm);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Year, month and day of a day, counted from 0001-01-01. Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>), for years after 0.
fn civil_from_days(days: u32) -> (u32, u32, u32) {
    // His days begin with March of the year 0.
    let shifted = days + 306;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u32::from(month <= 2);
    (year, month, day)
}

/// Writes two digits at `at`. Inlined, so that neither place nor bounds are looked at.
#[inline(always)]
fn write_pair(text: &mut [u8; ISO_LENGTH], at: usize, value: u32) {
    text[at] = b'0' + (value / 10) as u8;
    text[at + 1] = b'0' + (value % 10) as u8;
}

/// The process clock: never goes back, never gives the same microsecond twice.
///
/// What orders timelines across restarts and nodes is the clock row in the database
/// (`store::clock`); this one feeds it, and orders what only this process compares.
#[derive(Clone)]
pub struct Clock {
    source: Arc<dyn Fn() -> i64 + Send + Sync>,
    last: Arc<AtomicI64>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Clock {
        Clock::from_source(|| match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        })
    }

    /// A clock that reads `source`, in microseconds since the epoch; for tests.
    pub fn from_source(source: impl Fn() -> i64 + Send + Sync + 'static) -> Clock {
        Clock { source: Arc::new(source), last: Arc::new(AtomicI64::new(0)) }
    }

    /// A moment later than any this clock has given before, at or after the source's time.
    pub fn now(&self) -> Timestamp {
        let wall = (self.source)();
        let step = |last: i64| Some(wall.max(last + 1));
        let previous = match self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, step) {
            Ok(previous) | Err(previous) => previous,
        };
        Timestamp(wall.max(previous + 1))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests;
