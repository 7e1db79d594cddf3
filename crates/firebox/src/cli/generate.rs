//! `firebox generate`.

use std::time::{Duration, Instant};

use firebox_data::Message;
use firebox_model::{CausalLm, FinishReason, GenerateConfig, ModelError, SamplingConfig};
use firebox_tensor::memory;
use serde::Serialize;

use super::args::{GenerateArgs, Globals, SamplingArgs};
use super::model::{Loaded, LoadedModel};
use super::{output, tokenizer};

/// A generation and how fast it went.
#[derive(Debug, Serialize)]
pub(crate) struct Generated {
    pub(crate) prompt_tokens: usize,
    pub(crate) tokens: Vec<u32>,
    pub(crate) text: String,
    pub(crate) finish_reason: &'static str,
    pub(crate) prefill_tokens_per_s: f64,
    pub(crate) decode_tokens_per_s: f64,
    pub(crate) peak_rss_bytes: u64,
}

pub(crate) fn run(globals: &Globals, args: &GenerateArgs) -> anyhow::Result<()> {
    let text = tokenizer::read_input(&args.input)?;
    let loaded = LoadedModel::open(globals, &args.model)?;
    let prompt = if args.chat {
        loaded.files.encode_chat(&[Message::user(text)])?
    } else {
        loaded.files.tokenizer.encode_document(&text)?
    };
    let config = GenerateConfig {
        sampling: sampling(&args.sampling),
        max_new_tokens: args.max_new_tokens,
        eos_ids: if args.ignore_eos {
            vec![]
        } else {
            loaded.files.eos_ids()
        },
        stop: args.sampling.stop.clone(),
    };
    let show = |piece: &str| {
        if globals.json {
            Ok(())
        } else {
            output::write(piece)
        }
    };
    let generated = generate(&loaded, &prompt, config, !args.ignore_eos, show)?;
    if !globals.json {
        output::write("\n")?;
        eprintln!(
            "{} prompt tokens at {:.0} tok/s, {} new at {:.1} tok/s, peak memory {}",
            generated.prompt_tokens,
            generated.prefill_tokens_per_s,
            generated.tokens.len(),
            generated.decode_tokens_per_s,
            output::bytes(generated.peak_rss_bytes)
        );
        return Ok(());
    }
    output::print(true, &generated, String::new)
}

/// Generates and times prompt and answer apart. `show` gets the text as it comes.
pub(crate) fn generate(
    loaded: &Loaded<impl CausalLm>,
    prompt: &[u32],
    config: GenerateConfig,
    skip_special: bool,
    mut show: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<Generated> {
    let decode = loaded.files.tokenizer.decoder(skip_special);
    let mut generation = loaded.model.generate(prompt, config, decode)?;
    let start = Instant::now();
    generation.prefill();
    let prefill = start.elapsed();
    let (mut tokens, mut text) = (Vec::new(), String::new());
    // The first token comes from the prompt's last hidden state: decoding is timed from there on.
    let mut start = Instant::now();
    for token in generation.by_ref() {
        if tokens.is_empty() {
            start = Instant::now();
        }
        tokens.push(token.id);
        text.push_str(&token.text);
        show(&token.text)?;
    }
    let decode = start.elapsed();
    let finish_reason = match generation.finish_reason() {
        Some(FinishReason::NonFinite) => return Err(ModelError::NonFiniteLogits.into()),
        Some(FinishReason::Stop) => "stop",
        Some(FinishReason::Length) | None => "length",
    };
    Ok(Generated {
        prompt_tokens: prompt.len(),
        finish_reason,
        prefill_tokens_per_s: rate(prompt.len(), prefill),
        decode_tokens_per_s: rate(tokens.len().saturating_sub(1), decode),
        tokens,
        text,
        peak_rss_bytes: memory::process().peak_rss_bytes,
    })
}

/// Items a second.
pub(crate) fn rate(n: usize, time: Duration) -> f64 {
    n as f64 / time.as_secs_f64().max(1e-9)
}

pub(crate) fn sampling(args: &SamplingArgs) -> SamplingConfig {
    SamplingConfig {
        temperature: if args.greedy { 0.0 } else { args.temperature },
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        repetition_penalty: args.repetition_penalty,
        seed: args.seed,
        ..SamplingConfig::default()
    }
}
