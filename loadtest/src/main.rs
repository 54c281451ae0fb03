//! Virtual users of a Roost: they log in, read, page, post, like, comment and follow. See
//! README.md for how to run them.

mod people;
mod session;

use std::time::Duration;

use goose::prelude::*;

// By name: the macro takes no paths.
use people::{
    comments, follows, likes, looks_at_somebody, pages_down, polls, posts, reads,
    reads_notifications,
};
use session::start;

#[tokio::main]
async fn main() -> Result<(), GooseError> {
    let wait = (Duration::from_secs(1), Duration::from_secs(5));
    GooseAttack::initialize()?
        // Most people read; they poll while they are there.
        .register_scenario(
            scenario!("Reader")
                .set_weight(8)?
                .set_wait_time(wait.0, wait.1)?
                .register_transaction(transaction!(start).set_on_start())
                .register_transaction(transaction!(reads).set_weight(10)?)
                .register_transaction(transaction!(pages_down).set_weight(4)?)
                .register_transaction(transaction!(polls).set_weight(10)?)
                .register_transaction(transaction!(likes).set_weight(4)?)
                .register_transaction(transaction!(looks_at_somebody).set_weight(2)?)
                .register_transaction(transaction!(reads_notifications).set_weight(1)?),
        )
        .register_scenario(
            scenario!("Writer")
                .set_weight(2)?
                .set_wait_time(wait.0, wait.1)?
                .register_transaction(transaction!(start).set_on_start())
                .register_transaction(transaction!(reads).set_weight(4)?)
                .register_transaction(transaction!(posts).set_weight(2)?)
                .register_transaction(transaction!(comments).set_weight(2)?)
                .register_transaction(transaction!(follows).set_weight(1)?),
        )
        .set_default(GooseDefault::RunTime, 60)?
        .set_default(GooseDefault::Users, 100)?
        .set_default(GooseDefault::IncreaseRate, "20")?
        .set_default(GooseDefault::ReportFile, "report.html")?
        .execute()
        .await?;
    Ok(())
}
