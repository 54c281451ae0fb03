//! Rate limits, per process: what one address or one account may do in a span of time.

mod bucket;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use parking_lot::Mutex;

pub use bucket::{Bucket, Limit, Verdict};

const SHARDS: usize = 32;

/// Buckets of one shard; beyond, full ones are dropped, and if none is full, all are: a flood
/// of addresses must not cost memory without end.
const SHARD_BUCKETS: usize = 8_192;

/// What is limited together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// New accounts, per address.
    SignUp,
    /// Failed logins and tokens, per address.
    Login,
    /// Tweets, per account.
    Post,
    /// Follows and unfollows, per account.
    Follow,
    /// Likes, comments and other writes, per account.
    Interact,
    /// Reads of a logged-in user, per account.
    Read,
    /// Reads of others, per address.
    ReadAnonymous,
}

impl Class {
    /// The limit of the class.
    pub fn limit(self) -> Limit {
        let (burst, period_s) = match self {
            Class::SignUp => (60, 1_800),
            Class::Login => (10, 300),
            Class::Post => (300, 10_800),
            Class::Follow => (400, 86_400),
            Class::Interact => (1_000, 3_600),
            Class::Read => (1_500, 300),
            Class::ReadAnonymous => (1_500, 300),
        };
        Limit { burst, period_s }
    }

    /// The value of the metric label `class`.
    pub fn label(self) -> &'static str {
        match self {
            Class::SignUp => "sign_up",
            Class::Login => "login",
            Class::Post => "post",
            Class::Follow => "follow",
            Class::Interact => "interact",
            Class::Read => "read",
            Class::ReadAnonymous => "read_anonymous",
        }
    }
}

/// Whose bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// An account.
    User(i64),
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
}

type Shard = Mutex<HashMap<(Class, Who), Bucket>>;

/// The buckets of this process.
pub struct RateLimits {
    shards: Box<[Shard]>,
    hasher: RandomState,
    born: Instant,
}

impl Default for RateLimits {
    fn default() -> Self {
        RateLimits {
            shards: (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect(),
            hasher: RandomState::new(),
            born: Instant::now(),
        }
    }
}

impl RateLimits {
    /// Takes a token.
    pub fn take(&self, class: Class, who: Who) -> Verdict {
        let now_ms = self.now_ms();
        let mut shard = self.shard(class, who).lock();
        if shard.len() >= SHARD_BUCKETS && !shard.contains_key(&(class, who)) {
            shard.retain(|_, bucket| !bucket.is_full(now_ms));
            if shard.len() >= SHARD_BUCKETS {
                shard.clear();
            }
        }
        shard.entry((class, who)).or_default().take(class.limit(), now_ms)
    }

    /// Gives a token back.
    pub fn give_back(&self, class: Class, who: Who) {
        if let Some(bucket) = self.shard(class, who).lock().get_mut(&(class, who)) {
            bucket.give_back(class.limit());
        }
    }

    fn shard(&self, class: Class, who: Who) -> &Shard {
        &self.shards[self.hasher.hash_one((class, who)) as usize % SHARDS]
    }

    fn now_ms(&self) -> u64 {
        self.born.elapsed().as_millis() as u64
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
    fn a_flood_of_addresses_stays_bounded() {
        let limits = RateLimits::default();
        for n in 0..400_000_u32 {
            limits.take(Class::Login, Who::address(IpAddr::V4(n.into())));
        }
        let held: usize = limits.shards.iter().map(|shard| shard.lock().len()).sum();
        assert!(held <= SHARDS * SHARD_BUCKETS, "{held}");
    }
}
