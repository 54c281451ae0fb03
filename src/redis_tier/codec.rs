//! Text of what is stored, and the distrust with which it is read back.
//!
//! A list element is `epoch.created_at.tweet_id`, about 27 bytes; the very first entry of a
//! timeline carries a `$` behind it. That makes completeness a property of an element: when the
//! list is trimmed, the mark goes with it, and no length proves anything.

use crate::time::Timestamp;
use crate::timeline::Entry;

/// Marks the oldest entry of a timeline.
const FIRST_EVER: u8 = b'$';

/// A list that has passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedList {
    /// Newest first, strictly descending.
    pub entries: Vec<Entry>,
    /// Whether the timeline has no older entries.
    pub complete: bool,
}

/// Why something in Redis is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surprise {
    /// The key is of another type.
    WrongType,
    /// The key would live for ever.
    NoExpiry,
    /// The list is longer than the limit.
    TooLong,
    /// An element cannot be read, or the mark of the first entry is not at the end.
    Broken,
    /// Written before something was lost on the way to Redis.
    ForeignEpoch,
    /// The entries do not descend strictly.
    Unordered,
}

impl Surprise {
    /// The value of the metric label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Surprise::WrongType => "wrong_type",
            Surprise::NoExpiry => "no_expiry",
            Surprise::TooLong => "too_long",
            Surprise::Broken => "broken",
            Surprise::ForeignEpoch => "foreign_epoch",
            Surprise::Unordered => "unordered",
        }
    }
}

/// An entry as an element of a list.
pub fn element(epoch: i64, entry: Entry, first_ever: bool) -> String {
    let mark = if first_ever { "$" } else { "" };
    format!("{epoch}.{}.{}{mark}", entry.created_at.micros(), entry.tweet_id)
}

#[derive(Debug, PartialEq, Eq)]
struct Element {
    epoch: i64,
    entry: Entry,
    first_ever: bool,
}

fn parse_element(text: &[u8]) -> Option<Element> {
    let (text, first_ever) = match text.split_last()? {
        (&FIRST_EVER, before) => (before, true),
        _ => (text, false),
    };
    let [epoch, created_at, tweet_id] = numbers(text)?;
    let entry = Entry { created_at: Timestamp(created_at), tweet_id };
    Some(Element { epoch, entry, first_ever })
}

/// Checks a list as read: `elements` newest first, one more than `limit` if there are more.
///
/// # Errors
/// The first surprise.
pub fn decode_list<'a>(
    epoch: i64,
    limit: usize,
    elements: impl ExactSizeIterator<Item = &'a [u8]>,
) -> Result<CachedList, Surprise> {
    let length = elements.len();
    if length > limit {
        return Err(Surprise::TooLong);
    }
    let mut list = CachedList { entries: Vec::with_capacity(length), complete: false };
    for text in elements {
        let element = parse_element(text).ok_or(Surprise::Broken)?;
        if element.epoch != epoch {
            return Err(Surprise::ForeignEpoch);
        }
        if list.complete {
            return Err(Surprise::Broken);
        }
        if list.entries.last().is_some_and(|newer| newer.created_at <= element.entry.created_at) {
            return Err(Surprise::Unordered);
        }
        list.complete = element.first_ever;
        list.entries.push(element.entry);
    }
    Ok(list)
}

/// Counts as stored: `epoch.version.likes.comments`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachedCounts {
    /// Under which they were written.
    pub epoch: i64,
    /// Moves forward with every change of the row.
    pub version: i64,
    /// Likes.
    pub likes: i64,
    /// Comments; 0 for a comment.
    pub comments: i64,
}

pub(super) fn parse_counts(text: &[u8]) -> Option<CachedCounts> {
    let [epoch, version, likes, comments] = numbers(text)?;
    Some(CachedCounts { epoch, version, likes, comments })
}

/// Exactly `N` plain decimal numbers with points between them.
fn numbers<const N: usize>(text: &[u8]) -> Option<[i64; N]> {
    let mut parts = text.split(|byte| *byte == b'.');
    let mut found = [0; N];
    for place in &mut found {
        *place = number(parts.next()?)?;
    }
    parts.next().is_none().then_some(found)
}

/// Digits only, no leading zero: the scripts compare numbers as text.
fn number(digits: &[u8]) -> Option<i64> {
    let canonical = match digits {
        [] => false,
        [b'0'] => true,
        [b'0', ..] => false,
        _ => digits.iter().all(u8::is_ascii_digit),
    };
    canonical.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// Reads any bytes as what is stored: a list with one element per line, and counts. What is
/// believed must hold.
#[cfg(any(test, feature = "fuzzing"))]
pub fn probe(bytes: &[u8]) {
    const LIMIT: usize = 8;
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if let Ok(list) = decode_list(3, LIMIT, lines.iter().copied()) {
        assert!(list.entries.len() == lines.len() && lines.len() <= LIMIT);
        assert!(list.entries.is_sorted_by(|newer, older| newer.created_at > older.created_at));
        let last = lines.len() - 1;
        for (place, (entry, line)) in list.entries.iter().zip(&lines).enumerate() {
            let marked = list.complete && place == last;
            assert_eq!(element(3, *entry, marked).as_bytes(), *line, "another spelling");
        }
    }
    if let Some(CachedCounts { epoch, version, likes, comments }) = parse_counts(bytes) {
        let written = format!("{epoch}.{version}.{likes}.{comments}");
        assert_eq!(written.as_bytes(), bytes, "another spelling");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(epoch: i64, limit: usize, texts: &[&str]) -> Result<CachedList, Surprise> {
        decode_list(epoch, limit, texts.iter().map(|text| text.as_bytes()))
    }

    #[test]
    fn a_list_reads_back_with_its_completeness() {
        let list = decode(3, 5, &["3.30.3", "3.20.9", "3.10.1$"]).unwrap();
        assert_eq!(list.entries.len(), 3);
        assert_eq!(list.entries[1], Entry { created_at: Timestamp(20), tweet_id: 9 });
        assert!(list.complete);
        assert!(!decode(3, 5, &["3.30.3", "3.20.9"]).unwrap().complete, "no mark, no proof");
    }

    #[test]
    fn every_surprise_is_noticed() {
        assert_eq!(decode(3, 1, &["3.30.3", "3.20.9"]), Err(Surprise::TooLong));
        assert_eq!(decode(3, 5, &["3.30.3", "2.20.9"]), Err(Surprise::ForeignEpoch));
        assert_eq!(decode(3, 5, &["3.20.3", "3.20.9"]), Err(Surprise::Unordered));
        assert_eq!(decode(3, 5, &["3.20.3", "3.21.9"]), Err(Surprise::Unordered));
        assert_eq!(decode(3, 5, &["3.30.3$", "3.20.9"]), Err(Surprise::Broken));
        for broken in [
            "",
            "$",
            "3",
            "3.30",
            "3.30.3.3",
            "3.30.",
            "3.-30.3",
            "3.030.3",
            "3.30.3$$",
            "3.99999999999999999999.3",
            "+3.30.3",
            " 3.30.3",
            "{\"id\":3}",
        ] {
            assert_eq!(decode(3, 5, &[broken]), Err(Surprise::Broken), "{broken:?}");
        }
    }

    #[test]
    fn counts_read_back() {
        let counts = CachedCounts { epoch: 1, version: 20, likes: 0, comments: 7 };
        assert_eq!(parse_counts(b"1.20.0.7"), Some(counts));
        for broken in ["", "1.20.0", "1.20.0.7.1", "1.20.-1.7", "1.20.0.7$"] {
            assert_eq!(parse_counts(broken.as_bytes()), None, "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), epoch in 0..9i64) {
            let _ = parse_counts(&bytes);
            let _ = decode_list(epoch, 10, [bytes.as_slice()].into_iter());
        }

        /// Bytes that look like the real thing reach the deeper checks.
        #[test]
        fn no_likely_text_panics(texts in proptest::collection::vec("[0-9.$-]{0,30}", 0..6)) {
            let _ = decode_list(1, 5, texts.iter().map(|text| text.as_bytes()));
        }

        #[test]
        fn what_is_written_reads_back(
            epoch in 0..=i64::MAX, at in 0..=i64::MAX, tweet_id in 0..=i64::MAX, first_ever: bool,
        ) {
            let entry = Entry { created_at: Timestamp(at), tweet_id };
            let text = element(epoch, entry, first_ever);
            prop_assert_eq!(
                parse_element(text.as_bytes()),
                Some(Element { epoch, entry, first_ever })
            );
        }
    }
}
