//! The loop as a ring: one arc a stage, as long as its share of the time.

use super::escape::escape;
use crate::loop_report::{Stage, duration};
use std::f64::consts::TAU;

/// Middle of the drawing.
const CENTER: f64 = 130.0;
/// Radius of the arcs' middle line.
const RADIUS: f64 = 104.0;
/// Between two arcs, in turns.
const GAP: f64 = 0.008;
/// Kept free at the top for the arrow that closes the loop, in turns.
const OPENING: f64 = 0.035;
/// No arc is shorter, so that every stage is seen; in turns.
const SHORTEST: f64 = 0.012;

/// How many colours the style sheet has.
const N_COLORS: usize = 10;

/// The style sheet's class for the stage at `position`.
pub(crate) fn color_class(position: usize) -> String {
    format!("c{}", position % N_COLORS)
}

/// The drawing, with a description for those who do not see it.
pub(crate) fn ring(stages: &[Stage]) -> String {
    let total: f64 = stages.iter().map(|stage| stage.seconds).sum();
    let mut arcs = String::new();
    let mut start = OPENING / 2.0;
    for (position, (stage, turn)) in stages.iter().zip(shares(stages)).enumerate() {
        arcs.push_str(&format!(
            "<path class=\"arc {class}\" d=\"{path}\"><title>{name}: {time}</title></path>\n",
            class = color_class(position),
            path = arc(start, start + turn),
            name = escape(&stage.name),
            time = duration(stage.seconds),
        ));
        start += turn + GAP;
    }
    format!(
        r#"<figure class="ring">
<svg viewBox="0 0 260 260" role="img" aria-label="The stages of the loop, each as long as its share of {total}">
{arcs}<path class="arrow" d="M{tip_x:.1} 14 l-11 -9.5 v19 z" />
<text class="big" x="130" y="132">{total}</text>
<text class="small" x="130" y="154">once round</text>
</svg>
</figure>
"#,
        total = duration(total),
        tip_x = CENTER + 7.0,
    )
}

/// Each stage's share of the ring, in turns, with the short ones drawn longer.
fn shares(stages: &[Stage]) -> Vec<f64> {
    let room = 1.0 - OPENING - GAP * stages.len() as f64;
    let total: f64 = stages.iter().map(|stage| stage.seconds.max(0.0)).sum();
    let share = |stage: &Stage| match total > 0.0 {
        true => stage.seconds.max(0.0) / total,
        false => 1.0,
    };
    let raised: Vec<f64> = stages
        .iter()
        .map(|stage| share(stage).max(SHORTEST))
        .collect();
    let sum: f64 = raised.iter().sum();
    raised.iter().map(|share| share / sum * room).collect()
}

/// An arc clockwise between two positions, in turns from the top.
fn arc(start: f64, end: f64) -> String {
    let at = |turn: f64| {
        let (sin, cos) = (turn * TAU).sin_cos();
        (CENTER + RADIUS * sin, CENTER - RADIUS * cos)
    };
    let ((x0, y0), (x1, y1)) = (at(start), at(end));
    let large = u8::from(end - start > 0.5);
    format!("M{x0:.2} {y0:.2}A{RADIUS} {RADIUS} 0 {large} 1 {x1:.2} {y1:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loop_report::StageKind;

    fn stages(seconds: &[f64]) -> Vec<Stage> {
        let stage = |seconds: &f64| Stage {
            seconds: *seconds,
            ..Stage::new(StageKind::Data, "x")
        };
        seconds.iter().map(stage).collect()
    }

    #[test]
    fn shares_fill_the_ring_and_none_vanishes() {
        for seconds in [&[1.0, 99.0, 0.0][..], &[0.0, 0.0], &[5.0]] {
            let shares = shares(&stages(seconds));
            let sum: f64 = shares.iter().sum();
            let room = 1.0 - OPENING - GAP * seconds.len() as f64;
            assert!((sum - room).abs() < 1e-9);
            assert!(shares.iter().all(|share| *share > 0.01), "{shares:?}");
        }
    }
}
