use burn::tensor::Distribution;
use firebox_tensor::packed::PackedFormat;

use super::*;

fn matrix() -> PackedMatrix {
    let values: Vec<f32> = (0..24 * 64).map(|i| (i as f32 * 0.37).sin()).collect();
    PackedMatrix::pack(PackedFormat::Nf4, &values, 24, 64).unwrap()
}

/// The same layer with its packed weight unpacked for good.
fn both() -> (Linear, Linear) {
    let (packed, device) = (Linear::packed(matrix(), None), Device::flex());
    let dense = Linear::dense(packed.weight.to_dense(&device), None);
    (packed, dense)
}

fn max_difference(a: Tensor<3>, b: Tensor<3>) -> f32 {
    (a - b).abs().max().into_scalar()
}

#[test]
fn packed_rows_equal_dense_rows_on_either_side_of_the_threshold() {
    let (packed, dense) = both();
    for rows in [1, DENSE_FROM_ROWS - 1, DENSE_FROM_ROWS, DENSE_FROM_ROWS + 1] {
        let x = Tensor::random(
            [1, rows, 64],
            Distribution::Normal(0.0, 1.0),
            &Device::flex(),
        );
        let difference = max_difference(packed.forward(x.clone()), dense.forward(x));
        // Sums of 64 products of size one, in another order.
        assert!(difference < 1e-4, "{rows} rows: {difference}");
    }
}

#[test]
fn gradients_flow_through_a_packed_weight_as_through_the_dense_one() {
    let (packed, dense) = both();
    for rows in [2, 20] {
        let x = Tensor::<3>::random(
            [1, rows, 64],
            Distribution::Normal(0.0, 1.0),
            &Device::flex(),
        );
        let gradient = |layer: &Linear| {
            let x = x.clone().autodiff().require_grad();
            let grads = layer.forward(x.clone()).square().sum().backward();
            x.grad(&grads).unwrap()
        };
        let difference = max_difference(gradient(&packed), gradient(&dense));
        assert!(difference < 1e-3, "{rows} rows: {difference}");
    }
}
