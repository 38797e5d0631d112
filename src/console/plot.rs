//! Lines over time, as pictures without a script.

use maud::{Markup, html};

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 120.0;
/// Room for the numbers on the left and below.
const LEFT: f64 = 52.0;
const BOTTOM: f64 = 18.0;

/// A line. Where a value is missing, it is interrupted.
pub(super) struct Line {
    pub(super) name: &'static str,
    /// The class of its color.
    pub(super) class: &'static str,
    pub(super) values: Vec<Option<f64>>,
}

/// Draws lines whose last value is that of now. `slots` values fit.
pub(super) fn plot(id: &str, title: &str, unit: &str, span: &str, slots: usize, lines: &[Line]) -> Markup {
    let highest = lines.iter().flat_map(|line| line.values.iter().flatten()).copied().fold(0.0, f64::max);
    let top = round_up(highest);
    let (bottom, caption) = (HEIGHT - BOTTOM, description(title, unit, lines));
    html! {
        figure.plot {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-labelledby=(id) {
                title id=(id) { (caption) }
                line.axis x1=(LEFT) y1=(bottom) x2=(WIDTH) y2=(bottom) {}
                line.axis x1=(LEFT) y1="6" x2=(WIDTH) y2="6" {}
                text x=(LEFT - 6.0) y="11" text-anchor="end" { (shown(top)) }
                text x=(LEFT - 6.0) y=(bottom) text-anchor="end" { "0" }
                text x=(LEFT) y=(HEIGHT - 3.0) { (span) }
                text x=(WIDTH) y=(HEIGHT - 3.0) text-anchor="end" { "now" }
                @for line in lines {
                    @for points in segments(&line.values, slots, top) { polyline class=(line.class) points=(points) {} }
                }
            }
            figcaption {
                (title) ", " (unit) ": "
                @for (index, line) in lines.iter().enumerate() {
                    @if index > 0 { ", " }
                    span class=(format!("key {}", line.class)) {} " " (line.name) " " b.number { (last(line)) }
                }
            }
        }
    }
}

fn description(title: &str, unit: &str, lines: &[Line]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("{} {}", line.name, last(line))).collect();
    format!("{title}, {unit}: {} now", lines.join(", "))
}

fn last(line: &Line) -> String {
    line.values.last().copied().flatten().map_or_else(|| "–".to_owned(), shown)
}

/// Returns the points of each uninterrupted part.
fn segments(values: &[Option<f64>], slots: usize, top: f64) -> Vec<String> {
    let step = (WIDTH - LEFT) / (slots.max(2) - 1) as f64;
    let first = slots.saturating_sub(values.len());
    let mut segments = Vec::new();
    let mut points: Vec<String> = Vec::new();
    for (index, value) in values.iter().enumerate() {
        match value {
            Some(value) => {
                let x = LEFT + step * (first + index) as f64;
                let y = 6.0 + (HEIGHT - BOTTOM - 6.0) * (1.0 - (value / top).clamp(0.0, 1.0));
                points.push(format!("{x:.1},{y:.1}"));
            }
            None => segments.extend((!points.is_empty()).then(|| std::mem::take(&mut points))),
        }
    }
    segments.extend((!points.is_empty()).then_some(points));
    segments.into_iter().map(|points| points.join(" ")).collect()
}

/// Returns 1, 2 or 5 times a power of ten that is not smaller, so that the scale rarely changes.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|top| *top >= value).unwrap_or(10.0 * power)
}

fn shown(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_now_and_is_interrupted_where_a_value_is_missing() {
        let segments = segments(&[Some(0.0), None, Some(5.0), Some(10.0)], 5, 10.0);
        assert_eq!(segments, ["154.0,102.0", "358.0,54.0 460.0,6.0"]);
    }

    #[test]
    fn the_scale_is_round() {
        assert_eq!([0.0, 0.3, 7.0, 10.0, 11.0, 420.0].map(round_up), [1.0, 0.5, 10.0, 10.0, 20.0, 500.0]);
        assert_eq!([0.0, 0.25, 12.34, 1234.5].map(shown), ["0", "0.25", "12.3", "1234"]);
    }
}
