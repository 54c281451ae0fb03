//! The `roost` program; see [`roost::cli`].

use std::process::ExitCode;

/// About a tenth off a warm page on glibc (figures in ARCHITECTURE.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    roost::cli::run(std::env::args_os())
}
