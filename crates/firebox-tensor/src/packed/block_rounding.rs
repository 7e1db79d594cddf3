//! Branch-free pieces that every packer uses: largest magnitude, rounding to bytes.
//!
//! They use only operations that every SIMD level has, so that the compiler vectorizes the
//! packers even for the oldest CPU of the target.

/// `1.5 * 2^23`. Adding it to `|x| < 2^22` leaves `x`, rounded half to even, in the low bits of
/// the sum: an f32 of that size has no fraction bits left.
const INTEGER_BITS: f32 = 12_582_912.0;

/// Largest `|x|`. NaN counts as larger than infinity, so one comparison finds both.
#[inline(always)]
pub(super) fn absmax(values: &[f32]) -> f32 {
    f32::from_bits(
        values
            .iter()
            .fold(0, |max, x| max.max(x.to_bits() & 0x7fff_ffff)),
    )
}

/// `x` rounded half to even, as a byte in two's complement. Needs `|x| < 2^22`.
#[inline(always)]
pub(super) fn round_half_even(x: f32) -> u8 {
    (x + INTEGER_BITS).to_bits() as u8
}

/// `floor(x)` as a byte. Needs `0 <= x < 2^22`.
#[inline(always)]
pub(super) fn floor(x: f32) -> u8 {
    let nearest = x + INTEGER_BITS;
    let rounded_up = nearest - INTEGER_BITS > x;
    (nearest.to_bits() as u8).wrapping_sub(u8::from(rounded_up))
}

/// `x` rounded half away from zero, as a byte in two's complement. Needs `|x| < 2^22`.
#[inline(always)]
pub(super) fn round_half_away(x: f32) -> u8 {
    let magnitude = x.abs();
    let nearest = magnitude + INTEGER_BITS;
    // Half to even went down where the distance is exactly one half.
    let tie_went_down = magnitude - (nearest - INTEGER_BITS) == 0.5;
    let rounded = (nearest.to_bits() as u8).wrapping_add(u8::from(tie_went_down));
    if x < 0.0 {
        rounded.wrapping_neg()
    } else {
        rounded
    }
}

/// `x` rounded half to even and cut to whole numbers from `min` to `max`, all below `2^22`.
#[inline(always)]
pub(super) fn integer(x: f32, min: f32, max: f32) -> f32 {
    (x.clamp(min, max) + INTEGER_BITS) - INTEGER_BITS
}

/// `Σ importance x level(x)` and `Σ importance level(x)²`. The best scale for these levels is the
/// quotient of the two, and its error `Σ importance x²` less the square of the first over the second.
///
/// In eight lanes, so that the compiler vectorizes it.
#[inline(always)]
pub(super) fn moments(
    values: &[f32],
    importance: &[f32],
    level: impl Fn(f32) -> f32,
) -> (f32, f32) {
    let (mut xl, mut ll) = ([0.0_f32; 8], [0.0_f32; 8]);
    let (values, rest) = values.as_chunks::<8>();
    let (importance, importance_rest) = importance.as_chunks::<8>();
    for (x, importance) in values.iter().zip(importance) {
        for i in 0..8 {
            let level = level(x[i]);
            xl[i] += importance[i] * x[i] * level;
            ll[i] += importance[i] * level * level;
        }
    }
    for (x, importance) in rest.iter().zip(importance_rest) {
        let level = level(*x);
        xl[0] += importance * x * level;
        ll[0] += importance * level * level;
    }
    (xl.iter().sum(), ll.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_equals_the_standard_library() {
        for i in -127 * 16..=127 * 16 {
            for x in [
                i as f32 / 16.0,
                (i as f32 / 16.0).next_up(),
                (i as f32 / 16.0).next_down(),
            ] {
                assert_eq!(
                    round_half_even(x) as i8,
                    x.round_ties_even() as i8,
                    "half even {x}"
                );
                assert_eq!(round_half_away(x) as i8, x.round() as i8, "half away {x}");
                if x >= 0.0 {
                    assert_eq!(floor(x), x.floor() as u8, "floor {x}");
                }
            }
        }
    }

    #[test]
    fn absmax_of_nan_is_nan_and_of_nothing_is_zero() {
        assert_eq!(absmax(&[1.0, -3.0, 2.0]), 3.0);
        assert!(absmax(&[1.0, f32::NAN, f32::INFINITY]).is_nan());
        assert_eq!(absmax(&[]), 0.0);
    }
}
