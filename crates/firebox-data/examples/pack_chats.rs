//! From chats to packed batches: detect the format, encode with masks, compare packings, load.
//!
//! Run with: cargo run --release -p firebox-data --example pack_chats -- [DATA.jsonl [SEQ_LEN]]
//!
//! Lines may be texts or any instruction format. Without data it makes its own, and prints
//!
//! ```text
//! 1000 examples, 125935 tokens, 92935 with loss, 0 cut at 256
//! one example a row: 1000 rows, 50.81 % padding
//! in sequence: 692 rows, 28.91 % padding
//! best fit, 65,536 tokens at a time: 500 rows, 1.61 % padding
//! best fit: 500 rows, 1.61 % padding
//! blocks would cut 482 of 1000 examples
//! first batch: 8 documents in 4 rows, starting at [0, 206, 256, 462] ..
//! one epoch: 125 batches, 1.61 % padding
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Write, stdout};

use firebox_data::{
    ChatTemplate, Example, InstructionFormat, Loader, LoaderConfig, Order, Prefetch, RankShard,
    RowLayout, Truncation, TruncationStatistics, WeightedSource, best_fit_decreasing,
    encode_instruction, encode_text, pack_windows, train_byte_level_bpe,
};
use serde_json::{Map, Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let lines = match arguments.next() {
        Some(path) => BufReader::new(File::open(path)?)
            .lines()
            .collect::<Result<_, _>>()?,
        None => made_up_lines(),
    };
    let seq_len: usize = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let mut out = stdout().lock();

    let special_tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
    let tokenizer = train_byte_level_bpe(lines.iter().take(2000), 8000, &special_tokens)?;
    let template = ChatTemplate::chatml();
    let mut statistics = TruncationStatistics::default();
    let mut examples: Vec<Example> = Vec::new();
    for line in &lines {
        let fields: Map<String, Value> = serde_json::from_str(line)?;
        let example = match fields.get("text").and_then(Value::as_str) {
            Some(text) => encode_text(&tokenizer, text)?,
            None => {
                let instruction = InstructionFormat::detect(&fields)?.parse(&fields)?;
                encode_instruction(&tokenizer, Some(&template), Some(0), &instruction)?
            }
        };
        examples.extend(Truncation::KeepStart.apply(example, seq_len, &mut statistics)?);
    }
    let n_tokens: usize = examples.iter().map(|example| example.input_ids.len()).sum();
    let n_loss_tokens: usize = examples.iter().map(Example::n_loss_tokens).sum();
    writeln!(
        out,
        "{} examples, {n_tokens} tokens, {n_loss_tokens} with loss, {} cut at {seq_len}",
        examples.len(),
        statistics.n_too_long
    )?;

    compare_packings(&mut out, &examples, seq_len)?;
    load_one_epoch(&mut out, examples, seq_len)
}

/// Prints how many rows each way of packing needs.
fn compare_packings(
    out: &mut impl Write,
    examples: &[Example],
    seq_len: usize,
) -> Result<(), Box<dyn Error>> {
    let lengths: Vec<usize> = examples
        .iter()
        .map(|example| example.input_ids.len())
        .collect();
    let n_tokens: usize = lengths.iter().sum();
    let n_windowed = pack_windows(examples.iter().cloned(), seq_len, 1 << 16)?.count();
    for (name, n_rows) in [
        ("one example a row", lengths.len()),
        ("in sequence", n_rows_in_sequence(&lengths, seq_len)),
        ("best fit, 65,536 tokens at a time", n_windowed),
        ("best fit", best_fit_decreasing(&lengths, seq_len)?.len()),
    ] {
        let padding = 100.0 * (1.0 - n_tokens as f64 / (n_rows * seq_len) as f64);
        writeln!(out, "{name}: {n_rows} rows, {padding:.2} % padding")?;
    }
    let n_cut = n_cut_by_blocks(&lengths, seq_len);
    writeln!(
        out,
        "blocks would cut {n_cut} of {} examples",
        lengths.len()
    )?;
    Ok(())
}

/// Goes once through all examples in a shuffled order, packed, loaded by a thread.
fn load_one_epoch(
    out: &mut impl Write,
    examples: Vec<Example>,
    seq_len: usize,
) -> Result<(), Box<dyn Error>> {
    let config = LoaderConfig {
        batch_size: 4,
        max_len: seq_len,
        pad_id: 0,
        layout: RowLayout::Packed {
            window_examples: 1000,
        },
        truncation: Truncation::KeepStart,
        order: Order::Shuffled { seed: 1 },
        shard: RankShard::default(),
        n_examples: Some(examples.len() as u64),
    };
    let sources = vec![WeightedSource::new("chats", 1.0, examples)];
    let prefetch = Prefetch {
        n_workers: 1,
        n_chunks: 2,
    };
    let mut loader = Loader::new(sources, config, prefetch)?;
    if let Some(batch) = loader.next().transpose()? {
        let starts = batch.cu_seqlens();
        writeln!(
            out,
            "first batch: {} documents in {} rows, starting at {:?} ..",
            batch.document_lengths.concat().len(),
            batch.input_ids.len(),
            &starts[..starts.len().min(4)]
        )?;
    }
    loader.by_ref().try_for_each(|batch| batch.map(drop))?;
    let padding = 100.0 * loader.statistics().batches.padding_share();
    writeln!(
        out,
        "one epoch: {} batches, {padding:.2} % padding",
        loader.state().n_batches
    )?;
    Ok(())
}

/// Rows where each example follows the one before it, or begins the next row.
fn n_rows_in_sequence(lengths: &[usize], seq_len: usize) -> usize {
    let (mut n_rows, mut free) = (0, 0);
    for &length in lengths {
        if length > free {
            n_rows += 1;
            free = seq_len;
        }
        free -= length;
    }
    n_rows
}

/// Examples that lie across the end of a block when all are one stream.
fn n_cut_by_blocks(lengths: &[usize], seq_len: usize) -> usize {
    let mut start = 0;
    let is_cut = |&&length: &&usize| {
        let end = start + length;
        let is_cut = length > 0 && start / seq_len != (end - 1) / seq_len;
        start = end;
        is_cut
    };
    lengths.iter().filter(is_cut).count()
}

/// A thousand chats in two formats, of differing lengths.
fn made_up_lines() -> Vec<String> {
    let sentence = "Water boils at a hundred degrees at the level of the sea. ";
    let line = |index: usize| {
        let answer = sentence.repeat(1 + index * 7919 % 13);
        match index % 2 {
            0 => json!({"instruction": "Say it.", "input": sentence, "output": answer}),
            _ => {
                json!({"conversations": [{"from": "human", "value": sentence}, {"from": "gpt", "value": answer}]})
            }
        }
    };
    (0..1000).map(|index| line(index).to_string()).collect()
}
