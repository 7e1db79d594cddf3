//! The server: settings, counts, and the loop that serves until it is told to stop.

use std::{future::Future, sync::Arc};

use axum::Router;
use tokio::net::TcpListener;

use crate::{
    EmbeddingModel, Keys, ServeError, ServedModel, ServerBuilder, ServerConfig, ServerMetrics, Tls,
    api, app::App, connections,
};

/// An HTTP server for one model. Made by [`Server::builder`].
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    keys: Option<Keys>,
    tls: Option<Tls>,
    pub(crate) embeddings: Option<EmbeddingModel>,
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

    pub(crate) fn new(config: ServerConfig, keys: Option<Keys>, tls: Option<Tls>) -> Self {
        Self {
            config,
            keys,
            tls,
            embeddings: None,
            metrics: ServerMetrics::default(),
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
    /// `read_timeout` then holds for bodies alone; `drain_limit` and TLS are that server's own.
    pub fn router(self, model: ServedModel) -> Router {
        api::router(Arc::new(self.app(model)))
    }

    /// Serves `model` until `shutdown` resolves, then lets running requests end.
    ///
    /// Requests that have not ended after [`ServerConfig::drain_limit`] are cut off: the engine
    /// gives them up. See [`shutdown_signal`](crate::shutdown_signal).
    pub async fn serve(
        mut self,
        listener: TcpListener,
        model: ServedModel,
        shutdown: impl Future<Output = ()>,
    ) -> Shutdown {
        let tls = self.tls.take();
        let app = Arc::new(self.app(model));
        connections::serve(&app, listener, tls, shutdown).await
    }

    fn app(self, model: ServedModel) -> App {
        let mut app = App::new(self.config, model, self.keys, self.metrics);
        app.embeddings = self.embeddings;
        app
    }
}
