//! `roost user`: an account shut, opened, or given a new password.

use std::io::BufRead;

use anyhow::{Context, bail};
use clap::Subcommand;
use tokio::runtime::Runtime;

use super::output::say;
use crate::accounts::{AccountError, Accounts, Rules, Settings, TRUSTED_FOR};
use crate::bus::Bus;
use crate::config::{Length, StorageConfig};
use crate::store::{Db, Engine, users};
use crate::time::Clock;

/// Bytes of randomness in a made-up password: 144 bits, 24 characters.
const PASSWORD_BYTES: usize = 18;

/// Flags of `roost user`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Tell what is known of an account: id, name, whether it is disabled
    Show(Whom),
    /// Shut an account: its sessions and tokens end, nobody can log in; what it posted stays
    Disable(Whom),
    /// Open an account again
    Enable(Whom),
    /// Give an account a new password and end its sessions and tokens
    ///
    /// Prints a made-up password, or takes the first line of standard input with --stdin. A
    /// password on the command line would be seen by everybody on the machine.
    ResetPassword(Reset),
}

#[derive(Debug, clap::Args)]
struct Whom {
    /// The user's name, or id
    #[arg(value_name = "NAME|ID")]
    user: String,

    #[command(flatten)]
    storage: StorageConfig,
}

#[derive(Debug, clap::Args)]
struct Reset {
    /// Read the new password from the first line of standard input
    #[arg(long)]
    stdin: bool,

    /// Length of a password
    #[arg(long, env = "ROOST_PASSWORD_LENGTH", default_value = "8..128", value_name = "MIN..MAX")]
    password_length: Length,

    #[command(flatten)]
    whom: Whom,
}

/// Carries out the action.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.action {
        Action::Show(whom) => show(whom),
        Action::Disable(whom) => set_disabled(whom, true),
        Action::Enable(whom) => set_disabled(whom, false),
        Action::ResetPassword(reset) => reset_password(reset),
    }
}

fn show(whom: &Whom) -> anyhow::Result<()> {
    let (_, account) = open(whom)?;
    let state = if account.disabled { "disabled" } else { "open" };
    say!("{} {} {state}, since {}", account.id, account.username, account.created_at);
    Ok(())
}

fn set_disabled(whom: &Whom, disabled: bool) -> anyhow::Result<()> {
    let (db, account) = open(whom)?;
    let (runtime, accounts) = open_accounts(db, &whom.storage, Length { min: 1, max: 128 })?;
    runtime.block_on(accounts.set_disabled(account.id, disabled))?;
    let done = if disabled { "disabled" } else { "open" };
    say!("{} is {done}; {}.", account.username, when_noticed(&whom.storage)?);
    Ok(())
}

fn reset_password(reset: &Reset) -> anyhow::Result<()> {
    let (db, account) = open(&reset.whom)?;
    let (runtime, accounts) = open_accounts(db, &reset.whom.storage, reset.password_length)?;
    let password = if reset.stdin { read_password()? } else { make_password()? };
    match runtime.block_on(accounts.reset_password(account.id, &password)) {
        Err(AccountError::Invalid(complaints)) => {
            let told: Vec<&str> =
                complaints.iter().map(|(_, complaint)| complaint.as_ref()).collect();
            bail!("{}", told.join(" "));
        }
        other => other?,
    }
    if !reset.stdin {
        say!("{password}");
    }
    eprintln!("{} has a new password; {}.", account.username, when_noticed(&reset.whom.storage)?);
    Ok(())
}

/// On Postgres nodes tell each other, and so does this command.
fn when_noticed(storage: &StorageConfig) -> anyhow::Result<String> {
    Ok(match storage.database().engine()? {
        Engine::Postgres => "running nodes have been told".to_owned(),
        Engine::Sqlite => {
            format!("a running service notices within {} s", TRUSTED_FOR.as_secs())
        }
    })
}

fn read_password() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("cannot read standard input")?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

fn make_password() -> anyhow::Result<String> {
    use base64::Engine as _;
    let mut bytes = [0; PASSWORD_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

fn open(whom: &Whom) -> anyhow::Result<(Db, users::Account)> {
    let db = super::open_existing(&whom.storage)?;
    let account = find(&db, &whom.user)?;
    Ok((db, account))
}

/// Somebody by name or id.
pub(super) fn find(db: &Db, user: &str) -> anyhow::Result<users::Account> {
    let wanted = user.trim().to_lowercase();
    let found = db.read_blocking(|conn| Ok(users::find(conn, &wanted)?))?;
    found.with_context(|| format!("there is no user {user:?}"))
}

fn open_accounts(
    db: Db,
    storage: &StorageConfig,
    password: Length,
) -> anyhow::Result<(Runtime, Accounts)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let rules = Rules { username: Length { min: 1, max: 10_000 }, password };
    let settings = Settings { rules, trusted_for: TRUSTED_FOR };
    // It speaks and does not listen.
    let bus = Bus::new(&storage.database(), &db)?;
    Ok((runtime, Accounts::new(db, Clock::system(), settings)?.telling(bus)))
}
