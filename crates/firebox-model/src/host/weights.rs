//! In which form weights are held.

use std::fmt;
use std::str::FromStr;

use firebox_tensor::packed::PackedFormat;

/// In which form weights are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HostWeights {
    /// As the checkpoint stores them (f32, bf16, f16, packed by Firebox), GGUF's blocks as f16: what
    /// is computed is what the file says.
    #[default]
    Stored,
    /// As [`Self::Stored`], but GGUF's blocks stay as they are and are multiplied by activations of 8
    /// bits, as llama.cpp does: smaller and faster, and logits move by some tenths.
    Blocks,
    /// 32 bits.
    F32,
    /// 16 bits.
    Bf16,
    /// 16 bits, times activations rounded to bf16 as well, as PyTorch computes a bfloat16 model: twice
    /// the speed of a long prompt on a CPU with AVX-512 BF16.
    Bf16Dot,
    /// 16 bits.
    F16,
    /// The projections packed now; the embedding and the head in 8 bits for ggml's formats, and in
    /// bf16 for the others.
    Packed(PackedFormat),
    /// As [`Self::Packed`] with NF4, times activations in bf16.
    Nf4Dot,
    /// As [`Self::Packed`] with INT8, times activations rounded to 8 bits with a scale for each row, but
    /// for outliers: the numbers of LLM.int8() and bitsandbytes' 8-bit layers, multiplied in integers.
    Int8Dot,
    /// As [`Self::Packed`] with FP4, times activations in bf16.
    Fp4Dot,
}

impl HostWeights {
    /// Those that are not [`Self::Packed`], with their names.
    const NOT_PACKED: [(&str, Self); 9] = [
        ("stored", Self::Stored),
        ("blocks", Self::Blocks),
        ("f32", Self::F32),
        ("bf16", Self::Bf16),
        ("bf16-dot", Self::Bf16Dot),
        ("nf4-dot", Self::Nf4Dot),
        ("int8-dot", Self::Int8Dot),
        ("fp4-dot", Self::Fp4Dot),
        ("f16", Self::F16),
    ];

    pub(super) fn names() -> Vec<&'static str> {
        let packed = PackedFormat::ALL.map(PackedFormat::name);
        let others = Self::NOT_PACKED.map(|(name, _)| name);
        others.into_iter().chain(packed).collect()
    }

    /// The form of the embedding and the head.
    pub(super) fn of_embedding(self) -> Self {
        match self {
            Self::Packed(format)
                if format.ggml_block_bytes().is_some()
                    || matches!(format, PackedFormat::Int4(_)) =>
            {
                Self::Packed(PackedFormat::Q8_0)
            }
            Self::Packed(_) | Self::Int8Dot => Self::Bf16,
            Self::Nf4Dot | Self::Fp4Dot => Self::Bf16Dot,
            other => other,
        }
    }
}

impl fmt::Display for HostWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::NOT_PACKED.iter().find(|(_, form)| form == self);
        match (self, named) {
            (Self::Packed(format), _) => format.fmt(f),
            (_, Some((name, _))) => f.pad(name),
            (_, None) => unreachable!("every form has a name"),
        }
    }
}

impl FromStr for HostWeights {
    type Err = UnknownHostWeights;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let named = Self::NOT_PACKED.iter().find(|(known, _)| *known == name);
        match named {
            Some((_, form)) => Ok(*form),
            None => name
                .parse()
                .map(Self::Packed)
                .map_err(|_| UnknownHostWeights {
                    found: name.to_owned(),
                }),
        }
    }
}

/// A name that is no [`HostWeights`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "weights `{found}`: expected one of {}",
    HostWeights::names().iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
)]
pub struct UnknownHostWeights {
    /// The name that was given.
    pub found: String,
}
