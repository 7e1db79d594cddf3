//! One generation: a blocking task that holds a slot, and the events it sends to the connection.
//!
//! The events' receiver is the only link to the client: when the connection goes away the
//! receiver is dropped, and the task stops at its next token and gives its slot back.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use tokio::{
    sync::mpsc,
    task::{JoinError, spawn_blocking},
};
use tracing::Span;

use crate::{
    FinishReason, Finished, GenerateError, GenerateRequest, Prepared,
    app::App,
    error::ApiError,
    limits::Limits,
    sink::Sink,
    slots::{Slot, Ticket},
};

/// Pieces of text that a slow reader may be behind before its generation waits for it.
const N_BUFFERED_EVENTS: usize = 32;

/// What a generation tells the connection.
#[derive(Debug)]
pub(crate) enum Event {
    /// More text; never empty.
    Text(String),
    /// The end.
    Finished(Finished),
    /// The other end.
    Failed(ApiError),
}

/// A running generation. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Job {
    events: mpsc::Receiver<Event>,
    limits: Limits,
    pub(crate) n_prompt_tokens: usize,
}

impl Job {
    /// Checks the prompt, waits for a slot and starts to generate.
    pub(crate) async fn start(app: &Arc<App>, request: GenerateRequest) -> Result<Self, ApiError> {
        let queue_limit = app.config.queue_limit;
        let ticket = app
            .metrics
            .slots
            .enter()
            .ok_or(ApiError::QueueFull { queue_limit })?;
        let mut limits = Limits::new(&app.config, app.stop.subscribe());
        let (prepared, request, slot) = tokio::select! {
            admitted = admit(app, request, ticket) => admitted?,
            error = limits.reached() => return Err(error),
        };
        let n_prompt_tokens = prepared.n_prompt_tokens();
        tracing::info!(n_prompt_tokens, seed = request.seed, "generating");
        let (sender, events) = mpsc::channel(N_BUFFERED_EVENTS);
        let sink = Sink::new(sender, limits.clone());
        let work = Work {
            app: Arc::clone(app),
            prepared,
            request,
        };
        let span = Span::current();
        spawn_blocking(move || span.in_scope(|| work.run(slot, sink)));
        Ok(Self {
            events,
            limits,
            n_prompt_tokens,
        })
    }

    /// The next event. After [`Event::Finished`] or [`Event::Failed`] there is none.
    pub(crate) async fn next(&mut self) -> Event {
        tokio::select! {
            biased;
            event = self.events.recv() => event.unwrap_or(Event::Failed(ApiError::Internal)),
            error = self.limits.reached() => Event::Failed(error),
        }
    }

    /// The whole answer.
    pub(crate) async fn collect(mut self) -> Result<(String, Finished), ApiError> {
        let mut text = String::new();
        loop {
            match self.next().await {
                Event::Text(piece) => text.push_str(&piece),
                Event::Finished(finished) => return Ok((text, finished)),
                Event::Failed(error) => return Err(error),
            }
        }
    }
}

/// Tokenizes and then waits for a slot, so that a bad prompt is refused without waiting.
async fn admit(
    app: &Arc<App>,
    request: GenerateRequest,
    ticket: Ticket,
) -> Result<(Prepared, GenerateRequest, Slot), ApiError> {
    let generator = Arc::clone(&app.generator);
    let prepare = move || (generator.prepare(&request), request);
    let (prepared, request) = spawn_blocking(prepare).await.map_err(panicked)?;
    Ok((prepared?, request, app.metrics.slots.acquire(ticket).await))
}

fn panicked(_: JoinError) -> ApiError {
    tracing::error!("the generator panicked");
    ApiError::Internal
}

/// What the blocking task needs.
struct Work {
    app: Arc<App>,
    prepared: Prepared,
    request: GenerateRequest,
}

impl Work {
    fn run(self, slot: Slot, mut sink: Sink) {
        let generated = catch_unwind(AssertUnwindSafe(|| {
            let Self {
                app,
                prepared,
                request,
            } = &self;
            app.generator
                .generate(prepared, request, &mut |text| sink.push(text))
        }));
        let last = match generated {
            Ok(result) => self.ending(result, sink.interruption()),
            Err(_) => {
                tracing::error!("the generator panicked");
                Event::Failed(ApiError::Internal)
            }
        };
        self.count(&last);
        // Before the last event, so that whoever has seen the end finds the slot free.
        drop(slot);
        sink.end(last);
    }

    fn ending(
        &self,
        result: Result<Finished, GenerateError>,
        interruption: Option<ApiError>,
    ) -> Event {
        match (result, interruption) {
            (_, Some(error)) => Event::Failed(error),
            (Err(error), None) => Event::Failed(error.into()),
            (
                Ok(Finished {
                    finish_reason: FinishReason::Cancelled,
                    ..
                }),
                None,
            ) => {
                tracing::info!("the client left");
                Event::Failed(ApiError::Internal)
            }
            (Ok(finished), None) => Event::Finished(finished),
        }
    }

    fn count(&self, last: &Event) {
        let counters = &self.app.metrics.counters;
        let Event::Finished(Finished {
            completion_tokens,
            finish_reason,
        }) = last
        else {
            counters.interrupted.fetch_add(1, Relaxed);
            return;
        };
        tracing::info!(completion_tokens, ?finish_reason, "generated");
        counters.finished.fetch_add(1, Relaxed);
        counters
            .prompt_tokens
            .fetch_add(self.prepared.n_prompt_tokens() as u64, Relaxed);
        counters
            .completion_tokens
            .fetch_add(*completion_tokens as u64, Relaxed);
    }
}
