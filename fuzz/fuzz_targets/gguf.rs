//! Any bytes as a GGUF file: an error or tensors that decode, never a panic.
#![no_main]

mod bounded_alloc;

use std::path::Path;

use firebox_checkpoint::{Checkpoint, Gguf};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(gguf) = Gguf::parse(bytes) else { return };
    for tensor in &gguf.tensors {
        assert_eq!(tensor.decode(bytes).len(), tensor.shape.iter().product::<usize>());
    }
    if let Ok(checkpoint) = Checkpoint::from_bytes(Path::new("fuzz.gguf"), bytes.to_vec()) {
        for name in checkpoint.names() {
            let tensor = checkpoint.tensor(&name).expect("a placed tensor decodes");
            assert_eq!(tensor.data.len(), tensor.shape.iter().product::<usize>());
        }
        let _ = checkpoint.tokenizer_json();
    }
});
