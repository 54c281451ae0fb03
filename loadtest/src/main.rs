//! Virtual users of a Roost: they log in, read, page, post, like, comment and follow. See
//! README.md for how to run them.

mod people;
mod session;

use std::time::Duration;

use goose::prelude::*;

#[tokio::main]
async fn main() -> Result<(), GooseError> {
    let wait = (Duration::from_secs(1), Duration::from_secs(5));
    GooseAttack::initialize()?
        // Most people read; they poll while they are there.
        .register_scenario(
            scenario!("Reader")
                .set_weight(8)?
                .set_wait_time(wait.0, wait.1)?
                .register_transaction(transaction!(session::start).set_on_start())
                .register_transaction(transaction!(people::reads).set_weight(10)?)
                .register_transaction(transaction!(people::pages_down).set_weight(4)?)
                .register_transaction(transaction!(people::polls).set_weight(10)?)
                .register_transaction(transaction!(people::likes).set_weight(4)?)
                .register_transaction(transaction!(people::looks_at_somebody).set_weight(2)?)
                .register_transaction(transaction!(people::reads_notifications).set_weight(1)?),
        )
        .register_scenario(
            scenario!("Writer")
                .set_weight(2)?
                .set_wait_time(wait.0, wait.1)?
                .register_transaction(transaction!(session::start).set_on_start())
                .register_transaction(transaction!(people::reads).set_weight(4)?)
                .register_transaction(transaction!(people::posts).set_weight(2)?)
                .register_transaction(transaction!(people::comments).set_weight(2)?)
                .register_transaction(transaction!(people::follows).set_weight(1)?),
        )
        .set_default(GooseDefault::RunTime, 60)?
        .set_default(GooseDefault::Users, 100)?
        .set_default(GooseDefault::HatchRate, "20")?
        .set_default(GooseDefault::ReportFile, "report.html")?
        .execute()
        .await?;
    Ok(())
}
