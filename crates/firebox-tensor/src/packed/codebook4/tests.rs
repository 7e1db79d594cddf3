use super::*;

const BOTH: [Codebook4; 2] = [Codebook4::Nf4, Codebook4::Fp4];

/// Every threshold, its neighbours among the floats, and some values between.
fn awkward(book: Codebook4) -> Vec<f32> {
    let mut values: Vec<f32> = (-1000..=1000).map(|i| i as f32 / 1000.0).collect();
    for threshold in book.table().thresholds {
        values.extend([threshold.next_down(), threshold, threshold.next_up()]);
    }
    values.extend([-0.0, f32::MIN_POSITIVE, -f32::MIN_POSITIVE, 1e-45, -1e-45]);
    values
}

#[test]
fn every_code_is_the_nearest() {
    for book in BOTH {
        for x in awkward(book) {
            let (code, value) = book.nearest(x, 1.0);
            assert_eq!(value, book.levels()[usize::from(code)]);
            let nearest = book.levels().iter().map(|level| (level - x).abs());
            let nearest = nearest.fold(f32::MAX, f32::min);
            assert!(((value - x).abs() - nearest).abs() < 1e-6, "{book:?} {x}");
            let level = book.nearest_level(x);
            assert!((level - value).abs() < 1e-6, "{book:?} {x}: {level}");
        }
    }
}

#[test]
fn one_value_alone_gets_the_code_that_its_block_gives_it() {
    for book in BOTH {
        for absmax in [1.0, 0.37, 1e30, 1e-39, 0.0] {
            for x in awkward(book) {
                let mut block = [0.0; NF4_BLOCK_SIZE];
                (block[0], block[63]) = (x * absmax, -absmax);
                let (codes, scales) = book.pack(&block);
                assert_eq!(scales, [absmax]);
                let (code, value) = book.nearest(block[0], absmax);
                assert_eq!(codes[0] >> 4, code, "{book:?} {x} of {absmax}");
                let mut unpacked = [f32::NAN];
                book.unpack(&codes, |_| scales[0], 0, &mut unpacked);
                assert_eq!(unpacked, [value]);
            }
        }
    }
}

#[test]
fn every_level_gives_the_same_bytes() {
    for book in BOTH {
        for scale in [1.0, 1e-39, 1e30] {
            let mut weight = awkward(book);
            weight.iter_mut().for_each(|x| *x *= scale);
            let expected = book.pack_at(SimdLevel::Portable, &weight);
            for level in SimdLevel::available() {
                assert_eq!(book.pack_at(level, &weight), expected, "{book:?} {level:?}");
            }
        }
    }
}
