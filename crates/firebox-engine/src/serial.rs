//! Decoders on burn devices: one request after the other, in the queue's order.

use std::sync::Arc;
use std::time::Instant;

use firebox_model::{CausalLm, Llama};

use crate::engine::{Work, tell_failed};
use crate::error::EngineError;
use crate::queue::FairQueue;
use crate::sequence::Sequence;
use crate::stats::Counters;

/// Prompt tokens computed between two looks at who is still there.
const PREFILL_CHUNK: usize = 256;

pub(crate) struct Serial {
    model: Llama,
    counters: Arc<Counters>,
    waiting: FairQueue,
    /// The one that is computed: here a panic finds it.
    running: Option<Sequence>,
}

impl Serial {
    pub(crate) fn new(model: Llama, counters: Arc<Counters>) -> Self {
        Self {
            model,
            counters,
            waiting: FairQueue::default(),
            running: None,
        }
    }
}

/// From its first token to its last.
fn answer(model: &Llama, sequence: &mut Sequence, counters: &Counters) {
    let mut reader = model.logit_reader();
    let vocab_size = model.config().vocab_size;
    counters.lock().n_prompt_tokens += sequence.n_prompt as u64;
    while !sequence.is_over() {
        sequence.n_scheduled = sequence.n_left().min(PREFILL_CHUNK);
        let read = reader.read(sequence.segment().ids);
        let mut logits = read.expect("this is a bug in firebox-engine: ids were checked");
        for row in logits.chunks_exact(vocab_size).take(sequence.prompt_rows()) {
            sequence.add_prompt_logits(row);
        }
        let n_new = sequence.n_new();
        let last = logits.len() - vocab_size;
        sequence.advance(&mut logits[last..], vocab_size);
        let mut stats = counters.lock();
        stats.n_new_tokens += (sequence.n_new() - n_new) as u64;
        stats.n_steps += 1;
        drop(stats);
        sequence.check_end(Instant::now());
        if !sequence.is_over() {
            sequence.send_events();
        }
    }
}

impl Work for Serial {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    fn enter(&mut self, sequence: Sequence) {
        self.waiting.enter(sequence, &[]);
    }

    fn step(&mut self) {
        let n_dropped = self.waiting.drop_ended(Instant::now());
        self.counters.lock().n_waiting -= n_dropped;
        let Some(sequence) = self.waiting.pop() else {
            return;
        };
        let mut stats = self.counters.lock();
        (stats.n_waiting, stats.n_running) = (stats.n_waiting - 1, 1);
        drop(stats);
        let sequence = self.running.insert(sequence);
        answer(&self.model, sequence, &self.counters);
        self.waiting.count(
            &sequence.request.tenant,
            sequence.n_prompt,
            sequence.n_new(),
        );
        self.counters.lock().n_running = 0;
        sequence.send_events();
        self.running = None;
    }

    fn begin_anew(&mut self, error: impl Fn() -> EngineError) {
        if let Some(sequence) = self.running.take() {
            tell_failed(sequence, error());
        }
        self.counters.lock().n_running = 0;
    }

    fn waiting(&mut self) -> &mut FairQueue {
        &mut self.waiting
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}
