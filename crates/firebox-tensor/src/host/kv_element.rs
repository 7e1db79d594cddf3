//! What one number of a page is in memory.

#![expect(unsafe_code, reason = "panels are read through pointers")]

use bytemuck::Pod;
use half::f16;

use super::dense_panel::F32Panel;
use super::float_panel::{CodePanel, FloatPanel, HalfPanel};
use super::simd::Simd;

/// Largest code of a key or value in 8 bits.
const LARGEST_CODE: f32 = 127.0;

/// An element of a page, read as f32 by the innermost loop.
pub(crate) trait KvElement: Pod + Send + Sync {
    type Panel<S: Simd>: FloatPanel<S, Value = f32, Vector = S::F>;

    /// Whether a token's vector has a scale.
    const SCALED: bool;

    /// Whether many rows that read a page had better read it as f32.
    const WIDENED: bool = true;

    /// Rows of elements, two vectors wide; `stride` elements from one to the next.
    fn panel<S: Simd>(values: *const Self, stride: usize) -> Self::Panel<S>;

    /// The scale of a vector; 1 where there is none.
    fn scale(_vector: &[f32]) -> f32 {
        1.0
    }

    /// `x / scale`, rounded.
    fn encode(x: f32, scale: f32) -> Self;
}

/// Elements as f32, whole panels of them.
#[inline(always)]
pub(crate) fn widen<S: Simd, E: KvElement>(s: S, from: &[E], to: &mut Vec<f32>) {
    let width = 2 * S::LANES;
    debug_assert!(from.len().is_multiple_of(width));
    to.resize(from.len(), 0.0);
    let panel = E::panel::<S>(from.as_ptr(), width);
    for (i, to) in to.chunks_exact_mut(width).enumerate() {
        let (low, high) = to.split_at_mut(S::LANES);
        // SAFETY: row `i` is within `from`, which has as many elements as `to`; both halves have the
        // lanes of a vector.
        unsafe {
            let [first, second] = panel.load(s, i);
            s.store(low.as_mut_ptr(), first);
            s.store(high.as_mut_ptr(), second);
        }
    }
}

impl KvElement for f32 {
    type Panel<S: Simd> = F32Panel;
    const SCALED: bool = false;
    const WIDENED: bool = false;

    #[inline(always)]
    fn panel<S: Simd>(values: *const f32, stride: usize) -> F32Panel {
        F32Panel { values, stride }
    }

    #[inline(always)]
    fn encode(x: f32, _: f32) -> f32 {
        x
    }
}

/// The bits of an f16.
impl KvElement for u16 {
    type Panel<S: Simd> = HalfPanel<false>;
    const SCALED: bool = false;

    #[inline(always)]
    fn panel<S: Simd>(values: *const u16, stride: usize) -> HalfPanel<false> {
        HalfPanel { values, stride }
    }

    #[inline(always)]
    fn encode(x: f32, _: f32) -> u16 {
        let (min, max) = (f16::MIN.to_f32(), f16::MAX.to_f32());
        f16::from_f32(x.clamp(min, max)).to_bits()
    }
}

impl KvElement for i8 {
    type Panel<S: Simd> = CodePanel;
    const SCALED: bool = true;

    #[inline(always)]
    fn panel<S: Simd>(codes: *const i8, stride: usize) -> CodePanel {
        CodePanel { codes, stride }
    }

    /// What is no number stays none: the scale is not one either.
    #[inline(always)]
    fn scale(vector: &[f32]) -> f32 {
        if vector.iter().any(|x| x.is_nan()) {
            return f32::NAN;
        }
        let max = vector.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
        max / LARGEST_CODE
    }

    #[inline(always)]
    fn encode(x: f32, scale: f32) -> i8 {
        if scale == 0.0 {
            return 0;
        }
        let code = (x / scale).round_ties_even();
        code.clamp(-LARGEST_CODE, LARGEST_CODE) as i8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_rounds_ties_to_even_and_stops_at_its_largest() {
        let round = |x| f16::from_bits(u16::encode(x, 1.0)).to_f32();
        let step = 2.0_f32.powi(-10);
        assert_eq!(round(1.0 + 0.5 * step), 1.0);
        assert_eq!(round(1.0 + 1.5 * step), 1.0 + 2.0 * step);
        assert_eq!(round(-1e9), -65_504.0);
        assert!(round(f32::NAN).is_nan());
    }

    #[test]
    fn codes_reach_127_and_are_half_a_step_off_at_most() {
        let vector: Vec<f32> = (0..255).map(|i| (i as f32 - 127.0) * 0.37 + 0.1).collect();
        let scale = i8::scale(&vector);
        let codes: Vec<i8> = vector.iter().map(|x| i8::encode(*x, scale)).collect();
        assert!(codes.contains(&127), "{codes:?}");
        for (x, code) in vector.iter().zip(&codes) {
            // A step and its rounding.
            let error = (x - f32::from(*code) * scale).abs();
            assert!(error <= 0.5001 * scale, "{x} as {code}");
        }
        assert_eq!(i8::encode(2.5, 1.0), 2);
    }

    #[test]
    fn a_vector_of_zeros_has_a_scale_of_zero_and_one_with_nan_has_none() {
        assert_eq!(i8::scale(&[0.0, -0.0]), 0.0);
        assert_eq!(i8::encode(0.0, 0.0), 0);
        assert!(i8::scale(&[1.0, f32::NAN, 2.0]).is_nan());
    }
}
