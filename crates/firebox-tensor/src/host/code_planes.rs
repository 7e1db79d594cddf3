//! Where codes of 4, 5 and 6 bits lie in a block: their nibbles, and behind them the bits above, so
//! that a code takes its own bits and no more.
//!
//! All of it is loads of `[2, LANES, 4]` bytes, four inputs of one output in a lane. A load of nibbles
//! has one group of four inputs low and another high: of a block that is one span, load `i` has
//! groups `i` and `i + 4`; where halves have scales of their own, each has its own two loads. Of the
//! bits above nibbles, `BITS - 4` loads have those of all groups in order: of 5 bits, bit `g` of a
//! byte belongs to group `g`; of 6, two bits each, groups 4 to 7 in the second load.

#![expect(
    unsafe_code,
    reason = "the bits above nibbles are loaded through pointers"
)]

use super::activations::BLOCK;
use super::int_panel::{GROUPS, IntCodes};
use super::pack::{Place, put};
use super::simd::Simd;

/// Loads of nibbles.
const NIBBLE_LOADS: usize = GROUPS / 2;

/// The load and the shift of a group's nibbles.
#[inline(always)]
fn nibbles_at<C: IntCodes>(group: usize) -> (usize, usize) {
    let (groups, loads) = (GROUPS / C::SPANS, NIBBLE_LOADS / C::SPANS);
    let load = group / groups * loads + group % loads;
    (load, group % groups / loads * 4)
}

/// The load and the shift of a group's bits above the nibbles, where codes have such.
#[inline(always)]
fn upper_at<C: IntCodes>(group: usize) -> (usize, usize) {
    let n_upper = C::BITS - 4;
    let groups = 8 / n_upper;
    (NIBBLE_LOADS + group / groups, group % groups * n_upper)
}

/// The bits above the nibble.
const fn upper_mask<C: IntCodes>() -> u8 {
    (1 << C::BITS) - 16
}

/// The codes of a group whose nibbles are loaded.
///
/// # Safety
/// `block` points to a block's codes.
#[inline(always)]
pub(crate) unsafe fn group_codes<S: Simd, C: IntCodes>(
    s: S,
    block: *const u8,
    loaded: [S::B; 2],
    group: usize,
) -> [S::B; 2] {
    let nibbles = match nibbles_at::<C>(group).1 {
        0 => [s.low_nibbles(loaded[0]), s.low_nibbles(loaded[1])],
        _ => [s.high_nibbles(loaded[0]), s.high_nibbles(loaded[1])],
    };
    if C::BITS == 4 {
        return nibbles;
    }
    let (load, shift) = upper_at::<C>(group);
    let (left, mask) = (4 - shift as i32, upper_mask::<C>());
    // SAFETY: the upper bits are part of the codes.
    let upper = unsafe {
        let upper = block.add(load * 8 * S::LANES);
        [s.load_bytes(upper), s.load_bytes(upper.add(4 * S::LANES))]
    };
    [
        s.or_shifted(nibbles[0], upper[0], left, mask),
        s.or_shifted(nibbles[1], upper[1], left, mask),
    ]
}

impl Place {
    /// Lays out this output's codes of one block, in the order of its inputs.
    pub(super) fn put_codes<C: IntCodes>(&self, block: &mut [u8], codes: &[u8; BLOCK]) {
        let mut loads = [[0; 4]; GROUPS];
        for (group, codes) in codes.as_chunks::<4>().0.iter().enumerate() {
            let (load, shift) = nibbles_at::<C>(group);
            for (byte, code) in loads[load].iter_mut().zip(codes) {
                *byte |= (code & 15) << shift;
            }
            if C::BITS > 4 {
                let (load, shift) = upper_at::<C>(group);
                for (byte, code) in loads[load].iter_mut().zip(codes) {
                    *byte |= (code >> 4) << shift;
                }
            }
        }
        for (load, bytes) in loads[..C::CODE_BYTES / 4].iter().enumerate() {
            put(block, self.byte(4 * load), *bytes);
        }
    }

    /// The code of input `k` of a row, in its block.
    pub(super) fn code<C: IntCodes>(&self, block: &[u8], k: usize) -> u8 {
        let (group, input) = (k % BLOCK / 4, k % 4);
        let (load, shift) = nibbles_at::<C>(group);
        let nibble = block[self.byte(4 * load + input)] >> shift & 15;
        if C::BITS == 4 {
            return nibble;
        }
        let (load, shift) = upper_at::<C>(group);
        let upper = block[self.byte(4 * load + input)] >> shift;
        nibble | upper << 4 & upper_mask::<C>()
    }
}
