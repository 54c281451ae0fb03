//! Text as people type it: trimmed, measured in code points.

use std::borrow::Cow;

use crate::config::Length;

/// Trims `value` and holds it against `length`, in code points.
///
/// # Errors
/// One sentence for the client, in the words that Django REST framework uses.
pub fn clean(value: &str, length: Length) -> Result<String, Cow<'static, str>> {
    // Postgres has no NUL in text, so it must not get that far on any engine.
    if value.contains('\0') {
        return Err("Null characters are not allowed.".into());
    }
    let value = value.trim();
    if value.is_empty() {
        return Err("This field may not be blank.".into());
    }
    let points = value.chars().count();
    if points < length.min {
        return Err(format!("Ensure this field has at least {} characters.", length.min).into());
    }
    if points > length.max {
        let text = format!("Ensure this field has no more than {} characters.", length.max);
        return Err(text.into());
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LENGTH: Length = Length { min: 2, max: 5 };

    #[test]
    fn code_points_count_not_bytes() {
        assert_eq!(clean("  🐦🐦🐦🐦🐦\n", LENGTH).unwrap(), "🐦🐦🐦🐦🐦");
        assert_eq!(
            clean("🐦🐦🐦🐦🐦🐦", LENGTH).unwrap_err(),
            "Ensure this field has no more than 5 characters."
        );
        assert_eq!(
            clean(" é ", LENGTH).unwrap_err(),
            "Ensure this field has at least 2 characters."
        );
    }

    #[test]
    fn blank_and_nul_are_refused() {
        for blank in ["", "  ", "\t\r\n", "\u{3000}"] {
            assert_eq!(clean(blank, LENGTH).unwrap_err(), "This field may not be blank.");
        }
        for nul in ["\0", "ab\0", " \0 "] {
            assert_eq!(clean(nul, LENGTH).unwrap_err(), "Null characters are not allowed.");
        }
    }

    proptest! {
        #[test]
        fn what_passes_is_within_the_length_and_cleans_to_itself(text in any::<String>()) {
            if let Ok(cleaned) = clean(&text, LENGTH) {
                prop_assert!((2..=5).contains(&cleaned.chars().count()));
                prop_assert_eq!(clean(&cleaned, LENGTH), Ok(cleaned.clone()));
            }
        }
    }
}
