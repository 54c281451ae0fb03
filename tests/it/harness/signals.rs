//! Signals to processes that the tests have started, by process id.

use std::process::Command;

/// Sends a signal such as `TERM`, `STOP` or `CONT`; whether there was such a process.
pub fn send(signal: &str, pid: u32) -> bool {
    // The crate forbids unsafe code, so the shell makes the call.
    let kill = format!("kill -{signal} {pid} 2>/dev/null");
    Command::new("sh").arg("-c").arg(&kill).status().expect("run sh").success()
}

/// The direct children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("list /proc");
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id: &u32| parent(*id) == Some(pid)).collect()
}

/// The parent, from `/proc`; None when the process is gone.
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold blanks: the fields that follow begin after the last bracket.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}
