//! Any bytes as a folder of packed weights, its config.json up to the first zero byte: an error, or tensors that
//! decode to as many values as their shapes have, never a panic.
#![no_main]

mod bounded_alloc;

use std::fs;

use firebox_checkpoint::Checkpoint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut files = bytes.splitn(2, |byte| *byte == 0);
    let [config, weights] = [files.next(), files.next()].map(Option::unwrap_or_default);
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("config.json"), config).expect("a file");
    fs::write(dir.path().join("model.safetensors"), weights).expect("a file");
    let Ok(checkpoint) = Checkpoint::open(dir.path()) else { return };
    for name in checkpoint.names() {
        let shape = checkpoint.shape(&name).expect("a tensor that is named has a shape");
        assert!(checkpoint.storage(&name).is_some());
        let packed = checkpoint.packed(&name);
        if let Ok(Some(matrix)) = &packed {
            assert_eq!(shape, [matrix.n_rows(), matrix.n_cols()]);
        }
        match checkpoint.tensor(&name) {
            Ok(tensor) => {
                assert_eq!(tensor.shape, shape);
                assert_eq!(tensor.data.len(), shape.iter().product::<usize>());
            }
            Err(_) => assert!(!matches!(packed, Ok(Some(_)))),
        }
    }
});
