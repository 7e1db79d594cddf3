//! One pass over a gradient: its sum of squares, its zeros.

use crate::{
    gradients::ParamGradients,
    host::{CHUNK_LEN, HostElements},
};
use burn::{
    module::ParamId,
    tensor::{DType, Tensor},
};
use rayon::prelude::*;

/// Independent running sums of one chunk: they let the processor work on several at once, in an
/// order that the source fixes.
const N_LANES: usize = 8;

/// What one pass over a gradient counts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct GradientMeasure {
    pub(crate) sum_of_squares: f64,
    pub(crate) n_zeros: usize,
    pub(crate) n_elements: usize,
}

/// Measures every gradient, in the module's order.
///
/// In host memory the sums are in f64 over fixed chunks, so they do not depend on the number of
/// threads. Elsewhere each parameter is summed in its own dtype, and all sums are read at once.
///
/// The gradients are unchanged; they are borrowed mutably because their buffers are read in place.
pub(crate) fn measure_all(gradients: &mut ParamGradients) -> Vec<(ParamId, GradientMeasure)> {
    let mut measures = Vec::new();
    let mut on_device = Vec::new();
    gradients.update_each(|id, gradient| match HostElements::take([gradient]) {
        Ok([elements]) => {
            measures.push((id, measure_slice(elements.as_slice())));
            elements.into_tensor()
        }
        Err([gradient]) => {
            let n_elements = gradient.dims()[0];
            let sum = gradient.clone().powi_scalar(2).sum().cast(DType::F32); // [1]
            let zeros = gradient
                .clone()
                .equal_elem(0.0)
                .float()
                .sum()
                .cast(DType::F32); // [1]
            on_device.push((measures.len(), [sum, zeros]));
            measures.push((
                id,
                GradientMeasure {
                    n_elements,
                    ..GradientMeasure::default()
                },
            ));
            gradient
        }
    });
    let (places, sums): (Vec<usize>, Vec<[Tensor<1>; 2]>) = on_device.into_iter().unzip();
    if !places.is_empty() {
        let values = Tensor::cat(sums.into_iter().flatten().collect(), 0).into_data(); // [2 * n]
        let values: Vec<f64> = values.iter::<f64>().collect();
        for (place, pair) in places.into_iter().zip(values.chunks_exact(2)) {
            measures[place].1.sum_of_squares = pair[0];
            measures[place].1.n_zeros = pair[1] as usize;
        }
    }
    measures
}

fn measure_slice(elements: &[f32]) -> GradientMeasure {
    let chunks: Vec<(f64, usize)> = elements.par_chunks(CHUNK_LEN).map(measure_chunk).collect();
    GradientMeasure {
        sum_of_squares: chunks.iter().map(|(sum, _)| sum).sum(),
        n_zeros: chunks.iter().map(|(_, n_zeros)| n_zeros).sum(),
        n_elements: elements.len(),
    }
}

fn measure_chunk(chunk: &[f32]) -> (f64, usize) {
    let (mut sums, mut zeros) = ([0f64; N_LANES], [0u32; N_LANES]);
    let (groups, rest) = chunk.as_chunks::<N_LANES>();
    let mut add = |lane: usize, element: f32| {
        sums[lane] += f64::from(element) * f64::from(element);
        zeros[lane] += u32::from(element == 0.0);
    };
    for group in groups {
        for (lane, element) in group.iter().enumerate() {
            add(lane, *element);
        }
    }
    for (lane, element) in rest.iter().enumerate() {
        add(lane, *element);
    }
    (sums.iter().sum(), zeros.iter().sum::<u32>() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_zeros_of_odd_lengths() {
        for len in [0, 1, 7, 8, 9, CHUNK_LEN + 3] {
            let elements: Vec<f32> = (0..len).map(|i| (i % 3) as f32).collect();
            let expected: f64 = elements.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
            let found = measure_slice(&elements);
            assert_eq!(found.sum_of_squares, expected); // Small integers: exact.
            assert_eq!(found.n_zeros, len.div_ceil(3));
            assert_eq!(found.n_elements, len);
        }
    }
}
