//! `name=value&...`, as in query strings and forms.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// A name and its value.
pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The pairs, decoded; `None` when the text is not UTF-8 once decoded (the decoder itself
/// would put replacement characters, and so store what nobody has sent).
pub fn pairs(encoded: &[u8]) -> Option<Vec<Pair<'_>>> {
    if let Some(plain) = plain(encoded) {
        return Some(plain);
    }
    percent_decode(encoded).decode_utf8().ok()?;
    serde_urlencoded::from_bytes(encoded).ok()
}

/// The pairs of text in which nothing is encoded, as most cursors are.
fn plain(text: &[u8]) -> Option<Vec<Pair<'_>>> {
    let is_plain = text.iter().all(|byte| byte.is_ascii() && !matches!(byte, b'%' | b'+'));
    let text = std::str::from_utf8(text).ok().filter(|_| is_plain)?;
    let parts = text.split('&').filter(|part| !part.is_empty());
    let pairs = parts.map(|part| part.split_once('=').unwrap_or((part, "")));
    Some(pairs.map(|(name, value)| (name.into(), value.into())).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_unicode_is_refused() {
        assert_eq!(pairs(b"a=%C3%A9+b"), Some(vec![("a".into(), "\u{e9} b".into())]));
        assert_eq!(pairs(b""), Some(vec![]));
        for bad in [&b"a=%FF"[..], b"a=\xff", b"%C3=1", b"a=%C3&b=%A9"] {
            assert_eq!(pairs(bad), None, "{bad:?}");
        }
    }

    proptest! {
        /// The short way gives what the decoder gives.
        #[test]
        fn plain_text_is_read_as_the_decoder_reads_it(text in "[a-c=&_: ]{0,24}") {
            let decoded: Vec<Pair> =
                serde_urlencoded::from_bytes(text.as_bytes()).unwrap();
            prop_assert_eq!(pairs(text.as_bytes()), Some(decoded));
        }
    }
}
