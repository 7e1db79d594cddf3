//! Memory that threads pass on.

use std::sync::{Mutex, PoisonError};

use super::pipeline::Buffers;

/// Buffers that no thread uses now; at most as many as threads have ever encoded at once.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    idle: Mutex<Vec<Buffers>>,
}

impl BufferPool {
    /// Those that were used last, if any are idle.
    pub(super) fn take(&self) -> Option<Buffers> {
        // A panic elsewhere leaves the list whole.
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop()
    }

    /// Keeps buffers for whoever asks next.
    pub(super) fn give_back(&self, buffers: Buffers) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(buffers);
    }
}
