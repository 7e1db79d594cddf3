//! Any bytes as MEDLINE XML, in small blocks: documents or broken records, never a panic, and the
//! same documents as in one block.
#![no_main]

mod bounded_alloc;

use firebox_data::{Block, Blocks, Format, SourceOptions};
use libfuzzer_sys::fuzz_target;

fn blocks(bytes: &[u8], block_bytes: usize) -> Vec<Block> {
    let options = SourceOptions {
        format: Some(Format::Medline),
        block_bytes,
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
    if bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(&[0x28, 0xb5]) {
        return;
    }
    assert_eq!(shown(&blocks(bytes, 64)), shown(&blocks(bytes, 1 << 14)));
    let _ = firebox_data::MedlineReader::new(bytes, "fuzz", firebox_data::ReadOptions::default()).count();
});
