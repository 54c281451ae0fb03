//! The command line: `roost` is `roost serve`; the other commands look after the database.

#![warn(clippy::print_stdout, reason = "say! does not mind a reader who has gone")]

pub mod check;
mod copy;
mod migrate;
mod output;
mod progress;
pub mod rebuild;
mod redis;
pub mod seed;
mod user;
mod why;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use crate::bus::{self, News};
use crate::config::{Config, LogFormat, StorageConfig};
use crate::logging;
use crate::store::{Conn, Db, DbConfig, nodes};

/// What all commands have in common.
const EXIT_STATUS: &str = "Exit status: 0 when all went well, 1 when it did not, 2 when an argument \
    or a setting is wrong. check, copy and why tell more by it: see their --help.";

/// Roost: a home-timeline service.
///
/// Without a command it serves. With nothing set it keeps everything in ./data and listens on
/// 127.0.0.1:8000; DATABASE_URL and REDIS_URL turn the same program into a node of a larger
/// installation.
///
/// Every setting is a flag and an environment variable: see `roost serve --help`.
#[derive(Debug, Parser)]
#[command(name = "roost", version, propagate_version = true, max_term_width = 100)]
#[command(override_usage = "roost [COMMAND] [OPTIONS]", after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service (the default)
    ///
    /// Brings the database up to date, then serves until SIGTERM or Ctrl-C. The address is
    /// printed on one line once the service is ready.
    Serve(Box<Config>),
    /// Bring the database up to date, then stop
    ///
    /// `roost serve` does the same at its start; this command is for installations that want
    /// the step on its own. Several may run at once: they wait for one another.
    Migrate(migrate::Args),
    /// Fill an empty database with made-up users, follows, tweets, likes and comments
    ///
    /// Without flags: a small set to look around in. All users share one password. The same
    /// flags give the same rows. Follows have a heavy tail: user000001 has the most followers,
    /// user000002 the next most, and so on. All or nothing: an interrupted seed leaves the
    /// database empty. May run beside the service on PostgreSQL; on SQLite it refuses to.
    Seed(seed::Args),
    /// Compare every count and every feed with the rows they come from
    ///
    /// Reads the whole database, and Redis if there is one, in bounded memory, and may run beside
    /// the service. Prints every difference. Exit status: 0 when there is none, 1 when there are some, 2 when the check
    /// itself failed.
    Check(check::Args),
    /// Count again what is counted and drop what Redis holds, of one user or of all
    ///
    /// For after `roost check` has found wrong counts. Works in small steps and may run beside
    /// the service. Nodes that run keep the counts they have in memory until these change or
    /// the node restarts.
    Rebuild(rebuild::Args),
    /// Shut or open an account, or give it a new password
    ///
    /// May run beside the service.
    User(user::Args),
    /// Copy a database into an empty one: from SQLite to PostgreSQL, or any other way
    ///
    /// The copy is one state of the source, all of it or nothing, and is checked in the end. It may
    /// run beside the service, but what is written after its start is not copied: stop the
    /// service first to move for good. Photos are files and are not touched. Exit status: 0 for
    /// a copy without differences, 1 with some, 2 when it failed.
    Copy(copy::Args),
    /// Explain why a tweet is, or is not, in somebody's feed
    ///
    /// Says what the database, Redis and, with --node, the memory of a running node hold of it,
    /// and what has become of the tasks that deliver or remove it. Only reads, and may run beside
    /// the service. Exit status: 0 when the tweet is in the feed, 1 when it is not, 2 when that
    /// could not be told.
    Why(why::Args),
}

/// What a command has to say in the end: 0 for well.
type Status = u8;

/// Runs the command that `args` ask for and returns the exit status.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match Cli::try_parse_from(with_default_command(args.into_iter().collect())) {
        Ok(cli) => cli.command,
        Err(error) => return refuse(&error),
    };
    let says_more = matches!(command, Command::Check(_) | Command::Copy(_) | Command::Why(_));
    let failed = if says_more { 2 } else { 1 };
    match execute(command) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(failed)
        }
    }
}

fn execute(command: Command) -> anyhow::Result<Status> {
    if let Command::Serve(config) = command {
        let _log = logging::start(&config.log, config.log_format, config.otlp_endpoint.as_deref())?;
        return crate::app::run(*config).map(|()| 0);
    }
    let filter = std::env::var("ROOST_LOG").unwrap_or_else(|_| "warn".into());
    let _log = logging::start(&filter, LogFormat::Text, None)?;
    match command {
        Command::Serve(_) => Ok(0),
        Command::Migrate(args) => migrate::run(&args).map(|()| 0),
        Command::Seed(args) => seed::run(&args).map(|()| 0),
        Command::Check(args) => check::run(&args),
        Command::Rebuild(args) => rebuild::run(&args).map(|()| 0),
        Command::User(args) => user::run(&args).map(|()| 0),
        Command::Copy(args) => copy::run(&args),
        Command::Why(args) => why::run(&args),
    }
}

/// `roost --listen ...` is `roost serve --listen ...`.
fn with_default_command(mut args: Vec<OsString>) -> Vec<OsString> {
    const OWN: [&str; 4] = ["-h", "--help", "-V", "--version"];
    let first = args.get(1).and_then(|arg| arg.to_str());
    let serve = match first {
        None => args.len() < 2,
        Some(word) => word.starts_with('-') && !OWN.contains(&word),
    };
    if serve {
        if args.is_empty() {
            args.push("roost".into());
        }
        args.insert(1, "serve".into());
    }
    args
}

/// Help and version go to standard output; a bad setting ends with one line that names it.
fn refuse(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    eprintln!("{}", one_line(error));
    ExitCode::from(2)
}

fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut line = text.lines().next().unwrap_or("error: bad arguments").trim_end().to_owned();
    if error.kind() == ErrorKind::MissingRequiredArgument {
        // Clap lists what is missing on the lines that follow.
        let missing: Vec<&str> =
            text.lines().skip(1).map_while(|line| line.strip_prefix("  ")).collect();
        line = format!("{line} {}", missing.join(" "));
    }
    if let Some(variable) = error.get(ContextKind::InvalidArg).and_then(variable_of) {
        line = format!("{line} (setting {variable})");
    }
    line
}

/// The environment variable of the flag that a message such as `--listen <ADDR:PORT>` names.
fn variable_of(arg: &clap::error::ContextValue) -> Option<String> {
    let clap::error::ContextValue::String(name) = arg else { return None };
    let flag = name.strip_prefix("--")?.split([' ', '=']).next()?;
    Cli::command().get_subcommands().find_map(|command| {
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(flag))?;
        Some(arg.get_env()?.to_string_lossy().into_owned())
    })
}

/// The database as a long command wants it: statements may take as long as they need.
fn long_running(storage: &StorageConfig) -> DbConfig {
    DbConfig {
        acquire_timeout: Duration::from_secs(30),
        statement_timeout: Duration::ZERO,
        ..storage.database()
    }
}

/// Makes the data directory, if the database is a file in it.
fn make_data_dir(storage: &StorageConfig) -> anyhow::Result<()> {
    if storage.database_url.as_deref().is_none_or(str::is_empty) {
        let dir = &storage.data_dir;
        std::fs::create_dir_all(dir)
            .with_context(|| format!("cannot make the data directory {}", dir.display()))?;
    }
    Ok(())
}

/// Tells the nodes that run to forget what they have in memory, when the transaction commits.
/// On SQLite nobody listens.
fn tell_nodes(conn: &mut Conn<'_>) -> diesel::QueryResult<()> {
    nodes::send(conn, &bus::encode(nodes::NAMELESS, 0, &News::of_everything()))
}

/// Opens a database that must be there already: a command that only looks must not make an
/// empty file and then find it flawless.
fn open_existing(storage: &StorageConfig) -> anyhow::Result<Db> {
    let config = long_running(storage);
    if let Some(path) = config.url.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if !std::path::Path::new(path).exists() {
            bail!("there is no database at {path}");
        }
    }
    let db = Db::open(&config)?;
    db.read_blocking(|conn| Ok(crate::store::bulk::is_empty(conn)?))
        .context("cannot read the database (if it is new: roost migrate)")?;
    Ok(db)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        let args = std::iter::once("roost").chain(args.iter().copied()).map(OsString::from);
        Cli::try_parse_from(with_default_command(args.collect()))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// A heading holds for all that clap is told of after it.
    #[test]
    fn every_flag_stands_under_its_heading() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        for arg in serve.get_arguments() {
            let name = arg.get_long().unwrap();
            let is_stored = ["db-", "data", "redis-", "media-"];
            let expected = match name {
                _ if name.starts_with("limit-") => Some("Rate limits"),
                _ if is_stored.iter().any(|start| name.starts_with(start)) => {
                    Some("Database, Redis and photos")
                }
                _ => None,
            };
            assert_eq!(arg.get_help_heading(), expected, "--{name}");
        }
    }

    #[test]
    fn serving_is_the_default() {
        for args in [&[][..], &["--listen", "127.0.0.1:0"], &["serve", "--page-size", "10"]] {
            assert!(matches!(parse(args).unwrap().command, Command::Serve(_)), "{args:?}");
        }
        assert!(matches!(parse(&["check"]).unwrap().command, Command::Check(_)));
        assert_eq!(parse(&["--help"]).unwrap_err().kind(), ErrorKind::DisplayHelp);
        assert_eq!(parse(&["fly"]).unwrap_err().kind(), ErrorKind::InvalidSubcommand);
    }

    #[test]
    fn a_bad_setting_is_one_line_that_names_it() {
        let cases = [
            (&["--listen", "nowhere"][..], "ROOST_LISTEN"),
            (&["--tweet-length", "9..1"], "ROOST_TWEET_LENGTH"),
            (&["serve", "--page-size", "0"], "ROOST_PAGE_SIZE"),
            (&["rebuild"], "--user"),
            (&["fly"], "fly"),
        ];
        for (args, expected) in cases {
            let line = one_line(&parse(args).unwrap_err());
            assert!(line.starts_with("error: ") && !line.contains('\n'), "{line:?}");
            assert!(line.contains(expected), "{line:?} names {expected}");
        }
    }
}
