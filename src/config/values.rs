//! The forms that settings are written in.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

/// `on` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Enabled.
    On,
    /// Disabled.
    Off,
}

impl Switch {
    /// Whether the switch is on.
    pub fn is_on(self) -> bool {
        self == Switch::On
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// An inclusive range of lengths, written `MIN..MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// Shortest.
    pub min: usize,
    /// Longest.
    pub max: usize,
}

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || format!("{text:?} is not of the form MIN..MAX, such as 3..20");
        let (min, max) = text.split_once("..").ok_or_else(form)?;
        let min: usize = min.trim().parse().map_err(|_| form())?;
        let max: usize = max.trim().parse().map_err(|_| form())?;
        if min == 0 || min > max || max > 10_000 {
            return Err(format!("{text:?}: 1 <= MIN <= MAX <= 10000 must hold"));
        }
        Ok(Length { min, max })
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.min, self.max)
    }
}

pub(super) fn parse_positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a whole number above 0".into()),
        Ok(number) => Ok(number),
    }
}

pub(super) fn parse_testing(text: &str) -> Result<bool, String> {
    match text {
        "1" => Ok(true),
        "" | "0" => Ok(false),
        _ => Err("only 1 or 0".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_and_refused() {
        assert_eq!("6..20".parse(), Ok(Length { min: 6, max: 20 }));
        for bad in ["", "6", "6..", "..6", "9..3", "0..3", "a..b", "1..10001", "6-20"] {
            assert!(bad.parse::<Length>().is_err(), "{bad}");
        }
    }
}
