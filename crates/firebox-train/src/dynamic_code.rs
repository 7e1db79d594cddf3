//! 256 values between -1 and 1, dense near zero: what an 8-bit moment may be.

use std::sync::LazyLock;

/// Elements that share one largest absolute value. 256 in bitsandbytes.
pub(crate) const BLOCK_LEN: usize = 256;

/// A code of one byte for values between -1 and 1 (or 0 and 1).
///
/// Seven decades, each cut into twice as many steps as the one below it: the leading zeros of the
/// code are the exponent, the bits that are left the fraction.
///
/// Source: Dettmers (2016), <https://arxiv.org/abs/1511.04561>, section 2.2; Dettmers et al. (2022),
/// section 2.2, <https://arxiv.org/abs/2110.02861>.
#[derive(Debug)]
pub(crate) struct DynamicCode {
    /// In ascending order.
    values: [f32; 256],
    /// Halfway between neighbours.
    middles: [f32; 255],
}

static SIGNED: LazyLock<DynamicCode> = LazyLock::new(|| DynamicCode::new(true));
static UNSIGNED: LazyLock<DynamicCode> = LazyLock::new(|| DynamicCode::new(false));

/// Decades below one.
const N_DECADES: u32 = 7;

impl DynamicCode {
    /// From -1 to 1, for first moments.
    pub(crate) fn signed() -> &'static Self {
        &SIGNED
    }

    /// From 0 to 1, for second moments.
    pub(crate) fn unsigned() -> &'static Self {
        &UNSIGNED
    }

    fn new(is_signed: bool) -> Self {
        let mut values = vec![0.0, 1.0];
        for decade in 0..N_DECADES {
            let n_steps = if is_signed { 1 << decade } else { 2 << decade };
            let scale = 10f64.powi(decade as i32 - (N_DECADES as i32 - 1));
            for step in 0..n_steps {
                // The middle of each of the steps from 0.1 to 1.
                let middle = 0.1 + 0.9 * (f64::from(step) + 0.5) / f64::from(n_steps);
                values.push((scale * middle) as f32);
                if is_signed {
                    values.push((-scale * middle) as f32);
                }
            }
        }
        values.sort_by(f32::total_cmp);
        let values: [f32; 256] = values.try_into().expect("2 + 2 * 127, or 2 + 254");
        let middles = std::array::from_fn(|i| 0.5 * (values[i] + values[i + 1]));
        Self { values, middles }
    }

    pub(crate) fn value(&self, code: u8) -> f32 {
        self.values[usize::from(code)]
    }

    /// The code of zero.
    pub(crate) fn zero(&self) -> u8 {
        self.nearest(0.0)
    }

    /// The code whose value is nearest; halfway, the lower one.
    fn nearest(&self, x: f32) -> u8 {
        self.middles.partition_point(|middle| *middle < x) as u8
    }

    /// Codes of a block relative to its largest absolute value, which is given back.
    pub(crate) fn pack(&self, block: &[f32], codes: &mut [u8]) -> f32 {
        let absmax = block.iter().fold(0.0f32, |max, x| max.max(x.abs()));
        let scale = if absmax > 0.0 { 1.0 / absmax } else { 0.0 };
        for (x, code) in block.iter().zip(codes) {
            *code = self.nearest(x * scale);
        }
        absmax
    }

    #[cfg(test)]
    pub(crate) fn values(&self) -> &[f32; 256] {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// bitsandbytes' tables, in the golden file of the optimizers.
    #[test]
    fn values_are_those_of_bitsandbytes() {
        let golden = include_str!("../tests/golden/more_optimizers.json");
        let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
        for (name, code) in [
            ("codes_signed", DynamicCode::signed()),
            ("codes_unsigned", DynamicCode::unsigned()),
        ] {
            let expected = golden[name].as_array().unwrap();
            for (found, expected) in code.values().iter().zip(expected) {
                let expected = expected.as_f64().unwrap() as f32;
                // torch rounds the steps' ends to f32 first: two units in the last place.
                let error = (found - expected).abs();
                assert!(error <= 2.4e-7 * expected.abs(), "{found} {expected}");
            }
        }
    }

    #[test]
    fn codes_are_symmetric_and_have_their_ends() {
        let (signed, unsigned) = (DynamicCode::signed(), DynamicCode::unsigned());
        assert_eq!(signed.value(signed.zero()), 0.0);
        assert_eq!(unsigned.value(unsigned.zero()), 0.0);
        assert_eq!((signed.values()[255], unsigned.values()[255]), (1.0, 1.0));
        assert_eq!(unsigned.values()[0], 0.0);
        for pair in signed
            .values()
            .windows(2)
            .chain(unsigned.values().windows(2))
        {
            assert!(pair[0] < pair[1], "{pair:?}");
        }
    }

    proptest! {
        #[test]
        fn no_other_code_is_nearer(x in -1.0f32..1.0) {
            let code = DynamicCode::signed();
            let found = code.value(code.nearest(x));
            for other in code.values() {
                prop_assert!((x - found).abs() <= (x - other).abs() + 1e-7);
            }
        }
    }
}
