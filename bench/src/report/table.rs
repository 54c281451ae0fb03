//! The table on the terminal.

use super::{Chapter, short};
use crate::figures::{Figure, Goal, Spread};

const COLUMNS: [&str; 6] = ["figure", "Roost", "against", "ratio", "goal", ""];

/// The figures of all parts as aligned text.
pub fn table(chapters: &[Chapter]) -> String {
    let mut out = String::new();
    for chapter in chapters {
        out.push_str(&format!(
            "\n{}: {} ({:.0} s)\n",
            chapter.name, chapter.about, chapter.seconds
        ));
        if let Some(error) = &chapter.error {
            out.push_str(&format!("  FAILED: {error}\n"));
        }
        let mut rows: Vec<[String; 6]> = vec![COLUMNS.map(str::to_owned)];
        rows.extend(chapter.section.figures.iter().map(row));
        if rows.len() > 1 {
            out.push_str(&align(&rows));
        }
        for remark in &chapter.section.remarks {
            out.push_str(&format!("  {remark}\n"));
        }
    }
    out
}

/// The cells of a figure.
pub(super) fn row(figure: &Figure) -> [String; 6] {
    let against = figure
        .rival
        .as_ref()
        .map(|(name, value)| format!("{} {} ({name})", short(value.median), figure.unit));
    [
        figure.name.clone(),
        format!("{} {}", short(figure.value.median), figure.unit),
        against.unwrap_or_default(),
        figure.ratio.as_ref().map(spread).unwrap_or_else(|| spread(&figure.value)),
        figure.goal.map(goal).unwrap_or_default(),
        match figure.is_reached() {
            Some(true) => "reached".into(),
            Some(false) => "MISSED".into(),
            None => String::new(),
        },
    ]
}

/// `0.76 (0.74-0.79)`; of one round the value alone.
fn spread(of: &Spread) -> String {
    match of.rounds.len() {
        0 | 1 => short(of.median),
        _ => format!("{} ({}-{})", short(of.median), short(of.low), short(of.high)),
    }
}

fn goal(goal: Goal) -> String {
    match goal {
        Goal::AtLeast(least) => format!(">= {}", short(least)),
        Goal::AtMost(most) => format!("<= {}", short(most)),
    }
}

fn align(rows: &[[String; 6]]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(&format!("  {}\n", cells.join("  ").trim_end()));
    }
    out
}
