//! Answers that follow a grammar: at every step only tokens that can go on are drawn.
//!
//! Source: Willard and Louf (2023), <https://arxiv.org/abs/2307.09702>; the parser is llguidance's.

use std::fmt;
use std::iter;
use std::sync::{Arc, Mutex, OnceLock};

use firebox_data::Tokenizer;
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};

use crate::error::EngineError;
use crate::logprobs::leave_out;

/// What an answer must look like.
#[derive(Clone, Debug, PartialEq)]
pub enum Grammar {
    /// A JSON text that the schema allows, without needless blanks.
    JsonSchema(Value),
    /// A text that matches a regular expression as a whole.
    Regex(String),
    /// A text of a grammar in llguidance's variant of Lark.
    Lark(String),
    /// One of some texts.
    Choice(Vec<String>),
}

impl Grammar {
    fn compiled(&self) -> TopLevelGrammar {
        match self {
            Self::JsonSchema(schema) => TopLevelGrammar::from_json_schema(compact(schema.clone())),
            Self::Regex(regex) => TopLevelGrammar::from_regex(regex),
            Self::Lark(lark) => TopLevelGrammar::from_lark(lark.clone()),
            Self::Choice(texts) => {
                let quoted = texts.iter().map(|text| json!(text).to_string());
                let all = quoted.collect::<Vec<_>>().join(" | ");
                TopLevelGrammar::from_lark(format!("start: {all}"))
            }
        }
    }
}

/// Has the parser take no more blanks than one between items, where the schema says nothing else.
fn compact(mut schema: Value) -> Value {
    if let Value::Object(fields) = &mut schema {
        fields
            .entry("x-guidance")
            .or_insert_with(|| json!({"whitespace_flexible": false}));
    }
    schema
}

/// Makes parsers for one tokenizer. What they share is made when the first is asked for.
pub(crate) struct Parsers {
    tokenizer: Tokenizer,
    /// Columns of the logits.
    vocab_size: usize,
    eos_id: Option<u32>,
    factory: OnceLock<Result<ParserFactory, String>>,
    /// The last one made, which has read nothing: the answers to one request follow one grammar.
    last: Mutex<Option<(Grammar, Matcher)>>,
}

impl Parsers {
    pub(crate) fn new(tokenizer: Tokenizer, vocab_size: usize, eos_id: Option<u32>) -> Self {
        Self {
            tokenizer,
            vocab_size,
            eos_id,
            factory: OnceLock::new(),
            last: Mutex::new(None),
        }
    }

    /// # Errors
    /// [`EngineError::Grammar`] when it cannot be compiled.
    pub(crate) fn parser(&self, grammar: &Grammar) -> Result<Parser, EngineError> {
        let matcher = match self.compiled_before(grammar) {
            Some(matcher) => matcher,
            None => self.compile(grammar)?,
        };
        Ok(Parser {
            matcher,
            eos_id: self.eos_id,
        })
    }

    fn compiled_before(&self, grammar: &Grammar) -> Option<Matcher> {
        let last = self.last.lock().ok()?;
        let (_, matcher) = last.as_ref().filter(|(last, _)| last == grammar)?;
        // Answers share nothing: what one reads is not to change what another costs.
        Some(matcher.deep_clone())
    }

    fn compile(&self, grammar: &Grammar) -> Result<Matcher, EngineError> {
        let refused = |reason: String| EngineError::Grammar { reason };
        let factory = self.factory.get_or_init(|| self.factory());
        let factory = factory
            .as_ref()
            .map_err(|reason| refused(reason.to_owned()))?;
        let parser = factory
            .create_parser(grammar.compiled())
            .map_err(|error| refused(error.to_string()))?;
        let matcher = Matcher::new(Ok(parser));
        if let Some(reason) = matcher.get_error() {
            return Err(refused(reason));
        }
        if let Ok(mut last) = self.last.lock() {
            *last = Some((grammar.clone(), matcher.deep_clone()));
        }
        Ok(matcher)
    }

    fn factory(&self) -> Result<ParserFactory, String> {
        // What no text of an answer can be: special tokens, and columns without a token.
        let is_special = |id| self.eos_id == Some(id) || self.tokenizer.is_special(id);
        let word = |id: u32| match is_special(id) {
            true => [
                &[TokTrie::SPECIAL_TOKEN_MARKER][..],
                &self.tokenizer.token_bytes(id),
            ]
            .concat(),
            false => self.tokenizer.token_bytes(id),
        };
        let mut words: Vec<Vec<u8>> = (0..self.vocab_size as u32).map(word).collect();
        // A model without an end token gets a column more, which is never drawn.
        let eos_id = self.eos_id.unwrap_or_else(|| {
            words.push(b"\xff<|end|>".to_vec());
            words.len() as u32 - 1
        });
        let info = TokRxInfo::new(words.len() as u32, eos_id);
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(TokTrie::from(&info, &words)));
        let mut factory = ParserFactory::new_simple(&env).map_err(|error| error.to_string())?;
        factory.quiet();
        Ok(factory)
    }
}

impl fmt::Debug for Parsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parsers").finish_non_exhaustive()
    }
}

/// Follows one answer.
pub(crate) struct Parser {
    matcher: Matcher,
    /// The only token that ends a text here.
    eos_id: Option<u32>,
}

impl Parser {
    /// Sets the logits of tokens that cannot come next to minus infinity; those of `eos_ids` cannot,
    /// but for the one that it knows.
    ///
    /// # Errors
    /// [`EngineError::Grammar`] when the parser gives up, such as over a limit of its own.
    pub(crate) fn mask(&mut self, logits: &mut [f32], eos_ids: &[u32]) -> Result<(), EngineError> {
        let mask = self.matcher.compute_mask_or_eos().map_err(gave_up)?;
        let words = mask.as_slice().iter().copied().chain(iter::repeat(0));
        for (logits, word) in logits.chunks_mut(u32::BITS as usize).zip(words) {
            apply(word, logits);
        }
        let others = eos_ids.iter().filter(|id| self.eos_id != Some(**id));
        leave_out(logits, others);
        Ok(())
    }

    /// Takes the token that was drawn; `true` when nothing can come after it.
    ///
    /// # Errors
    /// As [`Self::mask`].
    pub(crate) fn push(&mut self, id: u32) -> Result<bool, EngineError> {
        self.matcher.consume_token(id).map_err(gave_up)?;
        Ok(self.matcher.is_stopped())
    }
}

/// Sets the logits whose bit is 0 to minus infinity. Most words are all the same.
fn apply(allowed: u32, logits: &mut [f32]) {
    match allowed {
        u32::MAX => {}
        0 => logits.fill(f32::NEG_INFINITY),
        allowed => {
            for (i, logit) in logits.iter_mut().enumerate() {
                if allowed >> i & 1 == 0 {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
    }
}

fn gave_up(error: impl fmt::Display) -> EngineError {
    EngineError::Grammar {
        reason: error.to_string(),
    }
}
