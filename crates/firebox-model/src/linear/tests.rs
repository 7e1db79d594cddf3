use burn::tensor::Distribution;
use firebox_tensor::packed::PackedFormat;

use super::*;

const D_IN: usize = 256;

/// A layer over a packed weight, and the same with the weight unpacked for good.
fn both(format: PackedFormat) -> (Linear, Linear) {
    let values: Vec<f32> = (0..24 * D_IN).map(|i| (i as f32 * 0.37).sin()).collect();
    let matrix = PackedMatrix::pack(format, &values, 24, D_IN).unwrap();
    let (packed, device) = (Linear::packed(matrix, None), Device::flex());
    let dense = Linear::dense(packed.weight.to_dense(&device), None);
    (packed, dense)
}

fn max_difference(a: Tensor<3>, b: Tensor<3>) -> f32 {
    (a - b).abs().max().into_scalar()
}

#[test]
fn packed_rows_equal_dense_rows_on_either_side_of_the_threshold() {
    for format in PackedFormat::ALL {
        let (packed, dense) = both(format);
        for rows in [1, DENSE_FROM_ROWS - 1, DENSE_FROM_ROWS, DENSE_FROM_ROWS + 1] {
            let x = random_rows(rows);
            let difference = max_difference(packed.forward(x.clone()), dense.forward(x));
            // Sums of 256 products of size one, in another order.
            assert!(difference < 4e-4, "{format}, {rows} rows: {difference}");
        }
    }
}

#[test]
fn gradients_flow_through_a_packed_weight_as_through_the_dense_one() {
    for format in PackedFormat::ALL {
        let (packed, dense) = both(format);
        for rows in [2, 20] {
            let x = random_rows(rows);
            let gradient = |layer: &Linear| {
                let x = x.clone().autodiff().require_grad();
                let grads = layer.forward(x.clone()).square().sum().backward();
                x.grad(&grads).unwrap()
            };
            let (expected, found) = (gradient(&dense), gradient(&packed));
            let size: f32 = expected.clone().abs().max().into_scalar();
            let difference = max_difference(found, expected) / size;
            assert!(difference < 1e-5, "{format}, {rows} rows: {difference}");
        }
    }
}

/// What QLoRA trains: the gradients of an adapter's factors.
#[test]
fn an_adapter_learns_over_every_packed_weight_as_over_the_dense_one() {
    for format in PackedFormat::ALL {
        let (packed, dense) = both(format);
        let x = random_rows(20);
        let a = Tensor::<2>::random([4, D_IN], Distribution::Normal(0.0, 0.1), &Device::flex());
        let b = Tensor::<2>::random([24, 4], Distribution::Normal(0.0, 0.1), &Device::flex());
        let gradients = |mut layer: Linear| {
            let factor = |factor: &Tensor<2>| factor.clone().autodiff();
            layer.lora = Some(LoraFactors::new(factor(&a), factor(&b), 2.0));
            let grads = layer
                .forward(x.clone().autodiff())
                .square()
                .sum()
                .backward();
            let lora = layer.lora.as_ref().unwrap();
            [&lora.lora_a, &lora.lora_b].map(|factor| factor.val().grad(&grads).unwrap())
        };
        for (expected, found) in gradients(dense).into_iter().zip(gradients(packed)) {
            let size: f32 = expected.clone().abs().max().into_scalar();
            let difference: f32 = (expected - found).abs().max().into_scalar();
            assert!(
                size > 0.0 && difference < 1e-5 * size,
                "{format}: {difference} of {size}"
            );
        }
    }
}

fn random_rows(rows: usize) -> Tensor<3> {
    let normal = Distribution::Normal(0.0, 1.0);
    Tensor::random([1, rows, D_IN], normal, &Device::flex())
}
