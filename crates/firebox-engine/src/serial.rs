//! Decoders on burn devices: one request after the other, in the queue's order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use firebox_model::{CausalLm, Llama};

use crate::engine::{Work, tell_failed};
use crate::error::EngineError;
use crate::queue::FairQueue;
use crate::sequence::Sequence;
use crate::stats::{Counters, add};

/// Prompt tokens computed between two looks at who is still there.
const PREFILL_CHUNK: usize = 256;

pub(crate) struct Serial {
    model: Llama,
    counters: Arc<Counters>,
    waiting: FairQueue,
    /// The one that is computed; a deque, so that a panic finds it there.
    running: VecDeque<Sequence>,
}

impl Serial {
    pub(crate) fn new(model: Llama, counters: Arc<Counters>) -> Self {
        Self {
            model,
            counters,
            waiting: FairQueue::default(),
            running: VecDeque::new(),
        }
    }
}

/// From its first token to its last.
fn answer(model: &Llama, sequence: &mut Sequence, counters: &Counters) {
    let mut reader = model.logit_reader();
    let vocab_size = model.config().vocab_size;
    add(&counters.n_prompt_tokens, sequence.n_prompt);
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
        add(&counters.n_new_tokens, sequence.n_new() - n_new);
        add(&counters.n_steps, 1);
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
        self.counters.n_waiting.fetch_sub(n_dropped, Relaxed);
        let Some(sequence) = self.waiting.pop() else {
            return;
        };
        self.counters.n_waiting.fetch_sub(1, Relaxed);
        self.counters.n_running.store(1, Relaxed);
        self.running.push_back(sequence);
        for sequence in &mut self.running {
            answer(&self.model, sequence, &self.counters);
            let tenant = Arc::clone(&sequence.request.tenant);
            self.waiting
                .count(&tenant, sequence.n_prompt, sequence.n_new());
        }
        self.counters.n_running.store(0, Relaxed);
        for sequence in &mut self.running {
            sequence.send_events();
        }
        self.running.clear();
    }

    fn begin_anew(&mut self, error: impl Fn() -> EngineError) {
        for sequence in self.running.drain(..) {
            tell_failed(sequence, error());
        }
        self.counters.n_running.store(0, Relaxed);
    }

    fn fail_all(&mut self, error: impl Fn() -> EngineError) {
        while let Some(sequence) = self.waiting.pop() {
            tell_failed(sequence, error());
        }
        self.counters.n_waiting.store(0, Relaxed);
        self.begin_anew(error);
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}
