//! One running `roost`: started on port 0, watched through its standard output,
//! stopped by its own process id.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::signals;

/// The one line that tells where a server listens.
const READY: &str = "Roost listens on ";
const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// The binary under test with no setting inherited from whoever runs the tests. Long runs may
/// name an optimised one in `ROOST_TEST_BINARY`.
pub fn roost_command() -> Command {
    let binary = std::env::var_os("ROOST_TEST_BINARY");
    let binary = binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_roost").into());
    without_settings(Command::new(binary))
}

/// A script with as few settings.
fn shell_command(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script);
    without_settings(command)
}

fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("ROOST_")
            || name_text == "DATABASE_URL"
            || name_text == "REDIS_URL"
        {
            command.env_remove(&name);
        }
    }
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// A server that has said it is ready.
pub struct Process {
    child: Child,
    /// `http://127.0.0.1:PORT`, as printed.
    pub url: String,
}

impl Process {
    /// Starts the server and waits for its ready line; its log goes to the end of `log`. It may
    /// open `open_files` files, or as many as the tests.
    pub fn start(environment: &[(String, String)], log: &Path, open_files: Option<u32>) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("open the log");
        Self::start_on(file.into(), environment, log, open_files)
    }

    /// The same with a standard error that may be another one than the file `log`.
    pub fn start_on(
        errors: Stdio,
        environment: &[(String, String)],
        log: &Path,
        open_files: Option<u32>,
    ) -> Self {
        let mut command = roost_command();
        if let Some(limit) = open_files {
            let roost = command.get_program().to_owned();
            command = shell_command(&format!("ulimit -n {limit}; exec \"$0\" \"$@\""));
            command.arg(roost);
        }
        let mut child = command
            .arg("serve")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("spawn roost");
        let lines = BufReader::new(child.stdout.take().expect("piped stdout")).lines();
        let (ready, wait) = mpsc::channel();
        // Reads to the end, so that a server that goes on printing never blocks.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(url) = line.strip_prefix(READY) {
                    let _ = ready.send(url.trim_end_matches('/').to_owned());
                }
            }
        });
        match wait.recv_timeout(READY_WITHIN) {
            Ok(url) => Self { child, url },
            Err(error) => {
                let _ = child.kill();
                let status = child.wait();
                panic!("roost was never ready ({error}, {status:?}); its log:\n{}", tail(log));
            }
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills without a warning, as a power cut would.
    pub fn kill9(mut self) {
        self.child.kill().expect("kill -9");
        self.child.wait().expect("wait for the killed process");
    }

    /// Asks politely to stop.
    pub fn sigterm(&self) {
        assert!(signals::send("TERM", self.child.id()), "SIGTERM to {}", self.child.id());
    }

    /// Waits for its end; the exit code, or None when a signal ended it.
    pub fn wait(mut self) -> Option<i32> {
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for the process") {
                return status.code();
            }
            assert!(asked.elapsed() < STOP_WITHIN, "still running {STOP_WITHIN:?} after SIGTERM");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already after kill9 and sigterm; then both calls fail, and rightly so.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of a log, for the report of a failed test.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read(PathBuf::from(log)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
