//! The names of the packed formats.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::packed::{Int4Groups, ggml::Family};

/// How a weight is packed. See the table in [`crate::packed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum PackedFormat {
    /// 4-bit NormalFloat, blocks of 64 along the flattened weight, one f32 `absmax` per block.
    Nf4,
    /// NF4 whose `absmax` values are themselves stored as 8-bit codes.
    Nf4DoubleQuant,
    /// As NF4, of bitsandbytes' 4-bit floats.
    Fp4,
    /// FP4 whose `absmax` values are themselves stored as 8-bit codes.
    Fp4DoubleQuant,
    /// Signed 8-bit integers, one f32 `absmax` per output row.
    Int8Rowwise,
    /// ggml's Q8_0: 32 signed bytes and an f16 scale.
    Q8_0,
    /// ggml's Q4_0: 32 nibbles around 8 and an f16 scale.
    Q4_0,
    /// ggml's Q4_1: 32 nibbles, an f16 scale and an f16 minimum.
    Q4_1,
    /// ggml's Q4_K: 256 nibbles; for each 32 a scale and a minimum of 6 bits, times one of two f16.
    Q4K,
    /// ggml's Q5_0: as Q4_0 with 5 bits.
    Q5_0,
    /// ggml's Q5_1: as Q4_1 with 5 bits.
    Q5_1,
    /// ggml's Q5_K: as Q4_K with 5 bits.
    Q5K,
    /// ggml's Q6_K: 256 codes of 6 bits around 32; for each 16 a scale of 8 bits, times an f16.
    Q6K,
    /// Nibbles in groups of 32, 64 or 128, an f16 scale for each, and a zero point of 4 bits or 8 for
    /// all.
    Int4(Int4Groups),
}

impl PackedFormat {
    /// Every format, in the order of the table in [`crate::packed`].
    pub const ALL: [Self; 19] = [
        Self::Nf4,
        Self::Nf4DoubleQuant,
        Self::Fp4,
        Self::Fp4DoubleQuant,
        Self::Int8Rowwise,
        Self::Q8_0,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q4K,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q5K,
        Self::Q6K,
        Self::Int4(Int4Groups::ALL[0]),
        Self::Int4(Int4Groups::ALL[1]),
        Self::Int4(Int4Groups::ALL[2]),
        Self::Int4(Int4Groups::ALL[3]),
        Self::Int4(Int4Groups::ALL[4]),
        Self::Int4(Int4Groups::ALL[5]),
    ];

    /// The name used in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nf4 => "nf4",
            Self::Nf4DoubleQuant => "nf4-dq",
            Self::Fp4 => "fp4",
            Self::Fp4DoubleQuant => "fp4-dq",
            Self::Int8Rowwise => "int8",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Q4K => "q4_k",
            Self::Q5_0 => "q5_0",
            Self::Q5_1 => "q5_1",
            Self::Q5K => "q5_k",
            Self::Q6K => "q6_k",
            Self::Int4(groups) => groups.name(),
        }
    }

    /// The columns of a weight are a multiple of this; 1 where any number will do.
    pub fn row_multiple(self) -> usize {
        match self.family() {
            Family::Codebook4(_) | Family::Codebook4DoubleQuant(_) | Family::Int8 => 1,
            Family::Ggml(kind) => kind.block_len(),
            Family::Int4(groups) => groups.size(),
        }
    }
}

impl fmt::Display for PackedFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<PackedFormat> for &'static str {
    fn from(format: PackedFormat) -> Self {
        format.name()
    }
}

impl TryFrom<String> for PackedFormat {
    type Error = UnknownPackedFormat;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl FromStr for PackedFormat {
    type Err = UnknownPackedFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|format| format.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| UnknownPackedFormat {
                found: name.to_owned(),
            })
    }
}

/// A name that is not a [`PackedFormat`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown packed format `{found}`: expected one of {}",
    PackedFormat::ALL.map(|format| format!("`{format}`")).join(", ")
)]
pub struct UnknownPackedFormat {
    /// The name that was given.
    pub found: String,
}
