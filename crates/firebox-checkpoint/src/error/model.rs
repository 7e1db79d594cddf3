//! A well-formed file whose model, tokenizer or adapter cannot be used.

use std::path::PathBuf;

/// The file is sound, but its contents are not something that this crate can use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A GGUF of another architecture.
    #[error(
        "read `{path}`: expected an architecture of {known}, found `{found}` (hint: these are the ones read from GGUF so far)"
    )]
    Architecture {
        /// The file.
        path: PathBuf,
        /// The architectures that are read.
        known: String,
        /// The one in the file.
        found: String,
    },
    /// A metadata key that the model needs is absent.
    #[error(
        "read `{path}`: expected the metadata key `{key}`, found none (hint: convert the model again with a current llama.cpp)"
    )]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// A metadata value that makes no sense.
    #[error(
        "read `{path}`: metadata key `{key}`: expected {expected}, found {found} (hint: the file is damaged, or of a kind not read so far)"
    )]
    BadValue {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A GGUF tensor without a place in the model.
    #[error(
        "read `{path}`: expected only tensors of a `{architecture}` model, found `{name}` (hint: the model has parts that are not read so far)"
    )]
    UnexpectedTensor {
        /// The file.
        path: PathBuf,
        /// The architecture.
        architecture: String,
        /// The tensor's name in the file.
        name: String,
    },
    /// The rows of a Q or K weight do not divide into heads.
    #[error(
        "load tensor `{name}`: expected rows that divide into {n_heads} heads of even size, found {n_rows} in `{path}` (hint: the head counts in the metadata do not fit the tensor)"
    )]
    HeadRows {
        /// The tensor.
        name: String,
        /// Heads.
        n_heads: usize,
        /// Rows.
        n_rows: usize,
        /// The file.
        path: PathBuf,
    },
    /// The tokenizer inside a GGUF is of a kind that is not rebuilt.
    #[error(
        "read the tokenizer of `{path}`: `{key}`: expected one of {known}, found `{found}` (hint: put the model's own `tokenizer.json` beside a converted directory)"
    )]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// The metadata key that decides.
        key: &'static str,
        /// The kinds that are known.
        known: String,
        /// The one in the file.
        found: String,
    },
    /// Weights that another program quantized in a way that is not read.
    #[error(
        "read `{path}`: expected weights that are not quantized, or by firebox, bitsandbytes, GPTQ or AWQ, found `quant_method` `{found}` (hint: start from the model as it was before it was quantized)"
    )]
    QuantMethod {
        /// The checkpoint.
        path: PathBuf,
        /// What the config names.
        found: String,
    },
    /// A weight that bitsandbytes packed in a way that is not read.
    #[error(
        "read `{path}`: tensor `{name}`: expected {expected}, found {found} (hint: of bitsandbytes' weights nf4 and fp4 in blocks of 64 and int8 are read; start from the model as it was before it was quantized)"
    )]
    Bitsandbytes {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is read.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Weights that GPTQ's or AWQ's programs packed in a way that is not read.
    #[error(
        "read `{path}`: {what}: expected {expected}, found {found} (hint: of these programs' weights those of 4 bits in groups of 32, 64 or 128 are read; start from the model as it was before it was quantized)"
    )]
    Int4Words {
        /// The checkpoint.
        path: PathBuf,
        /// The key of the config, or the tensor.
        what: String,
        /// What is read.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Firebox's own packed weights in a version that is not read.
    #[error(
        "read `{path}`: expected packed weights of version {expected}, found {found} (hint: they need a newer firebox)"
    )]
    PackedVersion {
        /// The checkpoint.
        path: PathBuf,
        /// The version that is read.
        expected: u64,
        /// The version in the file.
        found: String,
    },
    /// A packed tensor whose parts do not fit together.
    #[error(
        "load packed tensor `{name}` of `{path}` (hint: the checkpoint is damaged; quantize the model again)"
    )]
    Packed {
        /// The tensor.
        name: String,
        /// The checkpoint.
        path: PathBuf,
        /// Which part, and how.
        #[source]
        source: firebox_tensor::packed::PackError,
    },
    /// A description of a packed tensor that makes no sense.
    #[error(
        "read `{path}`: packed tensor `{name}`: expected {expected}, found {found} (hint: the checkpoint is damaged; quantize the model again)"
    )]
    PackedEntry {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A directory with an adapter where a model is wanted.
    #[error(
        "read checkpoint `{path}`: expected a model, found a PEFT adapter (hint: give the base model here, and this directory as its adapter)"
    )]
    AdapterNotModel {
        /// The directory.
        path: PathBuf,
    },
    /// An adapter of another kind.
    #[error(
        "read adapter `{path}`: expected `peft_type` `LORA`, found `{found}` (hint: only LoRA adapters are read)"
    )]
    AdapterKind {
        /// The directory.
        path: PathBuf,
        /// The kind in the file.
        found: String,
    },
    /// More tokens than rows of the embedding.
    #[error(
        "load `{path}`: expected an embedding row for each of the tokenizer's {n_tokens} tokens, found {n_rows} rows (hint: tokenizer and weights are of different models)"
    )]
    VocabularyTooLarge {
        /// Tokens.
        n_tokens: usize,
        /// Rows.
        n_rows: usize,
        /// The checkpoint.
        path: PathBuf,
    },
    /// A dtype name that is not known.
    #[error("expected a dtype of {known}, found `{found}`")]
    DtypeName {
        /// The names that are known.
        known: String,
        /// The name that was given.
        found: String,
    },
}
