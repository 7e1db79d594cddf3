//! How a cache holds keys and values.

use std::fmt;
use std::str::FromStr;

/// In which form keys and values are held.
///
/// A token is rounded alone, when it arrives. [`Self::Int8`] has a scale for each token and head, one
/// for its key and one for its value, which is enough in 8 bits. In 4, keys suffer from the few
/// channels that are larger than the others in every token. Channels with scales of their own would
/// want several tokens at once; [`Self::Int4`] turns the keys of a head instead, so that no channel
/// stands out, and the queries with them.
///
/// Source: the scale of a token is that of Yao et al. (2022), ZeroQuant,
/// <https://arxiv.org/abs/2206.01861>; Liu et al. (2024), KIVI, <https://arxiv.org/abs/2402.02750>,
/// compare tokens with channels; Ashkboos et al. (2024), QuaRot, section 4,
/// <https://arxiv.org/abs/2404.00456>, turn keys and round groups with a minimum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KvFormat {
    /// 32 bits: as computed.
    #[default]
    F32,
    /// 16 bits, rounded to the nearest, ties to even; past 65,504 the largest number.
    F16,
    /// 8 bits and a scale: `round(x / scale)`, `scale = max |x| / 127`.
    Int8,
    /// 4 bits, and a scale and a minimum in f16 for 32 numbers: 5 bits a number.
    /// `round((x - minimum) / scale)`, `scale = (max x - minimum) / 15`; keys are turned by a
    /// Hadamard matrix before.
    Int4,
}

impl KvFormat {
    /// All forms, largest first.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Int8, Self::Int4];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }
}

impl fmt::Display for KvFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for KvFormat {
    type Err = UnknownKvFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let format = Self::ALL.into_iter().find(|format| format.name() == name);
        format.ok_or_else(|| UnknownKvFormat {
            found: name.to_owned(),
        })
    }
}

/// A name that is no [`KvFormat`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "keys and values as `{found}`: expected one of {}",
    KvFormat::ALL.map(|format| format!("`{format}`")).join(", ")
)]
pub struct UnknownKvFormat {
    /// The name that was given.
    pub found: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_refused_with_a_list() {
        for format in KvFormat::ALL {
            assert_eq!(format.name().parse(), Ok(format));
        }
        let error = "int2".parse::<KvFormat>().unwrap_err().to_string();
        assert_eq!(
            error,
            "keys and values as `int2`: expected one of `f32`, `f16`, `int8`, `int4`"
        );
    }
}
