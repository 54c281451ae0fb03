//! `roost migrate`.

use super::output::say;
use crate::config::StorageConfig;
use crate::store::migrations;

/// Flags of `roost migrate`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    storage: StorageConfig,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    super::make_data_dir(&args.storage)?;
    match migrations::run(&super::long_running(&args.storage))? {
        0 => say!("The database is up to date."),
        1 => say!("1 migration ran; the database is up to date."),
        many => say!("{many} migrations ran; the database is up to date."),
    }
    Ok(())
}
