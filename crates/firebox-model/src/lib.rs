#![doc = include_str!("../README.md")]

mod attention;
mod config;
mod error;
mod generate;
mod host;
mod inference;
mod kv_cache;
mod linear;
mod llama;
mod load;
mod lora;
mod loss;
mod rms_norm;
mod rope;
mod sampling;
mod stop;
mod swiglu;
mod weights;

pub use attention::Attention;
pub use config::{LlamaConfig, token_ids};
pub use error::ModelError;
pub use generate::{FinishReason, GenerateConfig, GeneratedToken, Generation};
pub use host::{HostCache, HostLlama, HostWeights, UnknownHostWeights};
pub use inference::{CausalLm, InferenceModel};
pub use kv_cache::KvCache;
pub use linear::{Linear, PackedWeight, Weight};
pub use llama::{DecoderLayer, Llama};
pub use lora::{LoraConfig, LoraFactors, matches_pattern};
pub use loss::{IGNORE, Loss};
pub use rms_norm::RmsNorm;
pub use rope::{RopeScaling, RopeTable, inv_freq};
pub use sampling::{Sampler, SamplingConfig};
pub use swiglu::SwiGlu;
pub use weights::NamedWeight;
