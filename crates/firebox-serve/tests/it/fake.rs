//! An engine without a model: a token is a byte, and the answer a function of the request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use firebox_data::{ChatTemplate, Tokenizer, train_byte_level_bpe};
use firebox_engine::{
    EngineError, EngineStats, Event, FinishReason, Finished, Request, Sink, TextEngine,
};
use firebox_model::ModelError;
use firebox_serve::ServedModel;

/// Tokens that fit.
pub(crate) const MAX_SEQ_LEN: usize = 1000;

/// An answer that `fails` or `panics` does so after this many tokens.
pub(crate) const N_TOKENS_BEFORE_FAILURE: usize = 3;

/// Where the answer ends by itself.
pub(crate) const N_ANSWER_TOKENS: usize = 200;

pub(crate) struct Fake {
    /// Time a token takes.
    pub(crate) token_time: Duration,
    /// Size of a token's text, where a character is not enough.
    pub(crate) n_repeats: usize,
    /// Further requests are refused.
    pub(crate) max_running: usize,
    pub(crate) seen: Arc<Seen>,
    pub(crate) tokenizer: Tokenizer,
}

/// What the fake has done.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) n_running: AtomicUsize,
    pub(crate) n_tokens: AtomicUsize,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            token_time: Duration::ZERO,
            n_repeats: 1,
            max_running: 100,
            seen: Arc::default(),
            tokenizer: train_byte_level_bpe(["a"], 256, &[]).unwrap(),
        }
    }
}

impl Fake {
    pub(crate) fn slow() -> Self {
        Self {
            token_time: Duration::from_millis(10),
            ..Self::default()
        }
    }

    /// As the server takes it.
    pub(crate) fn served(self) -> ServedModel {
        let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
        let template = ChatTemplate::new(template, "", "").unwrap();
        ServedModel::new("fake-1", self).with_chat_template(template)
    }
}

impl TextEngine for Fake {
    fn submit(&self, request: Request, sink: Box<dyn Sink>) -> Result<(), EngineError> {
        let n_prompt_tokens = request.prompt_ids.len();
        let max_seq_len = MAX_SEQ_LEN;
        match n_prompt_tokens {
            0 => return Err(EngineError::EmptyPrompt),
            MAX_SEQ_LEN.. => {
                return Err(EngineError::ContextLength {
                    n_prompt_tokens,
                    max_seq_len,
                });
            }
            _ => {}
        }
        if self.seen.n_running.load(SeqCst) >= self.max_running {
            return Err(EngineError::QueueFull { max_waiting: 0 });
        }
        self.seen.n_running.fetch_add(1, SeqCst);
        let work = Work {
            prompt: self.tokenizer.decode(&request.prompt_ids, false),
            request,
            token_time: self.token_time,
            n_repeats: self.n_repeats,
            seen: Arc::clone(&self.seen),
        };
        thread::spawn(move || work.run(sink));
        Ok(())
    }

    fn stats(&self) -> EngineStats {
        EngineStats {
            n_running: self.seen.n_running.load(SeqCst),
            ..EngineStats::default()
        }
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn max_seq_len(&self) -> usize {
        MAX_SEQ_LEN
    }

    fn is_alive(&self) -> bool {
        true
    }
}

struct Work {
    prompt: String,
    request: Request,
    token_time: Duration,
    n_repeats: usize,
    seen: Arc<Seen>,
}

impl Work {
    fn run(&self, mut sink: Box<dyn Sink>) {
        let n_prompt_tokens = self.request.prompt_ids.len();
        let limit = self.request.generate.max_new_tokens;
        let limit = limit.min(MAX_SEQ_LEN - n_prompt_tokens);
        let (pieces, reason) = answer(&self.prompt, &self.request, limit);
        let started = std::time::Instant::now();
        let mut last = Event::Finished(Finished {
            reason,
            n_prompt_tokens,
            n_cached_tokens: 0,
            n_new_tokens: pieces.len(),
            time_to_first_token: None,
        });
        for (at, piece) in pieces.iter().enumerate() {
            if sink.is_closed() {
                break;
            }
            let time_limit = self.request.time_limit.unwrap_or(Duration::MAX);
            if started.elapsed() > time_limit {
                last = Event::Failed(EngineError::Deadline { limit: time_limit });
                break;
            }
            if at == N_TOKENS_BEFORE_FAILURE && self.prompt.contains("panic late") {
                last = Event::Failed(EngineError::Panicked);
                break;
            }
            if at == N_TOKENS_BEFORE_FAILURE && self.prompt.contains("fail late") {
                last = Event::Failed(EngineError::Model(ModelError::NonFiniteLogits));
                break;
            }
            thread::sleep(self.token_time);
            self.seen.n_tokens.fetch_add(1, SeqCst);
            sink.send(Event::Token {
                id: 1,
                text: piece.repeat(self.n_repeats),
                logprobs: None,
            });
        }
        self.seen.n_running.fetch_sub(1, SeqCst);
        sink.send(last);
    }
}

/// Letters that depend on the prompt and, unless greedy, on the seed. Every fifth character takes
/// two tokens, as the bytes of a rare one do.
fn answer(prompt: &str, request: &Request, limit: usize) -> (Vec<String>, FinishReason) {
    let sampling = &request.generate.sampling;
    let seed = match sampling.temperature == 0.0 {
        true => 0,
        false => sampling.seed,
    };
    let mut state = prompt
        .chars()
        .fold(seed, |state, c| next(state ^ u64::from(c)));
    let mut text = String::new();
    let mut pieces = Vec::new();
    while pieces.len() < limit {
        if pieces.len() >= N_ANSWER_TOKENS {
            return (pieces, FinishReason::Stop);
        }
        state = next(state);
        let letter = char::from(b'a' + (state >> 33) as u8 % 26);
        let piece = if letter < 'f' { '水' } else { letter };
        if piece == '水' {
            pieces.push(String::new());
            if pieces.len() == limit {
                break;
            }
        }
        text.push(piece);
        pieces.push(piece.to_string());
        // Stops of one character are all that these tests need.
        if request
            .generate
            .stop
            .iter()
            .any(|stop| text.ends_with(stop))
        {
            pieces.pop();
            pieces.push(String::new());
            return (pieces, FinishReason::Stop);
        }
    }
    (pieces, FinishReason::Length)
}

fn next(state: u64) -> u64 {
    state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407)
}
