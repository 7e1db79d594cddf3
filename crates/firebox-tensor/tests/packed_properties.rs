//! What holds for every weight, whatever its shape and values.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use firebox_tensor::packed::{
    FP4_CODEBOOK, NF4_BLOCK_SIZE, NF4_CODEBOOK, PackError, PackedFormat, PackedMatrix, PartDtype,
};
use firebox_tensor::random::CounterRng;
use proptest::{prelude::*, sample::select};

/// A weight and its shape; rows are whole blocks of `block`, which is 1 where any length will do.
fn weight(block: usize) -> impl Strategy<Value = (Vec<f32>, usize, usize)> {
    let n_cols = (1..150_usize.div_ceil(block) + 1).prop_map(move |n_blocks| n_blocks * block);
    (1..7_usize, n_cols, -20..10_i32).prop_flat_map(|(n_rows, n_cols, exponent)| {
        let scale = 2_f32.powi(exponent);
        let value = prop_oneof![9 => -1.0..1.0_f32, 1 => Just(0.0)];
        prop::collection::vec(value.prop_map(move |x| x * scale), n_rows * n_cols)
            .prop_map(move |weight| (weight, n_rows, n_cols))
    })
}

fn any_weight() -> impl Strategy<Value = (PackedFormat, Vec<f32>, usize, usize)> {
    select(&PackedFormat::ALL[..]).prop_flat_map(|format| {
        weight(format.row_multiple())
            .prop_map(move |(weight, rows, cols)| (format, weight, rows, cols))
    })
}

fn widest_step(mut codebook: [f32; 16]) -> f32 {
    codebook.sort_by(f32::total_cmp);
    codebook
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .fold(0.0, f32::max)
}

fn absmax(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |max, x| max.max(x.abs()))
}

proptest! {
    #[test]
    fn error_of_a_codebook_is_at_most_half_its_widest_step_times_absmax(
        (weight, n_rows, n_cols) in weight(1),
    ) {
        for (format, codebook) in [(PackedFormat::Nf4, NF4_CODEBOOK), (PackedFormat::Fp4, FP4_CODEBOOK)] {
            let packed = PackedMatrix::pack(format, &weight, n_rows, n_cols).unwrap();
            let rebuilt = packed.unpack();
            let blocks = weight.chunks(NF4_BLOCK_SIZE).zip(rebuilt.chunks(NF4_BLOCK_SIZE));
            for (block, rebuilt) in blocks {
                // 1e-6 for the roundings of the scaling there and back.
                let bound = (widest_step(codebook) / 2.0 + 1e-6) * absmax(block);
                for (x, y) in block.iter().zip(rebuilt) {
                    prop_assert!((x - y).abs() <= bound, "{format}: {x} became {y}, bound {bound}");
                }
            }
        }
    }

    #[test]
    fn int8_error_is_at_most_half_a_step((weight, n_rows, n_cols) in weight(1)) {
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
    fn ggml_error_is_at_most_a_step((weight, n_rows, n_cols) in weight(32)) {
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
    fn k_error_is_at_most_a_step(
        (weight, n_rows, n_cols) in weight(256), shift in select(&[0.0_f32, 1.0, -1.0, 20.0, -20.0][..]),
    ) {
        // In units of the absmax of 256 values, a step is up to 2/15. The search gives up the ends
        // of the range for less error in between, by no more than half a step here; rounding to six
        // bits moves the ends by 1/63 of the largest scale and half that of the minimum. Where both
        // f16 are subnormal, they are off by 2^-25, times 63 * 15.
        let shift = shift * absmax(&weight);
        let weight: Vec<f32> = weight.iter().map(|x| x + shift).collect();
        let packed = PackedMatrix::pack(PackedFormat::Q4K, &weight, n_rows, n_cols).unwrap();
        for (block, rebuilt) in weight.chunks(256).zip(packed.unpack().chunks(256)) {
            let bound = (2.0 / 15.0 + 0.03) * absmax(block) + 4e-5;
            for (x, y) in block.iter().zip(rebuilt) {
                prop_assert!((x - y).abs() <= bound, "{x} became {y}, bound {bound}");
            }
        }
    }

    #[test]
    fn packing_what_was_unpacked_changes_nothing((weight, n_rows, n_cols) in weight(1)) {
        // Only formats whose largest value survives exactly: its scale is then found again.
        for format in [PackedFormat::Nf4, PackedFormat::Fp4, PackedFormat::Int8Rowwise] {
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

/// Root of the mean squared error, relative to that of the weight.
fn relative_error(format: PackedFormat, weight: &[f32], n_cols: usize) -> f64 {
    let packed = PackedMatrix::pack(format, weight, weight.len() / n_cols, n_cols).unwrap();
    let square = |x: f32| f64::from(x).powi(2);
    let rebuilt = packed.unpack();
    let error: f64 = weight.iter().zip(rebuilt).map(|(x, y)| square(x - y)).sum();
    (error / weight.iter().map(|x| square(*x)).sum::<f64>()).sqrt()
}

#[test]
fn the_search_of_q4_k_loses_less_than_its_neighbours() {
    let mut rng = CounterRng::new(5, 0);
    let weight: Vec<f32> = (0..64 * 1024).map(|_| rng.normal()).collect();
    let error = |format| relative_error(format, &weight, 1024);
    let (q4_0, q4_1, q4_k) = (
        error(PackedFormat::Q4_0),
        error(PackedFormat::Q4_1),
        error(PackedFormat::Q4K),
    );
    // 7.1 hundredths; llama.cpp's search has as much, and 7.8 is what Q4_1 has without one.
    assert!(q4_k < 0.072, "{q4_k}");
    assert!(q4_k < q4_1 && q4_1 < q4_0, "{q4_k}, {q4_1}, {q4_0}");
}

#[test]
fn a_block_that_q4_k_can_hold_comes_back_as_it_was() {
    // Every code, scale and minimum as the search would have them, and no f16 to round.
    let weight: Vec<f32> = (0..256)
        .map(|i| (i / 32 + 56) as f32 * (i % 16) as f32 * 0.25 - 63.0 * (i / 32 % 2) as f32)
        .collect();
    let packed = PackedMatrix::pack(PackedFormat::Q4K, &weight, 1, 256).unwrap();
    assert_eq!(packed.unpack(), weight);
    for constant in [0.0, 1e-30, -1e-30, 3.5, -3.5, 4e6, -4e6] {
        let packed = PackedMatrix::pack(PackedFormat::Q4K, &[constant; 256], 1, 256).unwrap();
        for x in packed.unpack() {
            let bound = constant.abs() * 5e-4 + 1e-29;
            assert!((x - constant).abs() <= bound, "{constant} became {x}");
        }
    }
}

#[test]
fn a_weight_that_is_not_finite_is_refused_with_its_place() {
    let mut weight = vec![0.5; 3 * 256];
    weight[514] = f32::NAN;
    for format in PackedFormat::ALL {
        check_error(
            PackedMatrix::pack(format, &weight, 3, 256),
            "pack weight: expected finite values, found NaN at row 2, column 2 \
             (hint: did the training that made it diverge?)",
        );
    }
    weight[256] = f32::NEG_INFINITY;
    check_error(
        PackedMatrix::pack(PackedFormat::Nf4, &weight, 3, 256),
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
    check_error(
        PackedMatrix::pack(PackedFormat::Q4K, &[-5e6; 256], 1, 256),
        "pack weight as `q4_k`: expected absolute values up to 4126752, found -5000000 at row 0, \
         column 0 (hint: `nf4` takes any finite value)",
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
        PackedMatrix::pack(PackedFormat::Q4K, &[0.0; 2 * 576], 2, 576),
        "pack weight as `q4_k`: expected a multiple of 256 columns, found 576 \
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
        for (n_rows, n_cols) in [(0, 256), (3, 0), (0, 0)] {
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
    assert_eq!([PackedFormat::Nf4, PackedFormat::Fp4].map(bits), [4.5; 2]);
    // 4 + 8/64 + 32/(64 * 256), and the offset of this one weight.
    assert_eq!(
        [PackedFormat::Nf4DoubleQuant, PackedFormat::Fp4DoubleQuant].map(bits),
        [4.0 + 0.125 + 32.0 / 16_384.0 * 2.0; 2]
    );
    assert_eq!(bits(PackedFormat::Int8Rowwise), 8.0 + 32.0 / 256.0);
    assert_eq!(
        [
            PackedFormat::Q8_0,
            PackedFormat::Q4_0,
            PackedFormat::Q4_1,
            PackedFormat::Q4K
        ]
        .map(bits),
        [8.5, 4.5, 5.0, 4.5]
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
        "unknown packed format `int4`: expected one of `nf4`, `nf4-dq`, `fp4`, `fp4-dq`, `int8`, \
         `q8_0`, `q4_0`, `q4_1`, `q4_k`, `q5_0`, `q5_1`, `q5_k`, `q6_k`, `int4-32`, `int4-64`, \
         `int4-128`, `int4-32-sym`, `int4-64-sym`, `int4-128-sym`"
    );
    assert_eq!(PartDtype::F16.n_bytes(), 2);
}
