//! What the K quants Q4_K and Q5_K share: 256 values in eight groups of 32, a scale and a minimum of
//! 6 bits for each group, and two f16 that these are multiplied with.
//!
//! Head of a block, 16 bytes: `d` (f16), `dmin` (f16), then 12 bytes of scales and minimums. Of
//! groups 0 to 3 they are the lower six bits of bytes 0 to 3 and 4 to 7; of groups 4 to 7 the lower
//! four bits are the nibbles of bytes 8 to 11, and the upper two lie on top of the former.
//!
//! Source: `ggml/src/ggml-common.h` and `ggml-quants.c` of llama.cpp.

use half::f16;

/// Groups of a block.
pub(crate) const GROUPS: usize = 8;

/// The head of a block: group `g` has `w = d * scales[g] * q - dmin * minimums[g]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Groups {
    pub(crate) d: f16,
    pub(crate) dmin: f16,
    /// Below 64.
    pub(crate) scales: [u8; GROUPS],
    /// Below 64.
    pub(crate) minimums: [u8; GROUPS],
}

impl Groups {
    /// Bytes of the head.
    pub(crate) const HEAD_BYTES: usize = 16;

    /// From the first 16 bytes of a block.
    pub(crate) fn read(head: &[u8]) -> Self {
        let packed = &head[4..Self::HEAD_BYTES];
        let (low, high) = (|g: usize| packed[g] & 63, |g: usize| packed[g] >> 6 << 4);
        let group = |g: usize| match g {
            0..4 => (low(g), low(g + 4)),
            _ => (
                packed[g + 4] & 15 | high(g - 4),
                packed[g + 4] >> 4 | high(g),
            ),
        };
        Self {
            d: f16::from_le_bytes([head[0], head[1]]),
            dmin: f16::from_le_bytes([head[2], head[3]]),
            scales: std::array::from_fn(|g| group(g).0),
            minimums: std::array::from_fn(|g| group(g).1),
        }
    }

    /// The first 16 bytes of a block.
    pub(super) fn write(&self, head: &mut [u8]) {
        let (scales, minimums) = (self.scales, self.minimums);
        head[..2].copy_from_slice(&self.d.to_le_bytes());
        head[2..4].copy_from_slice(&self.dmin.to_le_bytes());
        for g in 0..GROUPS / 2 {
            let upper = g + GROUPS / 2;
            head[4 + g] = scales[g] | scales[upper] >> 4 << 6;
            head[8 + g] = minimums[g] | minimums[upper] >> 4 << 6;
            head[12 + g] = scales[upper] & 15 | minimums[upper] << 4;
        }
    }

    /// `d * scale` and `dmin * minimum` of a group; both are exact.
    pub(super) fn line(&self, g: usize) -> (f32, f32) {
        (
            self.d.to_f32() * f32::from(self.scales[g]),
            self.dmin.to_f32() * f32::from(self.minimums[g]),
        )
    }
}

/// The lower four bits of value `i` of group `g`: pairs of groups share 32 bytes, the even one in
/// the lower nibbles.
pub(crate) fn nibble(codes: &[u8], g: usize, i: usize) -> u8 {
    codes[g / 2 * 32 + i] >> (g % 2 * 4) & 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let groups = Groups {
            d: f16::from_f32(0.25),
            dmin: f16::from_f32(-1.5),
            scales: [0, 63, 17, 32, 47, 15, 16, 63],
            minimums: [63, 1, 33, 0, 31, 48, 62, 5],
        };
        let mut head = [0; Groups::HEAD_BYTES];
        groups.write(&mut head);
        assert_eq!(Groups::read(&head), groups);
        assert_eq!(groups.line(2), (4.25, -49.5));
    }

    #[test]
    fn bits_lie_where_ggml_has_them() {
        // Scale and minimum of group 0, and the upper bits of group 4 on top of them.
        let mut head = [0; Groups::HEAD_BYTES];
        (head[4], head[8], head[12]) = (0b10_000101, 0b01_000011, 0b0111_1001);
        let groups = Groups::read(&head);
        assert_eq!((groups.scales[0], groups.minimums[0]), (5, 3));
        assert_eq!(
            (groups.scales[4], groups.minimums[4]),
            (0b10_1001, 0b01_0111)
        );
    }
}
