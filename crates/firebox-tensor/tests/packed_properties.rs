//! What holds for every weight, whatever its shape and values.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use firebox_tensor::packed::{
    NF4_BLOCK_SIZE, NF4_CODEBOOK, PackError, PackedFormat, PackedMatrix, PartDtype,
};
use proptest::{prelude::*, sample::select};

/// A weight and its shape; rows are whole ggml blocks where `whole_blocks`.
fn weight(whole_blocks: bool) -> impl Strategy<Value = (Vec<f32>, usize, usize)> {
    let n_cols = if whole_blocks {
        (1..6_usize).prop_map(|n_blocks| n_blocks * 32).boxed()
    } else {
        (1..150_usize).boxed()
    };
    (1..7_usize, n_cols, -20..10_i32).prop_flat_map(|(n_rows, n_cols, exponent)| {
        let scale = 2_f32.powi(exponent);
        let value = prop_oneof![9 => -1.0..1.0_f32, 1 => Just(0.0)];
        prop::collection::vec(value.prop_map(move |x| x * scale), n_rows * n_cols)
            .prop_map(move |weight| (weight, n_rows, n_cols))
    })
}

fn any_weight() -> impl Strategy<Value = (PackedFormat, Vec<f32>, usize, usize)> {
    select(&PackedFormat::ALL[..]).prop_flat_map(|format| {
        weight(is_ggml(format)).prop_map(move |(weight, rows, cols)| (format, weight, rows, cols))
    })
}

fn is_ggml(format: PackedFormat) -> bool {
    matches!(
        format,
        PackedFormat::Q8_0 | PackedFormat::Q4_0 | PackedFormat::Q4_1
    )
}

fn widest_nf4_step() -> f32 {
    NF4_CODEBOOK
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .fold(0.0, f32::max)
}

fn absmax(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |max, x| max.max(x.abs()))
}

proptest! {
    #[test]
    fn nf4_error_is_at_most_half_the_widest_step_times_absmax(
        (weight, n_rows, n_cols) in weight(false),
    ) {
        let packed = PackedMatrix::pack(PackedFormat::Nf4, &weight, n_rows, n_cols).unwrap();
        let rebuilt = packed.unpack();
        let blocks = weight.chunks(NF4_BLOCK_SIZE).zip(rebuilt.chunks(NF4_BLOCK_SIZE));
        for (block, rebuilt) in blocks {
            // 1e-6 for the roundings of the scaling there and back.
            let bound = (widest_nf4_step() / 2.0 + 1e-6) * absmax(block);
            for (x, y) in block.iter().zip(rebuilt) {
                prop_assert!((x - y).abs() <= bound, "{x} became {y}, bound {bound}");
            }
        }
    }

    #[test]
    fn int8_error_is_at_most_half_a_step((weight, n_rows, n_cols) in weight(false)) {
        let packed = PackedMatrix::pack(PackedFormat::Int8Rowwise, &weight, n_rows, n_cols).unwrap();
        let rebuilt = packed.unpack();
        for (row, rebuilt) in weight.chunks(n_cols).zip(rebuilt.chunks(n_cols)) {
            let bound = (0.5 / 127.0 + 1e-6) * absmax(row);
            for (x, y) in row.iter().zip(rebuilt) {
                prop_assert!((x - y).abs() <= bound, "{x} became {y}, bound {bound}");
            }
        }
    }

    #[test]
    fn ggml_error_is_at_most_a_step((weight, n_rows, n_cols) in weight(true)) {
        // Steps in units of absmax. Q4_0 has no +8, so its far end may miss by a whole step. The
        // f16 scale adds 2^-11 of every magnitude, or 2^-25 where it is subnormal, times 127.
        let steps = [
            (PackedFormat::Q8_0, 0.5 / 127.0),
            (PackedFormat::Q4_0, 1.0 / 8.0),
            (PackedFormat::Q4_1, 1.0 / 15.0),
        ];
        for (format, step) in steps {
            let packed = PackedMatrix::pack(format, &weight, n_rows, n_cols).unwrap();
            let rebuilt = packed.unpack();
            for (block, rebuilt) in weight.chunks(32).zip(rebuilt.chunks(32)) {
                let bound = (step + 2e-3) * absmax(block) + 4e-6;
                for (x, y) in block.iter().zip(rebuilt) {
                    prop_assert!((x - y).abs() <= bound, "{format}: {x} became {y}, bound {bound}");
                }
            }
        }
    }

    #[test]
    fn packing_what_was_unpacked_changes_nothing((weight, n_rows, n_cols) in weight(false)) {
        // Only formats whose largest value survives exactly: its scale is then found again.
        for format in [PackedFormat::Nf4, PackedFormat::Int8Rowwise] {
            let packed = PackedMatrix::pack(format, &weight, n_rows, n_cols).unwrap();
            let again = PackedMatrix::pack(format, &packed.unpack(), n_rows, n_cols).unwrap();
            let (packed, again) = (packed.unpack(), again.unpack());
            for (x, y) in packed.iter().zip(&again) {
                // INT8 finds `127 * (absmax / 127)` again within two roundings.
                prop_assert!((x - y).abs() <= 3e-7 * x.abs(), "{format}: {x} became {y}");
            }
        }
    }

    #[test]
    fn parts_make_the_same_weight_again((format, weight, n_rows, n_cols) in any_weight()) {
        let packed = PackedMatrix::pack(format, &weight, n_rows, n_cols).unwrap();
        let parts = packed.parts();
        for part in &parts {
            let n_elements: usize = part.shape.iter().product();
            prop_assert_eq!(part.bytes.len(), n_elements * part.dtype.n_bytes(), "{}", part.name);
        }
        let n_bytes: usize = parts.iter().map(|part| part.bytes.len()).sum();
        prop_assert_eq!(packed.n_bytes(), n_bytes);
        let again = PackedMatrix::from_parts(format, n_rows, n_cols, |name| {
            parts.iter().find(|part| part.name == name).map(|part| part.bytes.to_vec())
        });
        prop_assert_eq!(again.unwrap(), packed.clone());
    }

    #[test]
    fn a_part_of_the_wrong_length_is_an_error(
        (format, weight, n_rows, n_cols) in any_weight(),
        which in 0..4_usize,
        longer in any::<bool>(),
    ) {
        let packed = PackedMatrix::pack(format, &weight, n_rows, n_cols).unwrap();
        let parts = packed.parts();
        let damaged = &parts[which % parts.len()];
        let result = PackedMatrix::from_parts(format, n_rows, n_cols, |name| {
            let part = parts.iter().find(|part| part.name == name)?;
            let mut bytes = part.bytes.to_vec();
            if name == damaged.name {
                let change = bytes.len() - 1 + 2 * usize::from(longer);
                bytes.resize(change, 0);
            }
            Some(bytes)
        });
        let is_length_error = matches!(
            &result,
            Err(PackError::PartLength { part, .. }) if *part == damaged.name
        );
        prop_assert!(is_length_error, "{result:?}");
    }

    #[test]
    fn rows_unpack_alone_as_in_the_whole((format, weight, n_rows, n_cols) in any_weight()) {
        let packed = PackedMatrix::pack(format, &weight, n_rows, n_cols).unwrap();
        let whole = packed.unpack();
        let mut row = vec![f32::NAN; n_cols];
        for (i, expected) in whole.chunks(n_cols).enumerate() {
            packed.unpack_row(i, &mut row);
            prop_assert_eq!(&row, expected);
        }
    }

    #[test]
    fn matmul_rows_have_the_same_bits_in_any_batch((format, weight, n_rows, n_cols) in any_weight()) {
        let packed = PackedMatrix::pack(format, &weight, n_rows, n_cols).unwrap();
        let x: Vec<f32> = (0..3 * n_cols).map(|i| (i as f32 * 0.7).sin()).collect();
        let together = packed.matmul(&x);
        let alone: Vec<f32> = x.chunks(n_cols).flat_map(|x| packed.matmul(x)).collect();
        prop_assert_eq!(together, alone);
    }
}

#[track_caller]
fn check_error(result: Result<PackedMatrix, PackError>, expected: &str) {
    assert_eq!(result.unwrap_err().to_string(), expected);
}

#[test]
fn a_weight_that_is_not_finite_is_refused_with_its_place() {
    let mut weight = vec![0.5; 3 * 64];
    weight[130] = f32::NAN;
    for format in PackedFormat::ALL {
        check_error(
            PackedMatrix::pack(format, &weight, 3, 64),
            "pack weight: expected finite values, found NaN at row 2, column 2 \
             (hint: did the training that made it diverge?)",
        );
    }
    weight[64] = f32::NEG_INFINITY;
    check_error(
        PackedMatrix::pack(PackedFormat::Nf4, &weight, 3, 64),
        "pack weight: expected finite values, found -inf at row 1, column 0 \
         (hint: did the training that made it diverge?)",
    );
}

#[test]
fn a_value_too_large_for_the_scale_is_refused() {
    let mut weight = vec![0.5; 32];
    weight[3] = -70_000.0;
    check_error(
        PackedMatrix::pack(PackedFormat::Q4_1, &weight, 1, 32),
        "pack weight as `q4_1`: expected absolute values up to 65504, found -70000 at row 0, \
         column 3 (hint: `nf4` takes any finite value)",
    );
    weight[3] = f32::MAX;
    let packed = PackedMatrix::pack(PackedFormat::Nf4, &weight, 1, 32).unwrap();
    assert!(packed.unpack().iter().all(|x| x.is_finite()));
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    check_error(
        PackedMatrix::pack(PackedFormat::Nf4, &[0.0; 5], 2, 3),
        "pack weight: expected 2 x 3 = 6 values, found 5",
    );
    check_error(
        PackedMatrix::pack(PackedFormat::Q4_0, &[0.0; 48], 1, 48),
        "pack weight as `q4_0`: expected a multiple of 32 columns, found 48 \
         (hint: `nf4` and `int8` take any number)",
    );
    check_error(
        PackedMatrix::from_parts(PackedFormat::Nf4, usize::MAX, 64, |_| None),
        "packed weight of shape [18446744073709551615, 64] has more elements than can be addressed",
    );
    check_error(
        PackedMatrix::from_parts(PackedFormat::Int8Rowwise, usize::MAX / 8, 1, |_| {
            Some(vec![])
        }),
        "read packed weight `int8` of shape [2305843009213693951, 1]: expected \
         2305843009213693951 bytes in part `codes`, found 0",
    );
}

#[test]
fn damaged_scales_and_missing_parts_are_refused() {
    let get = |name: &str| (name == "codes").then(|| vec![0; 32]);
    check_error(
        PackedMatrix::from_parts(PackedFormat::Nf4, 1, 64, get),
        "read packed weight `nf4`: part `absmax` is missing",
    );
    let get = |name: &str| {
        Some(if name == "codes" {
            vec![0; 32]
        } else {
            vec![255; 4]
        })
    };
    check_error(
        PackedMatrix::from_parts(PackedFormat::Nf4, 1, 64, get),
        "read packed weight `nf4`: expected finite scales, found NaN at index 0 of part `absmax` \
         (hint: the file is damaged)",
    );
}

#[test]
fn empty_weights_pack_and_multiply() {
    for format in PackedFormat::ALL {
        for (n_rows, n_cols) in [(0, 64), (3, 0), (0, 0)] {
            let packed = PackedMatrix::pack(format, &[], n_rows, n_cols).unwrap();
            assert_eq!(packed.unpack(), Vec::<f32>::new());
            assert_eq!(packed.matmul(&[]), Vec::<f32>::new());
        }
    }
}

#[test]
fn a_clone_shares_its_bytes() {
    let packed = PackedMatrix::pack(PackedFormat::Q8_0, &[1.0; 64], 2, 32).unwrap();
    let clone = packed.clone();
    assert!(std::ptr::eq(
        packed.parts()[0].bytes,
        clone.parts()[0].bytes
    ));
}

#[test]
fn packed_sizes_are_those_of_the_table() {
    let weight = vec![0.25; 64 * 256];
    let bits = |format| {
        let packed = PackedMatrix::pack(format, &weight, 64, 256).unwrap();
        packed.n_bytes() as f64 * 8.0 / weight.len() as f64
    };
    assert_eq!(bits(PackedFormat::Nf4), 4.5);
    // 4 + 8/64 + 32/(64 * 256), and the offset of this one weight.
    assert_eq!(
        bits(PackedFormat::Nf4DoubleQuant),
        4.0 + 0.125 + 32.0 / 16_384.0 * 2.0
    );
    assert_eq!(bits(PackedFormat::Int8Rowwise), 8.0 + 32.0 / 256.0);
    assert_eq!(
        [PackedFormat::Q8_0, PackedFormat::Q4_0, PackedFormat::Q4_1].map(bits),
        [8.5, 4.5, 5.0]
    );
}

#[test]
fn format_names_are_read_back_and_unknown_ones_list_the_valid() {
    for format in PackedFormat::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
        assert_eq!(serde_json::to_value(format).unwrap(), format.to_string());
    }
    assert_eq!(
        "int4".parse::<PackedFormat>().unwrap_err().to_string(),
        "unknown packed format `int4`: expected one of `nf4`, `nf4-dq`, `int8`, `q8_0`, `q4_0`, \
         `q4_1`"
    );
    assert_eq!(PartDtype::F16.n_bytes(), 2);
}
