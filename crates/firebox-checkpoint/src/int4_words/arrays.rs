//! The arrays of an INT4 weight: from Firebox's order into words, and back.

use firebox_tensor::packed::PackedMatrix;
use rayon::prelude::*;

use super::Words;

/// The zero point of symmetric groups.
pub(super) const SYMMETRIC_ZERO: u8 = 8;

/// Which of eight neighbours each nibble of a word holds, the lowest nibble first.
type Order = [usize; 8];
const IN_ORDER: Order = [0, 1, 2, 3, 4, 5, 6, 7];
const AWQ_ORDER: Order = [0, 2, 4, 6, 1, 3, 5, 7];

/// Words that one task unpacks.
const CHUNK: usize = 1 << 12;

/// A weight in the order of Firebox.
pub(super) struct Arrays {
    /// `[out, in / 2]`, two codes a byte, the first in the low nibble.
    pub(super) codes: Vec<u8>,
    /// `[out, n_groups]`, one a byte.
    pub(super) zeros: Vec<u8>,
    /// `[out, n_groups]`.
    pub(super) scales: Vec<f32>,
}

impl Words {
    fn order(self) -> &'static Order {
        match self {
            Self::GptqV1 | Self::GptqV2 => &IN_ORDER,
            Self::Awq => &AWQ_ORDER,
        }
    }

    /// The zero points that `qzeros` stands for, `[n_groups, n_out]`, one a byte.
    pub(super) fn zero_points(self, qzeros: &[u8]) -> Vec<u8> {
        let mut zeros = unpacked(&words(qzeros), self.order());
        if self == Self::GptqV1 {
            // A 0 was stored as the low bits of -1.
            zeros.iter_mut().for_each(|zero| *zero = (*zero + 1) & 15);
        }
        zeros
    }

    /// Puts the bytes of `qweight` and `qzeros` and the values of `scales` in order; none is empty.
    pub(super) fn decode(
        self,
        n_out: usize,
        [weight, zeros]: [&[u8]; 2],
        scales: &[f32],
    ) -> Arrays {
        let codes = match self {
            // Eight codes along the input lie in a word as they do in four bytes of Firebox.
            Self::GptqV1 | Self::GptqV2 => bytes(&transposed(&words(weight), n_out)),
            Self::Awq => {
                let codes = transposed(&unpacked(&words(weight), &AWQ_ORDER), n_out);
                paired(&codes)
            }
        };
        Arrays {
            codes,
            zeros: transposed(&self.zero_points(zeros), n_out),
            scales: transposed(scales, n_out),
        }
    }

    /// The bytes of `qweight`, `qzeros` and `scales` of a weight in INT4 that has values, and rows
    /// that are a multiple of 8.
    pub(super) fn encode(self, matrix: &PackedMatrix) -> [Vec<u8>; 3] {
        let part = |name: &str| {
            let found = matrix.parts().into_iter().find(|part| part.name == name);
            found.map_or(&[][..], |part| part.bytes)
        };
        let (scales, _) = part("scales").as_chunks::<2>();
        let (n_out, n_in) = (matrix.n_rows(), matrix.n_cols());
        let n_groups = scales.len() / n_out;
        let mut zeros = match part("zeros") {
            [] => vec![SYMMETRIC_ZERO; scales.len()],
            zeros => zeros
                .chunks(n_groups.div_ceil(2))
                .flat_map(|row| unpaired(row).into_iter().take(n_groups))
                .collect(),
        };
        if self == Self::GptqV1 {
            zeros
                .iter_mut()
                .for_each(|zero| *zero = zero.wrapping_sub(1) & 15);
        }
        let weight = match self {
            Self::GptqV1 | Self::GptqV2 => transposed(&words(part("codes")), n_in / 8),
            Self::Awq => packed(&transposed(&unpaired(part("codes")), n_in), &AWQ_ORDER),
        };
        let zeros = packed(&transposed(&zeros, n_groups), self.order());
        let scales = transposed(scales, n_groups).concat();
        [bytes(&weight), bytes(&zeros), scales]
    }
}

impl Arrays {
    /// The weight, `[out, in]`, where each input has a group of its own choice.
    pub(super) fn values(&self, group_of: &[usize]) -> Vec<f32> {
        let n_in = group_of.len();
        let n_groups = self.zeros.len() / (2 * self.codes.len() / n_in);
        let mut values = vec![0.0; 2 * self.codes.len()];
        let codes = self.codes.par_chunks(n_in / 2);
        let groups = self.zeros.par_chunks(n_groups);
        let groups = groups.zip(self.scales.par_chunks(n_groups));
        let rows = values.par_chunks_mut(n_in).zip(codes).zip(groups);
        rows.for_each(|((out, codes), (zeros, scales))| {
            for ((x, code), group) in out.iter_mut().zip(unpaired(codes)).zip(group_of) {
                *x = scales[*group] * (f32::from(code) - f32::from(zeros[*group]));
            }
        });
        values
    }

    /// The zero points of each row, two a byte, each row from a byte of its own.
    pub(super) fn paired_zeros(&self, n_groups: usize) -> Vec<u8> {
        self.zeros.chunks(n_groups).flat_map(paired).collect()
    }
}

fn words(bytes: &[u8]) -> Vec<u32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The first of two in the low nibble; a last one alone has zeros beside it.
fn paired(codes: &[u8]) -> Vec<u8> {
    codes
        .chunks(2)
        .map(|two| two[0] | two.get(1).map_or(0, |high| high << 4))
        .collect()
}

fn unpaired(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|two| [two & 15, two >> 4]).collect()
}

/// Eight codes a word, one a byte.
fn unpacked(words: &[u32], order: &Order) -> Vec<u8> {
    let mut codes = vec![0; 8 * words.len()];
    let chunks = codes.par_chunks_mut(8 * CHUNK).zip(words.par_chunks(CHUNK));
    chunks.for_each(|(codes, words)| {
        for (eight, word) in codes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            for (nibble, place) in order.iter().enumerate() {
                eight[*place] = (word >> (4 * nibble)) as u8 & 15;
            }
        }
    });
    codes
}

/// Words of eight codes each.
fn packed(codes: &[u8], order: &Order) -> Vec<u32> {
    let word = |eight: &[u8; 8]| {
        let nibbles = order.iter().enumerate();
        nibbles.fold(0, |word, (nibble, place)| {
            word | u32::from(eight[*place]) << (4 * nibble)
        })
    };
    codes.as_chunks().0.par_iter().map(word).collect()
}

/// `[n_rows, n_cols]` to `[n_cols, n_rows]`.
fn transposed<T: Copy + Default + Send + Sync>(source: &[T], n_cols: usize) -> Vec<T> {
    // As many neighbours of a source row as fill a line of the cache or two.
    const TILE: usize = 32;
    let n_rows = source.len() / n_cols;
    let mut out = vec![T::default(); source.len()];
    out.par_chunks_mut(TILE * n_rows)
        .enumerate()
        .for_each(|(tile, out)| {
            for (row, source) in source.chunks(n_cols).enumerate() {
                let columns = out.chunks_mut(n_rows).zip(&source[tile * TILE..]);
                columns.for_each(|(column, x)| column[row] = *x);
            }
        });
    out
}
