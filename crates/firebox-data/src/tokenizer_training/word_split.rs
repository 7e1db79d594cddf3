//! The pre-tokenizer and decoder of each kind of model.

use serde::{Deserialize, Serialize};
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    DecoderWrapper, Model, NormalizedString, Normalizer, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer, PreTokenizerWrapper, SplitDelimiterBehavior,
};

use super::chinese::{ChineseSplit, WordCutter};
use super::{TokenizerModel, TokenizerTrainingError, Untrained, train_error};
use crate::error::Source;
use crate::fast_encoder::{LLAMA3_PATTERN, QWEN2_PATTERN};

/// How byte-level models split texts into words, by the model that is known for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WordSplit {
    /// Words and numbers with the space before them.
    Gpt2,
    /// The same, but each digit stands alone.
    #[default]
    SmolLm2,
    /// Words with one sign before them, numbers of at most three digits.
    Llama3,
    /// The same, but each digit stands alone.
    Qwen2,
}

impl WordSplit {
    /// The split pattern, if it is not `ByteLevel`'s own.
    fn pattern(self) -> Option<&'static str> {
        match self {
            Self::Gpt2 | Self::SmolLm2 => None,
            Self::Llama3 => Some(LLAMA3_PATTERN),
            Self::Qwen2 => Some(QWEN2_PATTERN),
        }
    }
}

/// What splits texts, in training and in use.
pub(super) fn pre_tokenizer(
    model: TokenizerModel,
    chinese: ChineseSplit,
) -> Result<PreTokenizerWrapper, TokenizerTrainingError> {
    let mut steps: Vec<PreTokenizerWrapper> = Vec::new();
    if chinese == ChineseSplit::Characters {
        steps.push(isolated(r"\p{Han}")?);
    }
    match model {
        TokenizerModel::ByteLevelBpe { words } => {
            if words == WordSplit::SmolLm2 {
                steps.push(Digits::new(true).into());
            }
            let pattern = words.pattern().map(isolated).transpose()?;
            let use_regex = pattern.is_none();
            steps.extend(pattern);
            steps.push(ByteLevel::new(false, false, use_regex).into());
        }
        TokenizerModel::Bpe | TokenizerModel::Unigram => steps.push(metaspace().into()),
        TokenizerModel::WordPiece => steps.push(BertPreTokenizer.into()),
    }
    Ok(match steps.len() {
        1 => steps.remove(0),
        _ => Sequence::new(steps).into(),
    })
}

/// What joins tokens to a text.
pub(super) fn decoder(model: TokenizerModel) -> DecoderWrapper {
    match model {
        TokenizerModel::ByteLevelBpe { .. } => ByteLevel::new(false, false, true).into(),
        TokenizerModel::Bpe | TokenizerModel::Unigram => metaspace().into(),
        TokenizerModel::WordPiece => WordPieceDecoder::default().into(),
    }
}

/// Spaces become `▁`; none is put before a text, or texts would not come back as they were.
fn metaspace() -> Metaspace {
    Metaspace::new('▁', PrependScheme::Never, true)
}

fn isolated(pattern: &str) -> Result<PreTokenizerWrapper, TokenizerTrainingError> {
    let pattern = SplitPattern::Regex(pattern.to_owned());
    let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
    Ok(split.map_err(train_error)?.into())
}

/// The words of a text, normalized and split as the tokenizer does, within the cuts of the dictionary.
pub(super) fn words<M: Model>(
    tokenizer: &Untrained<M>,
    cutter: &WordCutter,
    text: &str,
) -> Result<Vec<String>, Source> {
    let mut normalized = NormalizedString::from(text);
    if let Some(normalizer) = tokenizer.get_normalizer() {
        normalizer.normalize(&mut normalized)?;
    }
    let mut words = Vec::new();
    for part in cutter.parts(normalized.get()) {
        let mut part = PreTokenizedString::from(part);
        if let Some(pre_tokenizer) = tokenizer.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut part)?;
        }
        let splits = part.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
        words.extend(splits.into_iter().map(|(word, _, _)| word.to_owned()));
    }
    Ok(words)
}
