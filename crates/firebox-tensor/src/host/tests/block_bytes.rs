//! Panels from ggml's blocks of any bytes.

use proptest::prelude::*;

use crate::host::{MatmulScratch, PanelMatrix, SimdLevel, Start, level};
use crate::packed::{GGML_BLOCK_SIZE, K_BLOCK_SIZE, PackedFormat, PackedMatrix};
use crate::random::CounterRng;

/// A format, the inputs of a block, and where its f16 lie.
type BlockLayout = (PackedFormat, usize, &'static [usize]);

const LAYOUTS: [BlockLayout; 8] = [
    (PackedFormat::Q8_0, GGML_BLOCK_SIZE, &[0]),
    (PackedFormat::Q4_0, GGML_BLOCK_SIZE, &[0]),
    (PackedFormat::Q4_1, GGML_BLOCK_SIZE, &[0, 2]),
    (PackedFormat::Q5_0, GGML_BLOCK_SIZE, &[0]),
    (PackedFormat::Q5_1, GGML_BLOCK_SIZE, &[0, 2]),
    (PackedFormat::Q4K, K_BLOCK_SIZE, &[0, 2]),
    (PackedFormat::Q5K, K_BLOCK_SIZE, &[0, 2]),
    (PackedFormat::Q6K, K_BLOCK_SIZE, &[208]),
];

/// A weight of random codes, and of random scales and minimums of either sign.
fn random_weight(layout: BlockLayout, n_out: usize, n_in: usize, seed: u64) -> PackedMatrix {
    let (format, block_size, halves) = layout;
    let block_bytes = format.ggml_block_bytes().unwrap();
    let mut rng = CounterRng::new(seed, 0);
    let mut bytes: Vec<u8> = (0..n_out * n_in / block_size * block_bytes)
        .map(|_| rng.below(256) as u8)
        .collect();
    for block in bytes.chunks_exact_mut(block_bytes) {
        for at in halves {
            block[*at..at + 2].copy_from_slice(&half::f16::from_f32(rng.normal()).to_le_bytes());
        }
    }
    PackedMatrix::from_parts(format, n_out, n_in, |_| Some(bytes.clone())).unwrap()
}

/// Rows that 8 bits hold exactly: integers of at most 127, which each block has one of.
fn integer_rows(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = CounterRng::new(seed, 1);
    let value = |i| match i % 32 {
        0 => 127.0,
        _ => rng.below(255) as f32 - 127.0,
    };
    (0..n).map(value).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn products_are_those_of_the_unpacked_weight(
        layout in 0..LAYOUTS.len(), rows in 1_usize..34, n_blocks in 1_usize..25,
        n_out in 1_usize..90, n_threads in 1_usize..4, seed in any::<u64>(),
    ) {
        let _turn = level::test_turn();
        let layout = LAYOUTS[layout];
        let n_in = (n_blocks * GGML_BLOCK_SIZE).next_multiple_of(layout.1);
        let packed = random_weight(layout, n_out, n_in, seed);
        let (weight, x) = (packed.unpack(), integer_rows(rows * n_in, seed));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        for level in SimdLevel::available() {
            level.force().unwrap();
            let matrix = PanelMatrix::from_packed(&packed);
            prop_assert!(matrix.format().multiplies_integers());
            let mut row = vec![0.0; n_in];
            for (i, weight) in weight.chunks_exact(n_in).enumerate() {
                matrix.unpack_row(i, &mut row);
                prop_assert_eq!(&row, weight, "{} {} row {}", level, layout.0, i);
            }
            let mut y = vec![0.0; rows * n_out];
            pool.install(|| matrix.matmul(&x, &mut y, Start::Zero, &mut MatmulScratch::default()));
            for (i, y) in y.iter().enumerate() {
                let (x, w) = (&x[i / n_out * n_in..][..n_in], &weight[i % n_out * n_in..][..n_in]);
                let terms = x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w));
                let error = (f64::from(*y) - terms.sum::<f64>()).abs();
                // Up to 48 additions, each rounded by 2^-24 of a sum that is far below this one.
                let largest = |values: &[f32]| values.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
                let bound = 1e-6 * n_in as f64 * 127.0 * f64::from(largest(w));
                prop_assert!(error < bound, "{} {} {}: {} off by {}", level, layout.0, i, y, error);
            }
        }
        SimdLevel::available().pop().unwrap().force().unwrap();
    }
}
