//! Shows what the parts have found: a table, a page, and the raw figures.

mod html;
mod svg;
mod table;

use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::figures::Section;

pub use table::table;

/// What a part has found, or why it has not.
#[derive(Debug, Serialize)]
pub struct Chapter {
    /// The part.
    pub name: &'static str,
    /// What it measures.
    pub about: &'static str,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The error, if it has failed.
    pub error: Option<String>,
    /// What it has found.
    #[serde(flatten)]
    pub section: Section,
}

/// The machine and the versions that figures depend on.
#[derive(Debug, Serialize)]
pub struct Setting {
    /// Seconds since 1970, UTC.
    pub at: u64,
    /// Quick or Full.
    pub effort: String,
    /// What was measured.
    pub commit: String,
    /// The processor.
    pub processor: String,
    /// How many of them.
    pub cores: usize,
    /// The kernel.
    pub kernel: String,
    /// Load average when the run began.
    pub load: String,
}

impl Setting {
    /// Looks around; what cannot be found out is left empty.
    pub fn look(effort: crate::Effort) -> Setting {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let output = |program: &str, args: &[&str]| {
            let output = std::process::Command::new(program).args(args).output();
            let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            text.unwrap_or_default().trim().to_owned()
        };
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map(|(_, name)| name.to_owned())
            .unwrap_or_default();
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
        Setting {
            at: now.map(|since| since.as_secs()).unwrap_or_default(),
            effort: format!("{effort:?}"),
            commit: output("git", &["describe", "--always", "--dirty", "--abbrev=10"]),
            processor,
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: output("uname", &["-sr"]),
            load: read("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" "),
        }
    }
}

/// Writes `report.html` and one JSON file per part into `folder`.
///
/// # Errors
/// When a file cannot be written.
pub fn write(folder: &Path, setting: &Setting, chapters: &[Chapter]) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct File<'a> {
        setting: &'a Setting,
        part: &'a Chapter,
    }
    for part in chapters {
        let path = folder.join(format!("{}.json", part.name));
        let json = serde_json::to_vec_pretty(&File { setting, part })?;
        std::fs::write(&path, json).with_context(|| path.display().to_string())?;
    }
    let path = folder.join("report.html");
    std::fs::write(&path, html::page(setting, chapters)).with_context(|| path.display().to_string())
}

/// A figure in at most four digits that count.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "-".into();
    }
    match size {
        _ if size >= 10_000.0 => thousands(value.round() as i64),
        _ if size >= 100.0 || value == value.round() && size >= 10.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ if size >= 0.1 || value == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if value < 0 { format!("-{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        for (value, expected) in [
            (0.0, "0.00"),
            (0.012_34, "0.0123"),
            (0.756, "0.76"),
            (5.0, "5.00"),
            (12.34, "12.3"),
            (123.4, "123"),
            (9_999.0, "9999"),
            (1_234_567.0, "1,234,567"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(short(value), expected);
        }
    }
}
