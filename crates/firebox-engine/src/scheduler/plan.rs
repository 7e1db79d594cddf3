//! Choosing what the next step computes, and taking blocks for it.

use firebox_model::HostBlocks;

use super::Scheduler;
use crate::lookup;
use crate::sequence::Sequence;

/// Tokens in common from which a copy of a block is worth more than computing them.
const MIN_COPIED_TOKENS: usize = 4;

impl Scheduler {
    /// Sets how many tokens of each sequence are computed next.
    pub(super) fn plan(&mut self) {
        let mut n_left = self.config.max_batch_tokens;
        self.plan_decoding(&mut n_left);
        self.plan_prompts(&mut n_left);
        self.admit(&mut n_left);
        self.blocks.reach(self.pool.len());
    }

    fn plan_decoding(&mut self, n_left: &mut usize) {
        let n_decoding = self.running.iter().filter(|one| one.is_decoding()).count();
        let max_draft = match self.config.speculation {
            // A step has room for every token that is decoded, and guesses take no more than is left.
            Some(speculation) if n_decoding > 0 => {
                let max_rows = speculation.max_rows.min(*n_left);
                (max_rows / n_decoding).saturating_sub(1)
            }
            _ => 0,
        };
        let mut i = 0;
        while i < self.running.len() {
            if self.running[i].is_decoding() {
                self.guess(i, max_draft);
                self.schedule(i, n_left);
            }
            i += 1;
        }
    }

    fn plan_prompts(&mut self, n_left: &mut usize) {
        let mut i = 0;
        while i < self.running.len() && *n_left > 0 {
            if self.running[i].n_scheduled == 0 {
                self.schedule(i, n_left);
            }
            i += 1;
        }
    }

    /// Puts guesses behind the tokens of a sequence.
    fn guess(&mut self, i: usize, max: usize) {
        let Some(speculation) = &self.config.speculation else {
            return;
        };
        let sequence = &mut self.running[i];
        // One is drawn in any case.
        let max = max.min(sequence.n_to_come().saturating_sub(1));
        let guesses = lookup::draft(speculation, &sequence.tokens, max).to_vec();
        sequence.n_draft = guesses.len();
        sequence.tokens.extend(guesses);
    }

    /// Gives the `i`-th sequence tokens of this step and blocks for them, those of less important ones
    /// where there are no others; in the end it gives up its own.
    fn schedule(&mut self, i: usize, n_left: &mut usize) {
        let sequence = &self.running[i];
        let n = sequence.n_left().min(*n_left);
        let n_blocks = (sequence.n_computed + n).div_ceil(HostBlocks::TOKENS);
        while self.running[i].table.len() < n_blocks {
            if let Some(block) = self.pool.take() {
                self.running[i].table.push(block);
                continue;
            }
            let is_itself = self.running.len() == i + 1;
            self.preempt_last();
            if is_itself {
                return;
            }
        }
        self.running[i].n_scheduled = n;
        *n_left -= n;
    }

    /// The least important sequence gives up its blocks and waits again.
    fn preempt_last(&mut self) {
        let Some(mut sequence) = self.running.pop() else {
            return;
        };
        self.pool.let_go_all(&mut sequence.table);
        sequence.restart();
        self.waiting.re_enter(sequence);
        let mut stats = self.counters.lock();
        stats.n_waiting += 1;
        stats.n_preemptions += 1;
    }

    /// Lets waiting requests in while there is room.
    fn admit(&mut self, n_left: &mut usize) {
        while *n_left > 0 && self.running.len() < self.config.max_sequences {
            let Some(mut sequence) = self.waiting.pop() else {
                break;
            };
            if !self.find_blocks(&mut sequence) {
                self.waiting.re_enter(sequence);
                break;
            }
            self.counters.lock().n_waiting -= 1;
            self.running.push(sequence);
            let last = self.running.len() - 1;
            self.schedule(last, n_left);
        }
        self.sort_running();
    }

    /// Takes what is known of its text; `false`, and nothing taken, when there is no room for the rest.
    fn find_blocks(&mut self, sequence: &mut Sequence) -> bool {
        let mut partial = None;
        if sequence.may_share() {
            // The last token is computed in any case: it says what comes next.
            let known = &sequence.tokens[..sequence.tokens.len() - 1];
            let found = self.pool.find(sequence.root(), known);
            (sequence.table, partial) = (found.table, found.partial);
        }
        let n_blocks = (sequence.tokens.len() + 1).div_ceil(HostBlocks::TOKENS);
        if self.pool.n_available() < n_blocks - sequence.table.len() {
            self.pool.let_go_all(&mut sequence.table);
            return false;
        }
        sequence.n_learned = sequence.table.len();
        sequence.n_computed = sequence.table.len() * HostBlocks::TOKENS;
        if let Some((from, n_same)) = partial.filter(|(_, n_same)| *n_same >= MIN_COPIED_TOKENS) {
            self.copy_beginning(sequence, from, n_same);
        }
        if sequence.n_cached.is_none() {
            sequence.n_cached = Some(sequence.n_computed);
            let mut stats = self.counters.lock();
            stats.n_prefix_queries += sequence.n_prompt as u64;
            stats.n_prefix_hits += sequence.n_computed as u64;
        }
        true
    }

    /// Begins the next block of a sequence with the tokens that another block begins with.
    fn copy_beginning(&mut self, sequence: &mut Sequence, from: u32, n_same: usize) {
        // Held, so that it is not the one that is taken.
        self.pool.hold(from);
        if let Some(to) = self.pool.take() {
            self.blocks.reach(self.pool.len());
            self.blocks.copy(from, to);
            sequence.table.push(to);
            sequence.n_computed += n_same;
        }
        self.pool.let_go(from);
    }
}
