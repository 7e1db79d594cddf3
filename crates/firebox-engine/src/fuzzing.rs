//! The door of the fuzz targets: grammars without a model.

use firebox_data::Tokenizer;

use crate::EngineError;
use crate::grammar::{Grammar, Parsers};

/// What compiles grammars for a tokenizer.
#[derive(Debug)]
pub struct Grammars {
    parsers: Parsers,
    vocab_size: usize,
}

impl Grammars {
    /// For a model whose vocabulary is the tokenizer's.
    pub fn new(tokenizer: Tokenizer) -> Self {
        let vocab_size = tokenizer.vocab_size();
        Self {
            parsers: Parsers::new(tokenizer, vocab_size, None),
            vocab_size,
        }
    }

    /// Compiles a grammar and takes up to `n_tokens` tokens, always the first that is allowed.
    ///
    /// # Errors
    /// [`EngineError::Grammar`].
    pub fn follow(&self, grammar: &Grammar, n_tokens: usize) -> Result<(), EngineError> {
        let mut parser = self.parsers.parser(grammar)?;
        for _ in 0..n_tokens {
            let mut logits = vec![0.0; self.vocab_size];
            parser.mask(&mut logits, &[])?;
            let Some(id) = logits.iter().position(|logit| *logit == 0.0) else {
                break;
            };
            if parser.push(id as u32)? {
                break;
            }
        }
        Ok(())
    }
}
