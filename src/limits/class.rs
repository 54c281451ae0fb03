//! What is limited together, and for whom.

use std::net::{IpAddr, Ipv6Addr};

use sha2::{Digest, Sha256};

/// What is limited together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// New accounts.
    SignUp,
    /// Passwords that turn out to be wrong.
    Login,
    /// Tweets.
    Post,
    /// Follows and unfollows.
    Follow,
    /// Likes.
    Like,
    /// Comments and other writes.
    Write,
    /// Reads of somebody who is logged in.
    Read,
    /// Reads of others.
    ReadAnonymous,
}

impl Class {
    /// The value of the metric label `class`, and the word in keys.
    pub fn label(self) -> &'static str {
        match self {
            Class::SignUp => "sign_up",
            Class::Login => "login",
            Class::Post => "post",
            Class::Follow => "follow",
            Class::Like => "like",
            Class::Write => "write",
            Class::Read => "read",
            Class::ReadAnonymous => "read_anonymous",
        }
    }

    /// Whether it is so frequent and so harmless that the nodes only compare notes.
    pub fn is_read(self) -> bool {
        matches!(self, Class::Read | Class::ReadAnonymous)
    }
}

/// Whose bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// An account.
    User(i64),
    /// A user name that somebody claims to have, whether it exists or not; hashed, because what
    /// people type into that field is theirs.
    Name([u8; 16]),
    /// An address; of IPv6 the /64, which one customer has to itself.
    Address(IpAddr),
}

impl Who {
    /// The address as it is limited.
    pub fn address(ip: IpAddr) -> Who {
        Who::Address(match ip {
            IpAddr::V4(_) => ip,
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => IpAddr::V4(v4),
                None => {
                    let [a, b, c, d, ..] = v6.segments();
                    IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
                }
            },
        })
    }

    /// The name as it is limited; `folded` as accounts are looked up.
    pub fn name(folded: &str) -> Who {
        let digest: [u8; 32] = Sha256::digest(folded.as_bytes()).into();
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Who::Name(half)
    }

    /// A text of letters, digits, `.`, `:` and `-`, one for each.
    pub fn label(self) -> String {
        match self {
            Who::User(id) => format!("user-{id}"),
            Who::Name(half) => format!("name-{:032x}", u128::from_be_bytes(half)),
            Who::Address(ip) => format!("address-{ip}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_share_a_bucket() {
        let who = |text: &str| Who::address(text.parse().unwrap());
        assert_eq!(who("2001:db8:1:2::1"), who("2001:db8:1:2:ffff::9"));
        assert_ne!(who("2001:db8:1:2::1"), who("2001:db8:1:3::1"));
        assert_eq!(who("::ffff:192.0.2.1"), who("192.0.2.1"));
    }

    #[test]
    fn labels_are_plain_and_different() {
        let odd = "a}{*\r\nEVAL ' b";
        let all = [
            Who::User(7).label(),
            Who::name("7").label(),
            Who::name(odd).label(),
            Who::address("192.0.2.1".parse().unwrap()).label(),
            Who::address("2001:db8::1".parse().unwrap()).label(),
        ];
        for label in &all {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:-".contains(&byte);
            assert!(label.bytes().all(plain), "{label}");
            assert_eq!(all.iter().filter(|other| *other == label).count(), 1, "{label}");
        }
    }
}
