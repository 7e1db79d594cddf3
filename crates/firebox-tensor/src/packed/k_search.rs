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
    block_rounding::integer,
    k_super_block::{GROUPS, Groups},
};

/// Scales and minimums are below 64.
const MAX_SIX_BITS: f32 = 63.0;

/// `w ≈ scale * q - minimum`; the scale is not negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) scale: f32,
    pub(super) minimum: f32,
}

/// Which minimums a line may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Minimum {
    /// Not negative: the line reaches down to 0 or below.
    NotNegative,
    Any,
}

/// The head of a block, and its codes, up to `max_code`.
pub(super) fn search(values: &[f32; K_BLOCK_SIZE], max_code: u8) -> (Groups, [u8; K_BLOCK_SIZE]) {
    let (groups, _) = values.as_chunks::<GGML_BLOCK_SIZE>();
    let max_code = f32::from(max_code);
    let head = head(groups, max_code, |g| importance(&groups[g]));
    let mut codes = [0; K_BLOCK_SIZE];
    let by_group = codes.chunks_exact_mut(GGML_BLOCK_SIZE).zip(groups);
    for (g, (codes, values)) in by_group.enumerate() {
        let line = head.line(g);
        for (code, x) in codes.iter_mut().zip(values) {
            *code = code_on(line, *x, max_code);
        }
    }
    (head, codes)
}

/// The head of a block whose values count as much as `importance` says.
pub(super) fn head<const N: usize>(
    groups: &[[f32; N]],
    max_code: f32,
    importance: impl Fn(usize) -> [f32; N],
) -> Groups {
    let line = |g: usize| best_line(&groups[g], &importance(g), max_code, Minimum::NotNegative);
    let lines: [Line; GROUPS] = std::array::from_fn(line);
    let (d, scales) = six_bits(lines.map(|line| line.scale));
    let (dmin, minimums) = six_bits(lines.map(|line| line.minimum));
    Groups {
        d,
        dmin,
        scales,
        minimums,
    }
}

/// The code of `x` on a line `(scale, minimum)`.
pub(super) fn code_on((scale, minimum): (f32, f32), x: f32, max_code: f32) -> u8 {
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    integer((x + minimum) * inverse, 0.0, max_code) as u8
}

/// `x ≈ d * code`, for values that are not negative.
fn six_bits(values: [f32; GROUPS]) -> (f16, [u8; GROUPS]) {
    let max = values.into_iter().fold(0.0, f32::max);
    let d = f16::from_f32((max / MAX_SIX_BITS).min(f16::MAX.to_f32()));
    let inverse = match d.to_f32() {
        0.0 => 0.0,
        d => 1.0 / d,
    };
    (
        d,
        values.map(|x| integer(x * inverse, 0.0, MAX_SIX_BITS) as u8),
    )
}

/// The line of least error among those of several sets of codes. Each set begins at the best
/// minimum so far.
pub(super) fn best_line<const N: usize>(
    x: &[f32; N],
    importance: &[f32; N],
    max_code: f32,
    allowed: Minimum,
) -> Line {
    /// Steps of the codes: from one fewer in the range than `max_code` to one more, by tenths.
    const CANDIDATES: usize = 21;
    let least = match allowed {
        Minimum::NotNegative => 0.0,
        Minimum::Any => -x[0],
    };
    let minimum = x.iter().fold(least, |max: f32, x| max.max(-x));
    let max = x.iter().fold(-minimum, |max, x| max.max(*x));
    let scale = (max + minimum) / max_code;
    let mut best = Line { scale, minimum };
    if !(2.0 / scale).is_finite() {
        return Line {
            scale: 0.0,
            minimum,
        };
    }
    let codes = |minimum: f32, n_steps: f32| {
        let inverse = n_steps / (max + minimum);
        x.map(|x| integer((x + minimum) * inverse, 0.0, max_code))
    };
    let mut least = error(x, importance, &codes(minimum, max_code), best);
    for candidate in 0..CANDIDATES {
        let codes = codes(best.minimum, max_code - 1.0 + 0.1 * candidate as f32);
        if let Some(line) = least_squares(x, importance, &codes, allowed) {
            let error = error(x, importance, &codes, line);
            if error < least {
                (least, best) = (error, line);
            }
        }
    }
    best
}

/// How much the error of a value counts: its magnitude, and the root of the mean square.
fn importance<const N: usize>(x: &[f32; N]) -> [f32; N] {
    let root = (sum::<N>(|i| x[i] * x[i]) / N as f32).sqrt();
    x.map(|x| x.abs() + root)
}

fn error<const N: usize>(x: &[f32; N], importance: &[f32; N], codes: &[f32; N], line: Line) -> f32 {
    sum::<N>(|i| {
        let error = line.scale * codes[i] - line.minimum - x[i];
        importance[i] * error * error
    })
}

/// The line through points `(code, x)`; through the origin where the minimum would be negative and
/// must not. `None` where all codes are equal.
fn least_squares<const N: usize>(
    x: &[f32; N],
    importance: &[f32; N],
    codes: &[f32; N],
    allowed: Minimum,
) -> Option<Line> {
    let n = sum::<N>(|i| importance[i]);
    let q = sum::<N>(|i| importance[i] * codes[i]);
    let qq = sum::<N>(|i| importance[i] * codes[i] * codes[i]);
    let y = sum::<N>(|i| importance[i] * x[i]);
    let qy = sum::<N>(|i| importance[i] * codes[i] * x[i]);
    let determinant = n * qq - q * q;
    if determinant <= 0.0 {
        return None;
    }
    let line = Line {
        scale: (n * qy - q * y) / determinant,
        minimum: (q * qy - qq * y) / determinant,
    };
    if line.minimum < 0.0 && allowed == Minimum::NotNegative {
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
fn sum<const N: usize>(term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; 8];
    for first in (0..N).step_by(8) {
        for (i, lane) in lanes.iter_mut().enumerate() {
            *lane += term(first + i);
        }
    }
    lanes.iter().sum()
}
