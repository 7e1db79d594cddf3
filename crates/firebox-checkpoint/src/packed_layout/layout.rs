//! The layouts that there are, and what each has a place for.

use std::fmt;

use firebox_tensor::packed::PackedFormat;
use serde::{Deserialize, Serialize};

use crate::int4_words::Words;

/// How packed weights lie in the files of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackedLayout {
    /// Firebox's own, for every format.
    #[default]
    Firebox,
    /// That of bitsandbytes, which transformers and PEFT load: NF4 and FP4, with or without double
    /// quantization, or INT8.
    Bitsandbytes,
    /// That of GPTQModel and AutoGPTQ: INT4 in groups, one format for all packed weights.
    Gptq,
    /// That of AutoAWQ, `gemm`: INT4 in groups, one format for all packed weights.
    Awq,
}

impl PackedLayout {
    /// The name, as in serialized configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Firebox => "firebox",
            Self::Bitsandbytes => "bitsandbytes",
            Self::Gptq => "gptq",
            Self::Awq => "awq",
        }
    }

    /// The formats for which it has a place.
    pub fn formats(self) -> Vec<PackedFormat> {
        let holds = |format: &PackedFormat| match (self, format) {
            (Self::Firebox, _) | (Self::Gptq | Self::Awq, PackedFormat::Int4(_)) => true,
            (Self::Bitsandbytes, format) => matches!(
                format,
                PackedFormat::Nf4
                    | PackedFormat::Nf4DoubleQuant
                    | PackedFormat::Fp4
                    | PackedFormat::Fp4DoubleQuant
                    | PackedFormat::Int8Rowwise
            ),
            _ => false,
        };
        PackedFormat::ALL.into_iter().filter(holds).collect()
    }

    /// Whether all packed weights of a folder must be of one format.
    pub fn has_one_format(self) -> bool {
        matches!(self, Self::Gptq | Self::Awq)
    }

    /// How the words of an INT4 weight are written.
    pub(super) fn words(self, format: PackedFormat) -> Option<Words> {
        match (self, format) {
            (Self::Gptq, PackedFormat::Int4(groups)) => Some(Words::gptq(groups)),
            (Self::Awq, PackedFormat::Int4(_)) => Some(Words::Awq),
            _ => None,
        }
    }
}

impl fmt::Display for PackedLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
