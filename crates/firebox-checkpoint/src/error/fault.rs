//! How the bytes of a file break its format's rules: the place, the item and the fault.

use std::fmt::{self, Display, Formatter, Write as _};

/// What a fault concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// The frame of the file: magic, counts, header length.
    Header,
    /// A tensor, by the name in the file.
    Tensor(String),
    /// A metadata key.
    Key(String),
}

impl Display for Item {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("header"),
            Self::Tensor(name) => write!(f, "tensor `{}`", Tame(name)),
            Self::Key(name) => write!(f, "key `{}`", Tame(name)),
        }
    }
}

/// Text from a file, made fit to print: control characters escaped, the length bounded.
pub(crate) struct Tame<'a>(pub(crate) &'a str);

impl Display for Tame<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const LIMIT: usize = 120;
        for c in self.0.chars().take(LIMIT) {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?
            } else {
                f.write_char(c)?
            }
        }
        if self.0.chars().nth(LIMIT).is_some() {
            f.write_str("...")
        } else {
            Ok(())
        }
    }
}

/// A fault, with the byte at which it was seen and the tensor or key that it concerns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{item} at byte {offset}: {fault}")]
pub struct ParseError {
    /// Byte position, from the start of the file.
    pub offset: u64,
    /// The tensor or key.
    pub item: Item,
    /// The rule that is broken.
    pub fault: Fault,
}

/// A broken rule of the safetensors or the GGUF format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the message above each variant says what its fields are"
)]
pub enum Fault {
    /// The file ends too early.
    #[error(
        "expected {needed} more bytes, found {found} (hint: the file is truncated; fetch it again)"
    )]
    TooShort { needed: u64, found: u64 },
    /// A safetensors header longer than the file.
    #[error(
        "expected a header within the {file} bytes of the file, found a header length of {header} (hint: the file is truncated, or not safetensors)"
    )]
    HeaderBeyondFile { header: u64, file: u64 },
    /// A safetensors header longer than the format allows.
    #[error(
        "expected a header of at most {limit} bytes, found {found} (hint: the file is damaged, or not safetensors)"
    )]
    HeaderTooLarge { limit: u64, found: u64 },
    /// A safetensors header that is not the JSON that the format wants.
    #[error(
        "expected a JSON object of tensors, found {found} (hint: the file is damaged; fetch it again)"
    )]
    HeaderJson { found: String },
    /// A name that occurs twice.
    #[error(
        "expected each name once, found it twice (hint: the file was written by a faulty tool)"
    )]
    Duplicate,
    /// A dtype that the safetensors format does not have.
    #[error("expected a dtype of {known}, found `{found}` (hint: the file needs a newer reader)")]
    UnknownDtype { known: String, found: String },
    /// A shape with more elements than can be counted.
    #[error(
        "expected a shape whose size fits in 64 bits, found {shape:?} (hint: the file is damaged or forged)"
    )]
    ShapeOverflow { shape: Vec<u64> },
    /// Data outside the file, or an end before its begin.
    #[error(
        "expected data within bytes 0..{data} of the data section, found {begin}..{end} (hint: the file is truncated; fetch it again)"
    )]
    OutOfRange { begin: u64, end: u64, data: u64 },
    /// Shape, dtype and byte range that disagree.
    #[error(
        "expected {expected} bytes for shape {shape:?} of {dtype}, found {found} (hint: the file was written by a faulty tool)"
    )]
    SizeMismatch {
        dtype: String,
        shape: Vec<u64>,
        expected: u64,
        found: u64,
    },
    /// Two tensors that share bytes.
    #[error("expected data of its own, found an overlap with tensor `{}` (hint: the file is damaged or forged)", Tame(.other))]
    Overlap { other: String },
    /// Bytes of the data section that belong to no tensor.
    #[error(
        "expected the data to begin at {expected} where the one before it ends, found {found} (hint: the file was written by a faulty tool)"
    )]
    Gap { expected: u64, found: u64 },
    /// Bytes after the last tensor.
    #[error(
        "expected the file to end after {expected} bytes of data, found {found} (hint: the file is damaged; fetch it again)"
    )]
    TrailingBytes { expected: u64, found: u64 },
    /// The first four bytes are not `GGUF`.
    #[error("expected the magic `GGUF`, found {found:02x?} (hint: is it a GGUF file?)")]
    NotGguf { found: Vec<u8> },
    /// A version of GGUF that is not read.
    #[error(
        "expected GGUF version 2 or 3, little-endian, found {found} (hint: convert the model again with a current llama.cpp)"
    )]
    GgufVersion { found: u32 },
    /// A count for which the file has too few bytes.
    #[error(
        "expected {what} that fits in the {left} bytes left, found {found} (hint: the file is truncated or forged)"
    )]
    CountBeyondFile {
        what: &'static str,
        left: u64,
        found: u64,
    },
    /// Text that is not UTF-8.
    #[error("expected UTF-8 text, found other bytes (hint: the file is damaged; fetch it again)")]
    NotUtf8,
    /// A metadata type that GGUF does not have.
    #[error(
        "expected a value type of 0 to 12, found {found} (hint: the file is damaged, or needs a newer reader)"
    )]
    ValueType { found: u32 },
    /// A truth value that is neither 0 nor 1.
    #[error(
        "expected a truth value of 0 or 1, found {found} (hint: the file is damaged; fetch it again)"
    )]
    NotABool { found: u8 },
    /// Arrays in arrays in arrays.
    #[error(
        "expected arrays nested at most {limit} deep, found more (hint: the file is damaged or forged)"
    )]
    NestedTooDeep { limit: usize },
    /// More axes than a tensor can have.
    #[error("expected at most {limit} axes, found {found} (hint: the file is damaged or forged)")]
    TooManyAxes { limit: u32, found: u32 },
    /// A tensor encoding that is not read.
    #[error(
        "expected an encoding of {known}, found {found} (hint: take the model in one of these, for instance Q8_0 or Q4_K_M)"
    )]
    Encoding { known: String, found: String },
    /// A row that does not divide into blocks.
    #[error(
        "expected rows of a multiple of {block} elements for {kind}, found {row} (hint: the file was written by a faulty tool)"
    )]
    PartialBlock {
        kind: &'static str,
        block: u64,
        row: u64,
    },
    /// An alignment that is not a power of two.
    #[error(
        "expected an alignment that is a power of two, found {found} (hint: the file is damaged or forged)"
    )]
    Alignment { found: String },
    /// A tensor that does not begin at a multiple of the alignment.
    #[error(
        "expected an offset that is a multiple of {alignment}, found {found} (hint: the file was written by a faulty tool)"
    )]
    Misaligned { alignment: u64, found: u64 },
}
