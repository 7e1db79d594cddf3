//! Chunks in their order, computed when they are asked for or by threads that run ahead.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::plan::{Chunk, Plan};
use crate::{LoaderError, Mixture, Prefetch};

/// The chunks of a plan from some chunk on.
#[derive(Debug)]
pub(super) enum Feed {
    Inline(Box<Mixture>),
    Threads(Threads),
}

/// Thread `w` of `n` computes the chunks `w`, `w + n`, `w + 2n` and so on from the first; they are
/// taken in turn.
#[derive(Debug)]
pub(super) struct Threads {
    chunks: Vec<Receiver<Result<Chunk, LoaderError>>>,
    handles: Vec<JoinHandle<()>>,
    first: u64,
}

impl Feed {
    pub(super) fn new(
        plan: &Arc<Plan>,
        first: u64,
        prefetch: Prefetch,
    ) -> Result<Self, LoaderError> {
        prefetch.check()?;
        if prefetch.n_workers == 0 {
            return Ok(Self::Inline(Box::new(plan.mixture.clone())));
        }
        let mut threads = Threads {
            chunks: Vec::new(),
            handles: Vec::new(),
            first,
        };
        for worker in 0..prefetch.n_workers {
            let (sender, receiver) = bounded(prefetch.n_chunks.max(1));
            let plan = Arc::clone(plan);
            let start = first.saturating_add(worker as u64);
            let stride = prefetch.n_workers;
            let handle = Builder::new()
                .name(format!("loader-{worker}"))
                .spawn(move || work(&plan, start, stride, &sender))
                .map_err(|source| LoaderError::Spawn { worker, source })?;
            threads.chunks.push(receiver);
            threads.handles.push(handle);
        }
        Ok(Self::Threads(threads))
    }

    /// A chunk; they are asked for one after the other, from the first.
    pub(super) fn chunk(&mut self, plan: &Plan, chunk: u64) -> Result<Chunk, LoaderError> {
        match self {
            Self::Inline(mixture) => guarded_chunk(plan, mixture, chunk),
            Self::Threads(threads) => {
                let worker = (chunk - threads.first) % threads.chunks.len() as u64;
                let gone = |_| LoaderError::WorkerGone { chunk };
                threads.chunks[worker as usize].recv().map_err(gone)?
            }
        }
    }
}

impl Drop for Threads {
    /// Waits for the threads, each of which ends with the chunk that it is at.
    fn drop(&mut self) {
        self.chunks.clear(); // Sending fails from here on.
        for handle in self.handles.drain(..) {
            // A thread that panicked has nothing left to say: chunks are guarded.
            drop(handle.join());
        }
    }
}

fn work(plan: &Plan, start: u64, stride: usize, sender: &Sender<Result<Chunk, LoaderError>>) {
    let n_chunks = plan.n_chunks().unwrap_or(u64::MAX);
    let mut mixture = plan.mixture.clone();
    for chunk in (start..n_chunks).step_by(stride) {
        let loaded = guarded_chunk(plan, &mut mixture, chunk);
        let is_over = loaded.is_err();
        if sender.send(loaded).is_err() || is_over {
            return;
        }
    }
}

/// A chunk, with a panic of its source as an error.
fn guarded_chunk(plan: &Plan, mixture: &mut Mixture, chunk: u64) -> Result<Chunk, LoaderError> {
    // Neither is used again after a panic, nor could it be left half changed: `seek` comes first.
    catch_unwind(AssertUnwindSafe(|| plan.chunk(mixture, chunk))).unwrap_or_else(|panic| {
        Err(LoaderError::Panicked {
            chunk,
            message: message_of(&*panic),
        })
    })
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "something that is not text".to_string())
}
