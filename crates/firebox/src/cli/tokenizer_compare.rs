//! `firebox tokenizer compare`: which tokenizer suits a text.
//!
//! Counts and speed say how it cuts. Tokens of different tokenizers are not worth the same, so a small
//! model is trained on each, on the same texts for as many passes, and scored in bits per byte.

use std::time::Instant;

use firebox_data::{
    BlockConfig, FastEncoder, Order, Tokenizer, TokenizerStatistics, block_batches, read_records,
    split_held_out, tokenizer_statistics,
};
use firebox_model::LlamaConfig;
use firebox_train::{Decay, Schedule, TrainConfig};
use serde::Serialize;

use super::args::Globals;
use super::data::Batches;
use super::exit::UserError;
use super::model::{TokenizerFiles, fetch};
use super::tokenizer_args::TokenizerCompareArgs;
use super::tokenizer_train::text_of;
use super::{finetune, output};

/// One text in so many is held out of training.
const HELD_OUT_EVERY: usize = 10;
const BLOCK_LEN: usize = 128;
const BATCH: usize = 8;

/// A tokenizer on one kind of text.
#[derive(Serialize)]
struct Row {
    tokenizer: String,
    text: String,
    vocab_size: u64,
    chars_per_token: f64,
    bytes_per_token: f64,
    vocabulary_used: f64,
    unknown_rate: f64,
    words_split: f64,
    chinese_words_split: f64,
    exact_round_trips: f64,
    megabytes_per_s: f64,
    /// Of held-out texts under a small model trained on the others; none without --steps.
    bits_per_byte: Option<f64>,
}

impl Row {
    /// Whether one text in a hundred or more is not what its tokens say.
    fn is_lossy(&self) -> bool {
        self.exact_round_trips < 0.99
    }
}

#[derive(Serialize)]
struct Table {
    rows: Vec<Row>,
}

pub(crate) fn run(globals: &Globals, args: &TokenizerCompareArgs) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let texts: anyhow::Result<Vec<(String, Vec<String>)>> = args
        .data
        .iter()
        .map(|data| read(globals, data, args.limit_bytes))
        .collect();
    let texts = texts?;
    for name in &args.tokenizer {
        let (label, source) = named(name);
        let tokenizer = TokenizerFiles::open(globals, source)?.tokenizer;
        for (text, texts) in &texts {
            output::note(format_args!("{label} on {text}"));
            let row = compare(globals, args, &tokenizer, texts)?;
            rows.push(Row {
                tokenizer: label.clone(),
                text: text.clone(),
                ..row
            });
        }
    }
    let table = Table { rows };
    output::print(globals.json, &table, || table.text())
}

/// `name=source`, or a source that is its own name.
fn named(text: &str) -> (String, &str) {
    match text.split_once('=') {
        Some((name, source)) if !name.contains([':', '/']) => (name.to_owned(), source),
        _ => (text.to_owned(), text),
    }
}

/// The texts of a file, the first so many bytes of them.
fn read(
    globals: &Globals,
    data: &str,
    limit_bytes: usize,
) -> anyhow::Result<(String, Vec<String>)> {
    let (label, source) = named(data);
    let (mut texts, mut n_bytes) = (Vec::new(), 0);
    for record in read_records(fetch(globals, source)?)? {
        let text = text_of(record?);
        n_bytes += text.len();
        if n_bytes > limit_bytes && !texts.is_empty() {
            break;
        }
        texts.push(text);
    }
    if texts.len() < HELD_OUT_EVERY {
        let text = format!(
            "read `{data}`: expected at least {HELD_OUT_EVERY} texts, found {} (hint: one document a line, as JSON Lines)",
            texts.len()
        );
        return Err(UserError(text).into());
    }
    Ok((label, texts))
}

/// A row without names.
fn compare(
    globals: &Globals,
    args: &TokenizerCompareArgs,
    tokenizer: &Tokenizer,
    texts: &[String],
) -> anyhow::Result<Row> {
    let statistics = tokenizer_statistics(tokenizer, texts)?;
    let encoder = FastEncoder::from_tokenizer(tokenizer);
    let start = Instant::now();
    let ids = encoder.encode_batch(texts)?;
    let statistics = TokenizerStatistics {
        encoding_s: Some(start.elapsed().as_secs_f64()),
        ..statistics
    };
    let bits_per_byte = match args.steps {
        0 => None,
        n_steps => Some(bits_per_byte(globals, tokenizer, ids, n_steps, args.seed)?),
    };
    Ok(Row {
        tokenizer: String::new(),
        text: String::new(),
        vocab_size: statistics.vocab_size,
        chars_per_token: statistics.chars_per_token(),
        bytes_per_token: statistics.bytes_per_token(),
        vocabulary_used: statistics.vocabulary_used(),
        unknown_rate: statistics.unknown_rate(),
        words_split: statistics.words_split(),
        chinese_words_split: statistics.chinese_words_split(),
        exact_round_trips: statistics.exact_round_trips(),
        megabytes_per_s: statistics.megabytes_per_s().unwrap_or(0.0),
        bits_per_byte,
    })
}

/// Trains a small model for `n_steps` and scores held-out texts: nats of all their tokens, in bits, over
/// their bytes.
fn bits_per_byte(
    globals: &Globals,
    tokenizer: &Tokenizer,
    ids: Vec<Vec<u32>>,
    n_steps: usize,
    seed: u64,
) -> anyhow::Result<f64> {
    let device = globals.device.open()?;
    let n_held_out = ids.len() / HELD_OUT_EVERY;
    let split = split_held_out(ids, n_held_out);
    let separator_id = tokenizer.token_to_id("<|endoftext|>").unwrap_or(0);
    let blocks = BlockConfig {
        separator_id,
        block_len: BLOCK_LEN,
        batch_size: BATCH,
        order: Order::Shuffled { seed },
    };
    let n_texts = split.training.len();
    let mut batches = Batches::new(block_batches(split.training, &blocks)?, n_texts);
    let sizes = LlamaConfig {
        n_kv_heads: 2,
        max_seq_len: 1024,
        ..LlamaConfig::new(tokenizer.vocab_size(), 128, 384, 4, 4)
    };
    let schedule = Schedule {
        peak: 2e-3,
        n_warmup_steps: n_steps.div_ceil(20),
        decay: Decay::Cosine { floor: 0.05 },
    };
    let config = TrainConfig {
        max_grad_norm: Some(1.0),
        ..TrainConfig::new(n_steps, schedule)
    };
    let (model, _) = finetune::train_all(sizes.init(seed, &device), &mut batches, &config)?;
    let held_out: Vec<Vec<u32>> = split
        .held_out
        .iter()
        .map(|ids| {
            let start = std::iter::once(separator_id);
            start
                .chain(ids.iter().copied())
                .take(sizes.max_seq_len)
                .collect()
        })
        .collect();
    let n_bytes: usize = held_out
        .iter()
        .map(|ids| tokenizer.decode(&ids[1..], false).len())
        .sum();
    let report = firebox_eval::nll(&model, &held_out, |_| ())?;
    Ok(report.nll * report.tokens as f64 / std::f64::consts::LN_2 / n_bytes.max(1) as f64)
}

impl Table {
    fn text(&self) -> String {
        let mut table = output::table(&[
            "tokenizer",
            "text",
            "vocabulary",
            "used",
            "chars/token",
            "bytes/token",
            "unknown",
            "words split",
            "Chinese words split",
            "exact",
            "MB/s",
            "bits/byte",
        ]);
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        for row in &self.rows {
            table.add_row([
                row.tokenizer.clone(),
                row.text.clone(),
                row.vocab_size.to_string(),
                percent(row.vocabulary_used),
                format!("{:.2}", row.chars_per_token),
                format!("{:.2}", row.bytes_per_token),
                percent(row.unknown_rate),
                percent(row.words_split),
                percent(row.chinese_words_split),
                percent(row.exact_round_trips),
                format!("{:.1}", row.megabytes_per_s),
                match row.bits_per_byte {
                    Some(bits) if row.is_lossy() => format!("{bits:.3} *"),
                    Some(bits) => format!("{bits:.3}"),
                    None => String::new(),
                },
            ]);
        }
        let note = match self.rows.iter().any(Row::is_lossy) {
            true => {
                "\n\n* texts do not come back as they were: what is lost was not predicted either"
            }
            false => "",
        };
        table.trim_fmt() + note
    }
}
