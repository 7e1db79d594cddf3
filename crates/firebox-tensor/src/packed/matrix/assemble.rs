//! A packed weight from scales and codes that were chosen apart.

use std::sync::Arc;

use crate::packed::{
    BlockGrid, GGML_BLOCK_SIZE, PackError, PackedFormat, PackedMatrix,
    double_quant::NestedAbsmax,
    ggml::Family,
    grid::Scales,
    int4::{Group, Int4Arrays},
    k_super_block::Groups,
    limits::checked_len,
    q5_0, q5_k,
};

use super::Storage;

impl PackedMatrix {
    /// A weight of given codes, `[n_rows, n_cols]` row-major, one a byte as [`BlockGrid::nearest`]
    /// gives them, and the scales of its blocks in the same order.
    ///
    /// # Errors
    /// If the format cannot hold such a shape.
    ///
    /// # Panics
    /// If blocks reach over the end of a row, the numbers of codes or of scales are not those of the
    /// shape, or the scales are another format's.
    pub fn from_grids(
        format: PackedFormat,
        [n_rows, n_cols]: [usize; 2],
        grids: &[BlockGrid],
        codes: &[u8],
    ) -> Result<Self, PackError> {
        let n = checked_len(format, n_rows, n_cols)?;
        let block_len = format.block_len(n_cols).expect("rows of whole blocks");
        assert_eq!(codes.len(), n, "one code for each value");
        assert_eq!(grids.len(), n / block_len, "one grid for each block");
        let absmax = || -> Vec<f32> { grids.iter().map(BlockGrid::absmax).collect() };
        let storage = match format.family() {
            Family::Codebook4(book) => Storage::Codebook4 {
                book,
                codes: Arc::new(codebook4_bytes(codes)),
                absmax: Arc::new(absmax()),
            },
            Family::Codebook4DoubleQuant(book) => Storage::Codebook4DoubleQuant {
                book,
                codes: Arc::new(codebook4_bytes(codes)),
                absmax: NestedAbsmax::pack(&absmax()),
            },
            Family::Int8 => Storage::Int8 {
                codes: Arc::new(codes.to_vec()),
                absmax: Arc::new(absmax()),
            },
            Family::Ggml(kind) => {
                let mut blocks = Vec::with_capacity(n_rows * kind.row_bytes(n_cols));
                for (grid, codes) in grids.iter().zip(codes.chunks_exact(block_len)) {
                    grid.write(codes, &mut blocks);
                }
                Storage::ggml(kind, blocks)
            }
            Family::Int4(groups) => {
                let mut arrays = Int4Arrays::default();
                let blocks_per_row = (n_cols / block_len).max(1);
                let rows = codes
                    .chunks(n_cols.max(1))
                    .zip(grids.chunks(blocks_per_row));
                for (codes, grids) in rows {
                    let of_row: Vec<Group> = grids.iter().map(BlockGrid::int4).collect();
                    arrays.push_row(groups, &of_row, codes);
                }
                let arrays = Arc::new(arrays);
                Storage::Int4 { groups, arrays }
            }
        };
        Ok(Self {
            format,
            n_rows,
            n_cols,
            storage,
        })
    }
}

/// Two codes a byte, the first in the high nibble.
fn codebook4_bytes(codes: &[u8]) -> Vec<u8> {
    let (pairs, _) = codes.as_chunks::<2>();
    pairs.iter().map(|[high, low]| high << 4 | low).collect()
}

impl BlockGrid {
    fn absmax(&self) -> f32 {
        match self.scales {
            Scales::Codebook4 { absmax, .. } | Scales::Int8 { absmax } => absmax,
            _ => unreachable!("a block of another format"),
        }
    }

    fn int4(&self) -> Group {
        match self.scales {
            Scales::Int4(group) => group,
            _ => unreachable!("a block of another format"),
        }
    }

    /// Appends a block of ggml.
    fn write(&self, codes: &[u8], blocks: &mut Vec<u8>) {
        match &self.scales {
            Scales::Q8_0 { d } => {
                blocks.extend(d.to_le_bytes());
                blocks.extend(codes);
            }
            Scales::Q4_0 { d } => {
                blocks.extend(d.to_le_bytes());
                write_nibbles(codes.split_at(GGML_BLOCK_SIZE / 2), blocks);
            }
            Scales::Q4_1 { d, minimum } => {
                blocks.extend(d.to_le_bytes());
                blocks.extend(minimum.to_le_bytes());
                write_nibbles(codes.split_at(GGML_BLOCK_SIZE / 2), blocks);
            }
            Scales::Q4K(groups) => {
                let mut head = [0; Groups::HEAD_BYTES];
                groups.write(&mut head);
                blocks.extend(head);
                for pair in codes.chunks_exact(2 * GGML_BLOCK_SIZE) {
                    write_nibbles(pair.split_at(GGML_BLOCK_SIZE), blocks);
                }
            }
            Scales::Q5_0 { d } => {
                blocks.extend(d.to_le_bytes());
                blocks.extend(q5_0::write_codes(codes));
            }
            Scales::Q5_1 { d, minimum } => {
                blocks.extend(d.to_le_bytes());
                blocks.extend(minimum.to_le_bytes());
                blocks.extend(q5_0::write_codes(codes));
            }
            Scales::Q5K(groups) => {
                let mut head = [0; Groups::HEAD_BYTES];
                groups.write(&mut head);
                blocks.extend(head);
                blocks.extend(q5_k::write_codes(codes));
            }
            Scales::Q6K(scales) => blocks.extend(scales.write(codes)),
            Scales::Codebook4 { .. } | Scales::Int8 { .. } | Scales::Int4(_) => {
                unreachable!("a block of another format")
            }
        }
    }
}

/// Codes of `low` in the lower nibbles, of `high` in the upper ones.
fn write_nibbles((low, high): (&[u8], &[u8]), blocks: &mut Vec<u8>) {
    blocks.extend(low.iter().zip(high).map(|(low, high)| low | high << 4));
}
