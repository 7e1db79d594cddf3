//! Times kitoken and the `tokenizers` crate on the documents that `encode.py` writes.
//!
//!     encode-peers kitoken|tokenizers TOKENIZER.json DOCUMENTS.jsonl IDS.bin
//!
//! One JSON object on stdout; the ids, `u32` little endian, in the file.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::time::Instant;

use rayon::prelude::*;

type Failure = Box<dyn Error + Send + Sync>;

const N_RUNS: usize = 3;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [peer, tokenizer, documents, ids_path] = arguments.as_slice() else {
        return Err(
            "expected kitoken or tokenizers, a tokenizer.json, documents, and a file for ids"
                .into(),
        );
    };
    let lines = BufReader::new(std::fs::File::open(documents)?).lines();
    let documents = lines
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect::<Result<Vec<String>, Failure>>()?;
    let n_bytes: usize = documents.iter().map(String::len).sum();

    let encode: Box<dyn Fn() -> Result<Vec<Vec<u32>>, Failure>> = match peer.as_str() {
        "kitoken" => {
            let encoder = kitoken::Kitoken::from_tokenizers_file(tokenizer)?;
            let documents = &documents;
            Box::new(move || {
                let ids = documents
                    .par_iter()
                    .map(|text| Ok(encoder.encode(text, true)?));
                ids.collect()
            })
        }
        _ => {
            let encoder = tokenizers::Tokenizer::from_file(tokenizer)?;
            let documents = &documents;
            Box::new(move || {
                let inputs: Vec<&str> = documents.iter().map(String::as_str).collect();
                let encodings = encoder.encode_batch_fast(inputs, false)?;
                Ok(encodings
                    .iter()
                    .map(|encoding| encoding.get_ids().to_vec())
                    .collect())
            })
        }
    };
    let (mut seconds, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..N_RUNS {
        let start = Instant::now();
        ids = encode()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let bytes: Vec<u8> = ids
        .iter()
        .flatten()
        .flat_map(|id| id.to_le_bytes())
        .collect();
    std::fs::write(ids_path, &bytes)?;
    let speeds: Vec<f64> = seconds.iter().map(|s| n_bytes as f64 / 1e6 / s).collect();
    println!(
        "{}",
        serde_json::json!({"name": peer, "n_ids": bytes.len() / 4, "seconds": seconds, "mb_per_s": speeds})
    );
    Ok(())
}
