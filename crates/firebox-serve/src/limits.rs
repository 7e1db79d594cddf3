//! What ends a generation from outside, besides the client's leaving.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{ServerConfig, error::ApiError};

/// One request's deadline, and the server's order to stop.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    deadline: Instant,
    request_timeout: Duration,
    stall_timeout: Duration,
    stop: watch::Receiver<bool>,
}

impl Limits {
    /// The deadline counts from now.
    pub(crate) fn new(config: &ServerConfig, stop: watch::Receiver<bool>) -> Self {
        Self {
            deadline: Instant::now() + config.request_timeout,
            request_timeout: config.request_timeout,
            stall_timeout: config.stall_timeout,
            stop,
        }
    }

    /// Whether one of them is reached now.
    pub(crate) fn check(&self) -> Option<ApiError> {
        if *self.stop.borrow() {
            return Some(ApiError::ShuttingDown);
        }
        let limit = self.request_timeout;
        (Instant::now() >= self.deadline).then_some(ApiError::TimedOut { limit })
    }

    /// Waits for the first of them.
    pub(crate) async fn reached(&mut self) -> ApiError {
        tokio::select! {
            () = stopped(&mut self.stop) => ApiError::ShuttingDown,
            () = sleep_until(self.deadline) => ApiError::TimedOut { limit: self.request_timeout },
        }
    }

    /// Waits for the first of them, or until the client has read nothing for too long.
    pub(crate) async fn reached_or_stalled(&mut self) -> ApiError {
        let limit = self.stall_timeout;
        tokio::time::timeout(limit, self.reached())
            .await
            .unwrap_or(ApiError::Stalled { limit })
    }
}

/// Resolves when the server stops, or is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}
