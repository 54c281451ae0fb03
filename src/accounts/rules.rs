//! What names, addresses and passwords may look like.

use std::borrow::Cow;

use super::passwords::MAX_BYTES;
use crate::config::Length;

/// Longest e-mail address, in characters (RFC 5321 leaves room for 254).
pub const EMAIL_MAX: usize = 254;

/// What [`is_username`] takes, as a regular expression; before folding, capitals too.
pub const USERNAME_PATTERN: &str = "^[A-Za-z0-9_]+$";

/// A complaint, in one sentence for the client.
pub type Complaint = Cow<'static, str>;

/// The settings that the rules depend on.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Length of a user name, in characters.
    pub username: Length,
    /// Length of a password, in code points.
    pub password: Length,
}

impl Rules {
    /// A user name in the form in which it is stored: trimmed, in lower case.
    ///
    /// # Errors
    /// A sentence for the client.
    pub fn username(&self, text: &str) -> Result<String, Complaint> {
        let name = fold_username(text);
        if name.is_empty() {
            return Err("This field may not be blank.".into());
        }
        if !is_username(&name) {
            return Err("Use only letters from a to z, digits and underscores.".into());
        }
        fits(&name, self.username)?;
        Ok(name)
    }

    /// Whether the password is acceptable. It is what was typed: neither trimmed nor folded.
    ///
    /// # Errors
    /// A sentence for the client.
    pub fn password(&self, text: &str) -> Result<(), Complaint> {
        if text.is_empty() {
            return Err("This field may not be blank.".into());
        }
        fits(text, self.password)?;
        if text.len() > MAX_BYTES {
            return Err(format!("Ensure this field has no more than {MAX_BYTES} bytes.").into());
        }
        Ok(())
    }
}

/// How a user name is looked up: trimmed, in lower case. Only ASCII has a case here: a letter
/// that merely becomes an `a`..`z` when folded (the Kelvin sign) would pass for another name.
pub fn fold_username(text: &str) -> String {
    text.trim().to_ascii_lowercase()
}

/// Whether anybody can have this name. What cannot be is not worth a query.
pub fn is_username(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !name.is_empty() && name.bytes().all(plain)
}

/// An address in the form in which it is stored: trimmed, in lower case. Only the shape is
/// checked; whether mail arrives can be found out only by sending some.
///
/// # Errors
/// A sentence for the client.
pub fn email(text: &str) -> Result<String, Complaint> {
    let address = text.trim().to_lowercase();
    if address.is_empty() {
        return Err("This field may not be blank.".into());
    }
    if address.chars().count() > EMAIL_MAX {
        return Err(format!("Ensure this field has no more than {EMAIL_MAX} characters.").into());
    }
    if !has_email_shape(&address) {
        return Err("Enter a valid email address.".into());
    }
    Ok(address)
}

fn has_email_shape(address: &str) -> bool {
    let Some((local, domain)) = address.split_once('@') else { return false };
    let odd = |letter: char| letter.is_whitespace() || letter.is_control();
    !local.is_empty()
        && !domain.contains('@')
        && domain.contains('.')
        && domain.split('.').all(|label| !label.is_empty())
        && !address.contains(odd)
}

fn fits(text: &str, length: Length) -> Result<(), Complaint> {
    let points = text.chars().count();
    if points < length.min {
        return Err(format!("Ensure this field has at least {} characters.", length.min).into());
    }
    if points > length.max {
        let text = format!("Ensure this field has no more than {} characters.", length.max);
        return Err(text.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules =
        Rules { username: Length { min: 3, max: 20 }, password: Length { min: 8, max: 2000 } };

    #[test]
    fn user_names_are_folded_and_plain() {
        assert_eq!(RULES.username(" Ann_9 ").unwrap(), "ann_9");
        assert_eq!(RULES.username(&"z".repeat(20)).unwrap(), "z".repeat(20));
        let long = "a".repeat(21);
        for bad in [
            "",
            " ",
            "ab",
            &long,
            "two words",
            "a-b-c",
            "ännchen",
            "ann@x",
            "ann\u{200b}",
            "\u{212a}elvin",
            "ann\0",
            "ann'--",
        ] {
            assert!(RULES.username(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn passwords_count_code_points_and_bytes() {
        for good in ["12345678", "        ", &"é".repeat(8), &"🐔".repeat(256)] {
            assert_eq!(RULES.password(good), Ok(()), "{good}");
        }
        for bad in ["", "1234567", &"é".repeat(7), &"p".repeat(1025), &"🐔".repeat(257)] {
            assert!(RULES.password(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_have_the_shape_of_one() {
        for (typed, stored) in [
            ("Ann.Lee@Example.COM", "ann.lee@example.com"),
            (" a+b@x.y ", "a+b@x.y"),
            ("ÄNN@bücher.example", "änn@bücher.example"),
        ] {
            assert_eq!(email(typed).unwrap(), stored);
        }
        let long = format!("{}@example.com", "a".repeat(243));
        for bad in [
            "",
            "plain",
            "@example.com",
            "a@",
            "a@b",
            "a@.com",
            "a@b..c",
            "a@b.c.",
            "a b@c.d",
            "a@b@c.example",
            "a\0@b.c",
            "a@b.c\u{7}d",
            "a@b.\u{3000}c",
            &long,
        ] {
            assert!(email(bad).is_err(), "{bad:?}");
        }
        assert!(email(&long[1..]).is_ok(), "254 characters");
    }
}
