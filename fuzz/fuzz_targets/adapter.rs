//! Any bytes as an adapter's two files, its configuration up to the first zero byte: an error, or tensors of
//! their shapes that are written and read as they are, never a panic.
#![no_main]

mod bounded_alloc;

use std::fs;

use firebox_checkpoint::{read_adapter, write_adapter};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut files = bytes.splitn(2, |byte| *byte == 0);
    let [config, weights] = [files.next(), files.next()].map(Option::unwrap_or_default);
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("adapter_config.json"), config).expect("a file");
    fs::write(dir.path().join("adapter_model.safetensors"), weights).expect("a file");
    let Ok(adapter) = read_adapter(dir.path()) else { return };
    let _ = adapter.config.scaling();
    let mut is_finite = true;
    for tensor in adapter.tensors.values() {
        assert_eq!(tensor.data.len(), tensor.shape.iter().product::<usize>());
        is_finite &= tensor.data.iter().all(|value| value.is_finite());
    }
    let again = dir.path().join("again");
    match write_adapter(&again, &adapter) {
        Ok(()) => assert_eq!(read_adapter(&again).expect("what was written is read"), adapter),
        Err(error) => assert!(!is_finite, "{error}"),
    }
});
