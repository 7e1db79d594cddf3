#![doc = include_str!("../README.md")]

mod activation_checkpointing;
mod attention;
mod autocast;
mod classifier;
mod config;
mod error;
mod generate;
mod host;
mod inference;
mod kv_cache;
mod layerwise;
mod linear;
mod llama;
mod load;
mod lora;
mod loss;
mod memory_plan;
mod rms_norm;
mod rope;
mod sampling;
mod stop;
mod swiglu;
mod weights;

pub use attention::Attention;
pub use classifier::{HeadTargets, HeadTask, SequenceClassifier, TrainedPart};
pub use config::{LlamaConfig, token_ids};
pub use error::ModelError;
pub use generate::{FinishReason, GenerateConfig, GeneratedToken, Generation};
pub use host::{
    BertConfig, EncoderBuffers, HostAdapter, HostBert, HostBlocks, HostCache, HostLlama,
    HostSegment, HostWeights, UnknownHostWeights,
};
pub use inference::{CausalLm, InferenceModel, LogitReader};
pub use kv_cache::KvCache;
pub use layerwise::{DecoderHead, LayerVisitor, LayerwiseLlama, Producer};
pub use linear::{HalfWeight, Linear, PackedWeight, Weight, host_f32};
pub use llama::{DecoderLayer, Llama};
pub use lora::{LoraConfig, LoraFactors, LoraInit, combine_adapters, matches_pattern};
pub use loss::{IGNORE, Loss};
pub use memory_plan::{MemoryPlan, PlannedItem, TrainedWeights, TrainingShape};
pub use rms_norm::RmsNorm;
pub use rope::{RopeScaling, RopeTable, inv_freq};
pub use sampling::{Sampler, SamplingConfig};
pub use stop::StopMatcher;
pub use swiglu::SwiGlu;
pub use weights::NamedWeight;
