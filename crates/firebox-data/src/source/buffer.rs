//! Buffers that are used again.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

/// How many buffers wait to be used again, at most.
const MAX_WAITING: usize = 8;

/// Larger memory is given back to the system: it held an unusually large record.
const MAX_KEPT_BYTES: usize = 16 << 20;

#[cfg(test)]
thread_local! {
    /// The largest buffer that this thread has made, in bytes.
    pub(crate) static MOST_HELD: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Memory of buffers that were dropped.
#[derive(Debug, Clone, Default)]
pub(crate) struct BufferPool {
    waiting: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// Bytes whose memory goes back to the pool.
///
/// The memory beyond them is initialized too, so that filling it again clears nothing.
#[derive(Debug)]
pub(crate) struct Buffer {
    memory: Vec<u8>,
    n_bytes: usize,
    pool: BufferPool,
}

impl BufferPool {
    /// An empty buffer.
    pub(crate) fn take(&self) -> Buffer {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        Buffer {
            memory: waiting.pop().unwrap_or_default(),
            n_bytes: 0,
            pool: self.clone(),
        }
    }

    fn give(&self, memory: Vec<u8>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MAX_WAITING && memory.len() <= MAX_KEPT_BYTES {
            waiting.push(memory);
        }
    }
}

impl Buffer {
    /// The room behind the bytes, up to `goal` bytes in all.
    pub(crate) fn room(&mut self, goal: usize) -> &mut [u8] {
        if self.memory.len() < goal {
            self.memory.reserve_exact(goal - self.memory.len());
            self.memory.resize(goal, 0);
            #[cfg(test)]
            MOST_HELD.set(MOST_HELD.get().max(self.memory.capacity()));
        }
        let start = self.n_bytes.min(goal);
        &mut self.memory[start..goal]
    }

    /// `n_more` bytes of the room were filled.
    pub(crate) fn filled(&mut self, n_more: usize) {
        self.n_bytes = (self.n_bytes + n_more).min(self.memory.len());
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        let goal = self.n_bytes + bytes.len();
        self.room(goal).copy_from_slice(bytes);
        self.n_bytes = goal;
    }

    pub(crate) fn truncate(&mut self, n_bytes: usize) {
        self.n_bytes = self.n_bytes.min(n_bytes);
    }

    /// Takes bytes away at the start.
    pub(crate) fn drop_front(&mut self, n_bytes: usize) {
        self.memory.copy_within(n_bytes..self.n_bytes, 0);
        self.n_bytes -= n_bytes;
    }

    /// Gives memory beyond `max_bytes` back to the system.
    pub(crate) fn shrink_to(&mut self, max_bytes: usize) {
        self.memory.truncate(max_bytes.max(self.n_bytes));
        self.memory.shrink_to_fit();
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[..self.n_bytes]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.memory));
    }
}
