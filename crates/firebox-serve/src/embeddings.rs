//! The embedding model beside the one that generates, and the line before it.
//!
//! Embeddings are computed one request at a time, on the threads that the engine uses too: between two
//! layers either may go on. What waits is bounded.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use firebox_engine::{EmbedError, EngineError, TextEmbedder};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, spawn_blocking},
};
use tracing::Span;

use crate::{app::App, auth::Caller, error::ApiError, limits::Limits, sampling::wrong};

/// Requests that may wait for their turn, unless told otherwise.
const MAX_WAITING: usize = 256;

/// A sentence embedding model under a name.
#[derive(Clone)]
pub struct EmbeddingModel {
    name: String,
    embedder: Arc<TextEmbedder>,
    line: Line,
    pub(crate) counts: Arc<Counts>,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Requests answered.
    pub(crate) requests: AtomicU64,
    /// Vectors in these answers.
    pub(crate) vectors: AtomicU64,
    /// Tokens that they were computed from.
    pub(crate) tokens: AtomicU64,
}

/// What is to be embedded.
#[derive(Debug)]
pub(crate) enum Inputs {
    Texts(Vec<String>),
    /// Taken as they are: no special tokens are put around them.
    Ids(Vec<Vec<u32>>),
}

/// What one HTTP request asks for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) inputs: Inputs,
    /// Longer texts are cut to so many tokens; otherwise those that the model cannot read are refused.
    pub(crate) truncate: Option<usize>,
}

/// What an answer is made of.
#[derive(Debug)]
pub(crate) struct Embedded {
    pub(crate) vectors: Vec<Vec<f32>>,
    pub(crate) n_tokens: usize,
}

impl EmbeddingModel {
    /// The model under the name that clients use.
    pub fn new(name: impl Into<String>, embedder: TextEmbedder) -> Self {
        Self {
            name: name.into(),
            embedder: Arc::new(embedder),
            line: Line::new(MAX_WAITING),
            counts: Arc::default(),
        }
    }

    /// The same with so many requests that may wait for their turn; further ones are refused with 429.
    #[must_use]
    pub fn with_max_waiting(self, max_waiting: usize) -> Self {
        Self {
            line: Line::new(max_waiting),
            ..self
        }
    }

    /// The name clients use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What computes.
    pub fn embedder(&self) -> &TextEmbedder {
        &self.embedder
    }

    /// Requests that wait or are computed.
    pub(crate) fn n_in_line(&self) -> usize {
        self.line.n_taken()
    }

    /// Waits for the turn, computes, and gives what `write` makes of it.
    pub(crate) async fn embed<T: Send + 'static>(
        &self,
        app: &App,
        caller: Caller,
        asked: Asked,
        write: impl FnOnce(Embedded) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let key = caller.key;
        let _running = key.as_ref().map(|key| key.begin()).transpose()?;
        let place = self.line.enter()?;
        let mut limits = Limits::new(&app.config, app.stop.subscribe());
        let model = self.clone();
        let span = Span::current();
        let encoding = spawn_blocking(move || span.in_scope(|| model.ids(asked)));
        let ids = encoding.await.map_err(panicked)??;
        let (n_vectors, n_tokens) = (ids.len(), ids.iter().map(Vec::len).sum());
        let name = key.as_ref().map(|key| key.name());
        tracing::info!(n_vectors, n_tokens, key = name, "embedding");
        if let Some(key) = &key {
            key.pay_tokens(n_tokens);
        }
        let turn = tokio::select! {
            biased;
            turn = self.line.turn() => turn,
            error = limits.reached() => return Err(error),
        };
        let given_up = GivenUp::default();
        let (embedder, flag) = (Arc::clone(&self.embedder), Arc::clone(&given_up.0));
        let span = Span::current();
        let computing = spawn_blocking(move || {
            // Held to the end, also when nobody waits for it any more.
            let _held = (place, turn);
            span.in_scope(|| {
                let vectors = embedder.embed_ids(&ids, || !flag.load(Relaxed))?;
                Ok(vectors.map(|vectors| write(Embedded { vectors, n_tokens })))
            })
        });
        let written: Result<Option<T>, EmbedError> = tokio::select! {
            biased;
            computed = computing => computed.map_err(panicked)?,
            error = limits.reached() => return Err(error),
        };
        let written = written.map_err(failed)?.ok_or(ApiError::ShuttingDown)?;
        let counts = &self.counts;
        counts.requests.fetch_add(1, Relaxed);
        counts.vectors.fetch_add(n_vectors as u64, Relaxed);
        counts.tokens.fetch_add(n_tokens as u64, Relaxed);
        Ok(written)
    }

    /// The inputs as the encoder takes them.
    fn ids(&self, asked: Asked) -> Result<Vec<Vec<u32>>, ApiError> {
        let embedder = &self.embedder;
        let mut all = match asked.inputs {
            Inputs::Texts(texts) => embedder.encode(&texts).map_err(failed)?,
            Inputs::Ids(ids) => ids,
        };
        let vocab_size = embedder.model().config().vocab_size;
        for (index, ids) in all.iter_mut().enumerate() {
            if let Some(n_tokens) = asked.truncate {
                embedder.truncate(ids, n_tokens);
            }
            embedder.check_len(index, ids).map_err(failed)?;
            if let Some(id) = ids.iter().find(|id| **id as usize >= vocab_size) {
                let expected = format!("ids below {vocab_size}");
                return Err(wrong("input", &expected, &id.to_string()));
            }
        }
        Ok(all)
    }
}

impl fmt::Debug for EmbeddingModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddingModel")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn failed(error: EmbedError) -> ApiError {
    match error {
        EmbedError::TooLong {
            index,
            n_tokens,
            max_tokens,
        } => ApiError::InputTooLong {
            index,
            n_tokens,
            max_tokens,
        },
        EmbedError::Data(error) => ApiError::Prompt {
            reason: error.to_string(),
        },
        error => {
            tracing::error!(%error, "the embedding model failed");
            ApiError::Internal
        }
    }
}

fn panicked(_: JoinError) -> ApiError {
    tracing::error!("embedding panicked");
    ApiError::Internal
}

/// Set when nobody waits for the result any more.
#[derive(Default)]
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Who is next: first come, first served, so many at most.
#[derive(Clone, Debug)]
struct Line {
    max_waiting: usize,
    /// One for each that waits, and one for who is computed.
    places: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

impl Line {
    fn new(max_waiting: usize) -> Self {
        Self {
            max_waiting,
            places: Arc::new(Semaphore::new(max_waiting + 1)),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    fn enter(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| {
            ApiError::Engine(EngineError::QueueFull {
                max_waiting: self.max_waiting,
            })
        })
    }

    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        Arc::clone(&self.turn).acquire_owned().await.ok()
    }

    fn n_taken(&self) -> usize {
        self.max_waiting + 1 - self.places.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_line_refuses_and_the_first_in_it_is_next() {
        let line = Line::new(1);
        let first = (line.enter().unwrap(), line.turn().await.unwrap());
        let _second = line.enter().unwrap();
        assert!(matches!(
            line.enter(),
            Err(ApiError::Engine(EngineError::QueueFull { max_waiting: 1 }))
        ));
        assert_eq!(line.n_taken(), 2);
        drop(first);
        assert!(line.turn().await.is_some());
        assert_eq!(line.n_taken(), 1);
    }
}
