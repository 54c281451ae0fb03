//! Plots as SVG.

use std::fmt::Write;

use super::html::text;
use super::short;
use crate::figures::{Axis, Plot, Scale};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 44.0;
const TOP: f64 = 12.0;
/// Of the legend, right of the plot.
const RIGHT: f64 = 150.0;
/// Told apart by people who do not see all colours (Okabe and Ito), on light and dark.
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#b8a800"];

/// An axis with the range of what is shown on it.
struct Ruler<'a> {
    axis: &'a Axis,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl<'a> Ruler<'a> {
    fn new(axis: &'a Axis, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Ruler<'a> {
        let placed = values.map(|value| place(axis.scale, value)).filter(|at| at.is_finite());
        let (mut low, mut high) =
            placed.fold((f64::MAX, f64::MIN), |(low, high), at| (low.min(at), high.max(at)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        match axis.scale {
            Scale::Linear => {
                low = low.min(0.0);
                high *= 1.08;
            }
            Scale::Log => {
                // Half a decade at least, so that a flat line looks flat.
                let missing = (0.5 - (high - low)).max(0.1) / 2.0;
                (low, high) = (low - missing, high + missing);
            }
            Scale::Nines => {}
        }
        if high <= low {
            high = low + 1.0;
        }
        Ruler { axis, low, high, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (place(self.axis.scale, value) - self.low) / (self.high - self.low);
        self.from + share * (self.to - self.from)
    }

    /// Values to be named, with their names.
    fn ticks(&self) -> Vec<(f64, String)> {
        let all: Vec<(f64, String)> = match self.axis.scale {
            Scale::Linear => linear(self.low, self.high),
            Scale::Log => logarithmic(self.low, self.high),
            Scale::Nines => [
                (0.0, "0"),
                (0.5, "50"),
                (0.9, "90"),
                (0.99, "99"),
                (0.999, "99.9"),
                (0.9999, "99.99"),
            ]
            .map(|(value, name)| (value, format!("{name} %")))
            .to_vec(),
        };
        let shown = |value: f64| {
            let at = place(self.axis.scale, value);
            at >= self.low - 1e-9 && at <= self.high + 1e-9
        };
        all.into_iter().filter(|(value, _)| shown(*value)).collect()
    }
}

fn place(scale: Scale, value: f64) -> f64 {
    match scale {
        Scale::Linear => value,
        Scale::Log => value.log10(),
        Scale::Nines => -(1.0 - value).log10(),
    }
}

fn linear(low: f64, high: f64) -> Vec<(f64, String)> {
    let rough = (high - low) / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let count = (high / step).floor().max(0.0) as usize;
    (0..=count).map(|n| n as f64 * step).map(|value| (value, short(value))).collect()
}

fn logarithmic(low: f64, high: f64) -> Vec<(f64, String)> {
    let wide = high - low > 2.5;
    let between: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let powers = low.floor() as i32..=high.ceil() as i32;
    let values = powers.flat_map(|power| between.iter().map(move |n| n * 10_f64.powi(power)));
    values.map(|value| (value, short(value))).collect()
}

/// The plot as an `svg` element.
pub(super) fn draw(plot: &Plot) -> String {
    let points = || plot.series.iter().flat_map(|series| &series.points);
    let x = Ruler::new(&plot.x, points().map(|point| point.0), LEFT, WIDTH - RIGHT);
    let y = Ruler::new(&plot.y, points().map(|point| point.1), HEIGHT - BOTTOM, TOP);
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         role=\"img\" aria-label=\"{}\">\n",
        text(&plot.title)
    );
    for (value, name) in x.ticks() {
        let at = x.at(value);
        let (bottom, below) = (HEIGHT - BOTTOM, HEIGHT - BOTTOM + 15.0);
        let _ = writeln!(
            out,
            "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"currentColor\" stroke-opacity=\".12\"/>\
             <text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{name}</text>"
        );
    }
    for (value, name) in y.ticks() {
        let at = y.at(value);
        let (right, before, beside) = (WIDTH - RIGHT, LEFT - 6.0, at + 4.0);
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"currentColor\" stroke-opacity=\".12\"/>\
             <text x=\"{before}\" y=\"{beside:.1}\" text-anchor=\"end\">{name}</text>"
        );
    }
    write_labels(&mut out, plot);
    for (place, series) in plot.series.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let at: Vec<(f64, f64)> =
            series.points.iter().map(|(left, up)| (x.at(*left), y.at(*up))).collect();
        let line: Vec<String> = at.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            out,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
            line.join(" ")
        );
        for (x, y) in &at {
            let _ =
                write!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\"/>");
        }
        let (left, top) = (WIDTH - RIGHT + 10.0, TOP + 10.0 + place as f64 * 16.0);
        let _ = writeln!(
            out,
            "\n<rect x=\"{left}\" y=\"{}\" width=\"10\" height=\"3\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{top}\">{}</text>",
            top - 5.0,
            left + 15.0,
            text(&series.name)
        );
    }
    out.push_str("</svg>\n");
    out
}

fn write_labels(out: &mut String, plot: &Plot) {
    let (middle, low) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8.0);
    let up = (TOP + HEIGHT - BOTTOM) / 2.0;
    let _ = writeln!(
        out,
        "<text x=\"{middle}\" y=\"{low}\" text-anchor=\"middle\">{}</text>\
         <text transform=\"translate(12 {up}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        text(&plot.x.label),
        text(&plot.y.label)
    );
}
