//! A generator without a model: a token is a character, and the answer a function of the request.

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use firebox_serve::{
    FinishReason, Finished, GenerateError, GenerateRequest, Prepared, Prompt, TextGenerator,
};

/// Tokens that fit.
pub(crate) const MAX_SEQ_LEN: usize = 1000;

/// An answer that `fails` or `panics` does so after this many tokens.
pub(crate) const N_TOKENS_BEFORE_FAILURE: usize = 3;

/// Where the answer ends by itself.
pub(crate) const N_ANSWER_TOKENS: usize = 200;

#[derive(Default)]
pub(crate) struct Fake {
    /// Time a token takes.
    pub(crate) token_time: Duration,
    /// Size of a token's text, where a character is not enough.
    pub(crate) n_repeats: usize,
    pub(crate) seen: Arc<Seen>,
}

/// What the fake has been asked.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) n_running: AtomicUsize,
    pub(crate) max_running: AtomicUsize,
    pub(crate) n_tokens: AtomicUsize,
    /// Prompts in the order they came.
    pub(crate) prepared: Mutex<Vec<String>>,
    /// Prompts in the order they had their turn.
    pub(crate) generated: Mutex<Vec<String>>,
}

impl Fake {
    pub(crate) fn slow() -> Self {
        Self {
            token_time: Duration::from_millis(10),
            ..Self::default()
        }
    }
}

impl TextGenerator for Fake {
    fn model_id(&self) -> &str {
        "fake-1"
    }

    fn prepare(&self, request: &GenerateRequest) -> Result<Prepared, GenerateError> {
        let text = match &request.prompt {
            Prompt::Text(text) => text.clone(),
            Prompt::Chat(messages) => messages
                .iter()
                .map(|m| format!("{}: {}\n", m.role, m.content))
                .collect(),
        };
        if text.contains("refuse this") {
            return Err(GenerateError::Prompt {
                reason: "roles must alternate".into(),
            });
        }
        assert!(!text.contains("panic early"), "asked to panic");
        self.seen.prepared.lock().unwrap().push(text.clone());
        let n_prompt_tokens = text.chars().count();
        match n_prompt_tokens {
            0 => Err(GenerateError::EmptyPrompt),
            MAX_SEQ_LEN.. => Err(GenerateError::ContextLength {
                n_prompt_tokens,
                max_seq_len: MAX_SEQ_LEN,
            }),
            _ => Ok(Prepared {
                prompt_ids: text.chars().map(u32::from).collect(),
            }),
        }
    }

    fn generate(
        &self,
        prepared: &Prepared,
        request: &GenerateRequest,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Finished, GenerateError> {
        let _running = Running::new(&self.seen);
        let prompt: String = prepared
            .prompt_ids
            .iter()
            .filter_map(|&c| char::from_u32(c))
            .collect();
        self.seen.generated.lock().unwrap().push(prompt.clone());
        let limit = request.max_tokens.unwrap_or(usize::MAX);
        let limit = limit.min(MAX_SEQ_LEN - prompt.chars().count());
        let (pieces, finish_reason) = answer(&prompt, request, limit);
        for (at, piece) in pieces.iter().enumerate() {
            if at == N_TOKENS_BEFORE_FAILURE {
                assert!(!prompt.contains("panic late"), "asked to panic");
                if prompt.contains("fail late") {
                    return Err(GenerateError::Failed {
                        source: "secret detail".into(),
                    });
                }
            }
            thread::sleep(self.token_time);
            self.seen.n_tokens.fetch_add(1, SeqCst);
            if on_text(&piece.repeat(self.n_repeats.max(1))).is_break() {
                let finish_reason = FinishReason::Cancelled;
                return Ok(Finished {
                    completion_tokens: at + 1,
                    finish_reason,
                });
            }
        }
        Ok(Finished {
            completion_tokens: pieces.len(),
            finish_reason,
        })
    }
}

/// Letters that depend on the prompt and, unless greedy, on the seed. Every fifth character takes
/// two tokens, as the bytes of a rare one do.
fn answer(prompt: &str, request: &GenerateRequest, limit: usize) -> (Vec<String>, FinishReason) {
    let seed = if request.temperature == 0.0 {
        0
    } else {
        request.seed
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
        if request.stop.iter().any(|stop| text.ends_with(stop)) {
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

struct Running<'a>(&'a Seen);

impl<'a> Running<'a> {
    fn new(seen: &'a Seen) -> Self {
        let n_running = seen.n_running.fetch_add(1, SeqCst) + 1;
        seen.max_running.fetch_max(n_running, SeqCst);
        Self(seen)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.n_running.fetch_sub(1, SeqCst);
    }
}
