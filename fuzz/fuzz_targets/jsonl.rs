//! Any bytes as JSON Lines, in small blocks: documents or broken records, never a panic, the same
//! documents as in one block, and lines that are written as they were read.
#![no_main]

mod bounded_alloc;

use firebox_data::{Block, Blocks, Format, SourceOptions};
use libfuzzer_sys::fuzz_target;

fn blocks(bytes: &[u8], block_bytes: usize) -> Vec<Block> {
    let options = SourceOptions {
        format: Some(Format::Jsonl),
        block_bytes,
        max_record_bytes: 4096,
        ..SourceOptions::default()
    };
    let Ok(blocks) = Blocks::from_reader(std::io::Cursor::new(bytes.to_vec()), "fuzz", options) else {
        return Vec::new();
    };
    blocks.map_while(Result::ok).collect()
}

fn shown(blocks: &[Block]) -> Vec<Result<String, u64>> {
    blocks
        .iter()
        .flat_map(Block::documents)
        .map(|document| match document {
            Ok(document) => Ok(format!("{document:?}")),
            Err(broken) => Err(broken.place.number),
        })
        .collect()
}

fuzz_target!(|bytes: &[u8]| {
    // What looks compressed is not what this is about: a bomb would only cost time.
    if bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(&[0x28, 0xb5]) {
        return;
    }
    assert_eq!(shown(&blocks(bytes, 64)), shown(&blocks(bytes, 1 << 14)));
    let _ = firebox_data::JsonlReader::new(bytes, "fuzz", firebox_data::ReadOptions::default()).count();
});
