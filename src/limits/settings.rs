//! The limits as settings.

use clap::Args;

use super::bucket::Limit;
use super::class::{Class, Who};

/// One line for each limit: its field, flag, variable and default.
macro_rules! settings {
    ($(#[$($doc:tt)*] $field:ident: $flag:tt $variable:tt $default:tt,)+) => {
        /// How much one account or address may do. Every limit is a flag and a variable of the
        /// form `COUNT/SECONDS`: so many at once, and as many again evenly over so many seconds.
        #[derive(Debug, Clone, Args)]
        #[command(next_help_heading = "Rate limits")]
        pub struct Settings {
            $(
                #[$($doc)*]
                #[arg(long = $flag, env = $variable, default_value = $default,
                      value_name = "COUNT/SECONDS")]
                pub $field: Limit,
            )+

            /// One address may post, follow, like, write and read as much as so many accounts
            #[arg(long = "limit-address-accounts", env = "ROOST_LIMIT_ADDRESS_ACCOUNTS",
                  default_value_t = 20, value_name = "ACCOUNTS",
                  value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
            pub address_accounts: u32,
        }
    };
}

settings! {
    /// New accounts per address, as COUNT/SECONDS
    sign_up: "limit-sign-up" "ROOST_LIMIT_SIGN_UP" "60/1800",
    /// Failed logins per address (password, token, HTTP Basic), as COUNT/SECONDS
    login: "limit-login" "ROOST_LIMIT_LOGIN" "10/300",
    /// Failed logins per user name, from wherever, as COUNT/SECONDS
    login_account: "limit-login-account" "ROOST_LIMIT_LOGIN_ACCOUNT" "25/3600",
    /// Tweets posted and deleted per account, as COUNT/SECONDS
    post: "limit-post" "ROOST_LIMIT_POST" "300/10800",
    /// Follows and unfollows per account, as COUNT/SECONDS
    follow: "limit-follow" "ROOST_LIMIT_FOLLOW" "400/86400",
    /// Likes and likes taken back per account, as COUNT/SECONDS
    like: "limit-like" "ROOST_LIMIT_LIKE" "1000/3600",
    /// Comments and all other writes per account, as COUNT/SECONDS
    write: "limit-write" "ROOST_LIMIT_WRITE" "1000/3600",
    /// Reads per account, as COUNT/SECONDS
    read: "limit-read" "ROOST_LIMIT_READ" "1500/300",
    /// Reads without a login per address, as COUNT/SECONDS
    read_anonymous: "limit-read-anonymous" "ROOST_LIMIT_READ_ANONYMOUS" "1500/300",
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
