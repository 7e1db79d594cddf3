//! What the server is doing, as numbers that anyone may read at any time.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::slots::Slots;

/// A handle to a server's counts; clones read the same server.
#[derive(Clone, Debug)]
pub struct ServerMetrics {
    pub(crate) slots: Arc<Slots>,
    pub(crate) counters: Arc<Counters>,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) finished: AtomicU64,
    pub(crate) interrupted: AtomicU64,
    pub(crate) prompt_tokens: AtomicU64,
    pub(crate) completion_tokens: AtomicU64,
}

impl ServerMetrics {
    /// Generations that can run at the same time.
    pub fn n_slots(&self) -> usize {
        self.slots.n_slots()
    }

    /// Slots that nobody uses now.
    pub fn n_slots_free(&self) -> usize {
        self.slots.n_free()
    }

    /// Requests that wait for a slot now.
    pub fn n_waiting(&self) -> usize {
        self.slots.n_waiting()
    }

    /// HTTP requests received so far, whatever came of them.
    pub fn n_requests(&self) -> u64 {
        self.counters.requests.load(Relaxed)
    }

    /// Generations that came to their own end.
    pub fn n_finished(&self) -> u64 {
        self.counters.finished.load(Relaxed)
    }

    /// Generations that did not: cancelled, out of time, failed.
    pub fn n_interrupted(&self) -> u64 {
        self.counters.interrupted.load(Relaxed)
    }

    /// Prompt tokens of generations that came to their own end.
    pub fn n_prompt_tokens(&self) -> u64 {
        self.counters.prompt_tokens.load(Relaxed)
    }

    /// New tokens of generations that came to their own end.
    pub fn n_completion_tokens(&self) -> u64 {
        self.counters.completion_tokens.load(Relaxed)
    }
}
