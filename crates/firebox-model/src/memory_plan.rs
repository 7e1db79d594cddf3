//! What a training run will take of memory, before anything is loaded.
//!
//! The plan counts what this crate's training on a CPU holds at its largest moment: weights, gradients,
//! the optimizer's state, and for each layer the tensors that its backward pass needs. `docs/training.md`
//! compares plans with what runs used.

mod changes;
mod shape;

use serde::{Deserialize, Serialize};

pub use shape::{TrainedWeights, TrainingShape};

/// Bytes of an f32.
const F32: u64 = 4;
/// The program, its threads, the tokenizer and the data.
const PROGRAM: u64 = 40 << 20;

/// One holder of memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedItem {
    /// What it is.
    pub name: String,
    /// How much, in bytes.
    pub bytes: u64,
}

/// What a run will take.
///
/// # Examples
/// ```
/// use firebox_model::{LlamaConfig, MemoryPlan, TrainedPart, TrainedWeights, TrainingShape};
///
/// let shape = TrainingShape {
///     config: LlamaConfig { n_kv_heads: 3, ..LlamaConfig::new(49_152, 576, 1536, 30, 9) },
///     trained: TrainedWeights::Part(TrainedPart::All),
///     n_tokens: 8 * 1024,
///     seq_len: 1024,
///     n_accum_steps: 1,
///     optimizer_bytes: 8.0,
///     averages: false,
///     several_ranks: false,
///     activation_checkpointing: false,
///     rounds_to_f16: false,
///     linear_bits: 32.0,
///     predicts_tokens: true,
/// };
/// let plan = MemoryPlan::of(&shape);
/// let less = MemoryPlan::of(&TrainingShape { activation_checkpointing: true, ..shape });
/// assert!(less.total_bytes() < plan.total_bytes() / 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPlan {
    /// The largest holder first.
    pub items: Vec<PlannedItem>,
}

impl MemoryPlan {
    /// The plan for a run.
    #[must_use]
    pub fn of(shape: &TrainingShape) -> Self {
        let trained = shape.n_trained();
        let accumulated = match shape.n_accum_steps {
            0 | 1 => 0,
            _ => trained * F32,
        };
        let mut items = vec![
            ("weights", shape.weight_bytes()),
            (
                "optimizer state",
                (trained as f64 * shape.optimizer_bytes) as u64,
            ),
            ("averages", if shape.averages { trained * F32 } else { 0 }),
            ("accumulated gradients", accumulated),
            (
                "gradients summed over ranks",
                if shape.several_ranks {
                    trained * F32
                } else {
                    0
                },
            ),
            ("program and data", PROGRAM),
        ];
        items.extend(shape.moment());
        let mut items: Vec<PlannedItem> = items
            .into_iter()
            .filter(|(_, bytes)| *bytes > 0)
            .map(|(name, bytes)| PlannedItem {
                name: name.to_owned(),
                bytes,
            })
            .collect();
        items.sort_by_key(|item| std::cmp::Reverse(item.bytes));
        Self { items }
    }

    /// All of it, in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.items.iter().map(|item| item.bytes).sum()
    }
}

#[cfg(test)]
mod tests;
