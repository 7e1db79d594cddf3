//! What an engine says about a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::error::EngineError;
use crate::logprobs::TokenLogprobs;

/// What an engine says about a request, in this order: `Prompt` where it was asked for, tokens, and
/// one of the last two.
#[derive(Debug)]
pub enum Event {
    /// The prompt's tokens after the first.
    Prompt(Vec<TokenLogprobs>),
    /// A new token.
    Token {
        /// Its id.
        id: u32,
        /// Text that became certain with it; may be empty or hold the text of earlier tokens too.
        text: String,
        /// Where they were asked for.
        logprobs: Option<TokenLogprobs>,
    },
    /// The end.
    Finished(Finished),
    /// The other end.
    Failed(EngineError),
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Why.
    pub reason: FinishReason,
    /// Tokens of the prompt.
    pub n_prompt_tokens: usize,
    /// Of these, how many were found in the prefix cache.
    pub n_cached_tokens: usize,
    /// New tokens, an end token included.
    pub n_new_tokens: usize,
    /// From the request's arrival to its first token.
    pub time_to_first_token: Option<Duration>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// An end token or a stop text.
    Stop,
    /// The limit of tokens, or the end of the context.
    Length,
}

/// Where a request's events go. An engine calls it on its own threads: it must not block.
pub trait Sink: Send {
    /// Takes the next event.
    fn send(&mut self, event: Event);

    /// Whether nobody is there any more; the request is given up then.
    fn is_closed(&self) -> bool;
}

/// A sink, and the iterator over what goes into it. Dropping the iterator gives the request up.
pub fn channel() -> (impl Sink, Events) {
    let (sender, receiver) = mpsc::channel();
    let is_closed = Arc::new(AtomicBool::new(false));
    let sink = ChannelSink {
        sender,
        is_closed: Arc::clone(&is_closed),
    };
    (
        sink,
        Events {
            receiver,
            is_closed,
        },
    )
}

struct ChannelSink {
    sender: mpsc::Sender<Event>,
    is_closed: Arc<AtomicBool>,
}

impl Sink for ChannelSink {
    fn send(&mut self, event: Event) {
        // An error means that nobody listens, which `is_closed` says.
        let _ = self.sender.send(event);
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }
}

/// A request's events as they come; it blocks until the next, and ends after the last.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Event>,
    is_closed: Arc<AtomicBool>,
}

impl Events {
    /// The whole text, and how it ended.
    ///
    /// # Errors
    /// What the request failed with.
    pub fn text(self) -> Result<(String, Finished), EngineError> {
        let mut all = String::new();
        for event in self {
            match event {
                Event::Prompt(_) => {}
                Event::Token { text, .. } => all.push_str(&text),
                Event::Finished(finished) => return Ok((all, finished)),
                Event::Failed(error) => return Err(error),
            }
        }
        Err(EngineError::Stopped)
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.receiver.recv().ok()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }
}
