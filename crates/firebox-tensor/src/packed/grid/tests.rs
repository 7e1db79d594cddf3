use super::*;
use crate::packed::PackedMatrix;

/// Rows as weights are: bell-shaped, with a few large ones.
fn weight(n: usize) -> Vec<f32> {
    let bell = |i: usize| {
        let x = (i as f32 * 12.9898).sin() + (i as f32 * 78.233).sin() + (i as f32 * 3.17).cos();
        if i.is_multiple_of(97) { 3.0 * x } else { x }
    };
    (0..n).map(|i| 0.03 * bell(i)).collect()
}

/// Each block on the grid of least error: the packed weight, and what every value became.
fn on_grids(
    format: PackedFormat,
    weight: &[f32],
    shape: [usize; 2],
    importance: &[f32],
) -> (PackedMatrix, Vec<f32>) {
    let block_len = format.block_len(shape[1]).unwrap();
    let (mut grids, mut codes, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for (block, importance) in weight.chunks(block_len).zip(importance.chunks(block_len)) {
        let grid = BlockGrid::fit(format, block, importance);
        for (i, x) in block.iter().enumerate() {
            let (code, value) = grid.nearest(i, *x);
            codes.push(code);
            values.push(value);
        }
        grids.push(grid);
    }
    (
        PackedMatrix::from_grids(format, shape, &grids, &codes).unwrap(),
        values,
    )
}

fn error(weight: &[f32], values: &[f32], importance: &[f32]) -> f32 {
    let squares = weight.iter().zip(values).zip(importance);
    squares.map(|((x, y), w)| w * (x - y) * (x - y)).sum()
}

#[test]
fn what_is_assembled_unpacks_to_what_the_grids_said() {
    let (shape, n) = ([6, 512], 6 * 512);
    let weight = weight(n);
    for format in PackedFormat::ALL {
        let (packed, values) = on_grids(format, &weight, shape, &vec![1.0; n]);
        // Double quantization rounds the scales once more.
        let tolerance = match format {
            PackedFormat::Nf4DoubleQuant | PackedFormat::Fp4DoubleQuant => 2e-3,
            _ => 0.0,
        };
        for (unpacked, value) in packed.unpack().iter().zip(&values) {
            assert!(
                (unpacked - value).abs() <= tolerance,
                "{format}: {unpacked} and {value}"
            );
        }
    }
}

#[test]
fn scales_that_were_searched_for_lose_no_more_than_the_plain_ones() {
    let (shape, n) = ([6, 512], 6 * 512);
    let weight = weight(n);
    let importance: Vec<f32> = (0..n).map(|i| 0.1 + (i % 7) as f32).collect();
    for format in PackedFormat::ALL {
        let plain = PackedMatrix::pack(format, &weight, shape[0], shape[1]).unwrap();
        let (searched, _) = on_grids(format, &weight, shape, &importance);
        let plain = error(&weight, &plain.unpack(), &importance);
        let searched = error(&weight, &searched.unpack(), &importance);
        assert!(
            searched <= plain * 1.0001,
            "{format}: {searched} and {plain}"
        );
        if !matches!(format, PackedFormat::Int8Rowwise | PackedFormat::Q8_0) {
            assert!(searched < plain * 0.98, "{format}: {searched} and {plain}");
        }
    }
}

#[test]
fn zeros_and_the_largest_values_have_finite_grids() {
    for format in PackedFormat::ALL {
        for value in [0.0, 1e-30, 60_000.0, -60_000.0] {
            let block = vec![value; 256];
            let (packed, _) = on_grids(format, &block, [1, 256], &vec![1.0; 256]);
            for x in packed.unpack() {
                let off = (x - value).abs();
                assert!(off <= value.abs() * 0.02 + 1e-29, "{format} {value}: {x}");
            }
        }
    }
}
