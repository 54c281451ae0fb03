//! The pagination parameters of timelines: `created_at__lt`, `created_at__gt`, `page_size`.

use std::borrow::Cow;

use super::ApiError;
use super::form::{self, Pair};
use crate::time::Timestamp;
use crate::timeline::Range;

/// Largest page a client may ask for.
pub const LARGEST_PAGE: usize = 100;

/// Which part of a timeline a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// Between the cursors.
    pub range: Range,
    /// Items wanted.
    pub size: usize,
}

/// Query parameters, decoded; the last of a repeated name counts.
#[derive(Debug, Default, Clone)]
pub struct Params<'a>(Vec<Pair<'a>>);

impl<'a> Params<'a> {
    /// Reads a query string.
    ///
    /// # Errors
    /// 400 for one that is not UTF-8 after decoding, or has too many parameters.
    pub fn parse(query: &'a str) -> Result<Params<'a>, ApiError> {
        const MOST: usize = 64;
        if query.is_empty() {
            return Ok(Params::default());
        }
        if query.split('&').count() > MOST {
            return Err(ApiError::Malformed("Too many parameters.".into()));
        }
        form::pairs(query.as_bytes())
            .map(Params)
            .ok_or(ApiError::Malformed("The query string is malformed.".into()))
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    /// A positive 64-bit id.
    ///
    /// # Errors
    /// 400 when it is there and is none.
    pub fn id(&self, name: &'static str) -> Result<Option<i64>, ApiError> {
        self.get(name).map(|text| parse_id(text).ok_or_else(|| bad_id(name))).transpose()
    }

    /// A positive 64-bit id that must be there.
    ///
    /// # Errors
    /// 400 when it is not there or is none.
    pub fn required_id(&self, name: &'static str) -> Result<i64, ApiError> {
        match self.get(name) {
            None | Some("") => Err(ApiError::Missing(vec![name])),
            Some(text) => parse_id(text).ok_or_else(|| bad_id(name)),
        }
    }

    /// A cursor.
    ///
    /// # Errors
    /// 400 when it is there and is no timestamp.
    pub fn cursor(&self, name: &'static str) -> Result<Option<Timestamp>, ApiError> {
        const FORM: &str = "Enter a valid date/time in ISO 8601 format, such as \
             2026-11-23T18:58:21.810818Z.";
        self.get(name)
            .map(|text| Timestamp::parse(text).ok_or_else(|| ApiError::field(name, FORM)))
            .transpose()
    }

    /// A positive number; one of more than nine digits is the largest of nine.
    ///
    /// # Errors
    /// 400 when it is there and is none.
    pub fn number(&self, name: &'static str) -> Result<Option<usize>, ApiError> {
        self.get(name)
            .map(|text| {
                const LARGEST: usize = 999_999_999;
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let number = |text: &str| text.parse().map_or(LARGEST, |n: usize| n.min(LARGEST));
                digits
                    .then(|| number(text))
                    .filter(|number| *number > 0)
                    .ok_or_else(|| ApiError::field(name, "A valid positive integer is required."))
            })
            .transpose()
    }

    /// The part of a timeline that is asked for. A poll for newer entries alone gets them all,
    /// up to `list_limit`.
    ///
    /// # Errors
    /// 400 with the parameter's name for each value that is not acceptable.
    pub fn page(&self, page_size: usize, list_limit: usize) -> Result<PageRequest, ApiError> {
        let mut complaints = Complaints::default();
        let older_than = complaints.hear(self.cursor("created_at__lt"))?;
        let newer_than = complaints.hear(self.cursor("created_at__gt"))?;
        let size = match complaints.hear(self.number("page_size"))? {
            Some(size) if size > LARGEST_PAGE => {
                complaints.add("page_size", "At most 100.");
                page_size
            }
            Some(size) => size,
            None => page_size,
        };
        complaints.none()?;
        let is_poll = newer_than.is_some() && older_than.is_none();
        Ok(PageRequest {
            range: Range {
                older_than: older_than.unwrap_or(Range::ALL.older_than),
                newer_than: newer_than.unwrap_or(Range::ALL.newer_than),
            },
            size: if is_poll { list_limit } else { size },
        })
    }
}

/// Complaints about several parameters, told together.
#[derive(Default)]
struct Complaints(Vec<(&'static str, Cow<'static, str>)>);

impl Complaints {
    fn add(&mut self, name: &'static str, text: &'static str) {
        self.0.push((name, text.into()));
    }

    /// The value; a complaint is kept for later. Other errors are passed on.
    fn hear<T>(&mut self, result: Result<Option<T>, ApiError>) -> Result<Option<T>, ApiError> {
        match result {
            Err(ApiError::Validation(complaints)) => {
                self.0.extend(complaints);
                Ok(None)
            }
            other => other,
        }
    }

    fn none(self) -> Result<(), ApiError> {
        if self.0.is_empty() { Ok(()) } else { Err(ApiError::Validation(self.0)) }
    }
}

/// Digits only: no sign, no blanks, no other notation.
pub fn parse_id(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.len() <= 19 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|id| *id > 0)
}

/// An id in a path; what is none names nothing.
///
/// # Errors
/// 404.
pub fn path_id(text: &str) -> Result<i64, ApiError> {
    parse_id(text).ok_or(super::error::NOT_FOUND)
}

fn bad_id(name: &'static str) -> ApiError {
    ApiError::field(name, "A valid integer is required.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain_positive_numbers() {
        assert_eq!(parse_id("9223372036854775807"), Some(i64::MAX));
        for bad in ["", "0", "-1", "+1", " 1", "1e3", "0x10", "9223372036854775808", "1.0", "x"] {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_of_any_length_are_numbers() {
        let number = |query: &str| Params::parse(query).unwrap().number("n");
        assert_eq!(number("n=20"), Ok(Some(20)));
        assert_eq!(number("n=1811087877"), Ok(Some(999_999_999)));
        assert_eq!(number(&format!("n={}", "9".repeat(400))), Ok(Some(999_999_999)));
        for bad in ["", "0", "00", "-1", "+1", "1.0", "1e3", "x"] {
            assert!(number(&format!("n={bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_poll_is_bounded_by_the_list_and_a_page_by_its_size() {
        let page = |query: &str| Params::parse(query).unwrap().page(20, 1000);
        assert_eq!(page("").unwrap().size, 20);
        assert_eq!(page("page_size=7").unwrap().size, 7);
        assert_eq!(page("created_at__gt=2026-11-23T18:58:21Z").unwrap().size, 1000);
        let both = "created_at__gt=2026-11-23T18:58:21Z&created_at__lt=2026-11-24T18:58:21%2B00:00";
        assert_eq!(page(both).unwrap().size, 20);
        for bad in
            ["page_size=0", "page_size=101", "page_size=x", "created_at__lt=", "created_at__gt=1"]
        {
            assert!(page(bad).is_err(), "{bad}");
        }
    }
}
