//! A line plot as inline SVG: axes, round ticks, points, and a smoothed line through them.
//!
//! Colours and fonts come from the page's style sheet by class, so plots follow its light and dark
//! schemes.

mod axis;

use super::escape::escape;
use crate::loop_report::{Curve, Series};
use axis::Axis;

/// The drawing's own units. Small, so that its text is still readable on a phone.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = 22.0;
const TOP: f64 = 32.0;
const BOTTOM: f64 = 46.0;

/// More points are thinned out: they would cover each other.
const MOST_DOTS: usize = 400;
/// Fewer points are not smoothed.
const FEWEST_SMOOTHED: usize = 30;

/// A plot and what to say about it.
pub(crate) struct Plot {
    pub(crate) svg: String,
    /// From where to where the first line goes.
    pub(crate) summary: String,
    /// How its line was made from its points.
    pub(crate) smoothing: Smoothing,
}

/// How a line follows its points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Smoothing {
    /// Through each of them.
    None,
    /// Through the mean of so many neighbours.
    MovingMean(usize),
}

/// Draws every series that has points.
pub(crate) fn line_plot(curve: &Curve) -> Plot {
    let series: Vec<Vec<(f64, f64)>> = curve.series.iter().map(finite_points).collect();
    let all = || series.iter().flatten();
    let x_axis = Axis::tight(all().map(|point| point.0), LEFT, WIDTH - RIGHT);
    let y_axis = Axis::round(all().map(|point| point.1), HEIGHT - BOTTOM, TOP);
    let lines: String = series
        .iter()
        .enumerate()
        .map(|(position, points)| line(position, points, &x_axis, &y_axis))
        .collect();
    let first = series.first().map_or(&[][..], Vec::as_slice);
    let summary = summary(curve, first);
    let svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}: {label}\">\n\
         {grid}{lines}{labels}</svg>\n",
        title = escape(&curve.title),
        label = escape(&summary),
        grid = grid(&x_axis, &y_axis),
        labels = labels(curve),
    );
    Plot {
        svg,
        summary,
        smoothing: smoothing(first.len()),
    }
}

fn finite_points(series: &Series) -> Vec<(f64, f64)> {
    let points = series.points.iter().copied();
    points
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .collect()
}

fn smoothing(n_points: usize) -> Smoothing {
    match n_points {
        ..FEWEST_SMOOTHED => Smoothing::None,
        // Odd, so that a point is in the middle of its neighbours.
        _ => Smoothing::MovingMean(n_points / 20 * 2 + 1),
    }
}

/// The mean of up to `width` points around each.
///
/// At the start the window shrinks to the point itself, so that the line begins where training
/// began; at the end it keeps its left half, so that the last value is no single step's luck.
fn moving_mean(points: &[(f64, f64)], width: usize) -> Vec<(f64, f64)> {
    let mean = |position: usize| {
        let reach = (width / 2).min(position);
        let end = (position + reach).min(points.len() - 1);
        let window = &points[position - reach..=end];
        window.iter().map(|point| point.1).sum::<f64>() / window.len() as f64
    };
    let middles = points.iter().enumerate();
    middles
        .map(|(position, point)| (point.0, mean(position)))
        .collect()
}

fn line(position: usize, points: &[(f64, f64)], x_axis: &Axis, y_axis: &Axis) -> String {
    let place = |(x, y): (f64, f64)| (x_axis.place(x), y_axis.place(y));
    let smoothed = match smoothing(points.len()) {
        Smoothing::None => points.to_vec(),
        Smoothing::MovingMean(width) => moving_mean(points, width),
    };
    let stride = points.len().div_ceil(MOST_DOTS).max(1);
    // A line of no length with round ends is a dot.
    let dots: String = points
        .iter()
        .step_by(stride)
        .map(|point| place(*point))
        .map(|(x, y)| format!("M{x:.1} {y:.1}h0"))
        .collect();
    let corners: Vec<String> = smoothed
        .into_iter()
        .map(place)
        .map(|(x, y)| format!("{x:.1} {y:.1}"))
        .collect();
    match points.is_empty() {
        true => String::new(),
        false => format!(
            "<path class=\"dots line{position}\" d=\"{dots}\" />\n\
             <path class=\"line line{position}\" d=\"M{corners}\" />\n",
            corners = corners.join("L"),
        ),
    }
}

fn grid(x_axis: &Axis, y_axis: &Axis) -> String {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let rows = y_axis.ticks().map(|(at, label)| {
        format!(
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\" />\
             <text class=\"tick end\" x=\"{x}\" y=\"{y:.1}\">{label}</text>\n",
            x = LEFT - 7.0,
            y = at + 4.5,
        )
    });
    let columns = x_axis.ticks().map(|(at, label)| {
        format!(
            "<path class=\"axis\" d=\"M{at:.1} {bottom}v5\" />\
             <text class=\"tick middle\" x=\"{at:.1}\" y=\"{y}\">{label}</text>\n",
            y = bottom + 20.0,
        )
    });
    let axis = format!("<path class=\"axis\" d=\"M{LEFT} {bottom}H{right}\" />\n");
    rows.chain(columns).chain([axis]).collect()
}

fn labels(curve: &Curve) -> String {
    format!(
        "<text class=\"label\" x=\"2\" y=\"14\">{y_label}</text>\n\
         <text class=\"label end\" x=\"{x}\" y=\"{y}\">{x_label}</text>\n",
        y_label = escape(&curve.y_label),
        x_label = escape(&curve.x_label),
        x = WIDTH - RIGHT,
        y = HEIGHT - 5.0,
    )
}

fn summary(curve: &Curve, points: &[(f64, f64)]) -> String {
    let smoothed = match smoothing(points.len()) {
        Smoothing::None => points.to_vec(),
        Smoothing::MovingMean(width) => moving_mean(points, width),
    };
    match (smoothed.first(), smoothed.last()) {
        (Some(first), Some(last)) => format!(
            "From {:.2} at {x_label} {} to {:.2} at {x_label} {}.",
            first.1,
            first.0,
            last.1,
            last.0,
            x_label = curve.x_label,
        ),
        _ => "No points.".to_owned(),
    }
}

#[cfg(test)]
mod tests;
