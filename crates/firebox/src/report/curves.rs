//! The training curves.

use super::{
    escape::escape,
    svg_plot::{Smoothing, line_plot},
};
use crate::loop_report::{Curve, LoopReport};

/// One figure a curve; nothing when there is none.
pub(crate) fn section(report: &LoopReport) -> String {
    if report.curves.is_empty() {
        return String::new();
    }
    let figures: String = report.curves.iter().map(figure).collect();
    format!(
        r#"<section>
<h2>How it learned</h2>
<p>At every step the model predicts some text, is told how wrong it was, and is changed a little. The loss is that error. It should fall steeply at first and then level off: a curve that is still falling at its end asks for more steps, one that jumps up and down asks for a lower learning rate, and a flat one learns nothing.</p>
<div class="figures">
{figures}</div>
</section>
"#
    )
}

fn figure(curve: &Curve) -> String {
    let plot = line_plot(curve);
    let reading = match plot.smoothing {
        Smoothing::MovingMean(n_points) => {
            format!("Dots are single steps; the line is the mean of {n_points} steps around each.")
        }
        Smoothing::None => "Every step is a dot.".to_owned(),
    };
    format!(
        "<figure class=\"plot\">\n<figcaption><b>{title}</b> {legend}</figcaption>\n{svg}\
         <p class=\"reading\">{summary} {reading}</p>\n</figure>\n",
        title = escape(&curve.title),
        legend = legend(curve),
        svg = plot.svg,
        summary = escape(&plot.summary),
    )
}

/// Names the lines where there is more than one.
fn legend(curve: &Curve) -> String {
    if curve.series.len() < 2 {
        return String::new();
    }
    let entry = |(position, series): (usize, &crate::loop_report::Series)| {
        let name = escape(&series.name);
        format!("<span class=\"key\"><span class=\"swatch line{position}\"></span>{name}</span> ")
    };
    curve.series.iter().enumerate().map(entry).collect()
}
