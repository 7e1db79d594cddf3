//! What this machine can do at most: how fast memory is read, how fast products go in the cache.
//!
//! Source: Williams, Waterman and Patterson (2009), <https://doi.org/10.1145/1498765.1498785>.

#![expect(unsafe_code, reason = "vectors are read through pointers")]

use std::hint::black_box;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::aligned::AlignedBuffer;
use super::level::SimdLevel;
use super::panel_matrix::{MatmulScratch, PanelFormat, PanelMatrix, Start};
use super::parallel::for_each_range;
use super::simd::{Kernel, Simd, dispatch};
use super::team::in_team;
use crate::packed::{PackedFormat, PackedMatrix};

/// Memory that is read: several times the last cache of most machines.
const READ_BYTES: usize = 512 << 20;

/// Outputs, inputs and rows of the products: both factors and the result stay in the second cache.
const PRODUCT: [usize; 3] = [256, 192, 240];

/// How long each is tried.
const TRIED_FOR: Duration = Duration::from_millis(400);

/// Limits of this machine, with the threads of rayon's pool.
#[derive(Clone, Copy, Debug)]
pub struct Roofline {
    /// Bytes read from memory in a second.
    pub read_bytes_per_s: f64,
    /// Multiplications and additions of f32 in a second, in the cache.
    pub f32_per_s: f64,
    /// The same of bf16, added in f32.
    pub bf16_per_s: f64,
    /// The same of 8-bit integers, with the scales of their blocks.
    pub int8_per_s: f64,
}

impl Roofline {
    /// Measures each for some tenths of a second and keeps the best of many tries.
    pub fn measure() -> Self {
        let weight = weight();
        let [n_out, n_in, _] = PRODUCT;
        let packed = PackedMatrix::pack(PackedFormat::Q8_0, &weight, n_out, n_in)
            .expect("whole blocks of finite numbers");
        Self {
            read_bytes_per_s: read(),
            f32_per_s: Self::products(PanelFormat::F32),
            bf16_per_s: Self::products(PanelFormat::Bf16Dot),
            int8_per_s: multiply(&PanelMatrix::from_packed(&packed)),
        }
    }

    /// Multiplications and additions in a second with a dense format, in the cache; measured as
    /// [`measure`](Self::measure) does.
    pub fn products(format: PanelFormat) -> f64 {
        let [n_out, n_in, _] = PRODUCT;
        multiply(&PanelMatrix::from_dense(format, &weight(), n_out, n_in))
    }
}

fn weight() -> Vec<f32> {
    (0..PRODUCT[0] * PRODUCT[1])
        .map(|i| i as f32 * 1e-4)
        .collect()
}

/// Units of work in a second, at best.
fn best(units: usize, mut work: impl FnMut() + Send) -> f64 {
    in_team(|| {
        let begin = Instant::now();
        let mut shortest = f64::INFINITY;
        while begin.elapsed() < TRIED_FOR {
            let start = Instant::now();
            work();
            shortest = shortest.min(start.elapsed().as_secs_f64());
        }
        units as f64 / shortest
    })
}

fn multiply(matrix: &PanelMatrix) -> f64 {
    let [n_out, n_in, n_rows] = PRODUCT;
    let x: Vec<f32> = (0..n_rows * n_in).map(|i| (i % 97) as f32).collect();
    let mut y = vec![0.0; n_rows * n_out];
    let mut scratch = MatmulScratch::default();
    best(2 * n_out * n_in * n_rows, || {
        matrix.matmul(&x, &mut y, Start::Zero, &mut scratch);
        black_box(&y);
    })
}

fn read() -> f64 {
    let mut buffer = AlignedBuffer::zeroed(READ_BYTES);
    buffer.values_mut::<f32>().fill(1.0);
    let (values, level) = (buffer.values::<f32>(), SimdLevel::current());
    best(READ_BYTES, || {
        for_each_range(values.len(), 1 << 20, |part| {
            black_box(dispatch(level, Sum { values, part }));
        });
    })
}

/// The sum of some values: eight vectors at a time, so that only the reading takes time.
struct Sum<'a> {
    values: &'a [f32],
    part: Range<usize>,
}

impl Kernel for Sum<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let mut sums = [s.splat(0.0); 8];
        for values in self.values[self.part].chunks_exact(8 * S::LANES) {
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: vector `i` of eight.
                *sum = s.add(*sum, unsafe { s.load(values.as_ptr().add(i * S::LANES)) });
            }
        }
        sums.into_iter().map(|sum| s.reduce_add(sum)).sum()
    }
}
