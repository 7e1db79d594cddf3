//! Softmax and negative log-likelihood of rows of logits: a cube takes a row.

use burn::backend::Cube;
use burn::tensor::{DType, Int, Shape, Tensor, TensorData};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

use super::cube::{cubes, empty, max_of_cube, own, size, sum_of_cube, units_for_row};
use super::op::queue;
use crate::kernels::SoftmaxNll;

/// See [`crate::kernels::softmax_nll`]; for f32 logits on a GPU, not empty.
pub(crate) fn softmax_nll(logits: Tensor<2>, targets: &[usize]) -> SoftmaxNll {
    let [rows, vocab] = logits.dims();
    let numbers: Vec<u32> = targets.iter().map(|target| size(*target)).collect();
    let numbers = TensorData::new(numbers, [rows]);
    let options = (&logits.device(), DType::U32);
    let numbers = Tensor::<1, Int>::from_data(numbers, options).try_into_primitive::<Cube>();
    let numbers = numbers.expect("targets on the logits' GPU");
    let logits = logits
        .try_into_primitive::<Cube>()
        .expect("logits on a GPU");
    let outputs = [
        (Shape::new([rows, vocab]), DType::F32),
        (Shape::new([rows, 1]), DType::F32),
        (Shape::new([rows]), DType::F32),
    ];
    let run = move |[logits, targets]: [CubeTensor; 2]| {
        let exp = own(logits);
        let sums = empty(&exp, Shape::new([rows, 1]), DType::F32);
        let nll = empty(&exp, Shape::new([rows]), DType::F32);
        let units = units_for_row(vocab);
        softmax_nll_kernel::launch(
            &exp.client,
            cubes(&exp, rows),
            CubeDim::new_1d(units),
            exp.clone().into_buffer_arg(),
            targets.into_buffer_arg(),
            sums.clone().into_buffer_arg(),
            nll.clone().into_buffer_arg(),
            size(rows),
            size(vocab),
            units,
        );
        [exp, sums, nll]
    };
    let [exp, sum, nll] = queue("softmax_nll", [logits, numbers], outputs, run);
    let nll = Tensor::<1>::from_primitive::<Cube>(nll);
    SoftmaxNll {
        nll: nll.into_data().iter::<f32>().collect(),
        exp: Tensor::from_primitive::<Cube>(exp),
        sum: Tensor::from_primitive::<Cube>(sum),
    }
}

/// The logits become `exp(logit - max)` where they lie.
#[cube(launch)]
fn softmax_nll_kernel(
    logits: &mut [f32],
    targets: &[u32],
    sums: &mut [f32],
    nll: &mut [f32],
    rows: u32,
    vocab: u32,
    #[comptime] units: u32,
) {
    let row = CUBE_POS;
    if row >= rows as usize {
        terminate!();
    }
    let (start, end) = (row * vocab as usize, (row + 1) * vocab as usize);
    let at_target = logits[start + targets[row] as usize];
    let mut max = logits[start];
    let mut i = start + UNIT_POS as usize;
    while i < end {
        max = max.max(logits[i]);
        i += units as usize;
    }
    // No unit writes before all have read.
    let max = max_of_cube(max, units);
    let mut sum = 0.0f32;
    let mut i = start + UNIT_POS as usize;
    while i < end {
        let exp = (logits[i] - max).exp();
        logits[i] = exp;
        sum += exp;
        i += units as usize;
    }
    let sum = sum_of_cube(sum, units);
    if UNIT_POS == 0 {
        sums[row] = sum;
        nll[row] = sum.ln() - (at_target - max);
    }
}
