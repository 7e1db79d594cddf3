//! Any bytes as a safetensors file: an error or tensors that decode, never a panic.
#![no_main]

mod bounded_alloc;

use std::path::Path;

use firebox_checkpoint::{Checkpoint, SafetensorsHeader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = SafetensorsHeader::parse(bytes) else { return };
    let data: usize = header.tensors.values().map(|entry| entry.range.len()).sum();
    assert!(data <= bytes.len(), "ranges are apart and within the file");
    let checkpoint = Checkpoint::from_bytes(Path::new("fuzz.safetensors"), bytes.to_vec())
        .expect("a sound header opens");
    for (name, entry) in &header.tensors {
        if let Ok(tensor) = checkpoint.tensor(name) {
            assert_eq!(tensor.data.len(), entry.shape.iter().product::<usize>());
        }
    }
});
