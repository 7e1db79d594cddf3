//! A packed weight matrix.

use std::sync::Arc;

use rayon::prelude::*;

use crate::packed::{
    NF4_BLOCK_SIZE, PackError, PackedFormat, PackedPart, PartDtype,
    codebook4::{self, Codebook4},
    dot::dot,
    double_quant::{NESTED_BLOCK_SIZE, NestedAbsmax, dynamic_codebook},
    ggml::{Family, GgmlKind},
    int4::{self, Group, Int4Arrays, Int4Groups},
    int8,
    limits::{check_values, checked_len},
    part::PartReader,
};

mod assemble;

/// A frozen weight `[out, in]`, row-major, in a [`PackedFormat`]. Cloning shares the bytes.
///
/// # Examples
/// ```
/// use firebox_tensor::packed::{PackedFormat, PackedMatrix};
///
/// let weight = [0.5, -1.0, 0.0, 0.25, 2.0, -0.125]; // [2, 3]
/// let packed = PackedMatrix::pack(PackedFormat::Int8Rowwise, &weight, 2, 3)?;
/// let y = packed.matmul(&[1.0, 1.0, 1.0]); // [1, 3] -> [1, 2]
/// assert!((y[0] - -0.5).abs() < 0.01 && (y[1] - 2.125).abs() < 0.02);
/// # Ok::<(), firebox_tensor::packed::PackError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PackedMatrix {
    format: PackedFormat,
    n_rows: usize,
    n_cols: usize,
    storage: Storage,
}

/// One row of a packed weight, as it is stored.
pub(crate) enum RawRow<'a> {
    /// Two codes a byte, the first in the high nibble; one scale for each block.
    Codebook4 { codes: &'a [u8], absmax: Vec<f32> },
    /// Signed bytes.
    Int8 { codes: &'a [u8], absmax: f32 },
    /// ggml's blocks.
    Ggml { blocks: &'a [u8] },
    /// Two codes a byte, the first in the low nibble.
    Int4 {
        codes: &'a [u8],
        groups: Vec<Group>,
        group_size: usize,
    },
}

/// The bytes, by kind of format.
#[derive(Clone, Debug, PartialEq)]
enum Storage {
    Codebook4 {
        book: Codebook4,
        codes: Arc<Vec<u8>>,
        absmax: Arc<Vec<f32>>,
    },
    Codebook4DoubleQuant {
        book: Codebook4,
        codes: Arc<Vec<u8>>,
        absmax: NestedAbsmax,
    },
    Int8 {
        codes: Arc<Vec<u8>>,
        absmax: Arc<Vec<f32>>,
    },
    Ggml {
        kind: GgmlKind,
        blocks: Arc<Vec<u8>>,
    },
    Int4 {
        groups: Int4Groups,
        arrays: Arc<Int4Arrays>,
    },
}

impl PackedMatrix {
    /// Packs `weight`, `[n_rows, n_cols]` row-major.
    ///
    /// # Errors
    /// If the length and the shape disagree, a value is not finite or too large for the format's
    /// scale, or the format needs rows of whole blocks and they are not.
    pub fn pack(
        format: PackedFormat,
        weight: &[f32],
        n_rows: usize,
        n_cols: usize,
    ) -> Result<Self, PackError> {
        let n = checked_len(format, n_rows, n_cols)?;
        if weight.len() != n {
            let found = weight.len();
            return Err(PackError::WeightLength {
                n_rows,
                n_cols,
                expected: n,
                found,
            });
        }
        check_values(format, weight, n_cols)?;
        let storage = match format.family() {
            Family::Codebook4(book) => {
                let (codes, absmax) = book.pack(weight);
                Storage::Codebook4 {
                    book,
                    codes: Arc::new(codes),
                    absmax: Arc::new(absmax),
                }
            }
            Family::Codebook4DoubleQuant(book) => {
                let (codes, absmax) = book.pack(weight);
                Storage::Codebook4DoubleQuant {
                    book,
                    codes: Arc::new(codes),
                    absmax: NestedAbsmax::pack(&absmax),
                }
            }
            Family::Int8 => {
                let (codes, absmax) = int8::pack(weight, n_rows, n_cols);
                Storage::Int8 {
                    codes: Arc::new(codes),
                    absmax: Arc::new(absmax),
                }
            }
            Family::Ggml(kind) => Storage::ggml(kind, kind.pack(weight)),
            Family::Int4(groups) => Storage::Int4 {
                groups,
                arrays: Arc::new(int4::pack(groups, weight, n_cols)),
            },
        };
        Ok(Self {
            format,
            n_rows,
            n_cols,
            storage,
        })
    }

    /// Rebuilds a weight from the arrays of [`Self::parts`], asked for by name.
    ///
    /// # Errors
    /// If a part is missing, has the wrong length, or holds a scale that is not finite.
    pub fn from_parts(
        format: PackedFormat,
        n_rows: usize,
        n_cols: usize,
        get: impl FnMut(&str) -> Option<Vec<u8>>,
    ) -> Result<Self, PackError> {
        let n = checked_len(format, n_rows, n_cols)?;
        let n_blocks = codebook4::n_blocks(n);
        let mut parts = PartReader {
            format,
            n_rows,
            n_cols,
            get,
        };
        let storage = match format.family() {
            Family::Codebook4(book) => Storage::Codebook4 {
                book,
                codes: Arc::new(parts.bytes("codes", n.div_ceil(2))?),
                absmax: Arc::new(parts.scales("absmax", n_blocks)?),
            },
            Family::Codebook4DoubleQuant(book) => Storage::Codebook4DoubleQuant {
                book,
                codes: Arc::new(parts.bytes("codes", n.div_ceil(2))?),
                absmax: NestedAbsmax {
                    codes: Arc::new(parts.bytes("absmax_codes", n_blocks)?),
                    absmax: Arc::new(
                        parts.scales("absmax_absmax", n_blocks.div_ceil(NESTED_BLOCK_SIZE))?,
                    ),
                    offset: parts.scales("absmax_offset", 1)?[0],
                },
            },
            Family::Int8 => Storage::Int8 {
                codes: Arc::new(parts.bytes("codes", n)?),
                absmax: Arc::new(parts.scales("absmax", n_rows)?),
            },
            Family::Ggml(kind) => Storage::ggml(kind, parts.bytes("blocks", kind.row_bytes(n))?),
            Family::Int4(groups) => Storage::Int4 {
                groups,
                arrays: Arc::new(Int4Arrays {
                    codes: parts.bytes("codes", n / 2)?,
                    scales: parts.f16_scales("scales", n / groups.size())?,
                    zeros: match int4::zero_bytes(groups, n_cols) {
                        0 => Vec::new(),
                        row_bytes => parts.bytes("zeros", n_rows * row_bytes)?,
                    },
                }),
            },
        };
        Ok(Self {
            format,
            n_rows,
            n_cols,
            storage,
        })
    }

    /// The format.
    pub fn format(&self) -> PackedFormat {
        self.format
    }

    /// Rows of the weight (`out`).
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Columns of the weight (`in`).
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Size of all parts together, in memory as on disk.
    pub fn n_bytes(&self) -> usize {
        self.parts().iter().map(|part| part.bytes.len()).sum()
    }

    /// The arrays to save. See [`PackedPart`] for their names and shapes.
    pub fn parts(&self) -> Vec<PackedPart<'_>> {
        let u8s = |name, bytes| flat_part(name, PartDtype::U8, bytes);
        let f32s = |name, values| flat_part(name, PartDtype::F32, bytemuck::cast_slice(values));
        match &self.storage {
            Storage::Codebook4 { codes, absmax, .. } => {
                vec![u8s("codes", codes), f32s("absmax", absmax)]
            }
            Storage::Codebook4DoubleQuant { codes, absmax, .. } => vec![
                u8s("codes", codes),
                u8s("absmax_codes", &absmax.codes),
                f32s("absmax_absmax", &absmax.absmax),
                f32s("absmax_offset", std::slice::from_ref(&absmax.offset)),
            ],
            Storage::Int8 { codes, absmax } => vec![
                PackedPart {
                    name: "codes",
                    dtype: PartDtype::I8,
                    shape: vec![self.n_rows, self.n_cols],
                    bytes: codes,
                },
                f32s("absmax", absmax),
            ],
            Storage::Ggml { kind, blocks } => vec![PackedPart {
                name: "blocks",
                dtype: PartDtype::U8,
                shape: vec![self.n_rows, kind.row_bytes(self.n_cols)],
                bytes: blocks,
            }],
            Storage::Int4 { groups, arrays } => {
                let part = |name, dtype, row_len, bytes| PackedPart {
                    name,
                    dtype,
                    shape: vec![self.n_rows, row_len],
                    bytes,
                };
                let (n_cols, zeros) = (self.n_cols, int4::zero_bytes(*groups, self.n_cols));
                let mut parts = vec![
                    part("codes", PartDtype::U8, n_cols / 2, arrays.codes.as_slice()),
                    part(
                        "scales",
                        PartDtype::F16,
                        n_cols / groups.size(),
                        &arrays.scales,
                    ),
                ];
                if zeros > 0 {
                    parts.push(part("zeros", PartDtype::U8, zeros, &arrays.zeros));
                }
                parts
            }
        }
    }

    /// The whole weight, `[n_rows, n_cols]` row-major.
    pub fn unpack(&self) -> Vec<f32> {
        let mut weight = vec![0.0; self.n_rows * self.n_cols];
        if self.n_cols > 0 {
            weight
                .par_chunks_exact_mut(self.n_cols)
                .enumerate()
                .for_each(|(row, out)| self.unpack_row(row, out));
        }
        weight
    }

    /// One row of the weight, into `out`.
    ///
    /// # Panics
    /// If `row` is not below [`Self::n_rows`] or `out` is not of length [`Self::n_cols`].
    pub fn unpack_row(&self, row: usize, out: &mut [f32]) {
        let n_cols = self.n_cols;
        assert!(
            row < self.n_rows,
            "row {row} of a packed weight with {} rows",
            self.n_rows
        );
        assert_eq!(
            out.len(),
            n_cols,
            "length of `out` against the columns of the weight"
        );
        match &self.storage {
            Storage::Codebook4 {
                book,
                codes,
                absmax,
            } => {
                book.unpack(codes, |block| absmax[block], row * n_cols, out);
            }
            Storage::Codebook4DoubleQuant {
                book,
                codes,
                absmax,
            } => {
                let dynamic = dynamic_codebook();
                book.unpack(codes, |block| absmax.get(dynamic, block), row * n_cols, out);
            }
            Storage::Int8 { codes, absmax } => {
                int8::unpack(&codes[row * n_cols..][..n_cols], absmax[row], out);
            }
            Storage::Ggml { kind, blocks } => {
                let row_bytes = kind.row_bytes(n_cols);
                kind.dequantize(&blocks[row * row_bytes..][..row_bytes], out);
            }
            Storage::Int4 { groups, arrays } => arrays.unpack_row(*groups, row, out),
        }
    }

    /// One row as it is stored, to be laid out in another order. Rows of NF4 and FP4 must be whole
    /// blocks.
    pub(crate) fn raw_row(&self, row: usize) -> RawRow<'_> {
        let n_cols = self.n_cols;
        let blocks = row * n_cols / NF4_BLOCK_SIZE..(row + 1) * n_cols / NF4_BLOCK_SIZE;
        match &self.storage {
            Storage::Codebook4 { codes, absmax, .. } => RawRow::Codebook4 {
                codes: &codes[row * n_cols / 2..][..n_cols / 2],
                absmax: absmax[blocks].to_vec(),
            },
            Storage::Codebook4DoubleQuant { codes, absmax, .. } => RawRow::Codebook4 {
                codes: &codes[row * n_cols / 2..][..n_cols / 2],
                absmax: blocks
                    .map(|block| absmax.get(dynamic_codebook(), block))
                    .collect(),
            },
            Storage::Int8 { codes, absmax } => RawRow::Int8 {
                codes: &codes[row * n_cols..][..n_cols],
                absmax: absmax[row],
            },
            Storage::Ggml { kind, blocks } => {
                let row_bytes = kind.row_bytes(n_cols);
                RawRow::Ggml {
                    blocks: &blocks[row * row_bytes..][..row_bytes],
                }
            }
            Storage::Int4 { groups, arrays } => RawRow::Int4 {
                codes: arrays.row_codes(row, n_cols),
                groups: arrays.row_groups(*groups, row, n_cols),
                group_size: groups.size(),
            },
        }
    }

    /// The scale of each block of NF4 or FP4; `None` in other formats.
    #[cfg(feature = "gpu")]
    pub(crate) fn codebook4_scales(&self) -> Option<Vec<f32>> {
        let n_blocks = codebook4::n_blocks(self.n_rows * self.n_cols);
        match &self.storage {
            Storage::Codebook4 { absmax, .. } => Some(absmax.to_vec()),
            Storage::Codebook4DoubleQuant { absmax, .. } => {
                let codebook = dynamic_codebook();
                Some((0..n_blocks).map(|i| absmax.get(codebook, i)).collect())
            }
            Storage::Int8 { .. } | Storage::Ggml { .. } | Storage::Int4 { .. } => None,
        }
    }

    /// `y = x W^T`: the plain reference that fast kernels are tested against.
    ///
    /// Each row of the weight is unpacked once and multiplied with each row of `x`, in f32. An
    /// output depends, to the last bit, only on its row of `x` and its row of the weight: not on
    /// the batch nor on the number of threads.
    ///
    /// # Shapes
    /// `x`: `[n, in]`; result: `[n, out]`.
    ///
    /// # Panics
    /// If the length of `x` is not a multiple of [`Self::n_cols`].
    pub fn matmul(&self, x: &[f32]) -> Vec<f32> {
        let (n_rows, n_cols) = (self.n_rows, self.n_cols);
        if n_cols == 0 {
            assert!(
                x.is_empty(),
                "length of `x` against a weight without columns"
            );
            return Vec::new();
        }
        assert_eq!(
            x.len() % n_cols,
            0,
            "length of `x` against the columns of the weight"
        );
        let n = x.len() / n_cols;
        if n == 0 || n_rows == 0 {
            return Vec::new();
        }
        let mut by_row = vec![0.0; n_rows * n]; // [out, n]
        by_row.par_chunks_exact_mut(n).enumerate().for_each_init(
            || vec![0.0; n_cols],
            |scratch, (row, y)| {
                self.unpack_row(row, scratch);
                for (y, x) in y.iter_mut().zip(x.chunks_exact(n_cols)) {
                    *y = dot(scratch, x);
                }
            },
        );
        if n == 1 {
            return by_row;
        }
        (0..n * n_rows)
            .map(|i| by_row[i % n_rows * n + i / n_rows])
            .collect() // [n, out]
    }
}

impl Storage {
    fn ggml(kind: GgmlKind, blocks: Vec<u8>) -> Self {
        let blocks = Arc::new(blocks);
        Self::Ggml { kind, blocks }
    }
}

fn flat_part<'a>(name: &'static str, dtype: PartDtype, bytes: &'a [u8]) -> PackedPart<'a> {
    PackedPart {
        name,
        dtype,
        shape: vec![bytes.len() / dtype.n_bytes()],
        bytes,
    }
}
