//! Products over packed weights.

use burn::tensor::TensorData;

use super::*;
use crate::gpu::{GpuPacked, packed_linear};
use crate::kernels::PackedOnDevice;
use crate::packed::{PackedFormat, PackedMatrix};

/// Rows, outputs and inputs: one, primes, few rows and many, tiles of 64 and of 16 and their
/// neighbours.
const SHAPES: [[usize; 3]; 8] = [
    [1, 1, 1],
    [2, 3, 7],
    [1, 37, 129],
    [4, 64, 64],
    [5, 65, 63],
    [17, 31, 257],
    [64, 64, 16],
    [131, 67, 96],
];

const WITH_KERNELS: [PackedFormat; 7] = [
    PackedFormat::Nf4,
    PackedFormat::Nf4DoubleQuant,
    PackedFormat::Fp4,
    PackedFormat::Fp4DoubleQuant,
    PackedFormat::Int8Rowwise,
    PackedFormat::Q8_0,
    PackedFormat::Q4_0,
];

fn packed(format: PackedFormat, n_out: usize, n_in: usize) -> PackedMatrix {
    let weight = normal([n_out, n_in]).to_data();
    let weight: Vec<f32> = weight.iter::<f32>().collect();
    PackedMatrix::pack(format, &weight, n_out, n_in).expect("finite weights")
}

// Sums of some hundred products in another order.
#[test]
fn products_and_their_gradients_match_the_unpacked_weight() {
    for format in WITH_KERNELS {
        for [rows, n_out, n_in] in SHAPES {
            let n_in = n_in.next_multiple_of(format.row_multiple());
            let matrix = packed(format, n_out, n_in);
            let on_gpu = GpuPacked::new(&matrix, &gpu()).expect("a kernel for the format");
            let dense = |device: &Device| {
                Tensor::<2>::from_data(TensorData::new(matrix.unpack(), [n_out, n_in]), device)
            };
            check_op(
                |[x]| packed_linear(&x, &on_gpu).expect("a kernel"),
                |[x]| x.clone().matmul(dense(&x.device()).transpose()),
                [normal([rows, n_in])],
                5e-6,
            );
        }
    }
}

#[test]
fn every_element_of_a_row_is_its_own() {
    // Rows of the identity give the weight back, to the rounding of one scale.
    for format in [
        PackedFormat::Nf4,
        PackedFormat::Fp4,
        PackedFormat::Int8Rowwise,
    ] {
        let (n_out, n_in) = (5, 77);
        let matrix = packed(format, n_out, n_in);
        let identity: Tensor<2> = Tensor::eye(n_in, &gpu());
        let found = PackedOnDevice::default()
            .linear(&identity, &matrix)
            .expect("a kernel");
        let weight = TensorData::new(matrix.unpack(), [n_out, n_in]);
        let weight = Tensor::<2>::from_data(weight, &gpu());
        check(
            "the weight",
            &found.transpose(),
            &weight,
            1e-6 * largest(&weight),
        );
    }
}

#[test]
fn other_formats_devices_and_widths_are_left_to_the_caller() {
    let matrix = packed(PackedFormat::Q4_1, 2, 32);
    assert!(GpuPacked::new(&matrix, &gpu()).is_none());
    let matrix = packed(PackedFormat::Nf4, 2, 32);
    let cpu = DeviceChoice::Cpu.open().unwrap();
    let x = Tensor::<2>::ones([1, 32], &cpu);
    assert!(PackedOnDevice::default().linear(&x, &matrix).is_none());
    let x = normal([1, 31]);
    assert!(PackedOnDevice::default().linear(&x, &matrix).is_none());
}
