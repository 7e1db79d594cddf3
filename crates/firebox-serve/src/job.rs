//! The answers to one HTTP request: what the engine is asked, and the events that come back.
//!
//! The events' receiver is the only link to the client: when the connection goes away the receiver is
//! dropped, and the engine gives the answers up at its next step.

use std::{
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use firebox_engine::{Event, Finished, Request, Sink, TokenLogprobs};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::{JoinError, spawn_blocking},
};
use tracing::Span;

use crate::{
    app::App,
    auth::Caller,
    error::ApiError,
    keys::Key,
    limits::Limits,
    metrics::ServerMetrics,
    model::{Chosen, Prompt},
    sampling::Sampling,
};

/// Events that may lie between the engine and a reader: more than any answer has.
const MAX_EVENTS: usize = 1 << 24;

/// Events that a reader may be behind before its time runs.
const N_BEHIND: usize = 64;

/// What the engine is asked on behalf of one HTTP request.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) model: Chosen,
    pub(crate) prompts: Vec<Prompt>,
    /// Answers to each prompt.
    pub(crate) n: usize,
    pub(crate) sampling: Sampling,
    /// The likeliest tokens in the place of each new one, so many.
    pub(crate) logprobs: Option<usize>,
    /// The same for the prompt's tokens.
    pub(crate) prompt_logprobs: Option<usize>,
}

/// Answers on their way, the first prompt's first. Dropping it gives them up.
#[derive(Debug)]
pub(crate) struct Job {
    events: mpsc::Receiver<(usize, Event)>,
    limits: Limits,
    metrics: ServerMetrics,
    /// Held until all is answered.
    pub(crate) model: Chosen,
    pub(crate) prompts: Vec<Vec<u32>>,
    pub(crate) n: usize,
    /// Answers that are not finished.
    n_open: usize,
    /// Who pays.
    key: Option<Arc<Key>>,
    _place: Option<OwnedSemaphorePermit>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
    /// Of the prompt's tokens after the first, where they were asked for.
    pub(crate) prompt: Vec<TokenLogprobs>,
    pub(crate) finished: Finished,
}

/// One token of it.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) id: u32,
    pub(crate) logprobs: Option<TokenLogprobs>,
}

impl Job {
    /// Writes out the prompts and asks the engine.
    pub(crate) async fn start(
        app: &Arc<App>,
        caller: Caller,
        asked: Asked,
    ) -> Result<Self, ApiError> {
        let key = caller.key;
        let place = key.as_ref().map(|key| key.begin()).transpose()?;
        let limits = Limits::new(&app.config, app.stop.subscribe());
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let n = asked.n;
        let model = asked.model.clone();
        let asking = Asking {
            app: Arc::clone(app),
            key: key.clone(),
            received: Instant::now(),
            sender,
            asked,
        };
        let span = Span::current();
        // Templates, tokenizers and grammars take their time.
        let asking = spawn_blocking(move || span.in_scope(|| asking.submit()));
        let prompts = asking.await.map_err(panicked)??;
        Ok(Self {
            events,
            limits,
            metrics: app.metrics.clone(),
            n_open: prompts.len() * n,
            model,
            prompts,
            n,
            key,
            _place: place,
        })
    }

    pub(crate) fn n_prompt_tokens(&self) -> usize {
        self.prompts.iter().map(Vec::len).sum()
    }

    /// The next event, and of which choice; `None` when all are finished.
    pub(crate) async fn next(&mut self) -> Option<Result<(usize, Event), ApiError>> {
        if self.n_open == 0 {
            return None;
        }
        let event = tokio::select! {
            biased;
            event = self.events.recv() => event,
            error = self.limits.reached() => return Some(Err(error)),
        };
        Some(match event {
            Some((_, Event::Failed(error))) => Err(error.into()),
            Some((choice, Event::Finished(finished))) => {
                self.n_open -= 1;
                self.metrics.count_finished(&finished);
                let Finished {
                    n_new_tokens,
                    n_cached_tokens,
                    reason,
                    ..
                } = finished;
                tracing::info!(n_new_tokens, n_cached_tokens, ?reason, "generated");
                Ok((choice, Event::Finished(finished)))
            }
            Some((choice, event)) => {
                if let (Some(key), Event::Token { .. }) = (&self.key, &event) {
                    key.pay_tokens(1);
                }
                Ok((choice, event))
            }
            None => Err(ApiError::Internal),
        })
    }

    /// The whole answers.
    pub(crate) async fn collect(&mut self) -> Result<Vec<Choice>, ApiError> {
        let n_choices = self.n_open;
        let mut open: Vec<_> = (0..n_choices)
            .map(|_| (String::new(), Vec::new(), Vec::new()))
            .collect();
        let mut choices: Vec<Option<Choice>> = (0..n_choices).map(|_| None).collect();
        while let Some(event) = self.next().await {
            let (i, event) = event?;
            let (text, tokens, prompt) = &mut open[i];
            match event {
                Event::Prompt(logprobs) => *prompt = logprobs,
                Event::Token {
                    id,
                    text: piece,
                    logprobs,
                } => {
                    text.push_str(&piece);
                    tokens.push(Token { id, logprobs });
                }
                Event::Finished(finished) => {
                    choices[i] = Some(Choice {
                        text: std::mem::take(text),
                        tokens: std::mem::take(tokens),
                        prompt: std::mem::take(prompt),
                        finished,
                    });
                }
                Event::Failed(error) => return Err(error.into()),
            }
        }
        choices
            .into_iter()
            .map(|choice| choice.ok_or(ApiError::Internal))
            .collect()
    }
}

/// A request on its way to the engine.
struct Asking {
    app: Arc<App>,
    key: Option<Arc<Key>>,
    received: Instant,
    sender: mpsc::Sender<(usize, Event)>,
    asked: Asked,
}

impl Asking {
    /// Asks for every answer to every prompt; gives the prompts' ids.
    fn submit(mut self) -> Result<Vec<Vec<u32>>, ApiError> {
        let model = &self.app.model;
        let texts = std::mem::take(&mut self.asked.prompts);
        let ids = texts.into_iter().map(|prompt| model.prompt_ids(prompt));
        let prompts = ids.collect::<Result<Vec<_>, _>>()?;
        let seed = self.asked.sampling.generate.sampling.seed;
        let n_prompt_tokens: usize = prompts.iter().map(Vec::len).sum();
        let name = self.key.as_ref().map(|key| key.name());
        tracing::info!(
            n_prompt_tokens,
            n = self.asked.n,
            seed,
            key = name,
            "generating"
        );
        if let Some(key) = &self.key {
            key.pay_tokens(n_prompt_tokens);
        }
        for (i, prompt) in prompts.iter().enumerate() {
            for k in 0..self.asked.n {
                let sink = JobSink {
                    choice: i * self.asked.n + k,
                    events: self.sender.clone(),
                    metrics: self.app.metrics.clone(),
                    received: self.received,
                    last_token: None,
                    stall_timeout: self.app.config.stall_timeout,
                    behind_since: Mutex::new(None),
                };
                let request = self.request(prompt.clone(), k as u64);
                model.engine().submit(request, Box::new(sink))?;
            }
        }
        Ok(prompts)
    }

    fn request(&self, prompt: Vec<u32>, k: u64) -> Request {
        let Asked {
            model,
            sampling,
            logprobs,
            prompt_logprobs,
            ..
        } = &self.asked;
        let mut generate = sampling.generate.clone();
        generate.sampling.seed = generate.sampling.seed.wrapping_add(k);
        if !sampling.ignore_eos {
            generate.eos_ids.extend(self.app.model.eos_ids());
        }
        let own_salt = match &self.key {
            Some(key) if !self.app.config.share_prefixes => key.cache_salt(),
            _ => 0,
        };
        Request {
            adapter: model.adapter.as_ref().map(|one| Arc::clone(&one.weights)),
            grammar: sampling.grammar.clone(),
            min_tokens: sampling.min_tokens,
            logprobs: *logprobs,
            prompt_logprobs: *prompt_logprobs,
            tenant: Arc::from(self.key.as_ref().map_or("", |key| key.name())),
            priority: sampling.priority,
            time_limit: Some(match sampling.time_limit {
                Some(limit) => limit.min(self.app.config.request_timeout),
                None => self.app.config.request_timeout,
            }),
            cache_salt: sampling.cache_salt.wrapping_add(own_salt),
            use_prefix_cache: sampling.cache_prompt,
            ..Request::new(prompt, generate)
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let interrupted = &self.metrics.counters.interrupted;
        interrupted.fetch_add(self.n_open as u64, Relaxed);
    }
}

fn panicked(_: JoinError) -> ApiError {
    tracing::error!("writing out the prompt panicked");
    ApiError::Internal
}

/// The engine's end.
struct JobSink {
    choice: usize,
    events: mpsc::Sender<(usize, Event)>,
    metrics: ServerMetrics,
    received: Instant,
    last_token: Option<Instant>,
    /// How long a reader may be behind.
    stall_timeout: Duration,
    /// Since when it is.
    behind_since: Mutex<Option<Instant>>,
}

impl JobSink {
    fn time_token(&mut self) {
        let now = Instant::now();
        match self.last_token.replace(now) {
            None => {
                let waited = now - self.received;
                self.metrics.times.first_token.observe(waited);
            }
            Some(last) => self.metrics.times.between_tokens.observe(now - last),
        }
    }

    /// Whether the reader has taken nothing for too long.
    fn is_stalled(&self) -> bool {
        let n_unread = self.events.max_capacity() - self.events.capacity();
        let Ok(mut since) = self.behind_since.lock() else {
            return true;
        };
        if n_unread <= N_BEHIND {
            *since = None;
            return false;
        }
        since.get_or_insert_with(Instant::now).elapsed() >= self.stall_timeout
    }
}

impl Sink for JobSink {
    fn send(&mut self, event: Event) {
        match &event {
            Event::Token { .. } => self.time_token(),
            Event::Finished(_) => self.metrics.times.whole.observe(self.received.elapsed()),
            Event::Prompt(_) | Event::Failed(_) => {}
        }
        // Nobody is there: the engine sees it by `is_closed`.
        let _ = self.events.try_send((self.choice, event));
    }

    fn is_closed(&self) -> bool {
        self.events.is_closed() || self.is_stalled()
    }
}
