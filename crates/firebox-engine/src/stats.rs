//! What an engine counts.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

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

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) n_running: AtomicUsize,
    pub(crate) n_waiting: AtomicUsize,
    pub(crate) n_blocks_held: AtomicUsize,
    pub(crate) n_blocks_idle: AtomicUsize,
    pub(crate) n_blocks: AtomicUsize,
    pub(crate) n_steps: AtomicU64,
    pub(crate) n_prompt_tokens: AtomicU64,
    pub(crate) n_prefix_queries: AtomicU64,
    pub(crate) n_prefix_hits: AtomicU64,
    pub(crate) n_new_tokens: AtomicU64,
    pub(crate) n_guessed: AtomicU64,
    pub(crate) n_guessed_right: AtomicU64,
    pub(crate) n_preemptions: AtomicU64,
    pub(crate) n_restarts: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Relaxed);
}

impl Counters {
    pub(crate) fn stats(&self) -> EngineStats {
        EngineStats {
            n_running: self.n_running.load(Relaxed),
            n_waiting: self.n_waiting.load(Relaxed),
            n_blocks_held: self.n_blocks_held.load(Relaxed),
            n_blocks_idle: self.n_blocks_idle.load(Relaxed),
            n_blocks: self.n_blocks.load(Relaxed),
            n_steps: self.n_steps.load(Relaxed),
            n_prompt_tokens: self.n_prompt_tokens.load(Relaxed),
            n_prefix_queries: self.n_prefix_queries.load(Relaxed),
            n_prefix_hits: self.n_prefix_hits.load(Relaxed),
            n_new_tokens: self.n_new_tokens.load(Relaxed),
            n_guessed: self.n_guessed.load(Relaxed),
            n_guessed_right: self.n_guessed_right.load(Relaxed),
            n_preemptions: self.n_preemptions.load(Relaxed),
            n_restarts: self.n_restarts.load(Relaxed),
        }
    }
}
