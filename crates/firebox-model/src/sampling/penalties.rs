//! What is done to logits before a token is drawn from them.

use super::SamplingConfig;

/// Adds the biases, then penalizes tokens that are there already: `tokens`, of which the first
/// `n_prompt` are the prompt.
pub(super) fn penalize(
    config: &SamplingConfig,
    logits: &mut [f32],
    tokens: &[u32],
    n_prompt: usize,
) {
    for (id, bias) in &config.logit_bias {
        if let Some(logit) = logits.get_mut(*id as usize) {
            *logit += bias;
        }
    }
    if config.repetition_penalty != 1.0 {
        for (id, _) in counted(tokens) {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = match *logit > 0.0 {
                    true => *logit / config.repetition_penalty,
                    false => *logit * config.repetition_penalty,
                };
            }
        }
    }
    if config.presence_penalty != 0.0 || config.frequency_penalty != 0.0 {
        for (id, n_times) in counted(&tokens[n_prompt..]) {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit -= config.presence_penalty + config.frequency_penalty * n_times as f32;
            }
        }
    }
}

/// Each id once, and how often it is there.
fn counted(ids: &[u32]) -> Vec<(u32, usize)> {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    let runs = sorted.chunk_by(|a, b| a == b);
    runs.map(|run| (run[0], run.len())).collect()
}
