//! A weight laid out for the kernels of this CPU.

use crate::packed::{PackedFormat, PackedMatrix};

use super::activations::QuantizedRows;
use super::aligned::AlignedBuffer;
use super::float_matmul::float_matmul;
use super::float_panel::{F32Weights, HalfWeights, Int8Weights, Nf4Weights};
use super::gemm::{Product, panel_width};
use super::int_matmul::int_matmul;
use super::int_panel::{IntCodes, Q4, Q8};
use super::level::SimdLevel;
use super::pack::{self, Rows};

/// How a [`PanelMatrix`] stores its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PanelFormat {
    /// 32 bits.
    F32,
    /// 16 bits, computed in f32.
    Bf16,
    /// 16 bits, computed in f32.
    F16,
    /// As [`PackedFormat::Int8Rowwise`], computed in f32.
    Int8Rowwise,
    /// As [`PackedFormat::Nf4`], computed in f32. Scales that were quantized themselves are unpacked.
    Nf4,
    /// As [`PackedFormat::Q8_0`], times activations of 8 bits.
    Q8_0,
    /// As [`PackedFormat::Q4_0`], times activations of 8 bits.
    Q4_0,
    /// As [`PackedFormat::Q4_1`], times activations of 8 bits.
    Q4_1,
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
}

impl PanelFormat {
    /// The format that keeps a packed weight as it is; `None` where only floats do.
    fn of_packed(matrix: &PackedMatrix) -> Option<Self> {
        let whole_blocks = matrix
            .n_cols()
            .is_multiple_of(crate::packed::NF4_BLOCK_SIZE);
        match matrix.format() {
            PackedFormat::Nf4 | PackedFormat::Nf4DoubleQuant => whole_blocks.then_some(Self::Nf4),
            PackedFormat::Int8Rowwise => Some(Self::Int8Rowwise),
            PackedFormat::Q8_0 => Some(Self::Q8_0),
            PackedFormat::Q4_0 => Some(Self::Q4_0),
            PackedFormat::Q4_1 => Some(Self::Q4_1),
        }
    }

    /// Whether activations are quantized to 8 bits for the product.
    pub fn multiplies_integers(self) -> bool {
        matches!(self, Self::Q8_0 | Self::Q4_0 | Self::Q4_1)
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
        assert!(
            matches!(
                format,
                PanelFormat::F32 | PanelFormat::Bf16 | PanelFormat::F16
            ),
            "a dense weight is stored as floats; pack it first"
        );
        Self::lay_out(format, &Rows::Dense { weight, n_in }, n_out, n_in)
    }

    /// A packed weight in its own format, or in f32 where panels have none for it (NF4 whose rows
    /// are not whole blocks).
    pub fn from_packed(matrix: &PackedMatrix) -> Self {
        let (n_out, n_in) = (matrix.n_rows(), matrix.n_cols());
        match PanelFormat::of_packed(matrix) {
            Some(format) => Self::lay_out(format, &Rows::Packed(matrix), n_out, n_in),
            None => Self::from_dense(PanelFormat::F32, &matrix.unpack(), n_out, n_in),
        }
    }

    fn lay_out(format: PanelFormat, rows: &Rows<'_>, n_out: usize, n_in: usize) -> Self {
        let level = SimdLevel::current();
        let (codes, scales) = pack::lay_out(format, level, rows, n_out, n_in);
        Self {
            format,
            level,
            n_out,
            n_in,
            codes,
            scales,
        }
    }

    /// One matrix of all outputs, `self`'s first, so that one product computes both; the two apart
    /// again where their formats or widths differ, or `self` ends inside a panel.
    ///
    /// # Errors
    /// The two matrices.
    pub fn stack(self, below: Self) -> Result<Self, Box<(Self, Self)>> {
        let fits = self.format == below.format
            && self.level == below.level
            && self.n_in == below.n_in
            && self.n_out.is_multiple_of(panel_width(self.level));
        if !fits {
            return Err(Box::new((self, below)));
        }
        Ok(Self {
            n_out: self.n_out + below.n_out,
            codes: self.codes.followed_by(&below.codes),
            scales: self.scales.followed_by(&below.scales),
            ..self
        })
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
        let Columns { y, stride, first } = out;
        let n_rows = x.len().checked_div(self.n_in).unwrap_or(0);
        assert_eq!(
            x.len(),
            n_rows * self.n_in,
            "`x` is not whole rows of the weight's inputs"
        );
        assert!(
            first + self.n_out <= stride,
            "the result does not fit its rows"
        );
        assert!(y.len() >= n_rows * stride, "`y` is shorter than its rows");
        if n_rows == 0 || self.n_out == 0 {
            return;
        }
        let out = &Product::new(&mut y[first..], stride, [n_rows, self.n_out], start);
        let (level, n_in) = (self.level, self.n_in);
        match self.format {
            PanelFormat::F32 => {
                let values = self.codes.values();
                float_matmul(level, x, n_in, &F32Weights { values, n_in }, out);
            }
            PanelFormat::Bf16 => {
                let values = self.codes.values();
                float_matmul(level, x, n_in, &HalfWeights::<true> { values, n_in }, out);
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
            PanelFormat::Nf4 => {
                let (codes, scales) = (self.codes.values(), self.scales.values());
                let weights = Nf4Weights {
                    codes,
                    scales,
                    n_in,
                };
                float_matmul(level, x, n_in, &weights, out);
            }
            PanelFormat::Q8_0 => self.int::<Q8>(x, out, scratch),
            PanelFormat::Q4_0 => self.int::<Q4<false>>(x, out, scratch),
            PanelFormat::Q4_1 => self.int::<Q4<true>>(x, out, scratch),
        }
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
