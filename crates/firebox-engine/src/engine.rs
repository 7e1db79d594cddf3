//! The engine: one thread that owns the cache, and the handle to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use firebox_checkpoint::Adapter;
use firebox_data::Tokenizer;
use firebox_model::{CausalLm, HostAdapter, InferenceModel, LlamaConfig};

use crate::config::EngineConfig;
use crate::error::EngineError;
use crate::event::{Events, Sink, channel};
use crate::grammar::Parsers;
use crate::queue::FairQueue;
use crate::request::Request;
use crate::scheduler::Scheduler;
use crate::sequence::Sequence;
use crate::serial::Serial;
use crate::stats::{Counters, EngineStats};

/// Something that answers requests: an [`Engine`], or what stands in for one.
pub trait TextEngine: Send + Sync + 'static {
    /// Asks for an answer; its events go to `sink`. Does not block.
    ///
    /// # Errors
    /// What is wrong with the request, or [`EngineError::QueueFull`].
    fn submit(&self, request: Request, sink: Box<dyn Sink>) -> Result<(), EngineError>;

    /// What it did and holds now.
    fn stats(&self) -> EngineStats;

    /// Lays out an adapter, to be named in requests. It is gone when nobody holds it any more.
    ///
    /// # Errors
    /// [`EngineError::Adapter`] when it is not for this model, or of a kind that cannot be beside
    /// others; [`EngineError::NoAdapters`] where there can be none.
    fn load_adapter(&self, adapter: &Adapter) -> Result<Arc<HostAdapter>, EngineError> {
        let _ = adapter;
        Err(EngineError::NoAdapters)
    }

    /// What turns text into the model's ids.
    fn tokenizer(&self) -> &Tokenizer;

    /// The model's context, in tokens.
    fn max_seq_len(&self) -> usize;

    /// Whether it will answer.
    fn is_alive(&self) -> bool;
}

/// A model that answers many requests at once on the CPU; on other devices one after the other.
///
/// Dropping it ends its thread, and with it the requests that are not answered.
#[derive(Debug)]
pub struct Engine {
    model: LlamaConfig,
    /// Whether sequences are computed together.
    batches: bool,
    tokenizer: Tokenizer,
    parsers: Parsers,
    config: EngineConfig,
    counters: Arc<Counters>,
    n_arrived: AtomicU64,
    /// `None` when it is stopped.
    commands: Option<Sender<Sequence>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts a thread that computes.
    ///
    /// # Errors
    /// [`EngineError::Config`] and [`EngineError::VocabSize`].
    ///
    /// # Panics
    /// When the system has no thread to give.
    pub fn start(
        model: impl Into<InferenceModel>,
        tokenizer: Tokenizer,
        config: EngineConfig,
    ) -> Result<Self, EngineError> {
        let model = model.into();
        let sizes = model.config().clone();
        let batches = matches!(model, InferenceModel::Host(_));
        if batches {
            config.check(&sizes)?;
        }
        let (vocab_size, found) = (sizes.vocab_size, tokenizer.vocab_size());
        if found > vocab_size {
            return Err(EngineError::VocabSize {
                model: vocab_size,
                tokenizer: found,
            });
        }
        let counters = Arc::new(Counters::default());
        let (commands, received) = mpsc::channel();
        let (counted, settings) = (Arc::clone(&counters), config.clone());
        let work = move || match model {
            InferenceModel::Host(model) => {
                run(Scheduler::new(*model, settings, counted), &received);
            }
            InferenceModel::Burn(model) => run(Serial::new(*model, counted), &received),
        };
        let thread = thread::Builder::new().name("firebox-engine".to_owned());
        Ok(Self {
            parsers: Parsers::new(
                tokenizer.clone(),
                vocab_size,
                sizes.eos_ids.first().copied(),
            ),
            model: sizes,
            batches,
            tokenizer,
            config,
            counters,
            n_arrived: AtomicU64::new(0),
            commands: Some(commands),
            thread: Some(thread.spawn(work).expect("the system has a thread")),
        })
    }

    /// As [`TextEngine::submit`]; gives the events.
    ///
    /// # Errors
    /// As [`TextEngine::submit`].
    pub fn generate(&self, request: Request) -> Result<Events, EngineError> {
        let (sink, events) = channel();
        self.submit(request, Box::new(sink))?;
        Ok(events)
    }

    /// The model's sizes.
    pub fn model_config(&self) -> &LlamaConfig {
        &self.model
    }

    /// The settings.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }
}

impl TextEngine for Engine {
    fn submit(&self, request: Request, sink: Box<dyn Sink>) -> Result<(), EngineError> {
        request.check(&self.model)?;
        if request.adapter.is_some() && !self.batches {
            return Err(EngineError::NoAdapters);
        }
        let arrival = self.n_arrived.fetch_add(1, Relaxed);
        let max_seq_len = self.model.max_seq_len;
        let mut sequence = Sequence::new(request, arrival, max_seq_len, &self.tokenizer, sink)?;
        if let Some(grammar) = &sequence.request.grammar {
            sequence.parser = Some(self.parsers.parser(grammar)?);
        }
        let max_waiting = self.config.max_waiting;
        let mut stats = self.counters.lock();
        if stats.n_waiting >= max_waiting {
            return Err(EngineError::QueueFull { max_waiting });
        }
        stats.n_waiting += 1;
        drop(stats);
        let commands = self.commands.as_ref().ok_or(EngineError::Stopped)?;
        commands.send(sequence).map_err(|_| EngineError::Stopped)
    }

    fn load_adapter(&self, adapter: &Adapter) -> Result<Arc<HostAdapter>, EngineError> {
        if !self.batches {
            return Err(EngineError::NoAdapters);
        }
        let adapter = HostAdapter::new(&self.model, adapter).map_err(EngineError::Adapter)?;
        Ok(Arc::new(adapter))
    }

    fn stats(&self) -> EngineStats {
        self.counters.stats()
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn max_seq_len(&self) -> usize {
        self.model.max_seq_len
    }

    fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|one| !one.is_finished())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been reported, and everyone told.
            let _ = thread.join();
        }
    }
}

/// What the thread does with requests.
pub(crate) trait Work {
    fn is_idle(&self) -> bool;

    fn enter(&mut self, sequence: Sequence);

    /// Computes the next tokens of some sequences.
    fn step(&mut self);

    /// After a panic: fails those that are computed.
    fn begin_anew(&mut self, error: impl Fn() -> EngineError);

    fn waiting(&mut self) -> &mut FairQueue;

    fn counters(&self) -> &Counters;

    /// Fails those that wait too.
    fn fail_all(&mut self, error: impl Fn() -> EngineError) {
        while let Some(sequence) = self.waiting().pop() {
            tell_failed(sequence, error());
        }
        self.counters().lock().n_waiting = 0;
        self.begin_anew(error);
    }
}

/// Ends a sequence whatever its sink does: it may be what panicked.
pub(crate) fn tell_failed(mut sequence: Sequence, error: EngineError) {
    let tell = || {
        sequence.fail(error);
        sequence.send_events();
    };
    // The panic was reported when it happened.
    let _ = catch_unwind(AssertUnwindSafe(tell));
}

/// Computes until the handle is gone.
fn run(mut work: impl Work, received: &Receiver<Sequence>) {
    loop {
        let serve = || serve(&mut work, received);
        if catch_unwind(AssertUnwindSafe(serve)).is_ok() {
            return work.fail_all(|| EngineError::Stopped);
        }
        work.counters().lock().n_restarts += 1;
        work.begin_anew(|| EngineError::Panicked);
    }
}

fn serve(work: &mut impl Work, received: &Receiver<Sequence>) {
    loop {
        if work.is_idle() {
            match received.recv() {
                Ok(sequence) => work.enter(sequence),
                Err(_) => return,
            }
        }
        loop {
            match received.try_recv() {
                Ok(sequence) => work.enter(sequence),
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => return,
            }
        }
        work.step();
    }
}
