//! Training tokenizers.

mod byte_pair;
mod chinese;
mod error;
mod unigram;
mod word_counts;
mod word_split;

use serde::{Deserialize, Serialize};
use tokenizers::{
    AddedToken, DecoderWrapper, Model, NormalizerWrapper, PostProcessorWrapper,
    PreTokenizerWrapper, TokenizerImpl,
};

use crate::{Tokenizer, error::Source};

pub use chinese::ChineseSplit;
pub(crate) use chinese::is_han;
pub use error::TokenizerTrainingError;
pub use word_split::WordSplit;

/// Tokens of a byte-level model start from the 256 bytes, so that every text can be encoded.
const N_BYTES: usize = 256;
/// What stands for characters that a BPE or Unigram model does not know.
const UNKNOWN: &str = "<unk>";
/// The same in WordPiece, as BERT writes it.
const UNKNOWN_WORD_PIECE: &str = "[UNK]";

type Untrained<M> =
    TokenizerImpl<M, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// How a tokenizer is trained: plain data, as a recipe holds it.
///
/// The result is a `tokenizer.json` that the Python package reads as well. The same texts and settings
/// give the same bytes, whatever the number of threads and the order of the texts. Memory holds the
/// distinct words of the texts, not the texts. Ids are the special tokens in their order, then the
/// model's own.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), firebox_data::TokenizerTrainingError> {
/// use firebox_data::{ChineseSplit, TokenizerModel, TokenizerTraining};
///
/// let training = TokenizerTraining {
///     chinese: ChineseSplit::Characters,
///     special_tokens: vec!["<|endoftext|>".into()],
///     ..TokenizerTraining::new(TokenizerModel::Bpe, 100)
/// };
/// let tokenizer = training.train(["the cat and the dog", "猫和狗，狗和猫"])?;
/// assert_eq!(tokenizer.token_to_id("<|endoftext|>"), Some(0));
/// assert!(tokenizer.token_to_id("和狗").is_none(), "characters stand alone");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerTraining {
    /// What is trained.
    pub model: TokenizerModel,
    /// Tokens, special ones counted. Fewer if the texts give no more.
    pub vocab_size: usize,
    /// What is done with Chinese before words are counted.
    #[serde(default)]
    pub chinese: ChineseSplit,
    /// Tokens that are never split, first in the vocabulary. BPE and Unigram need `<unk>` and WordPiece
    /// `[UNK]`, which is added behind them unless it is among them.
    #[serde(default)]
    pub special_tokens: Vec<String>,
    /// How often a pair must occur to be merged (BPE and WordPiece), or a word to be counted (Unigram). 0
    /// and 1 are the same.
    #[serde(default)]
    pub min_frequency: u64,
    /// The most characters that a model of characters knows, the most frequent ones; the others become
    /// the unknown token. All if not set. Byte-level models do not need it and ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_alphabet: Option<usize>,
    /// Whether texts are composed (Unicode NFC) first, now and whenever the tokenizer is used.
    #[serde(default)]
    pub nfc: bool,
}

/// The kind of model that is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenizerModel {
    /// BPE on the bytes of UTF-8: knows every text, and gives back every text exactly.
    ///
    /// Source: Radford et al. (2019), section 2.2; algorithm 1 of Sennrich, Haddow and Birch (2016),
    /// <https://arxiv.org/abs/1508.07909>.
    ByteLevelBpe {
        /// How texts are split into words.
        #[serde(default)]
        words: WordSplit,
    },
    /// BPE on characters, words with the space before them (Metaspace).
    ///
    /// Source: Sennrich, Haddow and Birch (2016), algorithm 1, <https://arxiv.org/abs/1508.07909>.
    Bpe,
    /// WordPiece with BERT's words (spaces and punctuation) and `##` before what continues a word.
    /// White space is not kept.
    ///
    /// Source: Devlin et al. (2019), section 3, <https://arxiv.org/abs/1810.04805>; as in the `tokenizers`
    /// crate, its vocabulary is learned by BPE.
    WordPiece,
    /// The unigram language model, words with the space before them (Metaspace).
    ///
    /// Source: Kudo (2018), section 3.2, <https://arxiv.org/abs/1804.10959>.
    Unigram,
}

impl TokenizerModel {
    /// Its name in error messages and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ByteLevelBpe { .. } => "byte-level BPE",
            Self::Bpe => "BPE",
            Self::WordPiece => "WordPiece",
            Self::Unigram => "Unigram",
        }
    }

    /// What stands for what it does not know; byte-level models know everything.
    #[must_use]
    pub fn unknown_token(self) -> Option<&'static str> {
        match self {
            Self::ByteLevelBpe { .. } => None,
            Self::Bpe | Self::Unigram => Some(UNKNOWN),
            Self::WordPiece => Some(UNKNOWN_WORD_PIECE),
        }
    }
}

impl TokenizerTraining {
    /// A training with no special tokens, Chinese unsplit, nothing dropped for its frequency.
    #[must_use]
    pub fn new(model: TokenizerModel, vocab_size: usize) -> Self {
        Self {
            model,
            vocab_size,
            chinese: ChineseSplit::default(),
            special_tokens: Vec::new(),
            min_frequency: 0,
            max_alphabet: None,
            nfc: false,
        }
    }

    /// Whether the trained tokenizer splits texts as its training did. It does, but with
    /// [`ChineseSplit::Jieba`]: no `tokenizer.json` can hold a dictionary, so that the tokenizer leaves
    /// Chinese unsplit, and a token that lies within words in training can lie across two in use.
    #[must_use]
    pub fn splits_alike_in_use(&self) -> bool {
        self.chinese != ChineseSplit::Jieba
    }

    /// Checks what can be checked without texts.
    ///
    /// # Errors
    /// [`TokenizerTrainingError::VocabTooSmall`], [`TokenizerTrainingError::BadSpecialToken`],
    /// [`TokenizerTrainingError::JiebaWithWordPiece`] or [`TokenizerTrainingError::JiebaNotBuilt`].
    pub fn validate(&self) -> Result<(), TokenizerTrainingError> {
        let special_tokens = self.all_special_tokens();
        for (index, token) in special_tokens.iter().enumerate() {
            let repeats = special_tokens[..index].contains(token);
            if token.is_empty() || repeats {
                return Err(TokenizerTrainingError::BadSpecialToken {
                    token: token.clone(),
                    found: if repeats { "a second one" } else { "no text" },
                });
            }
        }
        let minimum = special_tokens.len()
            + match self.model {
                TokenizerModel::ByteLevelBpe { .. } => N_BYTES,
                _ => 1,
            };
        self.check_vocab_size(minimum, "the bytes or a character, and the special tokens")?;
        match (self.chinese, self.model) {
            (ChineseSplit::Jieba, TokenizerModel::WordPiece) => {
                Err(TokenizerTrainingError::JiebaWithWordPiece)
            }
            (ChineseSplit::Jieba, _) if !cfg!(feature = "jieba") => {
                Err(TokenizerTrainingError::JiebaNotBuilt)
            }
            _ => Ok(()),
        }
    }

    /// Trains a tokenizer on texts, which are taken one by one.
    ///
    /// # Errors
    /// Those of [`TokenizerTraining::validate`], and [`TokenizerTrainingError::VocabTooSmall`] if the
    /// vocabulary has no room for the characters of the texts. [`TokenizerTrainingError::Train`] if the
    /// `tokenizers` crate reports something else.
    pub fn train<I>(&self, texts: I) -> Result<Tokenizer, TokenizerTrainingError>
    where
        I: IntoIterator,
        I::Item: AsRef<str> + Send,
        I::IntoIter: Send,
    {
        self.validate()?;
        let texts = texts.into_iter();
        match self.model {
            TokenizerModel::ByteLevelBpe { .. } | TokenizerModel::Bpe => self.train_bpe(texts),
            TokenizerModel::WordPiece => self.train_word_piece(texts),
            TokenizerModel::Unigram => self.train_unigram(texts),
        }
    }

    /// The special tokens, the model's unknown token among them.
    fn all_special_tokens(&self) -> Vec<String> {
        let mut tokens = self.special_tokens.clone();
        if let Some(unknown) = self.model.unknown_token()
            && !tokens.iter().any(|token| token == unknown)
        {
            tokens.push(unknown.to_owned());
        }
        tokens
    }

    fn added_tokens(&self) -> Vec<AddedToken> {
        let tokens = self.all_special_tokens().into_iter();
        tokens.map(|token| AddedToken::from(token, true)).collect()
    }

    fn check_vocab_size(
        &self,
        minimum: usize,
        holds: &'static str,
    ) -> Result<(), TokenizerTrainingError> {
        if self.vocab_size >= minimum {
            return Ok(());
        }
        Err(TokenizerTrainingError::VocabTooSmall {
            model: self.model.name(),
            vocab_size: self.vocab_size,
            minimum,
            holds,
        })
    }

    /// Checks that there is room for the characters of the texts.
    fn check_alphabet(&self, n_symbols: usize) -> Result<(), TokenizerTrainingError> {
        self.check_vocab_size(
            self.all_special_tokens().len() + n_symbols,
            "the characters of the texts, which `max_alphabet` limits, and the special tokens",
        )
    }

    /// A tokenizer that splits as this training says, its model still empty.
    fn untrained<M: Model>(&self, model: M) -> Result<Untrained<M>, TokenizerTrainingError> {
        let mut tokenizer = Untrained::new(model);
        tokenizer
            .with_normalizer(self.nfc.then_some(tokenizers::normalizers::NFC))
            .map_err(train_error)?
            .with_pre_tokenizer(Some(word_split::pre_tokenizer(self.model, self.chinese)?))
            .with_decoder(Some(word_split::decoder(self.model)));
        Ok(tokenizer)
    }

    /// The trained model in its tokenizer, through the file's form, as every other tokenizer.
    fn finished<M>(
        &self,
        mut tokenizer: Untrained<M>,
        model: M,
    ) -> Result<Tokenizer, TokenizerTrainingError>
    where
        M: Model + Serialize,
    {
        tokenizer.with_model(model);
        tokenizer
            .add_special_tokens(self.added_tokens())
            .map_err(train_error)?;
        let json = tokenizer.to_string(false).map_err(train_error)?;
        Tokenizer::from_json(json.as_bytes()).map_err(|source| train_error(source.into()))
    }
}

fn train_error(source: Source) -> TokenizerTrainingError {
    TokenizerTrainingError::Train { source }
}

#[cfg(test)]
mod tests;
