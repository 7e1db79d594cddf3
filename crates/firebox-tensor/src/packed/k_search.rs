//! The search for the scales and minimums of a Q4_K block.
//!
//! For each group, codes are made with several steps near the obvious one; for each set of codes,
//! weighted least squares give a scale and a minimum; those of least error win. Then scales and
//! minimums are rounded to six bits, and the codes are made anew.
//!
//! Source of the method: `make_qkx2_quants` in `ggml/src/ggml-quants.c` of llama.cpp.

use half::f16;

use crate::packed::{
    GGML_BLOCK_SIZE, K_BLOCK_SIZE,
    k_super_block::{GROUPS, Groups},
};

type Group = [f32; GGML_BLOCK_SIZE];

/// Scales and minimums are below 64.
const MAX_SIX_BITS: f32 = 63.0;

/// `w ≈ scale * q - minimum`, neither of them negative.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    scale: f32,
    minimum: f32,
}

/// The head of a block, and its codes, up to `max_code`.
pub(super) fn search(values: &[f32; K_BLOCK_SIZE], max_code: u8) -> (Groups, [u8; K_BLOCK_SIZE]) {
    let max_code = f32::from(max_code);
    let (groups, _) = values.as_chunks::<GGML_BLOCK_SIZE>();
    let lines: [Line; GROUPS] = std::array::from_fn(|g| best_line(&groups[g], max_code));
    let (d, scales) = six_bits(lines.map(|line| line.scale));
    let (dmin, minimums) = six_bits(lines.map(|line| line.minimum));
    let head = Groups {
        d,
        dmin,
        scales,
        minimums,
    };
    let mut codes = [0; K_BLOCK_SIZE];
    let by_group = codes.chunks_exact_mut(GGML_BLOCK_SIZE).zip(groups);
    for (g, (codes, values)) in by_group.enumerate() {
        let (scale, minimum) = head.line(g);
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        for (code, x) in codes.iter_mut().zip(values) {
            *code = round((x + minimum) * inverse, max_code) as u8;
        }
    }
    (head, codes)
}

/// `x ≈ d * code`, for values that are not negative.
fn six_bits(values: [f32; GROUPS]) -> (f16, [u8; GROUPS]) {
    let max = values.into_iter().fold(0.0, f32::max);
    let d = f16::from_f32((max / MAX_SIX_BITS).min(f16::MAX.to_f32()));
    let inverse = match d.to_f32() {
        0.0 => 0.0,
        d => 1.0 / d,
    };
    (d, values.map(|x| round(x * inverse, MAX_SIX_BITS) as u8))
}

/// The nearest integer from 0 to `max`.
#[inline(always)]
fn round(x: f32, max: f32) -> f32 {
    /// `1.5 * 2^23`: adding it rounds to an integer, ties to even.
    const INTEGER_BITS: f32 = 12_582_912.0;
    (x.clamp(0.0, max) + INTEGER_BITS) - INTEGER_BITS
}

/// The line of least error among those of several sets of codes. Each set begins at the best
/// minimum so far.
fn best_line(x: &Group, max_code: f32) -> Line {
    /// Steps of the codes: from one fewer in the range than `max_code` to one more, by tenths.
    const CANDIDATES: usize = 21;
    let minimum = x.iter().fold(0.0_f32, |max, x| max.max(-x));
    let max = x.iter().fold(-minimum, |max, x| max.max(*x));
    let scale = (max + minimum) / max_code;
    let mut best = Line { scale, minimum };
    if !(2.0 / scale).is_finite() {
        return Line {
            scale: 0.0,
            minimum,
        };
    }
    let importance = importance(x);
    let codes = |minimum: f32, n_steps: f32| {
        let inverse = n_steps / (max + minimum);
        x.map(|x| round((x + minimum) * inverse, max_code))
    };
    let mut least = error(x, &importance, &codes(minimum, max_code), best);
    for candidate in 0..CANDIDATES {
        let codes = codes(best.minimum, max_code - 1.0 + 0.1 * candidate as f32);
        if let Some(line) = least_squares(x, &importance, &codes) {
            let error = error(x, &importance, &codes, line);
            if error < least {
                (least, best) = (error, line);
            }
        }
    }
    best
}

/// How much the error of a value counts: its magnitude, and the root of the mean square.
fn importance(x: &Group) -> Group {
    let root = (sum(|i| x[i] * x[i]) / GGML_BLOCK_SIZE as f32).sqrt();
    x.map(|x| x.abs() + root)
}

fn error(x: &Group, importance: &Group, codes: &Group, line: Line) -> f32 {
    sum(|i| {
        let error = line.scale * codes[i] - line.minimum - x[i];
        importance[i] * error * error
    })
}

/// The line through points `(code, x)`; through the origin where the minimum would be negative.
/// `None` where all codes are equal.
fn least_squares(x: &Group, importance: &Group, codes: &Group) -> Option<Line> {
    let n = sum(|i| importance[i]);
    let q = sum(|i| importance[i] * codes[i]);
    let qq = sum(|i| importance[i] * codes[i] * codes[i]);
    let y = sum(|i| importance[i] * x[i]);
    let qy = sum(|i| importance[i] * codes[i] * x[i]);
    let determinant = n * qq - q * q;
    if determinant <= 0.0 {
        return None;
    }
    let line = Line {
        scale: (n * qy - q * y) / determinant,
        minimum: (q * qy - qq * y) / determinant,
    };
    if line.minimum < 0.0 {
        let scale = (qy / qq).max(0.0);
        return Some(Line {
            scale,
            minimum: 0.0,
        });
    }
    Some(line)
}

/// The sum of a group's terms, in eight lanes so that the compiler vectorizes it.
#[inline(always)]
fn sum(term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; 8];
    for first in (0..GGML_BLOCK_SIZE).step_by(8) {
        for (i, lane) in lanes.iter_mut().enumerate() {
            *lane += term(first + i);
        }
    }
    lanes.iter().sum()
}
