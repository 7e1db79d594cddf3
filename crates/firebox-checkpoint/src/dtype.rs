//! Element types of the safetensors format.

use std::{
    fmt::{self, Display, Formatter},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// The type of one element, as safetensors names it. Everything is little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Dtype {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 8 bits.
    I8,
    /// Float of 8 bits: 4 exponent, 3 mantissa.
    F8E4M3,
    /// Float of 8 bits: 5 exponent, 2 mantissa.
    F8E5M2,
    /// Unsigned, 16 bits.
    U16,
    /// Signed, 16 bits.
    I16,
    /// IEEE half precision.
    F16,
    /// The upper half of an `F32`.
    BF16,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 32 bits.
    I32,
    /// IEEE single precision.
    F32,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 64 bits.
    I64,
    /// IEEE double precision.
    F64,
}

impl Dtype {
    /// Every dtype.
    pub const ALL: [Self; 15] = [
        Self::Bool,
        Self::U8,
        Self::I8,
        Self::F8E4M3,
        Self::F8E5M2,
        Self::U16,
        Self::I16,
        Self::F16,
        Self::BF16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    /// Whether it is bf16 or f16.
    #[must_use]
    pub const fn is_half(self) -> bool {
        matches!(self, Self::BF16 | Self::F16)
    }

    /// Bytes of one element.
    pub const fn n_bytes(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 | Self::F8E4M3 | Self::F8E5M2 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// The name in a safetensors header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::U8 => "U8",
            Self::I8 => "I8",
            Self::F8E4M3 => "F8_E4M3",
            Self::F8E5M2 => "F8_E5M2",
            Self::U16 => "U16",
            Self::I16 => "I16",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::U32 => "U32",
            Self::I32 => "I32",
            Self::F32 => "F32",
            Self::U64 => "U64",
            Self::I64 => "I64",
            Self::F64 => "F64",
        }
    }

    /// The name in the `torch_dtype` of a `config.json`, for the dtypes in which weights are written.
    pub const fn torch_name(self) -> Option<&'static str> {
        match self {
            Self::F32 => Some("float32"),
            Self::F16 => Some("float16"),
            Self::BF16 => Some("bfloat16"),
            _ => None,
        }
    }

    /// Says in a `config.json` that its weights have this dtype. Newer versions of transformers write
    /// the key without `torch_`; the one that is there stays.
    ///
    /// Nothing happens to a config that is no map, or for a dtype in which weights are not written.
    pub fn set_in(self, config: &mut serde_json::Value) {
        if let (Some(config), Some(name)) = (config.as_object_mut(), self.torch_name()) {
            let key = match config.contains_key("dtype") {
                true => "dtype",
                false => "torch_dtype",
            };
            config.insert(key.to_owned(), name.into());
        }
    }

    /// The dtype of a safetensors header's name.
    pub(crate) fn from_header(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// The names, for error texts.
    pub(crate) fn known() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl Display for Dtype {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Takes `f32`, `F32` and `float32` alike.
impl FromStr for Dtype {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        Self::ALL
            .into_iter()
            .find(|dtype| {
                dtype.name().eq_ignore_ascii_case(text) || dtype.torch_name() == Some(text)
            })
            .ok_or_else(|| ModelError::DtypeName {
                known: Self::ALL
                    .map(|dtype| dtype.name().to_ascii_lowercase())
                    .join(", "),
                found: text.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_its_dtype() {
        for dtype in Dtype::ALL {
            assert_eq!(dtype.name().parse::<Dtype>().unwrap(), dtype);
            assert_eq!(dtype.name().to_lowercase().parse::<Dtype>().unwrap(), dtype);
        }
        assert_eq!("bfloat16".parse::<Dtype>().unwrap(), Dtype::BF16);
    }

    #[test]
    fn unknown_name_lists_the_known_ones() {
        let error = "fp4".parse::<Dtype>().unwrap_err().to_string();
        assert!(
            error.contains("f32") && error.contains("bf16") && error.contains("`fp4`"),
            "{error}"
        );
    }
}
