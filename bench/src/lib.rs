//! Measures Roost: every figure beside its limit or rival, taken in the same run.
//!
//! - [`parts`]: what is measured, one file per part; a new part is added to [`parts::PARTS`].
//! - [`Bench`]: what a part is given: servers, programs, effort, progress.
//! - [`data`]: databases, empty or seeded, and sessions in them.
//! - [`process`]: a running `roost` or `roost-bare`, its processor time and memory.
//! - [`load`]: an HTTP client that costs little, closed and open loops of it.
//! - [`figures`]: what a part gives back; [`report`] shows it.

pub mod bench;
pub mod data;
pub mod figures;
pub mod load;
pub mod parts;
pub mod process;
pub mod progress;
pub mod report;

pub use bench::{Bench, Effort};
pub use figures::{Figure, Goal, Plot, Section, Spread};
