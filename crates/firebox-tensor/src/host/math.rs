//! Elementary functions on vectors.

use super::simd::Simd;

/// `e^x`, within two units in the last place; inputs are clamped to where the result is a normal
/// number, so that `exp(-inf)` is `1.2e-38`. NaN stays NaN.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`, and a polynomial in `r`.
///
/// Source: Cephes, `expf`, <https://www.netlib.org/cephes/>.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    // The order of arguments lets NaN through.
    let x = s.min(s.splat(88.0), s.max(s.splat(-87.3), x));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let n_float = s.to_float(n);
    // ln 2 in two parts, the first of which has few bits: n times it is exact.
    let r = s.fma(n_float, s.splat(-0.693_359_4), x);
    let r = s.fma(n_float, s.splat(2.121_944_4e-4), r);
    let mut p = s.splat(1.987_569_1e-4);
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        p = s.fma(p, r, s.splat(coefficient));
    }
    let p = s.add(s.fma(p, s.mul(r, r), r), s.splat(1.0));
    s.mul(p, s.exp2_int(n))
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.splat(0.0), x))))
}

#[cfg(test)]
mod tests {
    use super::super::level::SimdLevel;
    use super::super::simd::{Kernel, dispatch};
    use super::*;

    struct Exp<'a>(&'a [f32; 16], &'a mut [f32; 16]);

    impl Kernel for Exp<'_> {
        type Output = ();

        #[inline(always)]
        #[expect(unsafe_code, reason = "loads and stores")]
        fn run<S: Simd>(self, s: S) {
            for i in (0..16).step_by(S::LANES) {
                // SAFETY: 16 is a multiple of every level's lanes.
                unsafe {
                    let x = s.load(self.0.as_ptr().add(i));
                    s.store(self.1.as_mut_ptr().add(i), exp(s, x));
                }
            }
        }
    }

    #[test]
    fn exp_is_within_two_units_of_the_standard_library() {
        for level in SimdLevel::available() {
            for step in 0..1_000 {
                let x: [f32; 16] =
                    std::array::from_fn(|i| -87.0 + (step * 16 + i) as f32 * (174.0 / 16_000.0));
                let mut y = [0.0; 16];
                dispatch(level, Exp(&x, &mut y));
                for (x, y) in x.into_iter().zip(y) {
                    let exact = f64::from(x).exp();
                    let error = (f64::from(y) - exact).abs() / exact;
                    // Two units in the last place: 2^-22.
                    assert!(error < 2.4e-7, "{level}: exp({x}) = {y}, not {exact}");
                }
            }
        }
    }

    #[test]
    fn exp_of_the_unusual() {
        for level in SimdLevel::available() {
            let mut x = [0.0; 16];
            (x[0], x[1], x[2]) = (f32::NAN, f32::NEG_INFINITY, f32::INFINITY);
            let mut y = [0.0; 16];
            dispatch(level, Exp(&x, &mut y));
            assert!(y[0].is_nan(), "{level}");
            assert!(y[1] < 1e-37 && y[2] > 1e38, "{level}: {y:?}");
            assert_eq!(y[3], 1.0, "{level}");
        }
    }
}
