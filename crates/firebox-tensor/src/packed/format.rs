//! The names of the packed formats.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::packed::{GGML_BLOCK_SIZE, K_BLOCK_SIZE};

/// How a weight is packed. See the table in [`crate::packed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PackedFormat {
    /// 4-bit NormalFloat, blocks of 64 along the flattened weight, one f32 `absmax` per block.
    #[serde(rename = "nf4")]
    Nf4,
    /// NF4 whose `absmax` values are themselves stored as 8-bit codes.
    #[serde(rename = "nf4-dq")]
    Nf4DoubleQuant,
    /// Signed 8-bit integers, one f32 `absmax` per output row.
    #[serde(rename = "int8")]
    Int8Rowwise,
    /// ggml's Q8_0: 32 signed bytes and an f16 scale.
    #[serde(rename = "q8_0")]
    Q8_0,
    /// ggml's Q4_0: 32 nibbles around 8 and an f16 scale.
    #[serde(rename = "q4_0")]
    Q4_0,
    /// ggml's Q4_1: 32 nibbles, an f16 scale and an f16 minimum.
    #[serde(rename = "q4_1")]
    Q4_1,
    /// ggml's Q4_K: 256 nibbles; for each 32 a scale and a minimum of 6 bits, times one of two f16.
    #[serde(rename = "q4_k")]
    Q4K,
}

impl PackedFormat {
    /// Every format, in the order of the table in [`crate::packed`].
    pub const ALL: [Self; 7] = [
        Self::Nf4,
        Self::Nf4DoubleQuant,
        Self::Int8Rowwise,
        Self::Q8_0,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q4K,
    ];

    /// The name used in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nf4 => "nf4",
            Self::Nf4DoubleQuant => "nf4-dq",
            Self::Int8Rowwise => "int8",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Q4K => "q4_k",
        }
    }

    /// The columns of a weight are a multiple of this; 1 where any number will do.
    pub fn row_multiple(self) -> usize {
        match self {
            Self::Nf4 | Self::Nf4DoubleQuant | Self::Int8Rowwise => 1,
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 => GGML_BLOCK_SIZE,
            Self::Q4K => K_BLOCK_SIZE,
        }
    }
}

impl fmt::Display for PackedFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
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
