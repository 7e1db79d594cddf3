//! Any bytes as a file of keys: an error that names the file, or keys, never a panic; and a key can be
//! added to what was read.
#![no_main]

mod bounded_alloc;

use std::fs;

use firebox_serve::{Keys, add_key, new_key};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("keys.toml");
    fs::write(&path, bytes).expect("a file");
    match Keys::load(&path) {
        Err(error) => assert!(error.to_string().contains("keys.toml"), "{error}"),
        Ok(keys) => {
            let (_, entry) = new_key("a name that is not in the corpus").expect("random bytes");
            if add_key(&path, entry).is_ok() {
                assert_eq!(Keys::load(&path).expect("what was written").len(), keys.len() + 1);
            }
        }
    }
});
