//! A weight laid out for the kernels of this CPU.

use crate::packed::{Codebook4, PackedFormat, PackedMatrix};

use super::activations::QuantizedRows;
use super::aligned::AlignedBuffer;
use super::bf16_dot::{RowPart, n_pairs, pair_product};
use super::block_panel::{Q4_0, Q4_1, Q5_0, Q5_1};
use super::dense_panel::Panels;
use super::float_matmul::float_matmul;
use super::float_panel::{Codebook4Weights, HalfWeights, Int8Weights};
use super::gemm::Product;
use super::int_matmul::int_matmul;
use super::int_panel::{Int4, IntCodes, Q8};
use super::int8_dot::{Int8Panels, int8_matmul};
use super::int8_rows::Int8Rows;
use super::k_panel::{Q4K, Q5K};
use super::left_rows::LeftRows;
use super::level::SimdLevel;
use super::nf4_dot::{self, Nf4Codes, nf4_matmul};
use super::pack;
use super::q6_k_panel::Q6K;
use super::region::Arena;

pub use super::pack::WeightRows;

/// How a [`PanelMatrix`] stores its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PanelFormat {
    /// 32 bits.
    F32,
    /// 16 bits, computed in f32.
    Bf16,
    /// As [`Self::Bf16`], times activations rounded to bf16, summed in f32: as PyTorch multiplies
    /// bfloat16 by bfloat16. One instruction for two products at [`SimdLevel::Avx512Bf16`].
    Bf16Dot,
    /// 16 bits, computed in f32.
    F16,
    /// As [`PackedFormat::Int8Rowwise`], computed in f32.
    Int8Rowwise,
    /// As [`PackedFormat::Int8Rowwise`], times activations of 8 bits with a scale a row, outliers apart:
    /// LLM.int8().
    Int8Dot,
    /// As [`PackedFormat::Nf4`], computed in f32. Scales that were quantized themselves are unpacked.
    Nf4,
    /// As [`PackedFormat::Nf4`] with the codebook rounded to bf16, times activations rounded to bf16.
    Nf4Dot,
    /// As [`PackedFormat::Fp4`], in the way of [`Self::Nf4`].
    Fp4,
    /// As [`PackedFormat::Fp4`], in the way of [`Self::Nf4Dot`].
    Fp4Dot,
    /// As [`PackedFormat::Q8_0`], times activations of 8 bits.
    Q8_0,
    /// As [`PackedFormat::Q4_0`], times activations of 8 bits.
    Q4_0,
    /// As [`PackedFormat::Q4_1`], times activations of 8 bits.
    Q4_1,
    /// As [`PackedFormat::Q5_0`], times activations of 8 bits.
    Q5_0,
    /// As [`PackedFormat::Q5_1`], times activations of 8 bits.
    Q5_1,
    /// As [`PackedFormat::Q4K`], times activations of 8 bits.
    Q4K,
    /// As [`PackedFormat::Q5K`], times activations of 8 bits.
    Q5K,
    /// As [`PackedFormat::Q6K`], times activations of 8 bits.
    Q6K,
    /// As [`PackedFormat::Int4`] of any groups, times activations of 8 bits.
    Int4,
}

/// What a product is added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing.
    Zero,
    /// What the result holds: `y += x Wᵀ`.
    Accumulate,
}

/// Columns `first ..` of rows that are `stride` wide.
#[derive(Debug)]
pub struct Columns<'a> {
    /// `[rows, stride]`.
    pub y: &'a mut [f32],
    /// Width of a row.
    pub stride: usize,
    /// The first column.
    pub first: usize,
}

/// A frozen weight `[out, in]` in panels of `2 * LANES` neighbouring outputs, for one
/// [`SimdLevel`]. The last panel is filled up with zeros.
#[derive(Debug, Clone)]
pub struct PanelMatrix {
    format: PanelFormat,
    level: SimdLevel,
    n_out: usize,
    n_in: usize,
    codes: AlignedBuffer,
    /// Only of formats whose scales are not inside the blocks.
    scales: AlignedBuffer,
}

/// Memory that products reuse.
#[derive(Debug, Default)]
pub struct MatmulScratch {
    quantized: QuantizedRows,
    int8: Int8Rows,
    /// Rows in pairs of bf16.
    paired: Vec<u32>,
}

impl PanelFormat {
    /// The format that keeps a packed weight as it is; `None` where only floats do: NF4 whose rows are
    /// not whole blocks.
    pub fn of_packed(matrix: &PackedMatrix) -> Option<Self> {
        let whole_blocks = matrix
            .n_cols()
            .is_multiple_of(crate::packed::NF4_BLOCK_SIZE);
        match matrix.format() {
            PackedFormat::Nf4 | PackedFormat::Nf4DoubleQuant => whole_blocks.then_some(Self::Nf4),
            PackedFormat::Fp4 | PackedFormat::Fp4DoubleQuant => whole_blocks.then_some(Self::Fp4),
            PackedFormat::Int8Rowwise => Some(Self::Int8Rowwise),
            PackedFormat::Q8_0 => Some(Self::Q8_0),
            PackedFormat::Q4_0 => Some(Self::Q4_0),
            PackedFormat::Q4_1 => Some(Self::Q4_1),
            PackedFormat::Q5_0 => Some(Self::Q5_0),
            PackedFormat::Q5_1 => Some(Self::Q5_1),
            PackedFormat::Q4K => Some(Self::Q4K),
            PackedFormat::Q5K => Some(Self::Q5K),
            PackedFormat::Q6K => Some(Self::Q6K),
            PackedFormat::Int4(_) => Some(Self::Int4),
        }
    }

    /// The form that computes the same without rounding activations to bf16, or a row of them to 8 bits.
    fn exact(self) -> Self {
        match self {
            Self::Nf4Dot => Self::Nf4,
            Self::Fp4Dot => Self::Fp4,
            Self::Bf16Dot => Self::Bf16,
            Self::Int8Dot => Self::Int8Rowwise,
            other => other,
        }
    }

    /// The form that multiplies packed weights by activations in bf16: that of NF4 or FP4, for which
    /// there is one; any other as it is.
    pub fn in_bf16(self) -> Self {
        match self {
            Self::Nf4 => Self::Nf4Dot,
            Self::Fp4 => Self::Fp4Dot,
            other => other,
        }
    }

    /// What codes of 4 bits stand for; `None` where they are not looked up.
    pub(crate) fn codebook(self) -> Option<Codebook4> {
        match self {
            Self::Nf4 | Self::Nf4Dot => Some(Codebook4::Nf4),
            Self::Fp4 | Self::Fp4Dot => Some(Codebook4::Fp4),
            _ => None,
        }
    }

    /// Whether dense weights can be stored so.
    fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::Bf16 | Self::Bf16Dot | Self::F16)
    }

    /// Whether activations are quantized to 8 bits for the product.
    pub fn multiplies_integers(self) -> bool {
        matches!(
            self,
            Self::Int8Dot
                | Self::Q8_0
                | Self::Q4_0
                | Self::Q4_1
                | Self::Q5_0
                | Self::Q5_1
                | Self::Q4K
                | Self::Q5K
                | Self::Q6K
                | Self::Int4
        )
    }
}

impl PanelMatrix {
    /// A dense weight, `[n_out, n_in]` row-major, stored in `format`.
    ///
    /// # Panics
    /// When the length is not `n_out * n_in`, or the format is not one of floats.
    pub fn from_dense(format: PanelFormat, weight: &[f32], n_out: usize, n_in: usize) -> Self {
        assert_eq!(
            weight.len(),
            n_out * n_in,
            "length of the weight against its shape"
        );
        Self::from_rows(
            format,
            &[WeightRows::Dense(weight)],
            n_in,
            &mut Arena::apart(),
        )
    }

    /// A packed weight in its own format, or in f32 where panels have none for it (NF4 and FP4
    /// whose rows are not whole blocks).
    pub fn from_packed(matrix: &PackedMatrix) -> Self {
        let (n_out, n_in) = (matrix.n_rows(), matrix.n_cols());
        match PanelFormat::of_packed(matrix) {
            Some(format) => {
                let rows = [WeightRows::Packed(matrix)];
                Self::from_rows(format, &rows, n_in, &mut Arena::apart())
            }
            None => Self::from_dense(PanelFormat::F32, &matrix.unpack(), n_out, n_in),
        }
    }

    /// One matrix of the outputs of all parts, one below the other, so that one product computes
    /// them. Its memory comes from `arena`.
    ///
    /// # Panics
    /// When a part is not whole rows of `n_in`, or cannot be stored in `format`: packed parts keep
    /// theirs, dense ones become floats.
    pub fn from_rows(
        format: PanelFormat,
        parts: &[WeightRows<'_>],
        n_in: usize,
        arena: &mut Arena,
    ) -> Self {
        for part in parts {
            match part {
                WeightRows::Dense(weight) => {
                    assert!(
                        format.is_float(),
                        "a dense weight is stored as floats; pack it first"
                    );
                    assert_eq!(weight.len(), part.n_rows(n_in) * n_in, "whole rows");
                }
                WeightRows::Packed(matrix) => {
                    assert_eq!(matrix.n_cols(), n_in, "inputs of a packed weight");
                    assert_eq!(
                        PanelFormat::of_packed(matrix),
                        Some(format.exact()),
                        "format of a packed weight"
                    );
                }
            }
        }
        let level = SimdLevel::current();
        let (codes, scales) = pack::lay_out(format, level, parts, n_in, arena);
        Self {
            format,
            level,
            n_out: parts.iter().map(|part| part.n_rows(n_in)).sum(),
            n_in,
            codes,
            scales,
        }
    }

    /// How the weights are stored.
    pub fn format(&self) -> PanelFormat {
        self.format
    }

    /// `[out, in]`.
    pub fn shape(&self) -> [usize; 2] {
        [self.n_out, self.n_in]
    }

    /// Bytes in memory.
    pub fn n_bytes(&self) -> usize {
        self.codes.n_bytes() + self.scales.n_bytes()
    }

    /// `y = x Wᵀ`, or `y += x Wᵀ`: `x` `[rows, in]`, `y` `[rows, out]`.
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn matmul(&self, x: &[f32], y: &mut [f32], start: Start, scratch: &mut MatmulScratch) {
        let y = Columns {
            y,
            stride: self.n_out,
            first: 0,
        };
        self.matmul_into(x, y, start, scratch);
    }

    /// As [`Self::matmul`], into some columns of wider rows.
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn matmul_into(
        &self,
        x: &[f32],
        out: Columns<'_>,
        start: Start,
        scratch: &mut MatmulScratch,
    ) {
        let n_rows = self.n_rows(x, &out);
        let Columns { y, stride, first } = out;
        if n_rows == 0 || self.n_out == 0 {
            return;
        }
        let out = &Product::new(&mut y[first..], stride, [n_rows, self.n_out], start);
        let (level, n_in) = (self.level, self.n_in);
        let rows = RowPart {
            x,
            width: n_in,
            columns: 0..n_in,
        };
        match self.format {
            PanelFormat::F32 => {
                let values = self.codes.values();
                float_matmul(level, x, n_in, &Panels::<f32> { values, n_in }, out);
            }
            PanelFormat::Bf16 => {
                let values = self.codes.values();
                float_matmul(level, x, n_in, &HalfWeights::<true> { values, n_in }, out);
            }
            PanelFormat::Bf16Dot => {
                let n_pairs = n_pairs(n_in);
                rows.pair(level, n_pairs, &mut scratch.paired);
                let weights = Panels::<u32> {
                    values: self.codes.values(),
                    n_in: n_pairs,
                };
                let rows = LeftRows::Rows(&scratch.paired);
                pair_product(level, rows, n_pairs, &weights, out);
            }
            PanelFormat::F16 => {
                let values = self.codes.values();
                float_matmul(level, x, n_in, &HalfWeights::<false> { values, n_in }, out);
            }
            PanelFormat::Int8Rowwise => {
                let (codes, scales) = (self.codes.values(), self.scales.values());
                let weights = Int8Weights {
                    codes,
                    scales,
                    n_in,
                };
                float_matmul(level, x, n_in, &weights, out);
            }
            PanelFormat::Int8Dot => {
                scratch.int8.fill(level, x, n_in);
                let weights = Int8Panels {
                    codes: self.codes.values(),
                    scales: self.scales.values(),
                    n_in,
                };
                int8_matmul(level, &scratch.int8, weights, out);
            }
            PanelFormat::Nf4 => self.codebook4(Codebook4::Nf4, x, out),
            PanelFormat::Fp4 => self.codebook4(Codebook4::Fp4, x, out),
            PanelFormat::Nf4Dot => self.codebook4_dot(Codebook4::Nf4, rows, out, scratch),
            PanelFormat::Fp4Dot => self.codebook4_dot(Codebook4::Fp4, rows, out, scratch),
            PanelFormat::Q8_0 => self.int::<Q8>(x, out, scratch),
            PanelFormat::Q4_0 => self.int::<Q4_0>(x, out, scratch),
            PanelFormat::Q4_1 => self.int::<Q4_1>(x, out, scratch),
            PanelFormat::Q5_0 => self.int::<Q5_0>(x, out, scratch),
            PanelFormat::Q5_1 => self.int::<Q5_1>(x, out, scratch),
            PanelFormat::Q4K => self.int::<Q4K>(x, out, scratch),
            PanelFormat::Q5K => self.int::<Q5K>(x, out, scratch),
            PanelFormat::Q6K => self.int::<Q6K>(x, out, scratch),
            PanelFormat::Int4 => self.int::<Int4>(x, out, scratch),
        }
    }

    /// The rows of `x`, which fit the weight and the result.
    fn n_rows(&self, x: &[f32], out: &Columns<'_>) -> usize {
        let n_rows = x.len().checked_div(self.n_in).unwrap_or(0);
        assert_eq!(
            x.len(),
            n_rows * self.n_in,
            "`x` is not whole rows of the weight's inputs"
        );
        assert!(
            out.first + self.n_out <= out.stride,
            "the result does not fit its rows"
        );
        assert!(
            out.y.len() >= n_rows * out.stride,
            "`y` is shorter than its rows"
        );
        n_rows
    }

    fn codebook4(&self, book: Codebook4, x: &[f32], out: &Product) {
        let weights = Codebook4Weights {
            levels: book.levels(),
            codes: self.codes.values(),
            scales: self.scales.values(),
            n_in: self.n_in,
        };
        float_matmul(self.level, x, self.n_in, &weights, out);
    }

    fn codebook4_dot(
        &self,
        book: Codebook4,
        rows: RowPart<'_>,
        out: &Product,
        scratch: &mut MatmulScratch,
    ) {
        let stride = nf4_dot::row_stride(self.n_in);
        rows.pair(self.level, stride, &mut scratch.paired);
        let weights = Nf4Codes {
            book,
            n_in: self.n_in,
            blocks: self.codes.values(),
        };
        nf4_matmul(self.level, &scratch.paired, weights, out);
    }

    fn int<C: IntCodes>(&self, x: &[f32], out: &Product, scratch: &mut MatmulScratch) {
        scratch.quantized.fill(self.level, x, self.n_in);
        int_matmul::<C>(
            self.level,
            &scratch.quantized,
            self.n_in,
            self.codes.values(),
            out,
        );
    }

    /// The weights of output `row`, as they were before they were laid out (an embedding's row).
    ///
    /// # Panics
    /// When there is no such row, or `out` is not `in` long.
    pub fn unpack_row(&self, row: usize, out: &mut [f32]) {
        assert!(
            row < self.n_out,
            "row {row} of a weight with {} rows",
            self.n_out
        );
        assert_eq!(
            out.len(),
            self.n_in,
            "length of `out` against the weight's inputs"
        );
        pack::unpack_row(self.format, self.level, &self.codes, &self.scales, row, out);
    }
}
