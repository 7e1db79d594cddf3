//! Negative log-likelihood and perplexity.

use firebox_model::{CausalLm, IGNORE, ModelError};
use serde::{Deserialize, Serialize};

use crate::windows::windows;

/// How well a model predicts some texts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NllReport {
    /// Mean negative log-likelihood of a token, in nats.
    pub nll: f64,
    /// `exp(nll)`.
    pub perplexity: f64,
    /// Tokens scored: all but the first of each text.
    pub tokens: usize,
}

impl NllReport {
    /// From the sum of the negative log-likelihoods of `tokens` tokens.
    fn new(sum: f64, tokens: usize) -> Self {
        let nll = sum / tokens as f64;
        Self {
            nll,
            perplexity: nll.exp(),
            tokens,
        }
    }
}

/// Scores each text on its own, every token but its first given those before it.
///
/// A text longer than the context is scored in windows that overlap by half, so that each token
/// sees at least half a context. `on_text` is called after each text with how many are done;
/// the scores are summed in f64.
///
/// # Errors
/// [`ModelError::Empty`] when no text has two tokens, [`ModelError::TokenOutOfRange`].
pub fn nll(
    model: &impl CausalLm,
    texts: &[Vec<u32>],
    mut on_text: impl FnMut(usize),
) -> Result<NllReport, ModelError> {
    let (mut sum, mut tokens) = (0.0, 0);
    for (done, text) in texts.iter().enumerate() {
        if text.len() > 1 {
            for window in windows(text.len(), model.config().max_seq_len) {
                let scores = model.token_nll(&text[window.start..window.end])?;
                let fresh = &scores[window.n_seen..];
                sum += fresh.iter().map(|&x| f64::from(x)).sum::<f64>();
                tokens += fresh.len();
            }
        }
        on_text(done + 1);
    }
    match tokens {
        0 => Err(ModelError::Empty {
            what: "set of texts with two tokens or more",
        }),
        tokens => Ok(NllReport::new(sum, tokens)),
    }
}

/// Scores only the tokens with a label (any that is not [`IGNORE`]), each given all tokens before
/// it in its row: answers, but not the questions before them.
///
/// Rows are `(input_ids, labels)` of one length each, at most the context long. `on_row` is called
/// after each with how many are done.
///
/// # Errors
/// [`ModelError::NoLabels`] when no token has a label, [`ModelError::PromptTooLong`],
/// [`ModelError::TokenOutOfRange`].
pub fn nll_of_labels(
    model: &impl CausalLm,
    rows: &[(Vec<u32>, Vec<i64>)],
    mut on_row: impl FnMut(usize),
) -> Result<NllReport, ModelError> {
    let (mut sum, mut tokens) = (0.0, 0);
    for (done, (ids, labels)) in rows.iter().enumerate() {
        if ids.len() > 1 {
            let scores = model.token_nll(ids)?;
            let labelled = scores
                .iter()
                .zip(&labels[1..])
                .filter(|(_, label)| **label != IGNORE);
            for (score, _) in labelled {
                sum += f64::from(*score);
                tokens += 1;
            }
        }
        on_row(done + 1);
    }
    match tokens {
        0 => Err(ModelError::NoLabels),
        tokens => Ok(NllReport::new(sum, tokens)),
    }
}

#[cfg(test)]
mod tests;
