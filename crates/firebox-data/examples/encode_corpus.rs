//! Encodes documents as fast as it can, checks the ids, and says how fast.
//!
//! Run with: cargo run --release -p firebox-data --example encode_corpus -- TOKENIZER.json DOCUMENTS.jsonl
//!
//! Each line of the documents is a JSON string. A third argument names a file for the ids (`u32`, little
//! endian, one document behind the other); `--check` in its place compares every id with the `tokenizers`
//! crate. The last line of the output is JSON: seconds and megabytes per second of three runs, the first
//! of which starts with empty caches.

use std::error::Error;
use std::io::{BufRead, BufReader, Write, stdout};
use std::time::Instant;

use firebox_data::{FastEncoder, FlatEncoding, Tokenizer};

const N_RUNS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tokenizer, documents, then @ ..] = arguments.as_slice() else {
        return Err("expected a tokenizer.json and documents".into());
    };
    let tokenizer = Tokenizer::from_file(tokenizer)?;
    let documents = read(documents)?;
    let n_bytes: usize = documents.iter().map(String::len).sum();

    let start = Instant::now();
    let encoder = FastEncoder::from_tokenizer(&tokenizer);
    let path = format!("{:?}", encoder.path());
    let build_s = start.elapsed().as_secs_f64();
    let mut seconds = Vec::new();
    let mut encoding = FlatEncoding {
        ids: Vec::new(),
        offsets: Vec::new(),
    };
    for _ in 0..N_RUNS {
        let start = Instant::now();
        encoding = encoder.encode_flat(&documents)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    match then.first().map(String::as_str) {
        None => {}
        Some("--check") => check(&tokenizer, &documents, &encoding)?,
        Some(path) => {
            let bytes: Vec<u8> = encoding
                .ids
                .iter()
                .flat_map(|id| id.to_le_bytes())
                .collect();
            std::fs::write(path, bytes)?;
        }
    }
    let speeds: Vec<f64> = seconds.iter().map(|s| n_bytes as f64 / 1e6 / s).collect();
    let report = serde_json::json!({
        "name": "firebox", "path": path, "n_documents": documents.len(), "n_bytes": n_bytes,
        "n_ids": encoding.ids.len(), "build_s": build_s, "seconds": seconds, "mb_per_s": speeds,
    });
    writeln!(stdout(), "{report}")?;
    Ok(())
}

fn read(path: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let lines = BufReader::new(std::fs::File::open(path)?).lines();
    lines
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect()
}

fn check(
    tokenizer: &Tokenizer,
    documents: &[String],
    encoding: &FlatEncoding,
) -> Result<(), Box<dyn Error>> {
    for (index, document) in documents.iter().enumerate() {
        if tokenizer.encode(document)? != encoding.text(index) {
            return Err(format!("document {index}: other ids than the tokenizers crate").into());
        }
    }
    writeln!(
        stdout(),
        "the ids of all {} documents are equal",
        documents.len()
    )?;
    Ok(())
}
