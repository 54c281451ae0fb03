//! `name=value&...`, as in query strings and forms.

use percent_encoding::percent_decode;

/// The pairs, decoded; `None` when the text is not UTF-8 once decoded (the decoder itself
/// would put replacement characters, and so store what nobody has sent).
pub fn pairs(encoded: &[u8]) -> Option<Vec<(String, String)>> {
    percent_decode(encoded).decode_utf8().ok()?;
    serde_urlencoded::from_bytes(encoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_unicode_is_refused() {
        assert_eq!(pairs(b"a=%C3%A9+b"), Some(vec![("a".into(), "\u{e9} b".into())]));
        assert_eq!(pairs(b""), Some(vec![]));
        for bad in [&b"a=%FF"[..], b"a=\xff", b"%C3=1", b"a=%C3&b=%A9"] {
            assert_eq!(pairs(bad), None, "{bad:?}");
        }
    }
}
