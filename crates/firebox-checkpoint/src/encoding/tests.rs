use half::bf16;
use proptest::prelude::*;

use super::*;

fn finite() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(
        any::<u32>()
            .prop_map(f32::from_bits)
            .prop_filter("finite", |x| x.abs() < 3.3e38),
        0..2000,
    )
}

proptest! {
    #[test]
    fn bf16_rounds_as_the_half_crate_does(values in finite()) {
        let bytes = encode(Dtype::BF16, &values).unwrap().unwrap();
        let expected: Vec<u8> =
            values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect();
        prop_assert_eq!(bytes, expected);
    }

    #[test]
    fn f16_rounds_as_the_half_crate_does(values in prop::collection::vec(-65519.0f32..65519.0, 0..2000)) {
        let bytes = encode(Dtype::F16, &values).unwrap().unwrap();
        let expected: Vec<u8> =
            values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect();
        prop_assert_eq!(bytes, expected);
    }

    #[test]
    fn f32_survives_the_round_trip(values in finite()) {
        let bytes = encode(Dtype::F32, &values).unwrap().unwrap();
        prop_assert_eq!(decode(Dtype::F32, &bytes).unwrap(), values);
    }
}

#[test]
fn every_f16_and_bf16_decodes_exactly_wherever_it_lies() {
    let bits: Vec<u16> = (0..=u16::MAX).collect();
    for offset in 0..2 {
        let mut bytes = vec![0; offset];
        bytes.extend(bits.iter().flat_map(|x| x.to_le_bytes()));
        let halves = decode(Dtype::F16, &bytes[offset..]).unwrap();
        let brains = decode(Dtype::BF16, &bytes[offset..]).unwrap();
        for bits in &bits {
            let at = usize::from(*bits);
            let (half, brain) = (
                f16::from_bits(*bits).to_f32(),
                bf16::from_bits(*bits).to_f32(),
            );
            assert!(
                halves[at] == half || half.is_nan() && halves[at].is_nan(),
                "{bits:#x}"
            );
            assert!(
                brains[at] == brain || brain.is_nan() && brains[at].is_nan(),
                "{bits:#x}"
            );
        }
    }
}

#[track_caller]
fn check_misfit(dtype: Dtype, value: f32, expected: Option<Misfit>) {
    let mut values = vec![1.0; 40_000];
    values[33_333] = value;
    assert_eq!(encode(dtype, &values).unwrap().err(), expected);
}

#[test]
fn overflow_is_found_where_rounding_would_reach_infinity() {
    let overflow = |value| {
        Some(Misfit::Overflow {
            index: 33_333,
            value,
        })
    };
    check_misfit(Dtype::F16, 65519.99, None);
    check_misfit(Dtype::F16, 65520.0, overflow(65520.0));
    check_misfit(Dtype::F16, -7e4, overflow(-7e4));
    check_misfit(Dtype::BF16, f32::from_bits(0x7f7f_7fff), None);
    check_misfit(Dtype::BF16, f32::MAX, overflow(f32::MAX));
    check_misfit(Dtype::F32, f32::MAX, None);
}

#[test]
fn infinity_and_nan_are_refused_in_every_dtype() {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
        let value = f32::NEG_INFINITY;
        check_misfit(
            dtype,
            value,
            Some(Misfit::NotFinite {
                index: 33_333,
                value,
            }),
        );
        assert!(matches!(
            encode(dtype, &[f32::NAN]).unwrap(),
            Err(Misfit::NotFinite { index: 0, .. })
        ));
    }
}
