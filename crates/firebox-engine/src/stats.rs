//! What an engine counts.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What an engine did and holds, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Sequences that are computed.
    pub n_running: usize,
    /// Requests that wait.
    pub n_waiting: usize,
    /// Blocks of the KV cache that sequences hold.
    pub n_blocks_held: usize,
    /// Blocks that nobody holds but that keep a text for later requests.
    pub n_blocks_idle: usize,
    /// Blocks there can be.
    pub n_blocks: usize,
    /// Steps computed.
    pub n_steps: u64,
    /// Prompt tokens computed, again after a preemption too.
    pub n_prompt_tokens: u64,
    /// Prompt tokens of admitted requests.
    pub n_prefix_queries: u64,
    /// Of these, those found in the prefix cache.
    pub n_prefix_hits: u64,
    /// Tokens drawn.
    pub n_new_tokens: u64,
    /// Tokens guessed.
    pub n_guessed: u64,
    /// Of these, those that were right.
    pub n_guessed_right: u64,
    /// Sequences that gave up their blocks to others.
    pub n_preemptions: u64,
    /// Times the engine panicked and began anew.
    pub n_restarts: u64,
}

/// The stats that the engine's thread and its handle share.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<EngineStats>);

impl Counters {
    pub(crate) fn stats(&self) -> EngineStats {
        *self.lock()
    }

    /// To be changed; held for no longer than that takes.
    pub(crate) fn lock(&self) -> MutexGuard<'_, EngineStats> {
        // A panic elsewhere leaves numbers, which are never half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
