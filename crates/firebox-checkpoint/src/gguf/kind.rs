//! Tensor encodings of GGUF.

use std::fmt::{self, Display, Formatter};

use firebox_tensor::packed::PackedFormat;

/// How the numbers of a GGUF tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GgmlType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an `F32`.
    BF16,
    /// Blocks of 32: f16 scale, 4-bit codes around zero.
    Q4_0,
    /// Blocks of 32: f16 scale and minimum, 4-bit codes.
    Q4_1,
    /// Blocks of 32: f16 scale, 5-bit codes around zero.
    Q5_0,
    /// Blocks of 32: f16 scale and minimum, 5-bit codes.
    Q5_1,
    /// Blocks of 32: f16 scale, 8-bit codes.
    Q8_0,
    /// Blocks of 256: eight 6-bit scales and minima under two f16, 4-bit codes.
    Q4K,
    /// Blocks of 256: eight 6-bit scales and minima under two f16, 5-bit codes.
    Q5K,
    /// Blocks of 256: sixteen 8-bit scales under one f16, 6-bit codes.
    Q6K,
}

impl GgmlType {
    /// Every encoding that is read.
    pub const ALL: [Self; 11] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// The name in llama.cpp.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        }
    }

    /// The number in a GGUF file.
    pub const fn id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q4K => 12,
            Self::Q5K => 13,
            Self::Q6K => 14,
            Self::BF16 => 30,
        }
    }

    /// Elements of one block.
    pub const fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes of one block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// The packed format of the same blocks; `None` for floats.
    pub fn packed_format(self) -> Option<PackedFormat> {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => None,
            Self::Q4_0 => Some(PackedFormat::Q4_0),
            Self::Q4_1 => Some(PackedFormat::Q4_1),
            Self::Q5_0 => Some(PackedFormat::Q5_0),
            Self::Q5_1 => Some(PackedFormat::Q5_1),
            Self::Q8_0 => Some(PackedFormat::Q8_0),
            Self::Q4K => Some(PackedFormat::Q4K),
            Self::Q5K => Some(PackedFormat::Q5K),
            Self::Q6K => Some(PackedFormat::Q6K),
        }
    }

    /// The encoding of a number in a file.
    pub(super) fn from_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id() == id)
    }

    /// What a number stands for, also where it is not read, for messages.
    pub(super) fn describe_id(id: u32) -> String {
        let name = match id {
            10 => "Q2_K",
            11 => "Q3_K",
            15 => "Q8_K",
            16 => "IQ2_XXS",
            17 => "IQ2_XS",
            18 => "IQ3_XXS",
            19 => "IQ1_S",
            20 => "IQ4_NL",
            21 => "IQ3_S",
            22 => "IQ2_S",
            23 => "IQ4_XS",
            24 => "I8",
            25 => "I16",
            26 => "I32",
            27 => "I64",
            28 => "F64",
            29 => "IQ1_M",
            34 => "TQ1_0",
            35 => "TQ2_0",
            39 => "MXFP4",
            _ => return format!("number {id}"),
        };
        format!("{name} (number {id})")
    }
}

impl Display for GgmlType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
