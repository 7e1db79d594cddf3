//! One request on its way.

use std::fmt;
use std::time::Instant;

use firebox_data::Tokenizer;
use firebox_model::{HostSegment, ModelError, Sampler, StopMatcher};

use crate::blocks::Parent;
use crate::error::EngineError;
use crate::event::{Event, FinishReason, Finished, Sink};
use crate::grammar::Parser;
use crate::logprobs::{TokenLogprobs, leave_out};
use crate::request::Request;

type Decode = Box<dyn FnMut(Option<u32>) -> String + Send>;

pub(crate) struct Sequence {
    /// Without its prompt, which begins `tokens`.
    pub(crate) request: Request,
    /// Counts requests in their order.
    pub(crate) arrival: u64,
    received: Instant,
    /// Prompt, new tokens, and while a step is computed its guesses.
    pub(crate) tokens: Vec<u32>,
    pub(crate) n_prompt: usize,
    max_seq_len: usize,
    /// The blocks it holds, first to last.
    pub(crate) table: Vec<u32>,
    /// Tokens whose keys and values are in the blocks.
    pub(crate) n_computed: usize,
    /// Blocks whose text is known to the pool.
    pub(crate) n_learned: usize,
    /// Tokens at the end of `tokens` that are guesses.
    pub(crate) n_draft: usize,
    /// Tokens that this step computes, guesses included.
    pub(crate) n_scheduled: usize,
    /// Prompt tokens that were found in the prefix cache when it was first let in.
    pub(crate) n_cached: Option<usize>,
    /// Of the prompt's tokens after the first, as far as they are computed; `None` when they are not
    /// wanted any more.
    prompt_logprobs: Option<Vec<TokenLogprobs>>,
    sampler: Sampler,
    /// Follows the grammar, if there is one.
    pub(crate) parser: Option<Parser>,
    stops: StopMatcher,
    decode: Decode,
    sink: Box<dyn Sink>,
    /// Events that are not sent yet: what they say of the engine must be true when they are read.
    unsent: Vec<Event>,
    first_token: Option<Instant>,
    is_over: bool,
}

impl Sequence {
    /// A request whose prompt was checked.
    ///
    /// # Errors
    /// [`EngineError::Request`] for sampling out of range.
    pub(crate) fn new(
        mut request: Request,
        arrival: u64,
        max_seq_len: usize,
        tokenizer: &Tokenizer,
        sink: Box<dyn Sink>,
    ) -> Result<Self, EngineError> {
        let sampler =
            Sampler::new(request.generate.sampling.clone()).map_err(EngineError::Request)?;
        let tokens = std::mem::take(&mut request.prompt_ids);
        Ok(Self {
            arrival,
            received: Instant::now(),
            n_prompt: tokens.len(),
            tokens,
            max_seq_len,
            table: Vec::new(),
            n_computed: 0,
            n_learned: 0,
            n_draft: 0,
            n_scheduled: 0,
            n_cached: None,
            prompt_logprobs: request.prompt_logprobs.map(|_| Vec::new()),
            sampler,
            parser: None,
            stops: StopMatcher::new(request.generate.stop.clone()),
            decode: Box::new(tokenizer.decoder(true)),
            sink,
            unsent: Vec::new(),
            first_token: None,
            is_over: false,
            request,
        })
    }

    /// What is before its first block.
    pub(crate) fn root(&self) -> Parent {
        Parent::Root {
            salt: self.request.cache_salt,
            adapter: self
                .request
                .adapter
                .as_ref()
                .map_or(0, |adapter| adapter.id()),
        }
    }

    /// What is before the `i`-th block.
    pub(crate) fn parent_of(&self, i: usize) -> Parent {
        match i.checked_sub(1) {
            None => self.root(),
            Some(before) => Parent::Block(self.table[before]),
        }
    }

    /// Whether blocks of others may stand for its own. The prompt's logits are in no block.
    pub(crate) fn may_share(&self) -> bool {
        self.request.use_prefix_cache && self.prompt_logprobs.is_none()
    }

    /// Tokens that are to be computed before the next one can be drawn.
    pub(crate) fn n_left(&self) -> usize {
        self.tokens.len() - self.n_computed
    }

    pub(crate) fn n_new(&self) -> usize {
        self.tokens.len() - self.n_draft - self.n_prompt
    }

    /// Whether only the last token is left to be computed.
    pub(crate) fn is_decoding(&self) -> bool {
        self.n_new() > 0 && self.n_left() == 1
    }

    /// The most tokens that can still be drawn.
    pub(crate) fn n_to_come(&self) -> usize {
        let by_request = self.request.generate.max_new_tokens - self.n_new();
        by_request.min(self.max_seq_len - self.tokens.len())
    }

    /// This step's part, for the model.
    pub(crate) fn segment(&self) -> HostSegment<'_> {
        HostSegment {
            ids: &self.tokens[self.n_computed..][..self.n_scheduled],
            n_past: self.n_computed,
            table: &self.table,
            adapter: self.request.adapter.as_deref(),
        }
    }

    /// Rows of its part whose logits say what comes next: none while the prompt goes on.
    pub(crate) fn n_logit_rows(&self) -> usize {
        match self.n_scheduled == self.n_left() {
            true => self.n_draft + 1,
            false => 0,
        }
    }

    /// When its time is over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.received.checked_add(self.request.time_limit?)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Ends it where nobody listens any more, or its time is over.
    pub(crate) fn check_end(&mut self, now: Instant) {
        if self.sink.is_closed() {
            self.is_over = true;
        } else if let Some(limit) = self.request.time_limit
            && now.duration_since(self.received) >= limit
        {
            self.fail(EngineError::Deadline { limit });
        }
    }

    pub(crate) fn fail(&mut self, error: EngineError) {
        if !self.is_over {
            self.is_over = true;
            self.unsent.push(Event::Failed(error));
        }
    }

    /// Sends what there is to say.
    pub(crate) fn send_events(&mut self) {
        for event in self.unsent.drain(..) {
            self.sink.send(event);
        }
    }

    /// Its blocks are gone; it will compute its tokens again.
    pub(crate) fn restart(&mut self) {
        let n_known = self.tokens.len() - self.n_draft;
        self.tokens.truncate(n_known);
        (self.n_draft, self.n_scheduled) = (0, 0);
        (self.n_computed, self.n_learned) = (0, 0);
        if let Some(logprobs) = &mut self.prompt_logprobs {
            logprobs.clear();
        }
    }

    /// Rows of this step that say something about a token of the prompt, counted from its first row.
    pub(crate) fn prompt_rows(&self) -> usize {
        match self.prompt_logprobs {
            None => 0,
            Some(_) => self
                .n_scheduled
                .min((self.n_prompt - 1).saturating_sub(self.n_computed)),
        }
    }

    /// Takes the logits of the next such row.
    pub(crate) fn add_prompt_logits(&mut self, logits: &[f32]) {
        let n_top = self.request.prompt_logprobs.unwrap_or(0);
        if let Some(logprobs) = &mut self.prompt_logprobs {
            let id = self.tokens[logprobs.len() + 1];
            logprobs.push(TokenLogprobs::new(logits, id, n_top));
        }
    }

    /// Takes this step's result: the logits of [`Self::n_logit_rows`] rows, `[rows, vocab]`.
    pub(crate) fn advance(&mut self, logits: &mut [f32], vocab_size: usize) {
        let n_rows = self.n_logit_rows();
        self.n_computed += self.n_scheduled - self.n_draft;
        self.n_scheduled = 0;
        if n_rows == 0 {
            return;
        }
        let n_known = self.tokens.len() - std::mem::take(&mut self.n_draft);
        let guesses = self.tokens.split_off(n_known);
        self.send_prompt_logprobs();
        if self.request.generate.max_new_tokens == 0 {
            return self.finish(FinishReason::Length);
        }
        for (i, logits) in logits.chunks_exact_mut(vocab_size).enumerate() {
            self.draw(logits);
            // A right guess was computed along, and the next row is what follows it.
            if self.is_over || guesses.get(i) != self.tokens.last() {
                return;
            }
            self.n_computed += 1;
        }
    }

    fn send_prompt_logprobs(&mut self) {
        if let Some(logprobs) = self.prompt_logprobs.take() {
            self.unsent.push(Event::Prompt(logprobs));
        }
    }

    fn draw(&mut self, logits: &mut [f32]) {
        // Probabilities are those before penalties.
        let untouched = self.request.logprobs.map(|n_top| (n_top, logits.to_vec()));
        if let Some(parser) = &mut self.parser {
            if let Err(error) = parser.mask(logits, &self.request.generate.eos_ids) {
                return self.fail(error);
            }
        } else if self.n_new() < self.request.min_tokens {
            leave_out(logits, &self.request.generate.eos_ids);
        }
        let Some(id) = self.sampler.sample(logits, &self.tokens, self.n_prompt) else {
            return self.fail(EngineError::Model(ModelError::NonFiniteLogits));
        };
        let logprobs = untouched.map(|(n_top, logits)| TokenLogprobs::new(&logits, id, n_top));
        self.push(id, logprobs);
    }

    fn push(&mut self, id: u32, logprobs: Option<TokenLogprobs>) {
        self.tokens.push(id);
        self.first_token.get_or_insert_with(Instant::now);
        let is_whole = match self.parser.as_mut().map(|parser| parser.push(id)) {
            None => false,
            Some(Ok(is_whole)) => is_whole,
            Some(Err(error)) => return self.fail(error),
        };
        let (mut text, mut reason) = self.text_of(id);
        if is_whole && reason != Some(FinishReason::Stop) {
            text.push_str(&self.rest());
            reason = Some(FinishReason::Stop);
        }
        self.unsent.push(Event::Token { id, text, logprobs });
        if let Some(reason) = reason {
            self.finish(reason);
        }
    }

    /// The text that the token completes, and whether it is the last.
    fn text_of(&mut self, id: u32) -> (String, Option<FinishReason>) {
        if self.request.generate.eos_ids.contains(&id) {
            return (self.rest(), Some(FinishReason::Stop));
        }
        let decoded = (self.decode)(Some(id));
        let mut text = match self.n_new() <= self.request.min_tokens {
            true => decoded,
            false => self.stops.push(&decoded),
        };
        if self.stops.is_stopped() {
            return (text, Some(FinishReason::Stop));
        }
        if self.n_to_come() == 0 {
            text.push_str(&self.rest());
            return (text, Some(FinishReason::Length));
        }
        (text, None)
    }

    /// What was held back.
    fn rest(&mut self) -> String {
        let rest = (self.decode)(None);
        let mut text = self.stops.push(&rest);
        text.push_str(&self.stops.finish());
        text
    }

    fn finish(&mut self, reason: FinishReason) {
        self.is_over = true;
        let first_token = self.first_token;
        self.unsent.push(Event::Finished(Finished {
            reason,
            n_prompt_tokens: self.n_prompt,
            n_cached_tokens: self.n_cached.unwrap_or(0),
            n_new_tokens: self.n_new(),
            time_to_first_token: first_token.map(|at| at.duration_since(self.received)),
        }));
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequence")
            .field("arrival", &self.arrival)
            .field("n_tokens", &self.tokens.len())
            .field("n_computed", &self.n_computed)
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}
