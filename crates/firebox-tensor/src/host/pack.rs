//! Laying weights out in panels, once.

use half::{bf16, f16};

use crate::packed::{Codebook4, Int4Group as Group, PackedMatrix, RawRow};

use super::activations::BLOCK;
use super::aligned::AlignedBuffer;
use super::bf16_dot::n_pairs;
use super::block_panel::{Q4_0, Q4_1, Q5_0, Q5_1};
use super::float_panel::NF4_BLOCK;
use super::gemm::panel_width;
use super::int_panel::{Int4, IntCodes, Q8};
use super::int8_rows;
use super::k_panel::{Q4K, Q5K};
use super::level::SimdLevel;
use super::nf4_dot;
use super::panel_matrix::PanelFormat;
use super::parallel::{SharedMut, for_each};
use super::q6_k_panel::Q6K;
use super::region::Arena;

/// Where some outputs' weights come from.
#[derive(Clone, Copy, Debug)]
pub enum WeightRows<'a> {
    /// `[rows, in]`.
    Dense(&'a [f32]),
    /// In the format that packed weights of their kind keep.
    Packed(&'a PackedMatrix),
}

impl WeightRows<'_> {
    pub(crate) fn n_rows(&self, n_in: usize) -> usize {
        match self {
            Self::Dense(weight) => weight.len().checked_div(n_in).unwrap_or(0),
            Self::Packed(matrix) => matrix.n_rows(),
        }
    }
}

/// Bytes of one panel.
struct PanelBytes {
    codes: usize,
    scales: usize,
}

impl PanelBytes {
    fn new(format: PanelFormat, width: usize, n_in: usize) -> Self {
        let blocks = n_in / BLOCK;
        let (codes, scales) = match format {
            PanelFormat::F32 => (4 * n_in * width, 0),
            PanelFormat::Bf16 | PanelFormat::F16 => (2 * n_in * width, 0),
            PanelFormat::Bf16Dot => (4 * n_pairs(n_in) * width, 0),
            PanelFormat::Int8Rowwise => (n_in * width, 4 * width),
            PanelFormat::Int8Dot => (int8_rows::width(n_in) * width, 4 * width),
            PanelFormat::Nf4Dot | PanelFormat::Fp4Dot => {
                (n_in / NF4_BLOCK * nf4_dot::block_bytes(width), 0)
            }
            PanelFormat::Nf4 | PanelFormat::Fp4 => {
                (n_in / 2 * width, 4 * (n_in / NF4_BLOCK) * width)
            }
            PanelFormat::Q8_0 => (Q8::block_at(blocks, width / 2), 0),
            PanelFormat::Q4_0 => (Q4_0::block_at(blocks, width / 2), 0),
            PanelFormat::Q4_1 => (Q4_1::block_at(blocks, width / 2), 0),
            PanelFormat::Q5_0 => (Q5_0::block_at(blocks, width / 2), 0),
            PanelFormat::Q5_1 => (Q5_1::block_at(blocks, width / 2), 0),
            PanelFormat::Q4K => (Q4K::block_at(blocks, width / 2), 0),
            PanelFormat::Q5K => (Q5K::block_at(blocks, width / 2), 0),
            PanelFormat::Q6K => (Q6K::block_at(blocks, width / 2), 0),
            PanelFormat::Int4 => (Int4::block_at(blocks, width / 2), 0),
        };
        Self { codes, scales }
    }
}

/// The codes and scales of all panels; the parts lie one below the other.
pub(crate) fn lay_out(
    format: PanelFormat,
    level: SimdLevel,
    parts: &[WeightRows<'_>],
    n_in: usize,
    arena: &mut Arena,
) -> (AlignedBuffer, AlignedBuffer) {
    let width = panel_width(level);
    let n_out: usize = parts.iter().map(|part| part.n_rows(n_in)).sum();
    let n_panels = n_out.div_ceil(width);
    let bytes = PanelBytes::new(format, width, n_in);
    let mut codes = AlignedBuffer::zeroed_in(arena, n_panels * bytes.codes);
    let mut scales = AlignedBuffer::zeroed_in(arena, n_panels * bytes.scales);
    let all_codes = SharedMut::new(codes.values_mut::<u8>());
    let all_scales = SharedMut::new(scales.values_mut::<u8>());
    for_each(n_panels, |panel| {
        #[expect(unsafe_code, reason = "threads write disjoint panels")]
        // SAFETY: panel number `panel` of each buffer, which only this task touches.
        let (codes, scales) = unsafe {
            (
                slice(all_codes.ptr().add(panel * bytes.codes), bytes.codes),
                slice(all_scales.ptr().add(panel * bytes.scales), bytes.scales),
            )
        };
        for lane in 0..width.min(n_out - panel * width) {
            let (part, row) = part_of(parts, n_in, panel * width + lane);
            let place = Place { lane, width, level };
            match part {
                WeightRows::Dense(weight) => {
                    place.dense(format, &weight[row * n_in..][..n_in], codes);
                }
                WeightRows::Packed(matrix) => {
                    place.packed(format, matrix.raw_row(row), codes, scales);
                }
            }
        }
    });
    (codes, scales)
}

/// The part that output `row` lies in, and the row of it.
fn part_of<'a>(parts: &[WeightRows<'a>], n_in: usize, mut row: usize) -> (WeightRows<'a>, usize) {
    for part in parts {
        let n_rows = part.n_rows(n_in);
        if row < n_rows {
            return (*part, row);
        }
        row -= n_rows;
    }
    unreachable!("outputs are those of the parts")
}

/// # Safety
/// As [`std::slice::from_raw_parts_mut`].
#[expect(unsafe_code, reason = "threads write disjoint panels")]
unsafe fn slice<'a>(from: *mut u8, n_bytes: usize) -> &'a mut [u8] {
    // SAFETY: says the caller.
    unsafe { std::slice::from_raw_parts_mut(from, n_bytes) }
}

/// One output's place in its panel.
pub(super) struct Place {
    pub(super) lane: usize,
    pub(super) width: usize,
    level: SimdLevel,
}

impl Place {
    fn dense(&self, format: PanelFormat, row: &[f32], panel: &mut [u8]) {
        for (k, &x) in row.iter().enumerate() {
            let at = k * self.width + self.lane;
            match format {
                PanelFormat::Bf16 => put(panel, 2 * at, bf16::from_f32(x).to_le_bytes()),
                PanelFormat::Bf16Dot => {
                    put(panel, self.pair_byte(k), bf16::from_f32(x).to_le_bytes());
                }
                PanelFormat::F16 => put(panel, 2 * at, f16::from_f32(x).to_le_bytes()),
                _ => put(panel, 4 * at, x.to_le_bytes()),
            }
        }
    }

    fn packed(&self, format: PanelFormat, row: RawRow<'_>, codes: &mut [u8], scales: &mut [u8]) {
        match row {
            RawRow::Codebook4 { codes: row, absmax }
                if matches!(format, PanelFormat::Nf4Dot | PanelFormat::Fp4Dot) =>
            {
                self.nf4_dot(row, &absmax, codes);
            }
            RawRow::Codebook4 { codes: row, absmax } => {
                for (block, absmax) in absmax.iter().enumerate() {
                    put(
                        scales,
                        4 * (block * self.width + self.lane),
                        absmax.to_le_bytes(),
                    );
                }
                for (pair, code) in row.iter().enumerate() {
                    // bitsandbytes has the even input in the high nibble.
                    codes[pair * self.width + self.lane] = code.rotate_left(4);
                }
            }
            RawRow::Int8 { codes: row, absmax } => {
                put(scales, 4 * self.lane, (absmax / 127.0).to_le_bytes());
                for (k, code) in row.iter().enumerate() {
                    match format {
                        PanelFormat::Int8Dot => {
                            codes[self.byte(k)] = code.wrapping_add(byte_bias(self.level));
                        }
                        _ => codes[k * self.width + self.lane] = *code,
                    }
                }
            }
            RawRow::Ggml { blocks } => self.ggml(format, blocks, codes),
            RawRow::Int4 {
                codes: row,
                groups,
                group_size,
            } => self.int4(row, &groups, group_size, codes),
        }
    }

    /// Blocks of ggml.
    fn ggml(&self, format: PanelFormat, row: &[u8], panel: &mut [u8]) {
        match format {
            PanelFormat::Q8_0 => self.q8_0(row, panel),
            PanelFormat::Q4_0 => self.blocks::<4, false>(row, panel),
            PanelFormat::Q4_1 => self.blocks::<4, true>(row, panel),
            PanelFormat::Q5_0 => self.blocks::<5, false>(row, panel),
            PanelFormat::Q5_1 => self.blocks::<5, true>(row, panel),
            PanelFormat::Q4K => self.k_blocks::<4>(row, panel),
            PanelFormat::Q5K => self.k_blocks::<5>(row, panel),
            PanelFormat::Q6K => self.q6_k(row, panel),
            _ => unreachable!("ggml's blocks are laid out in their own format"),
        }
    }

    /// Scale, codes.
    fn q8_0(&self, row: &[u8], panel: &mut [u8]) {
        let panel_bytes = Q8::block_at(1, self.width / 2);
        let from = row.chunks_exact(2 + BLOCK);
        for (from, to) in from.zip(panel.chunks_exact_mut(panel_bytes)) {
            put(to, self.width * BLOCK + 2 * self.lane, [from[0], from[1]]);
            for (i, &code) in from[2..].iter().enumerate() {
                to[self.byte(i)] = code.wrapping_add(byte_bias(self.level));
            }
        }
    }

    /// Blocks as those of Q4_1, with a zero point in place of the minimum.
    fn int4(&self, row: &[u8], groups: &[Group], group_size: usize, panel: &mut [u8]) {
        let panel_bytes = Int4::block_at(1, self.width / 2);
        for (block, to) in panel.chunks_exact_mut(panel_bytes).enumerate() {
            let group = groups[block * BLOCK / group_size];
            let scale_at = self.width * BLOCK / 2 + 2 * self.lane;
            put(to, scale_at, group.scale.to_le_bytes());
            let zero = f16::from_f32(f32::from(group.zero));
            put(to, scale_at + 2 * self.width, zero.to_le_bytes());
            let code = |k: usize| row[(block * BLOCK + k) / 2] >> (k % 2 * 4) & 15;
            self.put_codes::<Int4>(to, &std::array::from_fn(code));
        }
    }

    /// Codes in words of eight, a block's scales behind them.
    fn nf4_dot(&self, row: &[u8], absmax: &[f32], panel: &mut [u8]) {
        let block_bytes = nf4_dot::block_bytes(self.width);
        let of_blocks = row.chunks_exact(NF4_BLOCK / 2).zip(absmax);
        for (to, (row, absmax)) in panel.chunks_exact_mut(block_bytes).zip(of_blocks) {
            let scale_at = nf4_dot::scale_at(self.width, self.lane);
            put(to, scale_at, absmax.to_le_bytes());
            for k in 0..NF4_BLOCK {
                // bitsandbytes has the even input in the high nibble.
                let code = row[k / 2] >> (4 - k % 2 * 4) & 15;
                let (word, bit) = nf4_dot::place(self.width, self.lane, k);
                to[word + bit / 8] |= code << (bit % 8);
            }
        }
    }

    /// Where input `k` lies among pairs of bf16.
    fn pair_byte(&self, k: usize) -> usize {
        4 * (k / 2 * self.width + self.lane) + 2 * (k % 2)
    }

    /// Where byte `i` of this output's codes lies in a block: `[group, 2, LANES, 4]`.
    pub(super) fn byte(&self, i: usize) -> usize {
        i / 4 * 4 * self.width + 4 * self.lane + i % 4
    }
}

/// See `Simd::BYTE_BIAS`.
fn byte_bias(level: SimdLevel) -> u8 {
    if level >= SimdLevel::Avx512 { 128 } else { 0 }
}

pub(super) fn put<const N: usize>(to: &mut [u8], at: usize, bytes: [u8; N]) {
    to[at..at + N].copy_from_slice(&bytes);
}

/// The weights of one output.
pub(crate) fn unpack_row(
    format: PanelFormat,
    level: SimdLevel,
    codes: &AlignedBuffer,
    scales: &AlignedBuffer,
    row: usize,
    out: &mut [f32],
) {
    let width = panel_width(level);
    let (panel, lane) = (row / width, row % width);
    let bytes = PanelBytes::new(format, width, out.len());
    let codes = &codes.values::<u8>()[panel * bytes.codes..][..bytes.codes];
    let scales = &scales.values::<u8>()[panel * bytes.scales..][..bytes.scales];
    let place = Place { lane, width, level };
    let two = |bytes: &[u8], at: usize| [bytes[at], bytes[at + 1]];
    let four = |bytes: &[u8], at: usize| {
        f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    let lanes = width / 2;
    // Of formats without one, none is looked at.
    let book = format.codebook().unwrap_or(Codebook4::Nf4);
    for (k, out) in out.iter_mut().enumerate() {
        let at = k * width + lane;
        *out = match format {
            PanelFormat::F32 => four(codes, 4 * at),
            PanelFormat::Bf16 => bf16::from_le_bytes(two(codes, 2 * at)).to_f32(),
            PanelFormat::Bf16Dot => bf16::from_le_bytes(two(codes, place.pair_byte(k))).to_f32(),
            PanelFormat::F16 => f16::from_le_bytes(two(codes, 2 * at)).to_f32(),
            PanelFormat::Int8Rowwise => f32::from(codes[at] as i8) * four(scales, 4 * lane),
            PanelFormat::Int8Dot => {
                let code = codes[place.byte(k)].wrapping_sub(byte_bias(level)) as i8;
                f32::from(code) * four(scales, 4 * lane)
            }
            PanelFormat::Nf4Dot | PanelFormat::Fp4Dot => {
                let block = &codes[k / NF4_BLOCK * nf4_dot::block_bytes(width)..];
                let (word, bit) = nf4_dot::place(width, lane, k);
                let code = block[word + bit / 8] >> (bit % 8) & 15;
                nf4_dot::value(book, code) * four(block, nf4_dot::scale_at(width, lane))
            }
            PanelFormat::Nf4 | PanelFormat::Fp4 => {
                let code = codes[k / 2 * width + lane] >> (k % 2 * 4) & 15;
                let scale = four(scales, 4 * (k / NF4_BLOCK * width + lane));
                book.levels()[usize::from(code)] * scale
            }
            PanelFormat::Q8_0 => {
                let block = &codes[Q8::block_at(k / BLOCK, lanes)..];
                let code = block[place.byte(k % BLOCK)].wrapping_sub(byte_bias(level)) as i8;
                let scale = f16::from_le_bytes(two(block, width * BLOCK + 2 * lane));
                f32::from(code) * scale.to_f32()
            }
            PanelFormat::Q4_0 => place.block_weight::<4, false>(codes, k),
            PanelFormat::Q4_1 => place.block_weight::<4, true>(codes, k),
            PanelFormat::Q5_0 => place.block_weight::<5, false>(codes, k),
            PanelFormat::Q5_1 => place.block_weight::<5, true>(codes, k),
            PanelFormat::Q4K => place.k_weight::<4>(codes, k),
            PanelFormat::Q5K => place.k_weight::<5>(codes, k),
            PanelFormat::Q6K => place.q6_k_weight(codes, k),
            PanelFormat::Int4 => {
                let block = &codes[Int4::block_at(k / BLOCK, lanes)..];
                let at = width * BLOCK / 2 + 2 * lane;
                let scale = f16::from_le_bytes(two(block, at)).to_f32();
                let zero = f16::from_le_bytes(two(block, at + 2 * width)).to_f32();
                scale * (f32::from(place.code::<Int4>(block, k)) - zero)
            }
        };
    }
}
