//! What a step computes, and for whom.
//!
//! Every step takes along all that decode, and fills what is left of its tokens with prompts: a
//! request joins at any step and leaves at the one that draws its last token. Since a row has the
//! same bits in any batch, none of this is seen in an answer.
//!
//! Source: Yu et al. (2022), section 4, <https://www.usenix.org/conference/osdi22/presentation/yu>;
//! prompts in parts: Agrawal et al. (2024), section 4, <https://arxiv.org/abs/2403.02310>.

mod plan;

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;

use firebox_model::{HostBlocks, HostLlama};
use rayon::prelude::*;

use crate::blocks::BlockPool;
use crate::config::EngineConfig;
use crate::engine::{Work, tell_failed};
use crate::error::EngineError;
use crate::queue::FairQueue;
use crate::sequence::Sequence;
use crate::stats::Counters;

/// Rows of logits that are held at once when a prompt's are wanted.
const PROMPT_LOGIT_ROWS: usize = 32;

pub(crate) struct Scheduler {
    model: HostLlama,
    config: EngineConfig,
    counters: Arc<Counters>,
    blocks: HostBlocks,
    pool: BlockPool,
    waiting: FairQueue,
    /// The most important first.
    running: Vec<Sequence>,
    /// Used again step after step, `[rows, vocab]`.
    logits: Vec<f32>,
}

impl Scheduler {
    pub(crate) fn new(model: HostLlama, config: EngineConfig, counters: Arc<Counters>) -> Self {
        Self {
            blocks: model.new_blocks(),
            pool: BlockPool::new(config.max_blocks()),
            waiting: FairQueue::default(),
            running: Vec::new(),
            logits: Vec::new(),
            model,
            config,
            counters,
        }
    }

    fn drop_ended(&mut self) {
        let now = Instant::now();
        for sequence in &mut self.running {
            sequence.check_end(now);
        }
        self.let_ended_go();
        let dropped = self.waiting.drop_ended(now);
        self.counters.lock().n_waiting -= dropped;
    }

    fn compute(&mut self) {
        let scheduled = self.running.iter().filter(|one| one.n_scheduled > 0);
        let segments: Vec<_> = scheduled.map(Sequence::segment).collect();
        self.model
            .forward_batch(&segments, &mut self.blocks)
            .expect("this is a bug in firebox-engine: ids and lengths were checked");
        self.read_prompts();
        let (mut first, mut rows) = (0, Vec::new());
        for sequence in &self.running {
            first += sequence.n_scheduled;
            rows.extend(first - sequence.n_logit_rows()..first);
        }
        self.model
            .logits_into(rows.into_iter(), &mut self.blocks, &mut self.logits);
    }

    /// The logits of prompts where they are wanted.
    fn read_prompts(&mut self) {
        let mut first = 0;
        let vocab_size = self.model.config().vocab_size;
        for sequence in &mut self.running {
            let end = first + sequence.prompt_rows();
            for row in (first..end).step_by(PROMPT_LOGIT_ROWS) {
                let rows = row..end.min(row + PROMPT_LOGIT_ROWS);
                self.model
                    .logits_into(rows, &mut self.blocks, &mut self.logits);
                for logits in self.logits.chunks_exact(vocab_size) {
                    sequence.add_prompt_logits(logits);
                }
            }
            first += sequence.n_scheduled;
        }
    }

    /// Gives every sequence its logits, and the pool the texts of new blocks.
    fn settle(&mut self) {
        let vocab_size = self.model.config().vocab_size;
        for sequence in &self.running {
            let (n_new, n_guessed) = (sequence.n_logit_rows().min(1), sequence.n_draft);
            let n_prompt = match sequence.is_decoding() || n_guessed > 0 {
                true => 0,
                false => sequence.n_scheduled,
            };
            self.waiting
                .count(&sequence.request.tenant, n_prompt, n_new);
            let mut stats = self.counters.lock();
            stats.n_prompt_tokens += n_prompt as u64;
            stats.n_guessed += n_guessed as u64;
        }
        let mut rest = &mut self.logits[..];
        let mut work = Vec::with_capacity(self.running.len());
        for sequence in &mut self.running {
            if sequence.n_scheduled > 0 {
                let n_logits = sequence.n_logit_rows() * vocab_size;
                let logits = rest.split_off_mut(..n_logits).expect("one row for each");
                work.push((sequence, logits));
            }
        }
        let advance = |(sequence, logits): (&mut Sequence, &mut [f32])| {
            let n_before = sequence.n_new();
            let n_rows = sequence.n_logit_rows();
            sequence.advance(logits, vocab_size);
            let n_new = sequence.n_new() - n_before;
            let mut stats = self.counters.lock();
            stats.n_new_tokens += n_new as u64;
            if n_rows > 1 {
                stats.n_guessed_right += n_new.saturating_sub(1) as u64;
            }
        };
        match work.len() {
            // Not worth waking anyone.
            1 => work.into_iter().for_each(advance),
            _ => work.into_par_iter().for_each(advance),
        }
        for sequence in &mut self.running {
            learn(&mut self.pool, sequence);
        }
        self.let_ended_go();
    }

    /// Frees what ended sequences hold; then everyone is told what there is to say.
    fn let_ended_go(&mut self) {
        let ended = self.running.extract_if(.., |sequence| sequence.is_over());
        let mut ended: Vec<Sequence> = ended.collect();
        for sequence in &mut ended {
            learn_rest(&mut self.pool, sequence);
            self.pool.let_go_all(&mut sequence.table);
        }
        self.publish();
        for sequence in ended.iter_mut().chain(&mut self.running) {
            sequence.send_events();
        }
    }

    fn publish(&self) {
        let mut stats = self.counters.lock();
        stats.n_running = self.running.len();
        stats.n_blocks = self.pool.max_blocks();
        stats.n_blocks_held = self.pool.n_held();
        stats.n_blocks_idle = self.pool.n_idle();
    }

    fn sort_running(&mut self) {
        self.running
            .sort_by_key(|one| (Reverse(one.request.priority), one.arrival));
    }
}

impl Work for Scheduler {
    fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    fn enter(&mut self, mut sequence: Sequence) {
        sequence.request.use_prefix_cache &= self.config.prefix_cache;
        self.waiting.enter(sequence, &self.running);
    }

    /// Computes the next tokens of some sequences.
    fn step(&mut self) {
        self.drop_ended();
        self.plan();
        if self.running.iter().any(|sequence| sequence.n_scheduled > 0) {
            self.compute();
            self.counters.lock().n_steps += 1;
            self.settle();
        }
    }

    /// Fails those that are computed, and begins with an empty cache.
    fn begin_anew(&mut self, error: impl Fn() -> EngineError) {
        for sequence in self.running.drain(..) {
            tell_failed(sequence, error());
        }
        self.blocks = self.model.new_blocks();
        self.pool = BlockPool::new(self.config.max_blocks());
        self.publish();
    }

    fn waiting(&mut self) -> &mut FairQueue {
        &mut self.waiting
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Makes the texts of its whole blocks known.
fn learn(pool: &mut BlockPool, sequence: &mut Sequence) {
    if !sequence.may_share() {
        return;
    }
    while (sequence.n_learned + 1) * HostBlocks::TOKENS <= sequence.n_computed {
        let i = sequence.n_learned;
        let ids = &sequence.tokens[i * HostBlocks::TOKENS..][..HostBlocks::TOKENS];
        sequence.table[i] = pool.learn(sequence.parent_of(i), sequence.table[i], ids);
        sequence.n_learned += 1;
    }
}

/// Makes the text of its last block known, which has room left.
fn learn_rest(pool: &mut BlockPool, sequence: &mut Sequence) {
    learn(pool, sequence);
    let first = sequence.n_learned * HostBlocks::TOKENS;
    if sequence.may_share() && first < sequence.n_computed {
        let i = sequence.n_learned;
        let ids = &sequence.tokens[first..sequence.n_computed];
        pool.learn(sequence.parent_of(i), sequence.table[i], ids);
    }
}
