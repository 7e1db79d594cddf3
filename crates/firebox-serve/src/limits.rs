//! What ends answers from outside, besides the client's leaving.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{ServerConfig, error::ApiError};

/// How much later than the engine the server itself loses patience.
const GRACE: Duration = Duration::from_secs(1);

/// One request's deadline, and the server's order to stop.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    deadline: Instant,
    request_timeout: Duration,
    stop: watch::Receiver<bool>,
}

impl Limits {
    /// The deadline counts from now.
    pub(crate) fn new(config: &ServerConfig, stop: watch::Receiver<bool>) -> Self {
        Self {
            deadline: Instant::now() + config.request_timeout + GRACE,
            request_timeout: config.request_timeout,
            stop,
        }
    }

    /// Waits for the first of them.
    pub(crate) async fn reached(&mut self) -> ApiError {
        tokio::select! {
            () = stopped(&mut self.stop) => ApiError::ShuttingDown,
            () = sleep_until(self.deadline) => ApiError::TimedOut { limit: self.request_timeout },
        }
    }
}

/// Resolves when the server stops, or is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}
