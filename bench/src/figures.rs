//! What a part gives back: figures beside their limits or rivals, plots, remarks.

use hdrhistogram::Histogram;
use serde::Serialize;

/// The values of several rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; of an even number the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub low: f64,
    /// The largest.
    pub high: f64,
    /// All of them, in the order in which they were taken.
    pub rounds: Vec<f64>,
}

impl Spread {
    /// The spread of `rounds`; of none it is all NaN.
    pub fn of(rounds: &[f64]) -> Spread {
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        let count = sorted.len();
        let median = match count {
            0 => f64::NAN,
            _ if count % 2 == 1 => at(count / 2),
            _ => (at(count / 2 - 1) + at(count / 2)) / 2.0,
        };
        Spread { median, low: at(0), high: at(count.saturating_sub(1)), rounds: rounds.to_vec() }
    }
}

/// What a figure should reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The ratio, or the value where there is no rival, is at least this.
    AtLeast(f64),
    /// The ratio, or the value where there is no rival, is at most this.
    AtMost(f64),
}

/// A figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What it is a figure of: `newsfeed page, warm`.
    pub name: String,
    /// Of the values: `requests/s`, `ms`, `bytes`.
    pub unit: &'static str,
    /// What was measured of Roost.
    pub value: Spread,
    /// The limit or rival: its name and values, taken in the same rounds.
    pub rival: Option<(String, Spread)>,
    /// Value by rival, round by round.
    pub ratio: Option<Spread>,
    /// What is to be reached.
    pub goal: Option<Goal>,
}

impl Figure {
    /// A figure that stands alone.
    pub fn alone(name: impl Into<String>, unit: &'static str, rounds: &[f64]) -> Figure {
        let value = Spread::of(rounds);
        Figure { name: name.into(), unit, value, rival: None, ratio: None, goal: None }
    }

    /// A figure beside its rival: pairs of (Roost's, the rival's) that were taken one right
    /// after the other. The ratio is taken pair by pair, so that what disturbs both cancels.
    pub fn paired(
        name: impl Into<String>,
        unit: &'static str,
        rival: impl Into<String>,
        pairs: &[(f64, f64)],
    ) -> Figure {
        let column = |pick: fn(&(f64, f64)) -> f64| pairs.iter().map(pick).collect::<Vec<f64>>();
        let ratios = column(|(ours, theirs)| ours / theirs);
        Figure {
            rival: Some((rival.into(), Spread::of(&column(|pair| pair.1)))),
            ratio: Some(Spread::of(&ratios)),
            ..Figure::alone(name, unit, &column(|pair| pair.0))
        }
    }

    /// Sets the goal, of the ratio if there is one, of the value otherwise.
    pub fn goal(self, goal: Goal) -> Figure {
        Figure { goal: Some(goal), ..self }
    }

    /// Whether the goal is reached; `None` without one.
    pub fn is_reached(&self) -> Option<bool> {
        let judged = self.ratio.as_ref().unwrap_or(&self.value).median;
        self.goal.map(|goal| match goal {
            Goal::AtLeast(least) => judged >= least,
            Goal::AtMost(most) => judged <= most,
        })
    }
}

/// How an axis is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Evenly, from zero.
    Linear,
    /// By powers of ten; values must be above zero.
    Log,
    /// By nines: 0.9, 0.99, 0.999, ...; values must be from 0 to below 1.
    Nines,
}

/// An axis of a plot.
#[derive(Debug, Clone, Serialize)]
pub struct Axis {
    /// What it shows, with its unit.
    pub label: String,
    /// How it is divided.
    pub scale: Scale,
}

impl Axis {
    /// An axis.
    pub fn new(label: &str, scale: Scale) -> Axis {
        Axis { label: label.to_owned(), scale }
    }
}

/// A line of a plot.
#[derive(Debug, Clone, Serialize)]
pub struct Series {
    /// For the legend.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// A plot of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// At most eight are told apart.
    pub series: Vec<Series>,
}

impl Plot {
    /// A plot without lines.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Plot {
        Plot { title: title.into(), x, y, series: Vec::new() }
    }

    /// Adds a line.
    pub fn line(&mut self, name: impl Into<String>, points: Vec<(f64, f64)>) {
        self.series.push(Series { name: name.into(), points });
    }

    /// A plot of latency percentiles, for [`Plot::latency`].
    pub fn of_latency(title: impl Into<String>) -> Plot {
        let x = Axis::new("percentile", Scale::Nines);
        Plot::new(title, x, Axis::new("latency, ms", Scale::Log))
    }

    /// Adds the percentiles of a histogram of nanoseconds, as far as it has samples for them.
    pub fn latency(&mut self, name: impl Into<String>, histogram: &Histogram<u64>) {
        const SHOWN: [f64; 11] =
            [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999];
        let known = |q: &&f64| (1.0 - **q) * histogram.len() as f64 >= 5.0;
        let point = |q: &f64| (*q, histogram.value_at_quantile(*q) as f64 / 1e6);
        self.line(name, SHOWN.iter().filter(known).map(point).collect());
    }
}

/// What a part has found out.
#[derive(Debug, Default, Serialize)]
pub struct Section {
    /// Rows of the table.
    pub figures: Vec<Figure>,
    /// Below the table.
    pub plots: Vec<Plot>,
    /// What a reader must know: sizes, settings, what was not measured and why.
    pub remarks: Vec<String>,
}

impl Section {
    /// Adds a figure.
    pub fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Adds a remark.
    pub fn remark(&mut self, text: impl Into<String>) {
        self.remarks.push(text.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        let spread = Spread::of(&[3.0, 1.0]);
        assert_eq!((spread.low, spread.high), (1.0, 3.0));
        assert!(Spread::of(&[]).median.is_nan());
    }

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        // The machine was twice as slow in the second round, for both.
        let figure = Figure::paired("x", "1/s", "y", &[(80.0, 100.0), (40.0, 50.0)]);
        let ratio = figure.ratio.clone().map(|ratio| (ratio.low, ratio.high));
        assert_eq!(ratio, Some((0.8, 0.8)));
        assert_eq!(figure.clone().goal(Goal::AtLeast(0.75)).is_reached(), Some(true));
        assert_eq!(figure.goal(Goal::AtMost(0.75)).is_reached(), Some(false));
    }
}
