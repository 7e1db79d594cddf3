//! How a tensor is stored.

use std::fmt::{self, Display, Formatter};

use firebox_tensor::packed::PackedFormat;

use crate::{dtype::Dtype, gguf::GgmlType};

/// How a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Storage {
    /// One element after another.
    Plain(Dtype),
    /// Blocks of a GGUF file.
    Gguf(GgmlType),
    /// A packed format of Firebox.
    Packed(PackedFormat),
}

impl Storage {
    pub(super) fn of_gguf(kind: GgmlType) -> Self {
        match kind {
            GgmlType::F32 => Self::Plain(Dtype::F32),
            GgmlType::F16 => Self::Plain(Dtype::F16),
            GgmlType::BF16 => Self::Plain(Dtype::BF16),
            quantized => Self::Gguf(quantized),
        }
    }
}

impl Display for Storage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(dtype) => dtype.fmt(f),
            Self::Gguf(kind) => kind.fmt(f),
            Self::Packed(format) => format.fmt(f),
        }
    }
}
