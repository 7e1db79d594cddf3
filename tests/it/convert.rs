//! The converted directory against the reference exporter's, by checksum.

use std::process::Command;

use crate::fixtures::{golden, smollm2};

/// SHA-256 by the system's tool, so that the test shares no code with what it tests.
fn sha256(path: &std::path::Path) -> String {
    let output = Command::new("sha256sum")
        .arg(path)
        .output()
        .expect("sha256sum runs");
    String::from_utf8(output.stdout)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned()
}

#[test]
fn converted_weights_and_tokenizer_equal_the_exporters_bit_for_bit() {
    let expected = &golden("english.json")["sha256"];
    for file in ["model.safetensors", "tokenizer.json"] {
        assert_eq!(
            sha256(&smollm2().join(file)),
            expected[file].as_str().unwrap(),
            "{file}"
        );
    }
}
