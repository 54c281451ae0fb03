//! The page: one file, no asset from elsewhere.

use std::fmt::Write;

use super::table::row;
use super::{Chapter, Setting, svg};

const STYLE: &str = "
:root{color-scheme:light dark;--line:#8884;--good:#1a7f37;--bad:#c93c37}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
h2{margin-top:3rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);
vertical-align:top}
td:nth-child(n+2){font-variant-numeric:tabular-nums}
.reached{color:var(--good)}.MISSED{color:var(--bad);font-weight:600}
.plots{display:flex;flex-wrap:wrap;gap:1rem}
figure{margin:1rem 0}figcaption{font-weight:600}
svg text{fill:currentColor;font:11px system-ui,sans-serif}
";

/// The whole page.
pub(super) fn page(setting: &Setting, chapters: &[Chapter]) -> String {
    let mut out =
        String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width\">\n");
    let _ = writeln!(out, "<title>Roost measured</title><style>{STYLE}</style></head>\n<body>");
    let _ = writeln!(
        out,
        "<h1>Roost measured</h1>\n<p>Commit {}, {} run at {} (seconds since 1970); {} x {}, {}, \
         load average {} at the start. Ratios are medians over rounds, with the lowest and \
         highest round; each round takes Roost and its rival one after the other.</p>",
        text(&setting.commit),
        text(&setting.effort.to_lowercase()),
        setting.at,
        setting.cores,
        text(&setting.processor),
        text(&setting.kernel),
        text(&setting.load),
    );
    for chapter in chapters {
        write_chapter(&mut out, chapter);
    }
    out.push_str("</body></html>\n");
    out
}

fn write_chapter(out: &mut String, chapter: &Chapter) {
    let _ = writeln!(out, "<h2>{}</h2>\n<p>{}.</p>", text(chapter.name), text(chapter.about));
    if let Some(error) = &chapter.error {
        let _ = writeln!(out, "<p class=\"MISSED\">Failed: {}</p>", text(error));
    }
    if !chapter.section.figures.is_empty() {
        out.push_str("<table><tr><th>Figure<th>Roost<th>Against<th>Ratio or spread<th>Goal<th>\n");
    }
    for figure in &chapter.section.figures {
        let cells = row(figure);
        out.push_str("<tr>");
        for cell in &cells[..5] {
            let _ = write!(out, "<td>{}", text(cell));
        }
        let _ = writeln!(out, "<td class=\"{0}\">{0}", text(&cells[5]));
    }
    if !chapter.section.figures.is_empty() {
        out.push_str("</table>\n");
    }
    for remark in &chapter.section.remarks {
        let _ = writeln!(out, "<p>{}</p>", text(remark));
    }
    out.push_str("<div class=\"plots\">\n");
    for plot in &chapter.section.plots {
        let caption = text(&plot.title);
        let _ =
            writeln!(out, "<figure><figcaption>{caption}</figcaption>{}</figure>", svg::draw(plot));
    }
    out.push_str("</div>\n");
}

/// Text as HTML.
pub(super) fn text(plain: &str) -> String {
    plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Axis, Figure, Goal, Plot, Scale, Section};

    #[test]
    fn the_page_shows_figures_and_plots_and_fetches_nothing() {
        let mut section = Section::default();
        section.add(Figure::paired("a < b", "1/s", "bare", &[(3.0, 4.0)]).goal(Goal::AtLeast(0.9)));
        let mut plot = Plot::new("p", Axis::new("x", Scale::Log), Axis::new("y", Scale::Linear));
        plot.line("one", vec![(1.0, 1.0), (1_000.0, 2.0)]);
        section.plots.push(plot);
        let chapter = Chapter { name: "read", about: "reads", seconds: 1.0, error: None, section };
        let setting = Setting::look(crate::Effort::Quick);
        let page = page(&setting, &[chapter]);
        for part in ["a &lt; b", "0.75", "MISSED", "<polyline", "1,000"] {
            assert!(page.contains(part), "{part} in {page}");
        }
        for outside in ["http://", "https://", "src="] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
