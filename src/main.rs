//! The `roost` program; see [`roost::cli`].

use std::process::ExitCode;

/// Made for many small allocations on many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    roost::cli::run(std::env::args_os())
}
