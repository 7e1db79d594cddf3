//! The server: settings, counts, and the loop that serves until it is told to stop.

use std::{future::Future, sync::Arc};

use axum::Router;
use tokio::net::TcpListener;

use crate::{
    ServeError, ServerBuilder, ServerConfig, ServerMetrics, TextGenerator, api, app::App,
    connections, slots::Slots,
};

/// An HTTP server for one model. Made by [`Server::builder`].
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    metrics: ServerMetrics,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Every request had its answer.
    Drained,
    /// [`ServerConfig::drain_limit`] passed, and the rest was cut off.
    Cut,
}

impl Server {
    /// Settings with their defaults.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    pub(crate) fn new(config: ServerConfig) -> Self {
        let slots = Arc::new(Slots::new(config.max_concurrent, config.queue_limit));
        Self {
            config,
            metrics: ServerMetrics {
                slots,
                counters: Arc::default(),
            },
        }
    }

    /// The settings.
    pub fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// A handle to the server's counts, which outlives [`Server::serve`].
    pub fn metrics(&self) -> ServerMetrics {
        self.metrics.clone()
    }

    /// Listens on [`ServerConfig::address`].
    ///
    /// # Errors
    ///
    /// When the address is taken, or not this machine's.
    pub async fn bind(&self) -> Result<TcpListener, ServeError> {
        let address = self.config.address;
        TcpListener::bind(address)
            .await
            .map_err(|source| ServeError::Bind { address, source })
    }

    /// The endpoints as an axum router, for a program that has a server of its own.
    ///
    /// `read_timeout` then holds for bodies alone, and `drain_limit` for nothing.
    pub fn router(self, generator: Arc<dyn TextGenerator>) -> Router {
        api::router(Arc::new(self.app(generator)))
    }

    /// Serves `generator` until `shutdown` resolves, then lets running requests end.
    ///
    /// Requests that have not ended after [`ServerConfig::drain_limit`] are cut off: their
    /// generations stop at the next token. See [`shutdown_signal`](crate::shutdown_signal).
    pub async fn serve(
        self,
        listener: TcpListener,
        generator: Arc<dyn TextGenerator>,
        shutdown: impl Future<Output = ()>,
    ) -> Shutdown {
        let app = Arc::new(self.app(generator));
        connections::serve(&app, listener, shutdown).await
    }

    fn app(self, generator: Arc<dyn TextGenerator>) -> App {
        App::new(self.config, generator, self.metrics)
    }
}
