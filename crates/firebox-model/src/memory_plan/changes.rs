//! What would make a run smaller.

use super::{MemoryPlan, TrainedWeights, TrainingShape};
use crate::classifier::TrainedPart;
use crate::lora::LoraConfig;

impl TrainingShape {
    /// Changes that would take less, the one that saves most first, with what each would leave in bytes.
    #[must_use]
    pub fn smaller(&self) -> Vec<(String, u64)> {
        let mut changes: Vec<(String, Self)> = Vec::new();
        if !self.activation_checkpointing {
            let with = Self {
                activation_checkpointing: true,
                ..self.clone()
            };
            changes.push(("activation checkpointing".to_owned(), with));
        }
        if self.n_tokens > 1 {
            let half = Self {
                n_tokens: self.n_tokens / 2,
                n_accum_steps: 2 * self.n_accum_steps.max(1),
                ..self.clone()
            };
            changes.push(("half the batch, twice the accumulation".to_owned(), half));
        }
        if self.optimizer_bytes > 2.1 {
            let eight_bit = Self {
                optimizer_bytes: 2.1,
                ..self.clone()
            };
            changes.push(("8-bit AdamW".to_owned(), eight_bit));
        }
        match &self.trained {
            TrainedWeights::Adapter(lora) if lora.rank > 1 => {
                let rank = lora.rank / 2;
                let narrow = Self {
                    trained: TrainedWeights::Adapter(LoraConfig {
                        rank,
                        ..lora.clone()
                    }),
                    ..self.clone()
                };
                changes.push((format!("rank {} → {rank}", lora.rank), narrow));
            }
            TrainedWeights::Part(TrainedPart::All) => {
                let adapter = Self {
                    trained: TrainedWeights::Adapter(LoraConfig::new(
                        8,
                        16.0,
                        ["q_proj", "v_proj"],
                    )),
                    ..self.clone()
                };
                changes.push((
                    "an adapter of rank 8 instead of all weights".to_owned(),
                    adapter,
                ));
            }
            _ => {}
        }
        let total = MemoryPlan::of(self).total_bytes();
        let mut smaller: Vec<(String, u64)> = changes
            .into_iter()
            .map(|(change, shape)| (change, MemoryPlan::of(&shape).total_bytes()))
            .filter(|(_, bytes)| *bytes < total)
            .collect();
        smaller.sort_by_key(|(_, bytes)| *bytes);
        smaller
    }
}
