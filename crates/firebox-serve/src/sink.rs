//! The blocking end of a generation's events: hands over text, and notices when to stop.

use std::ops::ControlFlow;

use tokio::{
    runtime::Handle,
    sync::mpsc::{Sender, error::TrySendError},
};

use crate::{error::ApiError, job::Event, limits::Limits};

/// Where a generation puts its text.
#[derive(Debug)]
pub(crate) struct Sink {
    events: Sender<Event>,
    limits: Limits,
    runtime: Handle,
    interruption: Option<ApiError>,
}

impl Sink {
    /// Must be called inside the runtime that reads the events.
    pub(crate) fn new(events: Sender<Event>, limits: Limits) -> Self {
        Self {
            events,
            limits,
            runtime: Handle::current(),
            interruption: None,
        }
    }

    /// Called after every token. Breaks when nobody listens any more or a limit is reached.
    pub(crate) fn push(&mut self, text: &str) -> ControlFlow<()> {
        if self.events.is_closed() {
            return ControlFlow::Break(());
        }
        self.interruption = self.limits.check();
        if self.interruption.is_some() {
            return ControlFlow::Break(());
        }
        if text.is_empty() {
            return ControlFlow::Continue(());
        }
        self.send(Event::Text(text.to_owned()))
    }

    /// The limit that broke the generation, if one did.
    pub(crate) fn interruption(&mut self) -> Option<ApiError> {
        self.interruption.take()
    }

    /// Sends the last event; waits for a slow reader no longer than the limits allow.
    pub(crate) fn end(mut self, last: Event) {
        let _delivered = self.send(last);
    }

    fn send(&mut self, event: Event) -> ControlFlow<()> {
        match self.events.try_send(event) {
            Ok(()) => ControlFlow::Continue(()),
            Err(TrySendError::Closed(_)) => ControlFlow::Break(()),
            Err(TrySendError::Full(event)) => self.send_when_read(event),
        }
    }

    /// The reader is behind: this thread may wait, it is one made for blocking.
    fn send_when_read(&mut self, event: Event) -> ControlFlow<()> {
        let Self {
            events,
            limits,
            runtime,
            interruption,
        } = self;
        runtime.block_on(async {
            tokio::select! {
                sent = events.send(event) => match sent {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                },
                error = limits.reached_or_stalled() => {
                    *interruption = Some(error);
                    ControlFlow::Break(())
                }
            }
        })
    }
}
