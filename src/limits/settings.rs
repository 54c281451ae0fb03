//! The limits as settings.

use clap::Args;

use super::bucket::Limit;
use super::class::{Class, Who};

/// How much one account or address may do. Every limit is a flag and a variable of the form
/// `COUNT/SECONDS`: so many at once, and as many again evenly over so many seconds.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Rate limits")]
pub struct Settings {
    /// New accounts per address, as COUNT/SECONDS
    #[arg(
        long = "limit-sign-up",
        env = "ROOST_LIMIT_SIGN_UP",
        default_value = "60/1800",
        value_name = "COUNT/SECONDS"
    )]
    pub sign_up: Limit,

    /// Failed logins per address (password, token, HTTP Basic), as COUNT/SECONDS
    #[arg(
        long = "limit-login",
        env = "ROOST_LIMIT_LOGIN",
        default_value = "10/300",
        value_name = "COUNT/SECONDS"
    )]
    pub login: Limit,

    /// Failed logins per user name, from wherever, as COUNT/SECONDS
    #[arg(
        long = "limit-login-account",
        env = "ROOST_LIMIT_LOGIN_ACCOUNT",
        default_value = "25/3600",
        value_name = "COUNT/SECONDS"
    )]
    pub login_account: Limit,

    /// Tweets posted and deleted per account, as COUNT/SECONDS
    #[arg(
        long = "limit-post",
        env = "ROOST_LIMIT_POST",
        default_value = "300/10800",
        value_name = "COUNT/SECONDS"
    )]
    pub post: Limit,

    /// Follows and unfollows per account, as COUNT/SECONDS
    #[arg(
        long = "limit-follow",
        env = "ROOST_LIMIT_FOLLOW",
        default_value = "400/86400",
        value_name = "COUNT/SECONDS"
    )]
    pub follow: Limit,

    /// Likes and likes taken back per account, as COUNT/SECONDS
    #[arg(
        long = "limit-like",
        env = "ROOST_LIMIT_LIKE",
        default_value = "1000/3600",
        value_name = "COUNT/SECONDS"
    )]
    pub like: Limit,

    /// Comments and all other writes per account, as COUNT/SECONDS
    #[arg(
        long = "limit-write",
        env = "ROOST_LIMIT_WRITE",
        default_value = "1000/3600",
        value_name = "COUNT/SECONDS"
    )]
    pub write: Limit,

    /// Reads per account, as COUNT/SECONDS
    #[arg(
        long = "limit-read",
        env = "ROOST_LIMIT_READ",
        default_value = "1500/300",
        value_name = "COUNT/SECONDS"
    )]
    pub read: Limit,

    /// Reads without a login per address, as COUNT/SECONDS
    #[arg(
        long = "limit-read-anonymous",
        env = "ROOST_LIMIT_READ_ANONYMOUS",
        default_value = "1500/300",
        value_name = "COUNT/SECONDS"
    )]
    pub read_anonymous: Limit,

    /// One address may post, follow, like, write and read as much as so many accounts
    #[arg(long = "limit-address-accounts", env = "ROOST_LIMIT_ADDRESS_ACCOUNTS",
          default_value_t = 20, value_name = "ACCOUNTS",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub address_accounts: u32,
}

impl Settings {
    /// The limit of one bucket.
    pub fn limit(&self, class: Class, who: Who) -> Limit {
        let of_account = match class {
            Class::SignUp => return self.sign_up,
            Class::Login => {
                return match who {
                    Who::Address(_) => self.login,
                    Who::User(_) | Who::Name(_) => self.login_account,
                };
            }
            Class::ReadAnonymous => return self.read_anonymous,
            Class::Post => self.post,
            Class::Follow => self.follow,
            Class::Like => self.like,
            Class::Write => self.write,
            Class::Read => self.read,
        };
        match who {
            Who::User(_) | Who::Name(_) => of_account,
            Who::Address(_) => of_account.times(self.address_accounts),
        }
    }
}
